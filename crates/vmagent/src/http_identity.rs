//! How a server of the config is reached (targets, discovery): TLS, credentials and proxy, shared where options are equal.
//!
//! An identity lives as long as a target uses it, over reloads too, so tokens and TLS sessions are kept. Files behind it
//! are read again when they are older than a second and a request needs them. No error text has a secret in it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use vmkit::http_client::{ClientOptions, ConnectionCounts, ProxyOptions, TlsFiles};
use vmkit::oauth2::{ClientSecret, OAuth2Options, SecretFile, TokenSource};
use vmkit::proxy::Proxy;
use vmkit::secret::Secret;
use vmkit::tls::client_config::ClientTlsOptions;

use crate::config::{Credentials, HttpOptions, SecretSource, TlsOptions};

/// How old what was read from a file may be.
const FRESH: Duration = Duration::from_secs(1);
/// Time for one token request.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What equal options have in common.
#[derive(Debug)]
pub struct HttpIdentity {
    /// What it was made of.
    pub options: Arc<HttpOptions>,
    /// TLS towards the targets.
    pub tls: TlsFiles,
    /// The proxy, if there is one; or why it cannot be used: nothing goes around it then.
    pub proxy: Result<Option<Proxy>, String>,
    /// TLS towards the proxy.
    pub proxy_tls: TlsFiles,
    authorization: Authorization,
    proxy_authorization: Authorization,
}

/// All identities in use.
#[derive(Debug, Default)]
pub struct Identities {
    known: Mutex<Vec<Weak<HttpIdentity>>>,
}

impl Identities {
    /// The identity for options; equal options give the same one.
    pub fn get(&self, options: &Arc<HttpOptions>) -> Arc<HttpIdentity> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|identity| identity.strong_count() > 0);
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(|identity| identity.options == *options) {
            return found;
        }
        let identity = Arc::new(HttpIdentity::new(options, FRESH));
        known.push(Arc::downgrade(&identity));
        identity
    }
}

impl HttpIdentity {
    /// Nothing is read or asked for before the first use. Secrets in files may be as old as `fresh`.
    pub(crate) fn new(options: &Arc<HttpOptions>, fresh: Duration) -> Self {
        let proxy = options.proxy.url.as_ref().map(|url| Proxy::parse(url.expose())).transpose();
        Self {
            options: Arc::clone(options),
            tls: TlsFiles::of(client_tls_options(&options.tls)),
            authorization: Authorization::new(&options.credentials, fresh),
            proxy_authorization: Authorization::new(&options.proxy.credentials, fresh),
            proxy_tls: TlsFiles::of(client_tls_options(&options.proxy.tls)),
            proxy,
        }
    }

    /// The value of `Authorization`, if there is one.
    ///
    /// # Errors
    /// A file cannot be read, or no token can be had.
    pub async fn authorization(&self) -> Result<Option<String>, String> {
        self.authorization.value().await
    }

    /// The value of `Proxy-Authorization`, if there is one.
    ///
    /// # Errors
    /// A file cannot be read, or no token can be had.
    pub async fn proxy_authorization(&self) -> Result<Option<String>, String> {
        if let Some(value) = self.proxy.as_ref().ok().and_then(|proxy| proxy.as_ref()?.authorization())
            && self.options.proxy.credentials == Credentials::None
        {
            return Ok(Some(value));
        }
        self.proxy_authorization.value().await
    }

    /// Headers for the proxy alone, credentials first; none without a proxy.
    ///
    /// # Errors
    /// A file cannot be read, or no token can be had.
    pub async fn proxy_headers(&self) -> Result<Vec<(String, String)>, String> {
        if !matches!(self.proxy, Ok(Some(_))) {
            return Ok(Vec::new());
        }
        let authorization = self.proxy_authorization().await?;
        let authorization = authorization.map(|value| ("Proxy-Authorization".to_owned(), value));
        let own = self.options.proxy.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        Ok(authorization.into_iter().chain(own).collect())
    }
}

/// `Basic` credentials as they go on the wire.
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

