//! Certificates, keys and trust roots out of PEM bytes and files.
//!
//! Both directions load their material here. It decides what counts as usable: a block that is cut off in the middle
//! fails the whole file, so that a half-written file is never taken for a short one. Our own certificates are not
//! judged, only matched with their key; what peers think of them is their business. Key material never appears in an
//! error text.

use super::x509::Certificate;
use crate::go_text::os_error;
use aws_lc_rs::digest;
use aws_lc_rs::signature::RsaParameters;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Certificates and keys are a few KiB; a whole system bundle is about 200 KiB.
pub(crate) const MAX_FILE_LEN: usize = 16 << 20;

/// Tells two versions of a set of files apart.
pub(super) type Fingerprint = [u8; 32];

/// A file cannot be read: its path or its permissions are at fault. Reads `open /x: no such file or directory`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("open {path}: {cause}")]
pub struct FileError {
    path: String,
    cause: String,
}

/// Which of the two files of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The one with the certificate.
    Certificate,
    /// The one with the key.
    Key,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
        })
    }
}

/// The text of a file is no PEM that can be used: the file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No block of a wanted kind.
    #[error("tls: failed to find any PEM data in {0} input")]
    Nothing(Input),
    /// A block without its end, as in a file that is being written.
    #[error("tls: incomplete PEM block in {0} input")]
    Incomplete(Input),
    /// A block that does not decode.
    #[error("tls: malformed PEM block in {0} input")]
    Malformed(Input),
    /// A key where the certificate should be.
    #[error(
        "tls: failed to find certificate PEM data in certificate input, but did find a private key; \
         PEM inputs may have been switched"
    )]
    KeyForCertificate,
    /// A certificate where the key should be.
    #[error("tls: found a certificate rather than a key in the PEM for the private key")]
    CertificateForKey,
    /// A key that asks for a passphrase.
    #[error(
        "tls: failed to parse private key: the key is encrypted; decrypt it, \
         for example with `openssl pkey -in encrypted.key -out plain.key`"
    )]
    EncryptedKey,
}

/// A certificate and a key cannot serve as a pair: one of the two files is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// One of the files has no usable block.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The first certificate is no X.509.
    #[error("x509: malformed certificate")]
    Certificate,
    /// The key is of an unknown kind or damaged.
    #[error("tls: failed to parse private key")]
    Key,
    /// RSA keys below 2048 bits cannot sign here.
    #[error(
        "tls: the RSA key has {0} bits, at least 2048 are needed; create a new key, \
         for example with `openssl req -new -newkey rsa:2048`"
    )]
    SmallRsa(u32),
    /// The key belongs to another certificate.
    #[error("tls: private key does not match public key")]
    Mismatch,
}

/// A CA file without a use: the file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// It has a broken block.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// It holds no certificate that can be read.
    #[error("no usable certificates in the file")]
    NoneUsable,
}

/// Trust roots of one bundle.
#[derive(Debug, Default)]
pub(super) struct Roots {
    certificates: Vec<Certificate>,
}

impl Roots {
    /// Those of the list that can be read.
    fn of(list: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        Self { certificates: list.into_iter().filter_map(|der| Certificate::parse(der).ok()).collect() }
    }

    pub(super) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Encoded names of the roots.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Certificate::subject)
    }
}

/// Whole content of a file.
pub(super) fn read_file(path: &str) -> Result<Vec<u8>, FileError> {
    use std::io::Read;
    let error = |cause: String| FileError { path: path.to_owned(), cause };
    let mut content = Vec::new();
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut content))
        .map_err(|err| error(os_error(&err)))?;
    if content.len() > MAX_FILE_LEN { Err(error("file too large".to_owned())) } else { Ok(content) }
}

/// What operators want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// `CN=foo, O=bar`
    pub subject: String,
    /// First second of its life, since 1970.
    pub not_before: i64,
    /// Last second of its life, since 1970.
    pub not_after: i64,
}

impl CertificateFacts {
    /// The first certificate of a PEM file; `None` when there is none that can be read.
    pub(super) fn of_pem(pem: &[u8]) -> Option<Self> {
        let leaf = Certificate::parse(parse_chain(pem).ok()?.into_iter().next()?).ok()?;
        let (subject, not_before, not_after) = (leaf.shown_subject(), leaf.not_before(), leaf.not_after());
        Some(Self { subject, not_before, not_after })
    }
}

