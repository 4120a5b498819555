//! What validation servers are told while an order runs: TLS-ALPN-01 (RFC 8737) and HTTP-01 (RFC 8555 §8.3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::cache::Answer;
use super::failure::{Cause, Failure};
use super::shared_answers::SharedAnswers;
use crate::tls::issued::IssuedCertificates;

/// Where HTTP-01 looks.
const HTTP_PATH: &[u8] = b"/.well-known/acme-challenge/";

/// Everything that is being validated.
pub(super) struct Challenges {
    certificates: Arc<IssuedCertificates>,
    /// By token.
    http: ArcSwap<HashMap<String, Bytes>>,
    /// For other processes, and of them.
    shared: Option<SharedAnswers>,
}

impl Challenges {
    /// `shared` are those of processes with the same folder.
    pub(super) fn new(certificates: Arc<IssuedCertificates>, shared: Option<SharedAnswers>) -> Self {
        if let Some(shared) = shared.clone() {
            certificates.look_elsewhere(Box::new(move |host| {
                let shared = shared.clone();
                Box::pin(async move { shared.get(Answer::Host(host)).await })
            }));
        }
        Self { certificates, http: ArcSwap::default(), shared }
    }

    /// Answers from now on, until the value is dropped; other processes with the same folder do so too.
    pub(super) async fn publish(
        self: &Arc<Self>,
        host: &str,
        kind: &ChallengeType,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<Published, Failure> {
        let (what, content) = if *kind == ChallengeType::Http01 {
            let text = authorization.as_str().to_owned();
            let answer = Bytes::from(text.clone());
            self.http.rcu(|known| {
                let mut next = HashMap::clone(known);
                next.insert(token.to_owned(), answer.clone());
                next
            });
            (Answer::Token(token.to_owned()), text)
        } else {
            let pem = self
                .put_certificate(host, authorization.digest().as_ref())
                .map_err(|error| Failure::new(Cause::NoChallenge, format!("cannot answer {host}: {error}")))?;
            (Answer::Host(host.to_owned()), pem)
        };
        let published = Published { challenges: self.clone(), what: what.clone() };
        if let Some(shared) = &self.shared
            && let Err(problem) = shared.put(what, content).await
        {
            crate::warn!("only this process can answer the validation of {host}: {problem}");
        }
        Ok(published)
    }

    /// Key and certificate as PEM.
    fn put_certificate(&self, host: &str, digest: &[u8]) -> Result<String, String> {
        let text = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new([host.to_owned()]).map_err(text)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.self_signed(&key).map_err(text)?;
        let pem = key.serialize_pem() + &certificate.pem();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        self.certificates.put_answer(host, certificate.der().clone(), key).map_err(|error| error.to_string())?;
        Ok(pem)
    }
}

/// An answer that validation servers can see.
pub(super) struct Published {
    challenges: Arc<Challenges>,
    what: Answer,
}

impl Drop for Published {
    fn drop(&mut self) {
        match &self.what {
            Answer::Host(host) => self.challenges.certificates.remove_answer(host),
            Answer::Token(token) => {
                self.challenges.http.rcu(|known| {
                    let mut next = HashMap::clone(known);
                    next.remove(token);
                    next
                });
            }
        }
        if let Some(shared) = &self.challenges.shared {
            shared.remove(self.what.clone());
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

    /// The answer to a request for this path, when it is one of a validation that runs, here or in a process with the
    /// same folder. Waits for nothing but that folder, and only for paths of validations.
    pub async fn answer(&self, path: &[u8]) -> Option<Bytes> {
        let token = std::str::from_utf8(path.strip_prefix(HTTP_PATH)?).ok()?;
        if let Some(answer) = self.0.http.load().get(token).cloned() {
            return Some(answer);
        }
        let shared = self.0.shared.as_ref()?;
        // Rare, and large for the future of every request.
        Box::pin(shared.get(Answer::Token(token.to_owned()))).await.map(Bytes::from)
    }
}

impl std::fmt::Debug for HttpAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpAnswers")
    }
}