/// What the client of the kit needs for a server with these options.
pub(crate) fn client_options(options: &HttpOptions, counts: &Arc<ConnectionCounts>) -> ClientOptions {
    let tls = client_tls_options(&options.proxy.tls);
    let proxy = options.proxy.url.as_ref().map(|url| ProxyOptions { url: url.expose().to_owned(), tls });
    ClientOptions { tls: client_tls_options(&options.tls), proxy, counts: Some(Arc::clone(counts)) }
}

/// The options of the kit; inline PEM stands in the place of a file name.
pub fn client_tls_options(options: &TlsOptions) -> ClientTlsOptions {
    let pem = |text: &Option<Secret>, file: &Option<String>| {
        text.as_ref().map(|text| text.expose().to_owned()).or_else(|| file.clone())
    };
    ClientTlsOptions {
        ca_file: pem(&options.ca, &options.ca_file),
        cert_file: pem(&options.cert, &options.cert_file),
        key_file: pem(&options.key, &options.key_file),
        server_name: options.server_name.clone(),
        insecure_skip_verify: options.insecure_skip_verify,
        min_version: options.min_version.clone(),
    }
}

/// Where the value of a header comes from.
#[derive(Debug)]
enum Authorization {
    Fixed(Option<String>),
    Basic { username: SecretText, password: SecretText },
    Token { scheme: String, token: SecretText },
    OAuth2(Box<TokenSource>),
}

impl Authorization {
    fn new(credentials: &Credentials, fresh: Duration) -> Self {
        let text = |source: &SecretSource| match source {
            SecretSource::Text(text) => Some(text.expose().to_owned()),
            SecretSource::File(_) => None,
        };
        match credentials {
            Credentials::None => Self::Fixed(None),
            Credentials::Basic { username, password } => match (text(username), text(password)) {
                (Some(username), Some(password)) => Self::Fixed(Some(basic(&username, &password))),
                _ => Self::Basic {
                    username: SecretText::new(username, fresh),
                    password: SecretText::new(password, fresh),
                },
            },
            Credentials::Token { scheme, token } => match text(token) {
                Some(token) => Self::Fixed(Some(format!("{scheme} {token}"))),
                None => Self::Token { scheme: scheme.clone(), token: SecretText::new(token, fresh) },
            },
            Credentials::OAuth2(options) => Self::OAuth2(Box::new(TokenSource::new(oauth2_options(options)))),
        }
    }

    async fn value(&self) -> Result<Option<String>, String> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Basic { username, password } => {
                let (username, password) = (username.get().await?, password.get().await?);
                Ok(Some(basic(username.expose(), password.expose())))
            }
            Self::Token { scheme, token } => Ok(Some(format!("{scheme} {}", token.get().await?.expose()))),
            Self::OAuth2(tokens) => match tokens.authorization().await {
                Ok(authorization) => Ok(Some(authorization.value.expose().to_owned())),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

fn oauth2_options(options: &crate::config::OAuth2Options) -> OAuth2Options {
    OAuth2Options {
        client_id: options.client_id.clone(),
        client_secret: match &options.client_secret {
            SecretSource::Text(text) => ClientSecret::Text(text.clone()),
            SecretSource::File(path) => ClientSecret::File(path.clone()),
        },
        token_url: options.token_url.clone(),
        scopes: options.scopes.clone(),
        endpoint_params: options.endpoint_params.iter().cloned().collect(),
        headers: options.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
        tls: client_tls_options(&options.tls),
        proxy_url: options.proxy_url.clone(),
        timeout: TOKEN_TIMEOUT,
    }
}

/// A secret, or the file that it is in.
#[derive(Debug)]
enum SecretText {
    Text(Secret),
    File(Box<SecretFile>),
}

impl SecretText {
    fn new(source: &SecretSource, fresh: Duration) -> Self {
        match source {
            SecretSource::Text(text) => Self::Text(text.clone()),
            SecretSource::File(path) => Self::File(Box::new(SecretFile::new(path).with_lifetime(fresh))),
        }
    }

    async fn get(&self) -> Result<Secret, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(file) => file.get().await,
        }
    }
}
