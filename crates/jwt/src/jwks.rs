//! Reads a JSON Web Key Set (RFC 7517 §5): the keys of an identity provider.
//!
//! A key that cannot be used is skipped with its reason and harms no other; only a document that is no key set at
//! all is an error. Private parts of keys are not read.

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::json::{Json, JsonError, Object};
use crate::public_key::{KeyError, KeyKind, PublicKey};

/// Longer documents are refused.
pub const MAX_JWKS_BYTES: usize = 16 * 1024 * 1024;

/// Keys beyond this number are skipped; providers with a key for each tenant publish hundreds.
pub const MAX_JWKS_KEYS: usize = 10_000;

/// So many reasons of skipped keys are kept.
const MAX_REASONS: usize = 64;

/// A parsed key set.
#[derive(Debug, Clone, Default)]
pub struct Jwks {
    /// The usable keys, in the order of the document.
    pub keys: Vec<Jwk>,
    /// The others, with reasons.
    pub skipped: Vec<SkippedKey>,
}

/// A usable key of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// The id of the key; `None` if absent or empty.
    pub kid: Option<Box<str>>,
    /// The only algorithm the key may be used with; `None` for all that fit its kind.
    pub algorithm: Option<Algorithm>,
    /// The key.
    pub key: PublicKey,
}

/// A key of a set that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// The id of the key, shortened to what a log line bears.
    pub kid: Option<String>,
    /// The reason.
    pub reason: SkipReason,
}

/// Why a key is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// `use` is not `sig`; holds it.
    #[error("it has use={0}, so it isn't for signatures")]
    Use(String),
    /// `key_ops` does not contain `verify`.
    #[error("its key_ops don't contain \"verify\"")]
    KeyOps,
    /// Not an object.
    #[error("it isn't a json object")]
    NotAnObject,
    /// A parameter has a wrong type; holds its name.
    #[error("jwk.{0} has a wrong type")]
    Type(&'static str),
    /// A type of key that is not supported; holds `kty`.
    #[error("unsupported jwk.KTY: {0}; want RSA, EC or OKP")]
    Kty(String),
    /// Parameters of the key are missing; names them.
    #[error("jwks key without {0} found")]
    Missing(&'static str),
    /// A parameter is not base64url; holds its name.
    #[error("failed to decode jwks key {0}: not base64url without padding")]
    Base64(&'static str),
    /// `alg` is not one of RSA signatures; holds it.
    #[error("jwks RSA key has unsupported alg={0}; supported [RS256 RS384 RS512], [PS256 PS384 PS512]")]
    RsaAlg(String),
    /// `alg` is not the curve's.
    #[error("jwks key has alg={alg} that does not match curve {curve}")]
    CurveAlg {
        /// The key's `alg`.
        alg: String,
        /// The key's curve.
        curve: &'static str,
    },
    /// A curve that is not supported.
    #[error("jwk {kty} crv {crv:?} unsupported")]
    Curve {
        /// `EC` or `OKP`.
        kty: &'static str,
        /// The key's `crv`.
        crv: String,
    },
    /// The point is not on its curve.
    #[error("jwk EC key invalid; x,y are not on curve {0}")]
    Point(&'static str),
    /// The key itself cannot be used.
    #[error(transparent)]
    Key(KeyError),
    /// More than [`MAX_JWKS_KEYS`] usable keys.
    #[error("the key set has more than {MAX_JWKS_KEYS} keys")]
    TooMany,
}

impl SkipReason {
    /// Says whether the provider never meant the key for signatures, so that nobody needs a warning.
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Use(_) | Self::KeyOps)
    }
}

/// A document is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`MAX_JWKS_BYTES`].
    #[error("jwks has {0} bytes; at most {MAX_JWKS_BYTES} are allowed")]
    TooLong(usize),
    /// Not JSON.
    #[error("cannot parse jwks: {0}")]
    Json(#[from] JsonError),
    /// No list called `keys`.
    #[error("cannot parse jwks: it has no list of keys")]
    NoKeys,
}

impl Jwks {
    /// Parses a document; an empty list of keys is fine.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong(bytes.len()));
        }
        let Json::Object(root) = Json::parse(bytes)? else { return Err(JwksError::NoKeys) };
        let Some(Json::Array(items)) = root.get("keys") else { return Err(JwksError::NoKeys) };
        let mut set = Self::default();
        for item in items {
            match Jwk::from_json(item) {
                Ok(_) if set.keys.len() == MAX_JWKS_KEYS => set.skip(item, SkipReason::TooMany),
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skip(item, reason),
            }
        }
        Ok(set)
    }

    fn skip(&mut self, item: &Json, reason: SkipReason) {
        // A hostile list of a million empty objects must not become a million log lines.
        if self.skipped.len() < MAX_REASONS {
            let kid = match item {
                Json::Object(object) => object.get("kid").and_then(Json::as_str).map(shortened),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
            };
            self.skipped.push(SkippedKey { kid, reason });
        }
    }
}

