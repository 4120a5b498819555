//! A scripted identity provider for tests: replies by URL, a record of requests, and keys that sign tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt::PublicKey;

use super::transport::FetchFuture;
use super::{FailureReason, FetchFailure, FetchKeys, Fetched, IssuerKeys, Issuers, KeyLocation};

/// The issuer that [`Provider::serve`] serves.
pub(crate) const ISSUER: &str = "http://idp/realm";

/// A provider; down until told what to serve.
#[derive(Default)]
pub(crate) struct Provider(Mutex<State>);

#[derive(Default)]
struct State {
    replies: HashMap<String, Fetched>,
    requests: Vec<String>,
    takes: Duration,
}

impl Provider {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Serves these keys under [`ISSUER`].
    pub(crate) fn serve(&self, keys: &[String]) {
        self.serve_with_age(keys, None);
    }

    pub(crate) fn serve_with_age(&self, keys: &[String], max_age: Option<u64>) {
        self.reply(
            &format!("{ISSUER}/.well-known/openid-configuration"),
            200,
            &format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"http://idp/keys"}}"#),
        );
        self.reply("http://idp/keys", 200, &format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
        let mut state = self.0.lock().unwrap();
        state.replies.get_mut("http://idp/keys").unwrap().max_age = max_age.map(Duration::from_secs);
    }

    pub(crate) fn reply(&self, url: &str, status: u16, body: &str) {
        let reply = Fetched { status, body: body.as_bytes().to_vec(), max_age: None };
        self.0.lock().unwrap().replies.insert(url.to_owned(), reply);
    }

    /// Refuses connections.
    pub(crate) fn go_down(&self) {
        self.0.lock().unwrap().replies.clear();
    }

    /// How long a reply takes from now on.
    pub(crate) fn take(&self, time: Duration) {
        self.0.lock().unwrap().takes = time;
    }

    /// The number of requests since the last call.
    pub(crate) fn requests(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().requests).len()
    }

    /// A registry that asks this provider, and its started keys.
    pub(crate) async fn start(self: &Arc<Self>) -> (Issuers, Arc<IssuerKeys>) {
        let issuers = Issuers::new(self.clone());
        let keys = issuers.get_or_create(location());
        issuers.start(vec![keys.clone()]).await;
        (issuers, keys)
    }
}

impl FetchKeys for Provider {
    fn get(&self, url: String, _: &KeyLocation) -> FetchFuture {
        let mut state = self.0.lock().unwrap();
        let down = || FetchFailure::new(FailureReason::Connect, "connection refused");
        let reply = state.replies.get(&url).cloned().ok_or_else(down);
        let takes = state.takes;
        state.requests.push(url);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            reply
        })
    }
}

pub(crate) fn location() -> KeyLocation {
    KeyLocation::Oidc { issuer: ISSUER.to_owned() }
}

/// A private key.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from_ed25519(self.0.public_key().as_ref()).unwrap()
    }

    pub(crate) fn jwk(&self, kid: &str) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    /// A token; an empty `kid` is left out.
    pub(crate) fn token(&self, kid: &str, claims: &str) -> String {
        let kid = if kid.is_empty() { String::new() } else { format!(r#","kid":"{kid}""#) };
        let header = format!(r#"{{"alg":"EdDSA"{kid}}}"#);
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(input.as_bytes())))
    }
}
