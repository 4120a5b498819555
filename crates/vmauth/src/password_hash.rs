//! Hashes that stand in the config in place of passwords and tokens (docs/reference/auth.md).
//!
//! Three kinds: `$argon2id$…` (PHC string format, RFC 9106) and `$2b$…` (bcrypt) for passwords that people choose,
//! `sha256:…` for random ones. The first two are slow on purpose: [`PasswordHash::verify`] of a slow one must never run
//! on a worker. What a hash may cost is bounded when it is parsed, because who writes the config decides it and every
//! stranger who tries a password makes us pay. Neither errors nor debug output show a hash: a password may stand in its
//! place by mistake.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// Most memory of one argon2 check, in KiB.
const MAX_MEMORY: u32 = 256 * 1024;
/// Most memory times passes, in KiB: about a second of one core.
const MAX_WORK: u64 = 1024 * 1024;
/// Most lanes; they are worked off one after the other.
const MAX_LANES: u32 = 64;
/// Shortest output of argon2 that tells passwords apart.
const MIN_OUTPUT: usize = 16;
/// Largest cost of bcrypt: about a second of one core.
const MAX_BCRYPT_COST: u32 = 14;
/// What [`hash`] makes: the second recommendation of OWASP, 19 MiB and two passes.
const NEW: Params = Params::DEFAULT;

/// SHA-256 of a password or token.
pub type Digest = [u8; 32];

/// Why a text is no hash that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It begins like none.
    #[error("it is no hash of a kind that is known")]
    Unknown,
    /// It begins like one and goes on otherwise.
    #[error("the {0} hash cannot be read: {1}")]
    Malformed(&'static str, String),
    /// Checking a password would take too much.
    #[error("checking a password would cost too much: {0}")]
    TooCostly(String),
}

/// What a password is checked with.
#[derive(Clone)]
pub struct PasswordHash {
    kind: Kind,
    /// SHA-256 of the text: what a cached result is bound to.
    id: Digest,
}

#[derive(Clone)]
enum Kind {
    Argon2id { params: Params, salt: Vec<u8>, output: Vec<u8> },
    Bcrypt(String),
    Sha256(Digest),
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PasswordHash").field(&self.kind()).finish()
    }
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// It is none, or checking a password with it costs too much. The text is not shown.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let kind = if let Some(hex) = text.strip_prefix("sha256:") {
            Kind::Sha256(parse_hex(hex).ok_or_else(|| malformed("sha256", "it must have 64 hex digits"))?)
        } else if text.starts_with("$argon2") {
            parse_argon2(text)?
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            parse_bcrypt(text)?
        } else {
            return Err(HashError::Unknown);
        };
        Ok(Self { kind, id: sha256(text.as_bytes()) })
    }

    /// `argon2id`, `bcrypt` or `sha256`.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Argon2id { .. } => "argon2id",
            Kind::Bcrypt(_) => "bcrypt",
            Kind::Sha256(_) => "sha256",
        }
    }

    /// Whether [`Self::verify`] takes milliseconds.
    pub fn is_slow(&self) -> bool {
        !matches!(self.kind, Kind::Sha256(_))
    }

    /// What a `sha256` hash compares with.
    pub fn as_sha256(&self) -> Option<&Digest> {
        match &self.kind {
            Kind::Sha256(digest) => Some(digest),
            Kind::Argon2id { .. } | Kind::Bcrypt(_) => None,
        }
    }

    /// Stands for exactly this hash.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// Whether this is the password. Blocks for long if the hash [is slow](Self::is_slow).
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.kind {
            Kind::Argon2id { params, salt, output } => {
                let mut own = vec![0; output.len()];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let hashed = argon2.hash_password_into(password, salt, &mut own);
                hashed.is_ok() && verify_slices_are_equal(&own, output).is_ok()
            }
            Kind::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Kind::Sha256(digest) => verify_slices_are_equal(&sha256(password), digest).is_ok(),
        }
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The argon2id hash of a password with a salt of 16 random bytes, as the config takes it.
pub fn hash(password: &[u8], salt: [u8; 16]) -> Result<String, String> {
    let mut output = [0; 32];
    let failed = |error: &dyn fmt::Display| format!("cannot hash the password: {error}");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, NEW)
        .hash_password_into(password, &salt, &mut output)
        .map_err(|error| failed(&error))?;
    let text = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: phc::ParamsString::try_from(&NEW).map_err(|error| failed(&error))?,
        salt: Some(phc::Salt::new(&salt).map_err(|error| failed(&error))?),
        hash: Some(phc::Output::new(&output).map_err(|error| failed(&error))?),
    };
    Ok(text.to_string())
}

/// The hash of a random password or token, as the config takes it.
pub fn hash_random(secret: &[u8]) -> String {
    let digits: String = sha256(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn malformed(kind: &'static str, cause: impl Into<String>) -> HashError {
    HashError::Malformed(kind, cause.into())
}

fn parse_hex(text: &str) -> Option<Digest> {
    let mut out = Digest::default();
    if text.len() != 2 * out.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

fn parse_bcrypt(text: &str) -> Result<Kind, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| malformed("bcrypt", "it must have 60 characters"))?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST => Ok(Kind::Bcrypt(text.to_owned())),
        cost => Err(HashError::TooCostly(format!("a bcrypt cost of {cost}; it may be 4 to {MAX_BCRYPT_COST}"))),
    }
}

