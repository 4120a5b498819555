//! TLS of a listener: flags and files into the configuration of each handshake.
//!
//! Loaded once at start, where every fault is fatal; afterwards the control plane calls [`ServerTls::refresh`] about
//! once a second and the acceptor takes [`ServerTls::current`] for each handshake. Any change builds a whole new
//! configuration with new ticket keys: a resumed session must not show an old certificate or keep a client that a
//! new CA would refuse. A file that cannot be used never stops the listener; the last good set stays. Certificates that
//! an ACME client obtains count as such a change; [`ServerTls::accept`] also answers its validation servers.

use super::cert_store::{self, CertificateFacts, FileError, Fingerprint, PairError, RootsError};
use super::cipher_suites::{self, Selection, UnknownSuite, UnknownVersion};
use super::issued::{ACME_TLS, IssuedCertificates};
use super::peer_verifier::PeerVerifier;
use super::{LastFailure, Refreshed};
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::server::{Acceptor, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// The flags of one TLS listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerTlsOptions {
    /// `-tlsCertFile`: PEM chain, the listener's own certificate first.
    pub cert_file: String,
    /// `-tlsKeyFile`: PEM key.
    pub key_file: String,
    /// `-tlsMinVersion`; `TLS10` and `TLS11` mean TLS 1.2, the lowest version that is spoken here. Empty = TLS 1.2.
    pub min_version: String,
    /// `-tlsCipherSuites`: names or ids of TLS 1.2 suites; empty = all.
    pub cipher_suites: Vec<String>,
    /// `-mtls`: clients must present a certificate of this CA file; `Some(None)` = of the system's roots.
    pub client_ca: Option<Option<String>>,
    /// Protocols offered by ALPN, best first.
    pub alpn: Vec<Vec<u8>>,
}

/// The TLS side of one listener.
pub struct ServerTls {
    options: ServerTlsOptions,
    selection: Selection,
    versions: Vec<&'static SupportedProtocolVersion>,
    issued: Option<Arc<IssuedCertificates>>,
    current: ArcSwap<ServerConfig>,
    /// Of the file; `None` without one.
    certificate: ArcSwapOption<CertificateFacts>,
    state: Mutex<State>,
}

/// A certificate that clients may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Path of the file, or the host that it was issued for.
    pub name: String,
    /// Its subject and its life.
    pub facts: CertificateFacts,
}

struct State {
    /// Of the files that the current configuration was built from.
    fingerprint: Fingerprint,
    failure: LastFailure<ServerTlsReloadError>,
}

/// A listener cannot start: its flags, or the files that they name, are at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot load TLS cert from -tlsCertFile={:?}, -tlsKeyFile={:?}, -tlsMinVersion={:?}, -tlsCipherSuites={:?}: {fault}",
    .options.cert_file, .options.key_file, .options.min_version, format!("[{}]", .options.cipher_suites.join(" "))
)]
pub struct ServerTlsError {
    options: Box<ServerTlsOptions>,
    /// Which one.
    pub fault: ServerTlsFault,
}

/// Changed files cannot be used; what was loaded before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot reload TLS cert from -tlsCertFile={cert_file:?}, -tlsKeyFile={key_file:?}; \
     the previous certificate stays in use: {fault}"
)]
pub struct ServerTlsReloadError {
    cert_file: String,
    key_file: String,
    /// Which file, and why.
    pub fault: ServerTlsFault,
}

/// Which flag or file of a listener is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerTlsFault {
    /// The certificate or the key cannot be read.
    #[error("cannot load TLS certificate and key files: {0}")]
    File(FileError),
    /// The certificate and the key are of no use.
    #[error("cannot load TLS certificate and key files: {0}")]
    Pair(PairError),
    /// The CA file cannot be read.
    #[error("cannot load client CA from -mtlsCAFile={0:?}: {1}")]
    ClientCaFile(String, FileError),
    /// The CA file is of no use.
    #[error("cannot load client CA from -mtlsCAFile={0:?}: {1}")]
    ClientCa(String, RootsError),
    /// `-tlsCipherSuites`; the list as given.
    #[error("cannot use TLS cipher suites from tlsCipherSuites=[{0}]: {1}")]
    CipherSuites(String, UnknownSuite),
    /// `-tlsMinVersion`.
    #[error(
        "cannot use TLS min version from tlsMinVersion={:?}. \
         Supported TLS versions (TLS10, TLS11, TLS12, TLS13): {cause}", .cause.0
    )]
    MinVersion {
        /// The flag as given.
        cause: UnknownVersion,
    },
    /// The TLS library failed: no random numbers for ticket keys.
    #[error("cannot use TLS here: {0}")]
    Library(String),
}