impl Jwk {
    fn from_json(item: &Json) -> Result<Self, SkipReason> {
        let Json::Object(object) = item else { return Err(SkipReason::NotAnObject) };
        check_purpose(object)?;
        let kid = text(object, "kid")?.map(Into::into);
        let alg = text(object, "alg")?;
        let kty = text(object, "kty")?.unwrap_or_default();
        let (algorithm, key) = match kty {
            "RSA" => rsa_key(object, alg)?,
            "EC" => ec_key(object, alg)?,
            "OKP" => okp_key(object, alg)?,
            other => return Err(SkipReason::Kty(shortened(other))),
        };
        Ok(Self { kid, algorithm, key })
    }

    /// Says whether the key may verify signatures of `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.kind().fits(algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

/// `use` (RFC 7517 §4.2) and `key_ops` (§4.3).
fn check_purpose(object: &Object) -> Result<(), SkipReason> {
    if let Some(purpose) = text(object, "use")?
        && purpose != "sig"
    {
        return Err(SkipReason::Use(shortened(purpose)));
    }
    match object.get("key_ops") {
        // Serializers write members that are not set; one text instead of a list says nothing reliable.
        None | Some(Json::Null | Json::String(_)) => Ok(()),
        Some(Json::Array(operations)) => {
            let mut named = operations.iter().filter_map(Json::as_str).peekable();
            let fits = named.peek().is_none() || named.any(|operation| operation == "verify");
            if fits { Ok(()) } else { Err(SkipReason::KeyOps) }
        }
        Some(Json::Bool(_) | Json::Number(_) | Json::Object(_)) => Err(SkipReason::Type("key_ops")),
    }
}

fn rsa_key(object: &Object, alg: Option<&str>) -> Result<(Option<Algorithm>, PublicKey), SkipReason> {
    let algorithm = match alg {
        None => None,
        Some(name) => match Algorithm::from_name(name).filter(|algorithm| KeyKind::Rsa.fits(*algorithm)) {
            Some(algorithm) => Some(algorithm),
            None => return Err(SkipReason::RsaAlg(shortened(name))),
        },
    };
    let (Some(n), Some(e)) = (text(object, "n")?, text(object, "e")?) else {
        return Err(SkipReason::Missing("e or n"));
    };
    let key = PublicKey::from_rsa(&bytes(n, "n")?, &bytes(e, "e")?).map_err(SkipReason::Key)?;
    Ok((algorithm, key))
}

fn ec_key(object: &Object, alg: Option<&str>) -> Result<(Option<Algorithm>, PublicKey), SkipReason> {
    let (Some(crv), Some(x), Some(y)) = (text(object, "crv")?, text(object, "x")?, text(object, "y")?) else {
        return Err(SkipReason::Missing("crv or x or y"));
    };
    let kind = match crv {
        "P-256" => KeyKind::P256,
        "P-384" => KeyKind::P384,
        "P-521" => KeyKind::P521,
        other => return Err(SkipReason::Curve { kty: "EC", crv: shortened(other) }),
    };
    let algorithm = curve_algorithm(kind, alg)?;
    let key = PublicKey::from_coordinates(kind, &bytes(x, "x")?, &bytes(y, "y")?)
        .map_err(|_| SkipReason::Point(kind.name()))?;
    Ok((algorithm, key))
}

fn okp_key(object: &Object, alg: Option<&str>) -> Result<(Option<Algorithm>, PublicKey), SkipReason> {
    let (Some(crv), Some(x)) = (text(object, "crv")?, text(object, "x")?) else {
        return Err(SkipReason::Missing("crv or x"));
    };
    if crv != "Ed25519" {
        return Err(SkipReason::Curve { kty: "OKP", crv: shortened(crv) });
    }
    let algorithm = curve_algorithm(KeyKind::Ed25519, alg)?;
    let key = PublicKey::from_ed25519(&bytes(x, "x")?).map_err(SkipReason::Key)?;
    Ok((algorithm, key))
}

fn curve_algorithm(kind: KeyKind, alg: Option<&str>) -> Result<Option<Algorithm>, SkipReason> {
    let Some(name) = alg else { return Ok(None) };
    match Algorithm::from_name(name).filter(|algorithm| kind.fits(*algorithm)) {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(SkipReason::CurveAlg { alg: shortened(name), curve: kind.name() }),
    }
}

/// The string called `name`; empty ones and `null` count as absent.
fn text<'a>(object: &'a Object, name: &'static str) -> Result<Option<&'a str>, SkipReason> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(&**text).filter(|text| !text.is_empty())),
        Some(_) => Err(SkipReason::Type(name)),
    }
}

fn bytes(text: &str, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    base64url::decode(text).map_err(|_| SkipReason::Base64(name))
}

/// A foreign text for a log line: short and without control characters.
fn shortened(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
