//! A proxy on the way to a remote: `-remoteWrite.proxyURL`, or the usual variables of the environment.
//!
//! Plain requests are handed to an HTTP proxy as a whole; for TLS it opens a tunnel, so it sees nothing but the name of
//! the remote. There is no way around a proxy that is down.

use super::url::{RemoteUrl, UserInfo};
use base64::Engine;
use tokio::net::TcpStream;
use vmkit::secret::Secret;

use crate::tunnel;

/// Where a proxy is and what it wants.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) is_socks5: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
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
        let (url, user): (RemoteUrl, Option<UserInfo>) = RemoteUrl::parse(&format!("http://{rest}"))?;
        let has_port = url.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if is_socks5 && !has_port { 1080 } else { url.port };
        let user = user.map(|(name, password)| (name, Secret::from(password)));
        Ok(Self { is_socks5, host: url.host, port, user })
    }

    /// The proxy that the environment names for a remote, as other programs find it. Remotes on this machine have none.
    pub(crate) fn of_environment(remote: &RemoteUrl, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let host = remote.host.trim_matches(['[', ']']).to_ascii_lowercase();
        let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let given = |upper: &str| {
            let value = variable(upper).filter(|value| !value.is_empty());
            value.or_else(|| variable(&upper.to_ascii_lowercase()).filter(|value| !value.is_empty()))
        };
        if is_local || given("NO_PROXY").is_some_and(|list| is_exempt(&host, &list)) {
            return None;
        }
        let url = given(if remote.is_https { "HTTPS_PROXY" } else { "HTTP_PROXY" })?;
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        Self::parse(&url).ok()
    }

    /// Value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (name, password) = self.user.as_ref()?;
        let pair = format!("{name}:{}", password.expose());
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    /// Makes the connection to the proxy one to the remote.
    pub(crate) async fn tunnel(&self, tcp: &mut TcpStream, remote: &RemoteUrl) -> Result<(), String> {
        if self.is_socks5 {
            let user = self.user.as_ref().map(|(name, password)| (name.as_str(), password.expose()));
            return tunnel::through_socks5(tcp, user, &remote.host, remote.port).await;
        }
        let line = self.authorization().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        tunnel::through_http(tcp, &remote.host, remote.port, line.unwrap_or_default().as_bytes()).await
    }
}

/// Whether a host is in the list of `NO_PROXY`: a name with everything below it, an address, or `*`.
fn is_exempt(host: &str, list: &str) -> bool {
    list.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).any(|item| {
        let name = item.split(':').next().unwrap_or_default().trim_start_matches('.');
        item == "*" || item == host || name == host || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let f = |text: &str, host: &str, port: u16, socks5: bool| {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port, proxy.is_socks5), (host, port, socks5), "{text}");
        };
        f("http://p", "p", 80, false);
        f("http://pu:ppw@p:3128/", "p", 3128, false);
        f("socks5://p", "p", 1080, true);
        f("socks5://p:9", "p", 9, true);
        assert_eq!(Proxy::parse("http://pu:ppw@p").unwrap().authorization().as_deref(), Some("Basic cHU6cHB3"));
        for wrong in ["p:3128", "ftp://p", "https://p", "http://"] {
            assert!(Proxy::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment() {
        let f = |url: &str, no_proxy: &str, want: Option<&str>| {
            let remote = RemoteUrl::parse(url).unwrap().0;
            let variable = |name: &str| match name {
                "HTTP_PROXY" => Some("http://plain:1".to_owned()),
                "https_proxy" => Some("secure:2".to_owned()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            };
            let proxy = Proxy::of_environment(&remote, variable);
            assert_eq!(proxy.as_ref().map(|proxy| proxy.host.as_str()), want, "{url} without {no_proxy}");
        };
        f("http://h/w", "", Some("plain"));
        f("https://h/w", "", Some("secure"));
        f("http://127.0.0.1/w", "", None);
        f("http://localhost/w", "", None);
        f("http://a.b.c/w", "x, .b.c", None);
        f("http://a.b.c/w", "b.c", None);
        f("http://ab.c/w", "b.c", Some("plain"));
        f("http://h/w", "*", None);
    }
}
