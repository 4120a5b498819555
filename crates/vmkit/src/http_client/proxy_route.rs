//! The way of a client's connections through its proxy.
//!
//! Requests in the clear are handed to an HTTP proxy whole; everything else goes through a tunnel. What the proxy alone
//! is told (credentials, headers) may change from request to request, and a tunnel is opened with what was given last.

use std::sync::{Arc, Mutex, PoisonError};

use super::dial::{DialError, Dialer};
use super::tls_files::{FetchUrl, TlsFiles};
use crate::proxy::{Proxy, ProxyStream};
use crate::tls::client_config::ClientTlsOptions;

/// A proxy on the way of all requests of a client.
#[derive(Clone, Default)]
pub struct ProxyOptions {
    /// `http`, `https`, `socks5` or `tls+socks5`, with user info or without.
    pub url: String,
    /// Of the way to the proxy; the name that it verifies is that of the proxy unless one is given.
    pub tls: ClientTlsOptions,
}

/// The proxy of one client.
pub(super) struct ProxyRoute {
    proxy: Proxy,
    tls: TlsFiles,
    headers: Mutex<Arc<[(String, String)]>>,
}

impl ProxyRoute {
    /// The error says what is wrong without showing the URL.
    pub(super) fn new(options: ProxyOptions, urls: Option<FetchUrl>) -> Result<Self, String> {
        let proxy = Proxy::parse(&options.url)?;
        let headers = proxy.authorization().map(|value| (AUTHORIZATION.to_owned(), value));
        let headers = Mutex::new(headers.into_iter().collect());
        Ok(Self { proxy, tls: TlsFiles::new(options.tls, urls), headers })
    }

    /// What the proxy is told from now on. User info of its URL counts unless there are other credentials.
    pub(super) fn set_headers(&self, headers: &[(String, String)]) {
        let own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION));
        let usual = self.proxy.authorization().filter(|_| !own).map(|value| (AUTHORIZATION.to_owned(), value));
        let all = usual.into_iter().chain(headers.iter().cloned()).collect();
        *self.headers.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// What the proxy is told.
    pub(super) fn headers(&self) -> Arc<[(String, String)]> {
        Arc::clone(&self.headers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn takes_requests(&self, is_tls: bool) -> bool {
        self.proxy.takes_requests(is_tls)
    }

    /// A connection for requests to `host`: to the proxy that is handed them, or through it.
    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
        is_tls: bool,
        host: &str,
        port: u16,
    ) -> Result<ProxyStream, BoxError> {
        let config = self.tls.towards(&self.proxy).await?;
        let (address, proxy_port) = self.proxy.address();
        let dialed = dialer.connect(&address.host, proxy_port).await.map_err(Unreachable)?;
        let server_name = self.tls.options().server_name.clone();
        let mut stream = self.proxy.secure(dialed, config, server_name).await?;
        if !self.takes_requests(is_tls) {
            self.proxy.open(&mut stream, host, port, &self.headers()).await?;
        }
        Ok(stream)
    }
}

const AUTHORIZATION: &str = "Proxy-Authorization";

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The proxy cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("proxyconnect tcp: {0}")]
struct Unreachable(DialError);
