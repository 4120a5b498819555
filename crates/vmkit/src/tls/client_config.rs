//! TLS towards backends: the options of a user or of the flags into what a connection is opened with.
//!
//! [`ClientTlsOptions`] is the TLS identity of a connection pool. The control plane loads the files before first use
//! and about once a second while the identity is in use; workers take [`ClientTls::current`] for each new connection
//! (`docs/reference/balancing.md`). A changed CA or certificate is a new generation with a session cache of its own, so
//! that pools can let old connections go. Files that fail later on leave the last good configuration in force.

use super::cert_store::{self, CertificateFacts, Fingerprint, Input, PairError, Roots, RootsError};
use super::cipher_suites;
use super::peer_verifier::{AcceptAny, PeerVerifier};
use super::{LastFailure, Refreshed};
use crate::redact;
use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What tells two TLS identities apart. Files are paths, relative to the working directory, http(s) URLs, or PEM itself.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientTlsOptions {
    /// PEM bundle that replaces the system's roots.
    pub ca_file: Option<String>,
    /// PEM chain of our own certificate; needs `key_file`.
    pub cert_file: Option<String>,
    /// PEM key of our own certificate.
    pub key_file: Option<String>,
    /// Name for SNI and verification instead of the host of the URL.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest TLS version, `TLS10` to `TLS13`; empty or below TLS 1.2 means TLS 1.2.
    pub min_version: Option<String>,
}

/// One usable configuration.
#[derive(Debug)]
pub struct LoadedClientTls {
    /// For `TlsConnector::from`; offers HTTP/1 only.
    pub config: Arc<ClientConfig>,
    /// The same, offering HTTP/2 before HTTP/1.
    pub http2_or_http1: Arc<ClientConfig>,
    /// The same, offering HTTP/2 only.
    pub http2: Arc<ClientConfig>,
    /// 1 for the first; grows with each change of CA, certificate or key.
    pub generation: u64,
    /// The certificate that backends are shown.
    pub certificate: Option<CertificateFacts>,
}

/// The TLS identity with its files.
#[derive(Debug)]
pub struct ClientTls {
    options: ClientTlsOptions,
    current: ArcSwap<Result<Arc<LoadedClientTls>, ClientTlsError>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the files of the current configuration; `None` before the first success.
    loaded: Option<Fingerprint>,
    failure: LastFailure<ClientTlsError>,
}

/// Why no connection can be opened: a file of the identity, or the option that names it, is at fault. File names are
/// shown without the credentials that a URL may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot initialize Transport: {0}")]
pub struct ClientTlsError(#[from] ClientTlsFault);

/// Which part of a [`ClientTlsError`] is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientTlsFault {
    /// [`ClientTls::refresh`] has not run yet.
    #[error("the TLS files have not been read yet")]
    Unread,
    /// The CA file cannot be read.
    #[error("{ROOT_CA}: cannot read {file:?}: {cause}")]
    UnreadableCa {
        /// As shown.
        file: String,
        /// Of the system or of the download.
        cause: String,
    },
    /// The CA file holds nothing of use.
    #[error("{ROOT_CA}: cannot parse {file:?}: {cause}")]
    UnusableCa {
        /// As shown.
        file: String,
        /// What is wrong with it.
        cause: RootsError,
    },
    /// One file of the client certificate cannot be read.
    #[error("cannot initialize TLS certificate: cannot read TLS {input} from {file:?}: {cause}")]
    UnreadablePair {
        /// Which one.
        input: Input,
        /// As shown.
        file: String,
        /// Of the system or of the download.
        cause: String,
    },
    /// The client certificate and its key are of no use.
    #[error(
        "cannot initialize TLS certificate: cannot load TLS certificate from {cert:?} and key from {key:?}: {cause}"
    )]
    UnusablePair {
        /// File of the certificate, as shown.
        cert: String,
        /// File of the key, as shown.
        key: String,
        /// What is wrong with them.
        cause: PairError,
    },
    /// The TLS library takes none of its own versions: a fault of the build.
    #[error("cannot initialize TLS config: {0}")]
    Library(String),
}

const ROOT_CA: &str = "cannot initialize TLS config: cannot load root CAs: cannot read `ca_file`";

/// The host of a URL, or the name configured in its place, can stand in no certificate: the config is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tls: invalid server name {0:?}")]
pub struct InvalidServerName(String);

/// Contents of the files of one moment, or why one of them cannot be had.
struct Files {
    ca: Option<Vec<u8>>,
    pair: Option<(Vec<u8>, Vec<u8>)>,
}

