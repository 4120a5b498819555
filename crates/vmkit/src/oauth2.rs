//! OAuth2 client credentials (RFC 6749, section 4.4): tokens for requests that the process makes.
//!
//! One [`TokenSource`] is one client at one provider, shared by everything that sends with its tokens. A token is asked
//! for when somebody needs it, by one request however many wait, and again shortly before it ends. Failures are kept for
//! a moment, so a provider that is down is not stormed. No secret and no token is in any text that this module makes.

mod request;
mod response;
mod secret_file;
mod token_source;

#[cfg(test)]
mod tests;

pub use secret_file::SecretFile;
pub use token_source::{Authorization, TokenError, TokenSource};

use crate::secret::Secret;
use crate::tls::client_config::ClientTlsOptions;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where the secret of the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// Known from the start.
    Text(Secret),
    /// Read again when it is older than a second; white space at its end does not count.
    File(String),
}

/// A client at a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuth2Options {
    /// Not empty.
    pub client_id: String,
    /// Needed.
    pub client_secret: ClientSecret,
    /// Absolute http(s) URL of the token endpoint.
    pub token_url: String,
    /// May be empty.
    pub scopes: Vec<String>,
    /// Further parameters of the request; one named `grant_type` replaces the usual one.
    pub endpoint_params: BTreeMap<String, String>,
    /// Sent to the token endpoint only.
    pub headers: Vec<(String, String)>,
    /// Of connections to the token endpoint.
    pub tls: ClientTlsOptions,
    /// URL of a proxy on the way to the token endpoint, with its user and password; TLS to it has the same options.
    pub proxy_url: Option<Secret>,
    /// For one token request.
    pub timeout: Duration,
}

/// What is missing in options, in the words of the YAML keys and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuth2OptionsError {
    /// No client.
    #[error("client_id cannot be empty")]
    ClientId,
    /// No endpoint.
    #[error("token_url cannot be empty")]
    TokenUrl,
    /// No secret: requests would go without authentication.
    #[error("client_secret or client_secret_file must be set (clientSecret, ClientSecretFile)")]
    Secret,
    /// Which one counts?
    #[error("ClientSecret and ClientSecretFile (client_secret, client_secret_file) cannot be set simultaneously")]
    TwoSecrets,
    /// Scopes have an option of their own.
    #[error("endpoint_params must not have \"scope\"; use scopes")]
    Scope,
}

impl OAuth2Options {
    /// Checked options with a time limit of 30 s; empty texts count as missing.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn new(
        client_id: &str,
        secret: Option<Secret>,
        secret_file: &str,
        token_url: &str,
    ) -> Result<Self, OAuth2OptionsError> {
        let secret = secret.filter(|secret| !secret.is_empty());
        let client_secret = match (secret, secret_file) {
            (Some(_), file) if !file.is_empty() => return Err(OAuth2OptionsError::TwoSecrets),
            (Some(secret), _) => ClientSecret::Text(secret),
            (None, "") => return Err(OAuth2OptionsError::Secret),
            (None, file) => ClientSecret::File(file.to_owned()),
        };
        if client_id.is_empty() {
            return Err(OAuth2OptionsError::ClientId);
        }
        if token_url.is_empty() {
            return Err(OAuth2OptionsError::TokenUrl);
        }
        Ok(Self {
            client_id: client_id.to_owned(),
            client_secret,
            token_url: token_url.to_owned(),
            scopes: Vec::new(),
            endpoint_params: BTreeMap::new(),
            headers: Vec::new(),
            tls: ClientTlsOptions::default(),
            proxy_url: None,
            timeout: Duration::from_secs(30),
        })
    }
}

/// Parameters and headers may be secrets too.
impl fmt::Debug for OAuth2Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Options")
            .field("client_id", &self.client_id)
            .field("token_url", &crate::redact::url(&self.token_url))
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
