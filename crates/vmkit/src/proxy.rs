//! A proxy between us and a server: what its URL says, and the way through it.
//!
//! Plain requests are handed to an HTTP proxy as a whole, by whoever sends them; for TLS it opens a tunnel, so it sees
//! nothing but the name of the server. The way to the proxy may be TLS itself, and then that of the server runs inside
//! it. There is no way around a proxy that is down. No text of an error shows the URL.

mod environment;
mod socks5;
mod stream;
mod tunnel;

use std::sync::Arc;

use base64::Engine;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::net::address::HostPort;
use crate::percent;
use crate::secret::Secret;
use crate::tls::client_config::ClientTlsOptions;
use crate::tls::handshake_error;

pub use environment::of_environment;
pub use stream::ProxyStream;

/// Where a proxy is and what it wants.
#[derive(Debug)]
pub struct Proxy {
    protocol: Protocol,
    is_tls: bool,
    address: HostPort,
    user: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Socks5,
}

impl Proxy {
    /// From a URL with scheme `http`, `https`, `socks5` or `tls+socks5`.
    ///
    /// # Errors
    /// What is wrong, without showing the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SCHEMES: &str = "want http://, https://, socks5:// or tls+socks5://";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("missing scheme; {SCHEMES}"))?;
        let (protocol, is_tls) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "socks5" | "socks5h" => (Protocol::Socks5, false),
            "tls+socks5" => (Protocol::Socks5, true),
            _ => return Err(format!("unsupported scheme; {SCHEMES}")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.split_once(':').unwrap_or((user, ""))), authority),
            None => (None, authority),
        };
        let decoded = |text: &str| String::from_utf8_lossy(&percent::decode_path(text.as_bytes())).into_owned();
        let user = user.map(|(name, password)| (decoded(name), Secret::from(decoded(password))));
        let address = HostPort::parse(authority).map_err(|_| "bad host or port".to_owned())?;
        Ok(Self { protocol, is_tls, address, user })
    }

    /// Its host and port.
    pub fn address(&self) -> (&HostPort, u16) {
        let usual = match (self.protocol, self.is_tls) {
            (Protocol::Http, false) => 80,
            (Protocol::Http, true) => 443,
            (Protocol::Socks5, _) => 1080,
        };
        (&self.address, self.address.port.unwrap_or(usual))
    }

    /// Whether the way to the proxy is TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether requests to a server are handed to it whole, because there is no TLS to the server.
    pub fn takes_requests(&self, is_tls: bool) -> bool {
        self.protocol == Protocol::Http && !is_tls
    }

    /// Value of `Proxy-Authorization` by the user info of its URL.
    pub fn authorization(&self) -> Option<String> {
        let (name, password) = self.user.as_ref()?;
        let pair = format!("{name}:{}", password.expose());
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    /// What is spoken to the proxy over a connection to its address: TLS with `config`, or nothing when `config` is
    /// `None`. The certificate has to be for `server_name`, and without one for the proxy's host.
    ///
    /// # Errors
    /// The handshake fails, or the name can stand in no certificate.
    pub async fn secure(
        &self,
        tcp: TcpStream,
        config: Option<Arc<ClientConfig>>,
        server_name: Option<String>,
    ) -> Result<ProxyStream, String> {
        let Some(config) = config else { return Ok(ProxyStream::Plain(tcp)) };
        let options = ClientTlsOptions { server_name, ..ClientTlsOptions::default() };
        let name = options.server_name_for(&self.address.host).map_err(|error| format!("proxyconnect: {error}"))?;
        let opened = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await;
        let tls = opened.map_err(|error| format!("proxyconnect: {}", handshake_error::text(&error)))?;
        Ok(ProxyStream::Tls(Box::new(tls)))
    }

    /// Makes the connection to the proxy one to `host`. An HTTP proxy is sent `headers`.
    ///
    /// # Errors
    /// The proxy refuses, or is none.
    pub async fn open(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        host: &str,
        port: u16,
        headers: &[(String, String)],
    ) -> Result<(), String> {
        match self.protocol {
            Protocol::Socks5 => {
                let user = self.user.as_ref().map(|(name, password)| (name.as_str(), password.expose()));
                socks5::connect(stream, user, host, port).await
            }
            Protocol::Http => tunnel::connect(stream, host, port, headers).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let f = |text: &str, host: &str, port: u16, takes_requests: bool, is_tls: bool| {
            let proxy = Proxy::parse(text).unwrap();
            let (address, at) = proxy.address();
            assert_eq!((address.host.as_str(), at, proxy.is_tls()), (host, port, is_tls), "{text}");
            assert_eq!((proxy.takes_requests(false), proxy.takes_requests(true)), (takes_requests, false), "{text}");
        };
        f("http://p", "p", 80, true, false);
        f("http://pu:ppw@p:3128/", "p", 3128, true, false);
        f("https://p", "p", 443, true, true);
        f("HTTPS://p:8443", "p", 8443, true, true);
        f("socks5://p", "p", 1080, false, false);
        f("socks5://p:9", "p", 9, false, false);
        f("tls+socks5://p", "p", 1080, false, true);
        f("http://[::1]:3128", "::1", 3128, true, false);
        assert_eq!(Proxy::parse("https://pu:ppw@p").unwrap().authorization().as_deref(), Some("Basic cHU6cHB3"));
        for wrong in ["p:3128", "ftp://p", "tls+http://p", "http://"] {
            assert!(Proxy::parse(wrong).is_err(), "{wrong}");
        }
    }
}
