//! An OpenID provider for one realm: discovery, a key set that rotates, and tokens for client credentials.
//!
//! It stands where Keycloak stands in the guide and serves the same paths below `/realms/master`. Everything about it
//! can be changed while it runs: secrets, tenants, the form of the claim, keys, how long tokens live, and whether it
//! answers at all. It is made for trying things out and for tests: the keys live in memory, and nobody logs in.

mod client;
mod signing_key;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;
use vmkit::http_server::{AppRoute, Reply, Request};
use vmkit::percent;

pub use client::{ClaimForm, Client};
use signing_key::SigningKey;

/// The realm's path.
pub const REALM: &str = "/realms/master";
/// Keys that are published at once.
const MAX_KEYS: usize = 4;
/// Requests for tokens that are remembered.
const MAX_REQUESTS: usize = 1_024;
/// Largest form.
const MAX_FORM: usize = 16 << 10;

/// The provider. Shared by the worker that serves it.
pub struct Provider {
    issuer: String,
    state: Mutex<State>,
    /// Whether requests wait instead of being answered.
    hangs: watch::Sender<bool>,
}

struct State {
    /// The first one signs; all are published.
    keys: Vec<Arc<SigningKey>>,
    /// Published for encryption; it must sign nothing.
    encryption: Arc<SigningKey>,
    clients: Vec<Client>,
    lifetime: Duration,
    tokens: VecDeque<TokenRequest>,
    figures: ProviderFigures,
}

/// A request for a token, as far as tests and pages want to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Whether the client came by the header `Authorization`.
    pub by_header: bool,
    /// Whether a token was given.
    pub granted: bool,
}