fn parse_argon2(text: &str) -> Result<Kind, HashError> {
    let fail = |cause: &str| malformed("argon2id", cause);
    if !text.starts_with("$argon2id$") {
        return Err(fail("argon2i and argon2d are not supported"));
    }
    let hash = phc::PasswordHash::new(text).map_err(|error| fail(&error.to_string()))?;
    if hash.version != Some(Version::V0x13.into()) {
        return Err(fail("it must say v=19"));
    }
    let number = |name: &str| hash.params.get_decimal(name).ok_or_else(|| fail(&format!("it has no parameter {name}")));
    let (memory, passes, lanes) = (number("m")?, number("t")?, number("p")?);
    // Looked at before anything of this size is made.
    if memory > MAX_MEMORY {
        let (has, may) = (u64::from(memory) / 1024, MAX_MEMORY / 1024);
        return Err(HashError::TooCostly(format!("argon2id with {has} MiB of memory; it may have {may} MiB")));
    }
    if u64::from(memory) * u64::from(passes) > MAX_WORK {
        let may = MAX_WORK / u64::from(memory.max(1));
        return Err(HashError::TooCostly(format!("argon2id with {passes} passes; with this memory it may have {may}")));
    }
    if lanes > MAX_LANES {
        return Err(HashError::TooCostly(format!("argon2id with {lanes} lanes; it may have {MAX_LANES}")));
    }
    let params = Params::try_from(&hash).map_err(|error| fail(&error.to_string()))?;
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else { return Err(fail("it has no salt or no output")) };
    if output.len() < MIN_OUTPUT {
        return Err(fail("its output is shorter than 16 bytes"));
    }
    Ok(Kind::Argon2id { params, salt: salt.as_ref().to_vec(), output: output.as_bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference implementation, called from Python (`argon2-cffi`).
    const ARGON2: &str = "$argon2id$v=19$m=4096,t=2,p=2$c29tZXNhbHQxMjM0$ujbdBmxtd247nmKHnxZa7U0yXZsrwcNzt0rJgeiohY0";
    /// Made by Python's `bcrypt`; htpasswd calls the same version `2y`.
    const BCRYPT: &str = "$2y$05$2PZIMYZkJCrTqZB9CorJxeBnGFtUNqVuZEsvb5AcDrcDtWuoXICzS";

    #[test]
    fn hashes_of_others_are_understood() {
        let random = "sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let upper = random.to_uppercase().replace("SHA256", "sha256");
        let bcrypt_2a = BCRYPT.replace("$2y$", "$2a$");
        for text in [ARGON2, BCRYPT, &bcrypt_2a, random, &upper] {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(b"hunter2"), "{text}");
            for wrong in ["hunter3", "Hunter2", "hunter", "hunter2 ", ""] {
                assert!(!hash.verify(wrong.as_bytes()), "{text} takes {wrong:?}");
            }
            assert_eq!(hash.is_slow(), !text.starts_with("sha"));
            assert_eq!(format!("{hash:?}"), format!("PasswordHash({:?})", hash.kind()));
        }
    }

    #[test]
    fn own_hashes_are_taken_and_salted() {
        let one = hash(b"p\0\xff", [7; 16]).unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(PasswordHash::parse(&one).unwrap().verify(b"p\0\xff"));
        assert_ne!(one, hash(b"p\0\xff", [8; 16]).unwrap());
        assert!(PasswordHash::parse(&hash_random(b"token")).unwrap().verify(b"token"));
    }

    #[test]
    fn what_costs_too_much_or_is_no_hash_is_refused() {
        let f = |text: &str, want: &str| {
            let error = PasswordHash::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        f("hunter2", "no hash of a kind");
        f("", "no hash of a kind");
        f("$6$salt$hunter2", "no hash of a kind");
        f("$2x$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe", "no hash of a kind");
        f("sha256:hunter2", "64 hex digits");
        f("$2b$10$hunter2", "60 characters");
        f("$2b$10$ä23456789012345678901hunter2äääääääääääää", "60 characters");
        f(&BCRYPT.replace("$05$", "$15$"), "a bcrypt cost of 15; it may be 4 to 14");
        f(&ARGON2.replace("argon2id", "argon2i"), "argon2i and argon2d are not supported");
        f(&ARGON2.replace("v=19$", ""), "it must say v=19");
        f(&ARGON2.replace("m=4096", "m=4194304"), "argon2id with 4096 MiB of memory; it may have 256 MiB");
        f(&ARGON2.replace("m=4096", "m=4294967295"), "4194303 MiB");
        f(&ARGON2.replace("t=2", "t=257"), "argon2id with 257 passes; with this memory it may have 256");
        f(&ARGON2.replace("p=2", "p=65"), "65 lanes");
        f(&ARGON2.replace("m=4096,t=2,p=2", "m=8,t=1,p=4"), "cannot be read");
        f("$argon2id$v=19$m=4096,t=2,p=2$c29tZXNhbHQxMjM0", "no output");
        f("$argon2id$v=19$m=4096,t=2$c29tZXNhbHQxMjM0$aHVudGVyMmh1bnRlcjI", "no parameter p");
        f("$argon2id$v=19$m=4096,t=2,p=2$c29tZXNhbHQxMjM0$aHVudGVyMmh1bnRl", "shorter than 16 bytes");
        f("$argon2id$hunter2", "cannot be read");
    }
}
