//! What validation servers are told while an order runs: TLS-ALPN-01 (RFC 8737) and HTTP-01 (RFC 8555 §8.3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::failure::{Cause, Failure};
use crate::tls::issued::IssuedCertificates;

/// Where HTTP-01 looks.
const HTTP_PATH: &[u8] = b"/.well-known/acme-challenge/";

/// Everything that is being validated.
pub(super) struct Challenges {
    certificates: Arc<IssuedCertificates>,
    /// By token.
    http: ArcSwap<HashMap<String, Bytes>>,
}

impl Challenges {
    pub(super) fn new(certificates: Arc<IssuedCertificates>) -> Self {
        Self { certificates, http: ArcSwap::default() }
    }

    /// Answers from now on, until the value is dropped.
    pub(super) fn publish(
        self: &Arc<Self>,
        host: &str,
        kind: &ChallengeType,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<Published, Failure> {
        let what = if *kind == ChallengeType::Http01 {
            let answer = Bytes::copy_from_slice(authorization.as_str().as_bytes());
            self.http.rcu(|known| {
                let mut next = HashMap::clone(known);
                next.insert(token.to_owned(), answer.clone());
                next
            });
            What::Token(token.to_owned())
        } else {
            self.put_certificate(host, authorization.digest().as_ref())
                .map_err(|error| Failure::new(Cause::NoChallenge, format!("cannot answer {host}: {error}")))?;
            What::Host(host.to_owned())
        };
        Ok(Published { challenges: self.clone(), what })
    }

    fn put_certificate(&self, host: &str, digest: &[u8]) -> Result<(), String> {
        let text = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new([host.to_owned()]).map_err(text)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.self_signed(&key).map_err(text)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        self.certificates.put_answer(host, certificate.der().clone(), key).map_err(|error| error.to_string())
    }
}

enum What {
    Token(String),
    Host(String),
}

/// An answer that validation servers can see.
pub(super) struct Published {
    challenges: Arc<Challenges>,
    what: What,
}

impl Drop for Published {
    fn drop(&mut self) {
        match &self.what {
            What::Host(host) => self.challenges.certificates.remove_answer(host),
            What::Token(token) => {
                self.challenges.http.rcu(|known| {
                    let mut next = HashMap::clone(known);
                    next.remove(token);
                    next
                });
            }
        }
    }
}

/// The answers of plain listeners.
#[derive(Clone)]
pub struct HttpAnswers(Arc<Challenges>);

impl HttpAnswers {
    pub(super) fn new(challenges: Arc<Challenges>) -> Self {
        Self(challenges)
    }

    /// The answer to a request for this path, when it is one of a validation that runs. Waits for nothing.
    pub fn answer(&self, path: &[u8]) -> Option<Bytes> {
        let token = path.strip_prefix(HTTP_PATH)?;
        self.0.http.load().get(std::str::from_utf8(token).ok()?).cloned()
    }
}

impl std::fmt::Debug for HttpAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpAnswers")
    }
}
