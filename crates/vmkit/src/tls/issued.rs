//! Certificates that are obtained while the process runs, by host name, and the answers to TLS-ALPN-01.
//!
//! The ACME client ([`crate::acme`]) puts certificates in; listeners take them with the next look at their files
//! ([`super::server_config`]), so that a change brings new ticket keys as a changed file does. A validation server is
//! told by the one protocol that it offers, `acme-tls/1`, and meets a configuration of its own: nothing of it depends
//! on client certificates, cipher suites or other settings of the listener, and no request is ever served there
//! (RFC 8737 §3).

use super::cert_store::{self, PairError};
use super::x509::Certificate;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The only protocol that a validation server offers (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Why an issued certificate is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuedError {
    /// Chain and key are no pair.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// It was made for somebody else.
    #[error("x509: the certificate is not valid for {0}")]
    OtherName(String),
}

/// A certificate of one host with its key.
pub struct IssuedCertificate {
    key: Arc<CertifiedKey>,
    /// Begin and end of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end.
    pub not_after: i64,
}

impl IssuedCertificate {
    /// Key and chain out of one PEM text, the host's own certificate first; both must belong together and to the host.
    pub fn parse(host: &str, pem: &[u8]) -> Result<Self, IssuedError> {
        let key = cert_store::certified_key(pem, pem)?;
        let leaf = key.cert.first().ok_or(PairError::Certificate)?;
        let parsed = Certificate::parse(leaf.clone()).map_err(|_| PairError::Certificate)?;
        let covers = ServerName::try_from(host).is_ok_and(|name| {
            ParsedCertificate::try_from(leaf).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
        });
        if !covers {
            return Err(IssuedError::OtherName(host.to_owned()));
        }
        let (not_before, not_after) = parsed.validity();
        Ok(Self { key, not_before, not_after })
    }

    /// The host's own certificate.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

pub(super) type ByHost = HashMap<String, Arc<IssuedCertificate>>;

type ByAnswer = HashMap<String, Arc<CertifiedKey>>;

/// Finds the answer of a host that somebody else gives: key and certificate as PEM.
pub type AnswersElsewhere = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> + Send + Sync>;

/// Certificates of all hosts, shared by the client that obtains them and the listeners that show them.
pub struct IssuedCertificates {
    /// Lower case; the first one answers clients that name none.
    hosts: Vec<String>,
    by_host: ArcSwap<ByHost>,
    /// Grows with each change.
    version: AtomicU64,
    answers: Arc<ArcSwap<ByAnswer>>,
    challenge_config: Arc<ServerConfig>,
    elsewhere: OnceLock<AnswersElsewhere>,
}

impl IssuedCertificates {
    /// For these hosts, in lower case, none of which has a certificate yet.
    ///
    /// # Errors
    /// The TLS library cannot be used here.
    pub fn new(hosts: Vec<String>) -> Result<Self, rustls::Error> {
        let answers = Arc::<ArcSwap<ByAnswer>>::default();
        let challenge_config = Arc::new(challenge_config(answers.clone())?);
        Ok(Self {
            hosts,
            by_host: ArcSwap::default(),
            version: AtomicU64::new(0),
            answers,
            challenge_config,
            elsewhere: OnceLock::new(),
        })
    }

    /// Where to look for answers that are not here. Counts the first time.
    pub fn look_elsewhere(&self, answers: AnswersElsewhere) {
        let _ = self.elsewhere.set(answers);
    }

    /// In lower case, in the order of the flag.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The certificate of a host, once there is one.
    pub fn get(&self, host: &str) -> Option<Arc<IssuedCertificate>> {
        self.by_host.load().get(host).cloned()
    }

    /// Listeners show it within a second.
    pub fn put(&self, host: &str, certificate: IssuedCertificate) {
        let certificate = Arc::new(certificate);
        self.by_host.rcu(|known| {
            let mut next = ByHost::clone(known);
            next.insert(host.to_owned(), certificate.clone());
            next
        });
        self.version.fetch_add(1, Ordering::Release);
    }

    /// From now on a validation server that asks for this host gets this self-signed certificate.
    ///
    /// # Errors
    /// The TLS library cannot use the key.
    pub fn put_answer(
        &self,
        host: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        let key = super::provider().key_provider.load_private_key(key)?;
        let answer = Arc::new(CertifiedKey::new(vec![certificate], key));
        self.answers.rcu(|known| {
            let mut next = HashMap::clone(known);
            next.insert(host.to_owned(), answer.clone());
            next
        });
        Ok(())
    }

    /// The validation is over.
    pub fn remove_answer(&self, host: &str) {
        self.answers.rcu(|known| {
            let mut next = HashMap::clone(known);
            next.remove(host);
            next
        });
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// For a validation server that asks for this host, in lower case.
    pub(super) async fn challenge_config(&self, host: Option<String>) -> io::Result<Arc<ServerConfig>> {
        if let (Some(host), Some(elsewhere)) = (host, self.elsewhere.get())
            && self.hosts.contains(&host)
            && !self.answers.load().contains_key(&host)
            && let Some(pem) = elsewhere(host.clone()).await
        {
            let found = ByAnswer::from([(host, Arc::new(answer_of(&pem)?))]);
            let config = challenge_config(Arc::new(ArcSwap::from_pointee(found)));
            return config.map(Arc::new).map_err(io::Error::other);
        }
        Ok(self.challenge_config.clone())
    }

    /// Shows what there is now; `other` stands in for hosts that have no certificate and for names that are none of
    /// the hosts. Without it these are refused, and clients that name no host get the first one's.
    pub(super) fn resolver(&self, other: Option<Arc<CertifiedKey>>) -> ByName {
        let by_host = self.by_host.load_full();
        let unnamed = other.clone().or_else(|| {
            let first = self.hosts.iter().find_map(|host| by_host.get(host))?;
            Some(first.key.clone())
        });
        ByName { by_host, other, unnamed }
    }
}

impl fmt::Debug for IssuedCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificates").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Shows these answers and nothing else.
fn challenge_config(answers: Arc<ArcSwap<ByAnswer>>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Answers(answers)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// An answer as another process has written it.
fn answer_of(pem: &[u8]) -> io::Result<CertifiedKey> {
    let bad = |_| io::Error::other("acme: the answer of another process cannot be read");
    let certificate = CertificateDer::from_pem_slice(pem).map_err(bad)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(bad)?;
    let key = super::provider().key_provider.load_private_key(key).map_err(io::Error::other)?;
    Ok(CertifiedKey::new(vec![certificate], key))
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
pub(super) struct ByName {
    by_host: Arc<ByHost>,
    other: Option<Arc<CertifiedKey>>,
    unnamed: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return self.unnamed.clone() };
        let found = self.by_host.get(&*name.to_ascii_lowercase()).map(|certificate| certificate.key.clone());
        found.or_else(|| self.other.clone())
    }
}

/// Shows a validation server what it wants to see, and nothing to others.
#[derive(Debug)]
struct Answers(Arc<ArcSwap<ByAnswer>>);

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().get(&*hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::test_pki::Authority;

    #[test]
    fn a_certificate_must_be_the_hosts() {
        let pair = Authority::new("ca").server(&["a.example", "b.example"]);
        let pem = format!("# a comment\n{}{}", pair.key, pair.cert);
        let parsed = IssuedCertificate::parse("a.example", pem.as_bytes()).unwrap();
        assert!(parsed.not_before < parsed.not_after && parsed.leaf().is_some());
        let other = IssuedCertificate::parse("c.example", pem.as_bytes()).unwrap_err();
        assert_eq!(other.to_string(), "x509: the certificate is not valid for c.example");
        let stranger = Authority::new("ca").server(&["a.example"]);
        let mixed = format!("{}{}", pair.key, stranger.cert);
        let mixed = IssuedCertificate::parse("a.example", mixed.as_bytes()).unwrap_err();
        assert_eq!(mixed.to_string(), "tls: private key does not match public key");
    }
}