/// Contents of the files of one moment.
struct Files {
    /// Certificate and key; `None` when all certificates are issued.
    pair: Option<(Vec<u8>, Vec<u8>)>,
    client_ca: Option<Vec<u8>>,
    /// Version of the issued certificates.
    issued: u64,
}

impl ServerTls {
    /// Reads all files and checks all flags. The error ends the process.
    pub fn load(options: ServerTlsOptions) -> Result<Self, ServerTlsError> {
        Self::load_with(options, None)
    }

    /// The same with certificates that go before the files; then no files need to be named.
    pub fn load_with(
        options: ServerTlsOptions,
        issued: Option<Arc<IssuedCertificates>>,
    ) -> Result<Self, ServerTlsError> {
        Self::try_load(&options, issued).map_err(|fault| ServerTlsError { options: Box::new(options), fault })
    }

    fn try_load(options: &ServerTlsOptions, issued: Option<Arc<IssuedCertificates>>) -> Result<Self, ServerTlsFault> {
        let files = Files::read(options, issued.as_deref())?;
        let selection = cipher_suites::select(&options.cipher_suites).map_err(|cause| {
            let names: Vec<String> = options.cipher_suites.iter().map(|name| format!("{name:?}")).collect();
            ServerTlsFault::CipherSuites(names.join(" "), cause)
        })?;
        let versions =
            cipher_suites::versions(&options.min_version).map_err(|cause| ServerTlsFault::MinVersion { cause })?;
        let built = build(options, &selection, &versions, &files, issued.as_deref())?;
        Ok(Self {
            options: options.clone(),
            selection,
            versions,
            issued,
            current: ArcSwap::from_pointee(built.config),
            certificate: ArcSwapOption::new(built.certificate.map(Arc::new)),
            state: Mutex::new(State { fingerprint: files.fingerprint(), failure: LastFailure::default() }),
        })
    }

    /// Handshake with the next client; `None` for a validation server, which has got its answer.
    pub async fn accept<S>(&self, stream: S) -> std::io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(issued) = &self.issued else {
            return TlsAcceptor::from(self.current()).accept(stream).await.map(Some);
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if !hello.client_hello().alpn().is_some_and(|offered| offered.eq([ACME_TLS])) {
            return hello.into_stream(self.current()).await.map(Some);
        }
        let host = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let answer = issued.challenge_config(host).await?;
        let mut stream = hello.into_stream(answer).await?;
        stream.shutdown().await?;
        Ok(None)
    }

    /// Every certificate that clients may be shown. Waits for nothing.
    pub fn served(&self) -> Vec<Served> {
        let mut served = Vec::new();
        if let Some(facts) = &*self.certificate.load() {
            served.push(Served { name: self.options.cert_file.clone(), facts: facts.as_ref().clone() });
        }
        if let Some(issued) = &self.issued {
            served.extend(issued.hosts().iter().filter_map(|host| {
                let certificate = issued.get(host)?;
                let (not_before, not_after) = (certificate.not_before, certificate.not_after);
                let facts = CertificateFacts { subject: format!("CN={host}"), not_before, not_after };
                Some(Served { name: host.clone(), facts })
            }));
        }
        served
    }

    /// The configuration for the next handshake. One atomic load.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Cipher suites of the flag that cannot be offered here; worth a warning at start.
    pub fn unavailable_cipher_suites(&self) -> &[&'static str] {
        &self.selection.unavailable
    }

