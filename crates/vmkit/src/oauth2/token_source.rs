//! The token of a client: kept while it is good, asked for by one request at a time.

use super::request::{Style, token_request};
use super::response::{self, Token};
use super::{ClientSecret, OAuth2Options, SecretFile};
use crate::http_client::{Client, ClientOptions, ProxyOptions};
use crate::secret::Secret;
use crate::tls::client_config::ClientTlsOptions;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

/// A token is replaced so long before its end.
const EARLY: Duration = Duration::from_secs(10);
/// Whatever its lifetime, a token is used for so long; a failure is remembered for so long.
const AT_LEAST: Duration = Duration::from_secs(2);
const FAILURE_LIFETIME: Duration = Duration::from_millis(1200);
/// For one attempt without a token; each request has a limit of its own.
const LONGEST: Duration = Duration::from_secs(3600);
/// Between two tokens that are asked for because the remote refused one.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(60);

/// Value of an `Authorization` header with the token it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// For the header.
    pub value: Secret,
    number: u64,
}

/// Why there is no token; for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot get OAuth2 token: {0}")]
pub struct TokenError(String);

/// The tokens of one client. Share it behind an `Arc`.
pub struct TokenSource {
    options: OAuth2Options,
    client: Client,
    secret_file: Option<SecretFile>,
    state: AsyncMutex<State>,
    refused: Mutex<Refused>,
}

/// The last token that was given up because the remote refused it.
#[derive(Default)]
struct Refused {
    number: u64,
    at: Option<Instant>,
}

#[derive(Default)]
struct State {
    token: Option<Current>,
    /// Of tokens so far.
    issued: u64,
    /// What worked before.
    style: Option<Style>,
    failure: Option<(Instant, TokenError)>,
}

struct Current {
    authorization: Authorization,
    /// The secret it was issued for.
    secret: Secret,
    refresh_at: Option<Instant>,
    ends_at: Option<Instant>,
}

impl TokenSource {
    /// Nothing is asked for before the first use.
    pub fn new(options: OAuth2Options) -> Self {
        let secret_file = match &options.client_secret {
            ClientSecret::File(path) => Some(SecretFile::new(path)),
            ClientSecret::Text(_) => None,
        };
        // The name that was configured is that of the endpoint.
        let proxy_tls = ClientTlsOptions { server_name: None, ..options.tls.clone() };
        let proxy = options.proxy_url.as_ref().map(|url| ProxyOptions { url: url.expose().to_owned(), tls: proxy_tls });
        let client = Client::with_options(ClientOptions { tls: options.tls.clone(), proxy, counts: None });
        Self { options, client, secret_file, state: AsyncMutex::default(), refused: Mutex::default() }
    }

    /// The header for a request now. Callers that come while a token is asked for wait for that one. While the provider
    /// gives no new token, the old one is used until its end.
    ///
    /// # Errors
    /// The provider gave none, or the secret cannot be read.
    pub async fn authorization(&self) -> Result<Authorization, TokenError> {
        let mut state = self.state.lock().await;
        let secret = match self.secret().await {
            Ok(secret) => secret,
            // A token that is still good does not need the secret.
            Err(err) => return state.usable(None, self.refused()).ok_or(TokenError(err)),
        };
        if let Some(authorization) = state.usable(Some(&secret), self.refused()) {
            return Ok(authorization);
        }
        if let Some((at, failure)) = &state.failure
            && at.elapsed() < FAILURE_LIFETIME
        {
            let failure = failure.clone();
            return state.not_ended(&secret, self.refused()).map(|(old, _)| old).ok_or(failure);
        }
        // A provider that hangs must not use up what is left of the old token.
        let left = state.not_ended(&secret, self.refused()).map_or(LONGEST, |(_, left)| left / 2);
        let asked = tokio::time::timeout(left, self.ask(&mut state, &secret)).await;
        match asked.unwrap_or_else(|_| Err(format!("no reply within {left:?}"))) {
            Ok(token) => Ok(state.keep(token, secret)),
            Err(text) => {
                let failure = TokenError(text);
                state.failure = Some((Instant::now(), failure.clone()));
                state.not_ended(&secret, self.refused()).map(|(old, _)| old).ok_or(failure)
            }
        }
    }

    /// The remote has answered 401 to this token: the next caller gets another one. At most one for each token and one
    /// a minute, so a remote that refuses everything costs the provider no more than that.
    pub fn refuse(&self, authorization: &Authorization) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if authorization.number > refused.number && refused.at.is_none_or(|at| at.elapsed() >= BETWEEN_REFUSALS) {
            *refused = Refused { number: authorization.number, at: Some(Instant::now()) };
        }
    }

    fn refused(&self) -> u64 {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).number
    }

    async fn secret(&self) -> Result<Secret, String> {
        match (&self.options.client_secret, &self.secret_file) {
            (ClientSecret::Text(secret), _) => Ok(secret.clone()),
            (ClientSecret::File(_), Some(file)) => file.get().await.map_err(|err| format!("client secret: {err}")),
            (ClientSecret::File(_), None) => Err("client secret: no file".to_owned()),
        }
    }

    async fn ask(&self, state: &mut State, secret: &Secret) -> Result<Token, String> {
        let styles: &[Style] = match state.style {
            Some(Style::Basic) => &[Style::Basic],
            Some(Style::Body) => &[Style::Body],
            None => &[Style::Basic, Style::Body],
        };
        let mut last = String::new();
        for style in styles {
            let request = token_request(&self.options, secret.expose(), *style);
            let reply = self.client.fetch(request).await.map_err(|err| err.to_string());
            match reply.and_then(|reply| response::parse(&reply)) {
                Ok(token) => {
                    state.style = Some(*style);
                    return Ok(token);
                }
                Err(text) => last = text,
            }
        }
        // A provider may quote what it was sent.
        Err(if secret.is_empty() { last } else { last.replace(secret.expose(), "<secret>") })
    }
}

impl State {
    /// The token if it need not be replaced. Without a secret, whether it belongs to it does not matter.
    fn usable(&self, secret: Option<&Secret>, refused: u64) -> Option<Authorization> {
        let token = self.token.as_ref()?;
        let fresh = token.refresh_at.is_none_or(|at| Instant::now() < at);
        let same = secret.is_none_or(|secret| *secret == token.secret);
        let number = token.authorization.number;
        (fresh && same && number != refused).then(|| token.authorization.clone())
    }

    /// The token if it has not ended, and how long it still lasts.
    fn not_ended(&self, secret: &Secret, refused: u64) -> Option<(Authorization, Duration)> {
        let token = self.token.as_ref()?;
        let left = match token.ends_at {
            Some(end) => end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?,
            None => LONGEST,
        };
        let good = *secret == token.secret && token.authorization.number != refused;
        good.then(|| (token.authorization.clone(), left))
    }

    fn keep(&mut self, token: Token, secret: Secret) -> Authorization {
        self.issued += 1;
        let authorization = Authorization { value: Secret::from(token.header), number: self.issued };
        let now = Instant::now();
        let refresh_at =
            token.lifetime.and_then(|lifetime| now.checked_add(lifetime.saturating_sub(EARLY).max(AT_LEAST)));
        let ends_at = token.lifetime.and_then(|lifetime| now.checked_add(lifetime.max(AT_LEAST)));
        self.token = Some(Current { authorization: authorization.clone(), secret, refresh_at, ends_at });
        self.failure = None;
        authorization
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("options", &self.options).finish_non_exhaustive()
    }
}