impl ClientTlsOptions {
    /// The name that a certificate must carry for `host` (a name or an IP address, with or without brackets).
    ///
    /// For IP addresses no SNI is sent and the address itself is verified.
    pub fn server_name_for(&self, host: &str) -> Result<ServerName<'static>, InvalidServerName> {
        let name = given(&self.server_name).unwrap_or(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        ServerName::try_from(bare.to_owned()).map_err(|_| InvalidServerName(name.to_owned()))
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().filter_map(given)
    }

    /// Whether any of the files is fetched over HTTP.
    pub fn has_urls(&self) -> bool {
        self.files().any(is_url)
    }

    /// Whether there is nothing that could change.
    pub fn is_static(&self) -> bool {
        self.files().next().is_none()
    }
}

/// File names may be URLs with credentials.
impl fmt::Debug for ClientTlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsOptions")
            .field("ca_file", &self.ca_file.as_deref().map(shown))
            .field("cert_file", &self.cert_file.as_deref().map(shown))
            .field("key_file", &self.key_file.as_deref().map(shown))
            .field("server_name", &self.server_name)
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .field("min_version", &self.min_version)
            .finish()
    }
}

impl ClientTls {
    /// An identity whose files have not been read; [`Self::refresh`] comes before the first use.
    pub fn new(options: ClientTlsOptions) -> Self {
        let unread = ClientTlsFault::Unread.into();
        Self { options, current: ArcSwap::from_pointee(Err(unread)), state: Mutex::default() }
    }

    /// What the identity consists of.
    pub fn options(&self) -> &ClientTlsOptions {
        &self.options
    }

    /// The configuration for the next connection, or the error that its requests fail with.
    pub fn current(&self) -> Result<Arc<LoadedClientTls>, ClientTlsError> {
        Result::clone(&self.current.load())
    }

    /// Reads the files, URLs through `fetch`, and puts a changed configuration in force.
    ///
    /// The error is returned the first time that it occurs. Before the first success it is also what
    /// [`Self::current`] gives; after it the last good configuration stays. `fetch` must bound size and time, and its
    /// error text must not hold credentials. Cancel-safe: nothing changes before all files are there.
    pub async fn refresh<F, R, E>(&self, fetch: F) -> Result<Refreshed, ClientTlsError>
    where
        F: Fn(String) -> R,
        R: Future<Output = Result<Vec<u8>, E>>,
        E: fmt::Display,
    {
        self.refresh_allowed(|_| Ok(()), fetch).await
    }

    /// As [`Self::refresh`]; `may_read` says for each path whether it may be read now, or why not.
    pub async fn refresh_allowed<F, R, E>(
        &self,
        may_read: impl Fn(&str) -> Result<(), String>,
        fetch: F,
    ) -> Result<Refreshed, ClientTlsError>
    where
        F: Fn(String) -> R,
        R: Future<Output = Result<Vec<u8>, E>>,
        E: fmt::Display,
    {
        if self.is_settled() {
            return Ok(Refreshed::Unchanged);
        }
        let read = async |file: &str| {
            if is_inline(file) {
                Ok(file.as_bytes().to_vec())
            } else if is_url(file) {
                fetch(file.to_owned()).await.map_err(|err| err.to_string())
            } else {
                may_read(file)?;
                cert_store::read_file(file).map_err(|err| err.to_string())
            }
        };
        let ca = match given(&self.options.ca_file) {
            Some(file) => {
                let unreadable = |cause| ClientTlsFault::UnreadableCa { file: shown(file), cause };
                Some(read(file).await.map_err(unreadable))
            }
            None => None,
        };
        let pair = match (given(&self.options.cert_file), given(&self.options.key_file)) {
            (None, None) => None,
            (cert, key) => {
                let (cert_file, key_file) = (cert.unwrap_or_default(), key.unwrap_or_default());
                let unreadable =
                    |input, file| move |cause| ClientTlsFault::UnreadablePair { input, file: shown(file), cause };
                let cert = read(cert_file).await.map_err(unreadable(Input::Certificate, cert_file));
                let key = read(key_file).await.map_err(unreadable(Input::Key, key_file));
                Some(cert.and_then(|cert| Ok((cert, key?))))
            }
        };
        self.apply(ca.transpose().and_then(|ca| Ok(Files { ca, pair: pair.transpose()? })))
    }

