//! A proxy between us and a server: what its URL says, and the way through it.
//!
//! Plain requests are handed to an HTTP proxy as a whole, by whoever sends them; for TLS it opens a tunnel, so it sees
//! nothing but the name of the server. There is no way around a proxy that is down. No text of an error shows the URL.

mod environment;
mod socks5;
mod tunnel;

use base64::Engine;
use tokio::net::TcpStream;
use vmkit::net::address::HostPort;
use vmkit::percent;
use vmkit::secret::Secret;

pub(crate) use environment::of_environment;

/// Where a proxy is and what it wants.
#[derive(Debug)]
pub struct Proxy {
    is_socks5: bool,
    address: HostPort,
    user: Option<(String, Secret)>,
}

impl Proxy {
    /// From a URL with scheme `http` or `socks5`.
    ///
    /// # Errors
    /// What is wrong, without showing the URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("missing scheme; want http:// or socks5://")?;
        let is_socks5 = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "socks5" | "socks5h" => true,
            "https" => return Err("proxies behind https:// are not supported; use http:// or socks5://".to_owned()),
            _ => return Err("unsupported scheme; want http:// or socks5://".to_owned()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.split_once(':').unwrap_or((user, ""))), authority),
            None => (None, authority),
        };
        let decoded = |text: &str| String::from_utf8_lossy(&percent::decode_path(text.as_bytes())).into_owned();
        let user = user.map(|(name, password)| (decoded(name), Secret::from(decoded(password))));
        let address = HostPort::parse(authority).map_err(|_| "bad host or port".to_owned())?;
        Ok(Self { is_socks5, address, user })
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> (&HostPort, u16) {
        (&self.address, self.address.port.unwrap_or(if self.is_socks5 { 1080 } else { 80 }))
    }

    /// Whether requests to a server are handed to it whole, because there is no TLS to the server.
    pub(crate) fn takes_requests(&self, is_tls: bool) -> bool {
        !self.is_socks5 && !is_tls
    }

    /// Value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (name, password) = self.user.as_ref()?;
        let pair = format!("{name}:{}", password.expose());
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    /// Makes the connection to the proxy one to `host`. An HTTP proxy is sent `lines`, each with its line end.
    ///
    /// # Errors
    /// The proxy refuses, or is none.
    pub(crate) async fn open(&self, tcp: &mut TcpStream, host: &str, port: u16, lines: &[u8]) -> Result<(), String> {
        if self.is_socks5 {
            let user = self.user.as_ref().map(|(name, password)| (name.as_str(), password.expose()));
            return socks5::connect(tcp, user, host, port).await;
        }
        tunnel::connect(tcp, host, port, lines).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let f = |text: &str, host: &str, port: u16, socks5: bool| {
            let proxy = Proxy::parse(text).unwrap();
            let (address, at) = proxy.address();
            assert_eq!((address.host.as_str(), at, proxy.is_socks5), (host, port, socks5), "{text}");
        };
        f("http://p", "p", 80, false);
        f("http://pu:ppw@p:3128/", "p", 3128, false);
        f("socks5://p", "p", 1080, true);
        f("socks5://p:9", "p", 9, true);
        f("http://[::1]:3128", "::1", 3128, false);
        assert_eq!(Proxy::parse("http://pu:ppw@p").unwrap().authorization().as_deref(), Some("Basic cHU6cHB3"));
        for wrong in ["p:3128", "ftp://p", "https://p", "http://"] {
            assert!(Proxy::parse(wrong).is_err(), "{wrong}");
        }
    }
}