/// A certificate chain and its key; fails when they do not belong together.
pub(super) fn certified_key(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<CertifiedKey>, PairError> {
    let provider = super::provider();
    let chain = parse_chain(cert_pem)?;
    let key = parse_key(key_pem)?;
    let leaf = chain.first().cloned().ok_or(PairError::Certificate)?;
    let leaf = Certificate::parse(leaf).map_err(|_| PairError::Certificate)?;
    let Some(key) = signing_key(&provider, &key) else {
        return Err(match RsaParameters::public_modulus_len(leaf.key_bits()) {
            Ok(bits @ ..2048) if bits > 0 => PairError::SmallRsa(bits),
            _ => PairError::Key,
        });
    };
    match key.public_key() {
        Some(public) if public.as_ref() != leaf.public_key_info() => Err(PairError::Mismatch),
        _ => Ok(Arc::new(CertifiedKey::new(chain, key))),
    }
}

/// The label of a key's block may be wrong, so every encoding is tried, as Go does.
fn signing_key(provider: &CryptoProvider, key: &PrivateKeyDer<'static>) -> Option<Arc<dyn SigningKey>> {
    let der = || key.secret_der().to_vec();
    let encodings = [
        key.clone_key(),
        PrivateKeyDer::Pkcs8(der().into()),
        PrivateKeyDer::Pkcs1(der().into()),
        PrivateKeyDer::Sec1(der().into()),
    ];
    encodings.into_iter().find_map(|key| provider.key_provider.load_private_key(key).ok())
}

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|err| pem_error(Input::Certificate, &err))?;
    match chain.is_empty() {
        true if PrivateKeyDer::from_pem_slice(pem).is_ok() => Err(PemError::KeyForCertificate),
        true => Err(PemError::Nothing(Input::Certificate)),
        false => Ok(chain),
    }
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    PrivateKeyDer::from_pem_slice(pem).map_err(|err| {
        if ENCRYPTED.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
            PemError::EncryptedKey
        } else if matches!(err, pem::Error::NoItemsFound) && CertificateDer::from_pem_slice(pem).is_ok() {
            PemError::CertificateForKey
        } else {
            pem_error(Input::Key, &err)
        }
    })
}

/// PEM errors quote the offending line, which may be part of a key; these texts do not.
fn pem_error(input: Input, error: &pem::Error) -> PemError {
    match error {
        pem::Error::NoItemsFound => PemError::Nothing(input),
        pem::Error::MissingSectionEnd { .. } => PemError::Incomplete(input),
        _ => PemError::Malformed(input),
    }
}

/// The certificates of a bundle that can be read; others are passed over, as Go does. At least one.
pub(super) fn parse_roots(pem: &[u8]) -> Result<Roots, RootsError> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|err| pem_error(Input::Certificate, &err))?;
    let roots = Roots::of(list);
    if roots.certificates.is_empty() { Err(RootsError::NoneUsable) } else { Ok(roots) }
}

/// The roots of the system, read once; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them. May be empty.
pub(super) fn system_roots() -> Arc<Roots> {
    static ROOTS: OnceLock<Arc<Roots>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| Arc::new(Roots::of(rustls_native_certs::load_native_certs().certs))))
}

/// A digest over all contents; the length goes in first, so bytes cannot wander from one file to the next.
pub(super) fn fingerprint<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for content in contents {
        context.update(&u64::try_from(content.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(content);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::test_pki::Authority;

    #[test]
    fn pairs() {
        let authority = Authority::new("ca");
        let (one, other) = (authority.server(&["one"]), authority.server(&["other"]));
        let half = |text: &str| text[..text.len() / 2].to_owned();
        let f = |cert: &str, key: &str, want: Result<(), &str>| {
            let got = certified_key(cert.as_bytes(), key.as_bytes()).map(drop).map_err(|err| err.to_string());
            assert_eq!(got.as_ref().map_err(String::as_str), want.as_ref().map_err(|err| *err));
        };
        f(&one.cert, &one.key, Ok(()));
        f(&format!("text\n{}{}", one.cert, authority.cert()), &one.key, Ok(()));
        f(&one.cert, &other.key, Err("tls: private key does not match public key"));
        f("", &one.key, Err("tls: failed to find any PEM data in certificate input"));
        f(&one.cert, "", Err("tls: failed to find any PEM data in key input"));
        let switched = "tls: failed to find certificate PEM data in certificate input, but did find a private key; \
                        PEM inputs may have been switched";
        f(&one.key, &one.cert, Err(switched));
        f(&one.cert, &one.cert, Err("tls: found a certificate rather than a key in the PEM for the private key"));
        f(&half(&one.cert), &one.key, Err("tls: incomplete PEM block in certificate input"));
        f(&format!("{}{}", one.cert, half(&one.cert)), &one.key, Err("tls: incomplete PEM block in certificate input"));
        f(&one.cert, &half(&one.key), Err("tls: incomplete PEM block in key input"));
        let damaged = one.key.replacen("\nM", "\n*", 1);
        f(&one.cert, &damaged, Err("tls: malformed PEM block in key input"));
    }

    #[test]
    fn bundles_of_roots() {
        let (one, other) = (Authority::new("one"), Authority::new("other"));
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let f = |text: &str, want: Result<usize, &str>| {
            let got = parse_roots(text.as_bytes()).map(|roots| roots.certificates.len());
            assert_eq!(got.map_err(|err| err.to_string()), want.map_err(str::to_owned));
        };
        f(&one.cert(), Ok(1));
        f(&format!("# both\n{}{junk}{}", one.cert(), other.cert()), Ok(2));
        f("", Err("no usable certificates in the file"));
        f(junk, Err("no usable certificates in the file"));
        f(&one.cert()[..200], Err("tls: incomplete PEM block in certificate input"));
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none").display().to_string();
        let error = |path: &str| read_file(path).unwrap_err().to_string();
        assert_eq!(error(&path), format!("open {path}: no such file or directory"));
        assert_eq!(error(""), "open : no such file or directory");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_file(&path), Ok(b"abc".to_vec()));
    }

    #[test]
    fn fingerprints_know_where_a_file_ends() {
        let of = |parts: [&str; 2]| fingerprint(parts.map(str::as_bytes));
        assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}