    /// [`Self::refresh`] for the time before a runtime exists. URLs are an error.
    pub fn refresh_files(&self) -> Result<Refreshed, ClientTlsError> {
        let refused = async |_: String| Err("URLs cannot be fetched yet");
        let mut future = std::pin::pin!(self.refresh(refused));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => Ok(Refreshed::Unchanged),
        }
    }

    /// Without files there is nothing to read again after the first success.
    fn is_settled(&self) -> bool {
        self.options.is_static() && self.lock().loaded.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, files: Result<Files, ClientTlsFault>) -> Result<Refreshed, ClientTlsError> {
        let mut state = self.lock();
        let built = files.and_then(|files| {
            let fingerprint = files.fingerprint();
            if state.loaded == Some(fingerprint) {
                return Ok(None);
            }
            let certificate = files.pair.as_ref().and_then(|(cert, _)| CertificateFacts::of_pem(cert));
            Ok(Some((fingerprint, build(&self.options, &files)?, certificate)))
        });
        match built {
            Ok(None) => {
                state.failure.clear();
                Ok(Refreshed::Unchanged)
            }
            Ok(Some((fingerprint, config, certificate))) => {
                let generation = self.current().map_or(0, |loaded| loaded.generation).saturating_add(1);
                let loaded = LoadedClientTls {
                    http2_or_http1: Arc::new(offering(&config, &[HTTP_2, HTTP_1])),
                    http2: Arc::new(offering(&config, &[HTTP_2])),
                    config: Arc::new(config),
                    generation,
                    certificate,
                };
                self.current.store(Arc::new(Ok(Arc::new(loaded))));
                *state = State { loaded: Some(fingerprint), failure: LastFailure::default() };
                Ok(Refreshed::Replaced)
            }
            Err(cause) => {
                let error = ClientTlsError::from(cause);
                if state.loaded.is_none() {
                    self.current.store(Arc::new(Err(error.clone())));
                }
                state.failure.report(error)
            }
        }
    }
}

impl Files {
    fn fingerprint(&self) -> Fingerprint {
        let (cert, key) = self.pair.as_ref().map_or((&[][..], &[][..]), |(cert, key)| (cert, key));
        cert_store::fingerprint([self.ca.as_deref().unwrap_or_default(), cert, key])
    }
}

fn build(options: &ClientTlsOptions, files: &Files) -> Result<ClientConfig, ClientTlsFault> {
    let provider = super::provider();
    // A broken CA file stays an error, as with the original, even where it would not be asked.
    let roots = match &files.ca {
        Some(pem) => Some(Arc::new(own_roots(options, pem)?)),
        None if options.insecure_skip_verify => None,
        None => Some(cert_store::system_roots()),
    };
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Some(roots) if !options.insecure_skip_verify => Arc::new(PeerVerifier::new(roots, &provider)),
        _ => Arc::new(AcceptAny(Arc::clone(&provider))),
    };
    let versions = cipher_suites::versions(given(&options.min_version).unwrap_or_default())
        .map_err(|err| ClientTlsFault::Library(err.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|err| ClientTlsFault::Library(err.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client_pair(options, files)? {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
    };
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(config)
}

/// Names of protocols (RFC 7301 §6).
const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// The configuration with other protocols. Its sessions are resumed together with those of the first: a resumed one
/// negotiates the protocol anew.
fn offering(config: &ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    let mut config = config.clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

fn own_roots(options: &ClientTlsOptions, pem: &[u8]) -> Result<Roots, ClientTlsFault> {
    let file = || shown(given(&options.ca_file).unwrap_or_default());
    cert_store::parse_roots(pem).map_err(|cause| ClientTlsFault::UnusableCa { file: file(), cause })
}

fn client_pair(options: &ClientTlsOptions, files: &Files) -> Result<Option<Arc<CertifiedKey>>, ClientTlsFault> {
    let Some((cert, key)) = &files.pair else { return Ok(None) };
    cert_store::certified_key(cert, key).map(Some).map_err(|cause| {
        let file = |file: &Option<String>| shown(given(file).unwrap_or_default());
        ClientTlsFault::UnusablePair { cert: file(&options.cert_file), key: file(&options.key_file), cause }
    })
}

/// A file name without the credentials of a URL.
fn shown(file: &str) -> String {
    if is_inline(file) { "inline PEM".to_owned() } else { redact::url(file).into_owned() }
}

/// PEM in the place of a file name stands for itself.
fn is_inline(file: &str) -> bool {
    file.contains("-----BEGIN ")
}

/// An empty name is no name.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn is_url(file: &str) -> bool {
    file.starts_with("http://") || file.starts_with("https://")
}

#[cfg(test)]
mod tests;
