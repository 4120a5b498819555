//! Throw-away certificates: an authority in a temporary folder, and what it signs.
//!
//! Keys are ECDSA P-256, so issuing is quick. Files are written at once, whole; a test that wants a half-written file
//! truncates it itself. Everything is gone with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// A certificate authority with a folder of its own.
pub struct Authority {
    dir: TempDir,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A signed certificate with its key, as text.
#[derive(Clone)]
pub struct Identity {
    /// Certificate in PEM.
    pub cert_pem: String,
    /// Private key in PEM.
    pub key_pem: String,
}

/// Where an identity has been written.
#[derive(Clone, Debug)]
pub struct Files {
    /// Path of the certificate.
    pub cert: PathBuf,
    /// Path of the key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with its certificate at [`ca_file`](Self::ca_file).
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a self-signed certificate").pem();
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("ca.pem"), &pem).expect("the folder can be written");
        Self { dir, pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate of the authority in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// File with the certificate of the authority.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Folder of the authority's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Signs a certificate for these DNS names and IP addresses; the first is the common name.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_for_unit(names, None)
    }

    /// As [`issue`](Self::issue), with an organizational unit in the subject.
    pub fn issue_for_unit(&self, names: &[&str], unit: Option<&str>) -> Identity {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("test"));
        if let Some(unit) = unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() }
    }

    /// Writes an identity to `NAME.crt` and `NAME.key` in the authority's folder, replacing what was there.
    pub fn write(&self, name: &str, identity: &Identity) -> Files {
        let at = |ending: &str| self.dir.path().join(format!("{name}.{ending}"));
        let files = Files { cert: at("crt"), key: at("key") };
        fs::write(&files.cert, &identity.cert_pem).expect("the folder can be written");
        fs::write(&files.key, &identity.key_pem).expect("the folder can be written");
        files
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("our own PEM");
        roots.add(ca).expect("our own certificate");
        roots
    }

    /// Client settings that trust this authority and show `identity` if asked.
    pub fn client_config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(id) => builder.with_client_auth_cert(vec![id.der()], id.key_der()).expect("a matching pair"),
        };
        // Each connection is a full handshake: tests look at the certificate that is served now.
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    /// Server settings with `identity`; with `clients`, only clients that this authority has signed are served.
    pub fn server_config(&self, identity: &Identity, clients: Option<&Self>) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("default versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(ca) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()), provider).build().expect("a root"),
            ),
        };
        Arc::new(builder.with_single_cert(vec![identity.der()], identity.key_der()).expect("a matching pair"))
    }
}

impl Identity {
    /// Certificate in DER.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).expect("our own PEM")
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("our own PEM")
    }
}
