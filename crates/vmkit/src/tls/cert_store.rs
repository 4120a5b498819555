//! Certificates, keys and trust roots out of PEM bytes and files.
//!
//! Both directions load their material here. It decides what counts as usable: a block that is cut off in the middle
//! fails the whole file, so that a half-written file is never taken for a short one. Key material never appears in an
//! error text.

use crate::net::errno;
use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, OnceLock};

/// Certificates and keys are a few KiB; a whole system bundle is about 200 KiB.
pub(crate) const MAX_FILE_LEN: usize = 16 << 20;

/// Tells two versions of a set of files apart.
pub(super) type Fingerprint = [u8; 32];

/// Trust roots of one bundle.
#[derive(Debug)]
pub(super) struct Roots {
    /// What chains are verified against.
    pub(super) store: RootCertStore,
    /// The same certificates whole; see `server_verifier`.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Whole content of a file; the error reads `open /x: no such file or directory`.
pub(super) fn read_file(path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut content = Vec::new();
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut content))
        .map_err(|err| format!("open {path}: {}", errno::text(&err)))?;
    if content.len() > MAX_FILE_LEN { Err(format!("open {path}: file too large")) } else { Ok(content) }
}

/// A certificate chain and its key; fails when they do not belong together.
pub(super) fn certified_key(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain = parse_chain(cert_pem)?;
    let key = parse_key(key_pem)?;
    match CertifiedKey::from_der(chain, key, &super::provider()) {
        Ok(pair) => Ok(Arc::new(pair)),
        Err(rustls::Error::InconsistentKeys(_)) => Err("tls: private key does not match public key".to_owned()),
        Err(rustls::Error::InvalidCertificate(cause)) => Err(format!("x509: malformed certificate: {cause}")),
        Err(err) => Err(format!("tls: failed to parse private key: {err}")),
    }
}

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|err| pem_error("certificate", &err))?;
    if chain.is_empty() { Err(pem_error("certificate", &pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|err| pem_error("key", &err))
}

/// PEM errors quote the offending line, which may be part of a key; these texts do not.
fn pem_error(input: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("tls: failed to find any PEM data in {input} input"),
        pem::Error::MissingSectionEnd { .. } => format!("tls: incomplete PEM block in {input} input"),
        _ => format!("tls: malformed PEM block in {input} input"),
    }
}

/// The certificates of a bundle that can serve as roots; others are passed over, as Go does. At least one.
pub(super) fn parse_roots(pem: &[u8]) -> Result<Roots, String> {
    let mut roots = Roots { store: RootCertStore::empty(), certificates: Vec::new() };
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|err| pem_error("certificate", &err))?;
        if roots.store.add(certificate.clone()).is_ok() {
            roots.certificates.push(certificate);
        }
    }
    if roots.certificates.is_empty() { Err("no usable certificates in the file".to_owned()) } else { Ok(roots) }
}

/// The roots of the system, read once; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them. May be empty.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    }))
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
            let got = certified_key(cert.as_bytes(), key.as_bytes()).map(drop);
            assert_eq!(got.as_ref().map_err(String::as_str), want.as_ref().map_err(|err| *err));
        };
        f(&one.cert, &one.key, Ok(()));
        f(&format!("text\n{}{}", one.cert, authority.cert()), &one.key, Ok(()));
        f(&one.cert, &other.key, Err("tls: private key does not match public key"));
        f("", &one.key, Err("tls: failed to find any PEM data in certificate input"));
        f(&one.cert, "", Err("tls: failed to find any PEM data in key input"));
        f(&one.key, &one.key, Err("tls: failed to find any PEM data in certificate input"));
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
            let got = parse_roots(text.as_bytes()).map(|roots| (roots.store.len(), roots.certificates.len()));
            assert_eq!(got, want.map(|count| (count, count)).map_err(str::to_owned));
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
        assert_eq!(read_file(&path), Err(format!("open {path}: no such file or directory")));
        assert_eq!(read_file(""), Err("open : no such file or directory".to_owned()));
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