/// The provider in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderFigures {
    /// Id of the key that signs.
    pub key_id: String,
    /// Keys that are published for signatures.
    pub keys: usize,
    /// Tokens given.
    pub granted: u64,
    /// Requests for tokens refused.
    pub refused: u64,
    /// When the last token was given.
    pub last_token: Option<Instant>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Provider {
    /// A provider at this URL, whose tokens live so long. Makes two keys, which takes a while.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn new(url: &str, lifetime: Duration, clients: Vec<Client>) -> Result<Arc<Self>, String> {
        let (key, encryption) = std::thread::scope(|scope| {
            let other = scope.spawn(SigningKey::generate);
            let key = SigningKey::generate();
            (key, other.join().unwrap_or_else(|_| Err("cannot make an RSA key".to_owned())))
        });
        let (keys, tokens) = (vec![Arc::new(key?)], VecDeque::new());
        let (encryption, figures) = (Arc::new(encryption?), ProviderFigures::default());
        let state = State { keys, encryption, clients, lifetime, tokens, figures };
        Ok(Arc::new(Self {
            issuer: format!("{url}{REALM}"),
            state: Mutex::new(state),
            hangs: watch::Sender::new(false),
        }))
    }

    /// What tokens say in `iss`, and what is configured in the proxy.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where tokens are given.
    pub fn token_url(&self) -> String {
        format!("{}/protocol/openid-connect/token", self.issuer)
    }

    /// The route of its server.
    pub fn route(self: &Arc<Self>) -> AppRoute {
        let provider = self.clone();
        AppRoute::prefix("/", move |request| {
            let provider = provider.clone();
            Box::pin(async move { provider.answer(request).await })
        })
        .public()
    }

    /// Signs with a new key from now on. With `overlap`, the old ones stay published.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn rotate(&self, overlap: bool) -> Result<(), String> {
        let key = Arc::new(SigningKey::generate()?);
        let mut state = self.lock();
        state.keys.truncate(if overlap { MAX_KEYS - 1 } else { 0 });
        state.keys.insert(0, key);
        Ok(())
    }

    /// Accepts connections and answers nothing, or answers again.
    pub fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    /// Whether it hangs.
    pub fn is_hanging(&self) -> bool {
        *self.hangs.borrow()
    }

    /// How long a token lives.
    pub fn lifetime(&self) -> Duration {
        self.lock().lifetime
    }

    /// Changes a client; tokens that are out stay as they are.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.lock().clients.iter_mut().find(|client| client.id == id) {
            change(client);
        }
    }

    /// The provider in figures.
    pub fn figures(&self) -> ProviderFigures {
        let state = self.lock();
        let key_id = state.keys.first().map(|key| key.id.clone()).unwrap_or_default();
        ProviderFigures { key_id, keys: state.keys.len(), ..state.figures.clone() }
    }

    /// The newest requests for tokens, oldest first.
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.lock().tokens.iter().cloned().collect()
    }

    /// A token with any claims beside `iss` and `exp`, which they may replace; `null` leaves a claim out. By the key
    /// for encryption it is one that nobody may accept.
    ///
    /// # Errors
    /// The library cannot sign.
    pub fn token_with(&self, claims: &Value, by_encryption_key: bool) -> Result<String, String> {
        let (key, lifetime) = {
            let state = self.lock();
            let key = if by_encryption_key { Some(&state.encryption) } else { state.keys.first() };
            (key.cloned().ok_or("there is no key")?, state.lifetime)
        };
        let mut all = json!({"iss": self.issuer, "exp": unix_seconds() + lifetime.as_secs()});
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        key.sign(&all)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let mut hangs = self.hangs.subscribe();
        // An error means that the provider is gone, and this answer with it.
        let _ = hangs.wait_for(|hangs| !hangs).await;
        let path = String::from_utf8_lossy(request.path).into_owned();
        match path.strip_prefix(REALM) {
            Some("/.well-known/openid-configuration") => Reply::json(200, self.configuration().to_string()),
            Some("/protocol/openid-connect/certs") => Reply::json(200, self.key_set().to_string()),
            Some("/protocol/openid-connect/token") if request.exchange.head.method() == "POST" => {
                self.token(request).await
            }
            Some("/protocol/openid-connect/token") => Reply::error(405, "ask by POST"),
            _ => Reply::error(404, &format!("no such path; see {REALM}/.well-known/openid-configuration")),
        }
    }

    fn configuration(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "token_endpoint": self.token_url(),
            "jwks_uri": format!("{issuer}/protocol/openid-connect/certs"),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        })
    }

    fn key_set(&self) -> Value {
        let state = self.lock();
        let mut keys = vec![state.encryption.jwk("enc")];
        keys.extend(state.keys.iter().map(|key| key.jwk("sig")));
        json!({ "keys": keys })
    }

    async fn token(&self, request: &mut Request<'_>) -> Reply {
        let form = match request.read_body(MAX_FORM).await {
            Ok(form) => form,
            Err(error) => return Reply::error(error.status(), &error.to_string()),
        };
        let authorization = request.header("authorization");
        let by_header = authorization.is_some();
        let reply = self.grant(client::credentials(authorization, &form), &form);
        let mut state = self.lock();
        if state.tokens.len() == MAX_REQUESTS {
            state.tokens.pop_front();
        }
        let granted = reply.is_ok();
        state.tokens.push_back(TokenRequest { by_header, granted });
        if granted {
            state.figures.granted += 1;
            state.figures.last_token = Some(Instant::now());
        } else {
            state.figures.refused += 1;
        }
        reply.unwrap_or_else(|refusal| refusal).with_header("Cache-Control", "no-store".to_owned())
    }

    fn grant(&self, credentials: Option<(String, String)>, form: &[u8]) -> Result<Reply, Reply> {
        let refusal = |status, error: &str, description: &str| {
            Reply::json(status, json!({"error": error, "error_description": description}).to_string())
        };
        let (client, key, lifetime) = {
            let state = self.lock();
            let known = credentials.and_then(|(id, secret)| {
                let client = state.clients.iter().find(|client| client.id == id);
                client.filter(|client| client.secret.matches(secret.as_bytes())).cloned()
            });
            (known, state.keys.first().cloned(), state.lifetime)
        };
        let client = client
            .ok_or_else(|| refusal(401, "unauthorized_client", "Invalid client or Invalid client credentials"))?;
        if percent::arg(form, "grant_type").as_deref() != Some(b"client_credentials") {
            return Err(refusal(400, "unsupported_grant_type", "only client_credentials is there"));
        }
        let now = unix_seconds();
        let mut claims = json!({
            "iss": self.issuer,
            "sub": format!("service-account-{}", client.id),
            "azp": client.id,
            "typ": "Bearer",
            "iat": now,
            "exp": now + lifetime.as_secs(),
            "jti": random_id(),
            "scope": "openid",
        });
        if let Some(access) = client.vm_access() {
            claims["vm_access"] = access;
        }
        let token = key.ok_or_else(|| "there is no key".to_owned()).and_then(|key| key.sign(&claims));
        let token = token.map_err(|error| refusal(500, "server_error", &error))?;
        let reply = json!({
            "access_token": token,
            "expires_in": lifetime.as_secs(),
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "scope": "openid",
        });
        Ok(Reply::json(200, reply.to_string()))
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An id that nobody can guess, of 22 letters.
fn random_id() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("BUG: the system always has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