    /// Reads the files and, when they changed, puts a new configuration in force. Blocks on the disk.
    ///
    /// Files that cannot be used leave the last good configuration alone; the error is returned the first time that
    /// it occurs and again only after another one or a success.
    pub fn refresh(&self) -> Result<Refreshed, ServerTlsReloadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reload(&state.fingerprint) {
            Ok(None) => {
                state.failure.clear();
                Ok(Refreshed::Unchanged)
            }
            Ok(Some((fingerprint, built))) => {
                self.current.store(Arc::new(built.config));
                self.certificate.store(built.certificate.map(Arc::new));
                *state = State { fingerprint, failure: LastFailure::default() };
                Ok(Refreshed::Replaced)
            }
            Err(fault) => state.failure.report(ServerTlsReloadError {
                cert_file: self.options.cert_file.clone(),
                key_file: self.options.key_file.clone(),
                fault,
            }),
        }
    }

    fn reload(&self, last: &Fingerprint) -> Result<Option<(Fingerprint, Built)>, ServerTlsFault> {
        let issued = self.issued.as_deref();
        let files = Files::read(&self.options, issued)?;
        let fingerprint = files.fingerprint();
        if fingerprint == *last {
            return Ok(None);
        }
        let built = build(&self.options, &self.selection, &self.versions, &files, issued)?;
        Ok(Some((fingerprint, built)))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Files {
    fn read(options: &ServerTlsOptions, issued: Option<&IssuedCertificates>) -> Result<Self, ServerTlsFault> {
        // What is issued after this look is seen by the next one.
        let version = issued.map_or(0, IssuedCertificates::version);
        let file = |path: &str| cert_store::read_file(path).map_err(ServerTlsFault::File);
        let client_ca = match &options.client_ca {
            Some(Some(path)) if !path.is_empty() => {
                Some(cert_store::read_file(path).map_err(|cause| ServerTlsFault::ClientCaFile(path.clone(), cause))?)
            }
            _ => None,
        };
        let has_files = issued.is_none() || !(options.cert_file.is_empty() && options.key_file.is_empty());
        let pair = if has_files { Some((file(&options.cert_file)?, file(&options.key_file)?)) } else { None };
        Ok(Self { pair, client_ca, issued: version })
    }

    fn fingerprint(&self) -> Fingerprint {
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        let (cert, key) = self.pair.as_ref().map_or((&[][..], &[][..]), |(cert, key)| (cert, key));
        cert_store::fingerprint([cert, key, client_ca, &self.issued.to_be_bytes()])
    }
}

/// A configuration, and what metrics say about it.
struct Built {
    config: ServerConfig,
    certificate: Option<CertificateFacts>,
}

fn build(
    options: &ServerTlsOptions,
    selection: &Selection,
    versions: &[&'static SupportedProtocolVersion],
    files: &Files,
    issued: Option<&IssuedCertificates>,
) -> Result<Built, ServerTlsFault> {
    let pair = |(cert, key): &(Vec<u8>, Vec<u8>)| cert_store::certified_key(cert, key).map_err(ServerTlsFault::Pair);
    let pair = files.pair.as_ref().map(pair).transpose()?;
    let certificate = files.pair.as_ref().and_then(|(cert, _)| CertificateFacts::of_pem(cert));
    let resolver: Arc<dyn ResolvesServerCert> = match (issued, pair) {
        (Some(issued), pair) => Arc::new(issued.resolver(pair)),
        (None, Some(pair)) => Arc::new(SingleCertAndKey::from(pair)),
        (None, None) => return Err(ServerTlsFault::Pair(PairError::Certificate)),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&selection.provider))
        .with_protocol_versions(versions)
        .map_err(|err| ServerTlsFault::Library(err.to_string()))?;
    let mut config = match &options.client_ca {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(path) => {
            let verifier = client_verifier(path.as_deref(), selection, files)?;
            builder.with_client_cert_verifier(Arc::new(verifier)).with_cert_resolver(resolver)
        }
    };
    config.alpn_protocols.clone_from(&options.alpn);
    // Tickets carry the session; a store would only add a lock to each handshake.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.client_ca.is_none() {
        config.ticketer =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|err| ServerTlsFault::Library(err.to_string()))?;
        config.send_tls13_tickets = 1;
    } else {
        // A resumed session skips the client's certificate, which may have expired since.
        config.send_tls13_tickets = 0;
    }
    Ok(Built { config, certificate })
}

fn client_verifier(path: Option<&str>, selection: &Selection, files: &Files) -> Result<PeerVerifier, ServerTlsFault> {
    let provider = &selection.provider;
    match &files.client_ca {
        Some(pem) => {
            let unusable = |cause| ServerTlsFault::ClientCa(path.unwrap_or_default().to_owned(), cause);
            let roots = cert_store::parse_roots(pem).map_err(unusable)?;
            Ok(PeerVerifier::new(Arc::new(roots), provider).with_hints())
        }
        // The names of all public CAs would only bloat each handshake.
        None => Ok(PeerVerifier::new(cert_store::system_roots(), provider)),
    }
}

#[cfg(test)]
mod tests;
