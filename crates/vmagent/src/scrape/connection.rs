//! Connections to targets: names, TCP, proxies, TLS.
//!
//! A target has at most one connection. It is opened within the time of a scrape and kept for the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use vmkit::exchange::{ClientExchange, Stream, Wire};
use vmkit::net::address::HostPort;
use vmkit::net::dial::{TRY_TCP6_HINT, dial, dial_error_text};
use vmkit::net::dns::Resolver;
use vmkit::proxy::{Proxy, ProxyStream};
use vmkit::secret::Secret;

use super::metrics::ScrapeMetrics;
use super::target::ScrapeUrl;
use crate::http_identity::HttpIdentity;

/// Longest time for one attempt to connect; a scrape has a limit of its own.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What connections stand on.
pub struct Network {
    /// Resolver of names.
    pub resolver: Arc<Resolver>,
    /// Runtime on which names are looked up.
    pub control: Handle,
    /// `-enableTCP6`.
    pub ipv6: bool,
    /// Counters.
    pub metrics: Arc<ScrapeMetrics>,
}

/// A connection and what it is for.
#[derive(Debug)]
pub struct Connection {
    /// Carries one exchange after another.
    pub exchange: Box<ClientExchange>,
    /// Whether it was used before.
    pub reused: bool,
    tls: bool,
    authority: String,
    tls_generation: u64,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("ipv6", &self.ipv6).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether it may carry a request to a URL now.
    pub fn fits(&mut self, url: &ScrapeUrl, tls_generation: u64) -> bool {
        self.tls == url.tls
            && self.authority == url.authority
            && self.tls_generation == tls_generation
            && self.exchange.is_idle_and_open()
    }
}

impl Network {
    /// Opens a connection for requests to a URL.
    ///
    /// # Errors
    /// The cause as users read it at `/targets`.
    pub async fn connect(&self, url: &ScrapeUrl, identity: &HttpIdentity) -> Result<Connection, String> {
        self.metrics.dials.inc();
        let opened = self.open(url, identity).await;
        if opened.is_err() {
            self.metrics.dial_errors.inc();
        }
        opened
    }

    async fn open(&self, url: &ScrapeUrl, identity: &HttpIdentity) -> Result<Connection, String> {
        let address = HostPort::parse(&url.authority).map_err(|error| error.to_string())?;
        let scheme = if url.tls { "https" } else { "http" };
        let port = address.port_or_default(scheme);
        let way = match identity.proxy.as_ref().map_err(Clone::clone)? {
            None => ProxyStream::Plain(self.tcp(&address, port).await?),
            Some(proxy) => self.through_proxy(proxy, identity, url.tls, &address, port).await?,
        };
        let mut tls_generation = 0;
        let stream = if url.tls {
            let loaded = identity.tls.current().await?;
            tls_generation = loaded.generation;
            let name = identity.tls.options().server_name_for(&address.host).map_err(|error| error.to_string())?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&loaded.config));
            let opened = match way {
                ProxyStream::Plain(tcp) => connector.connect(name, tcp).await.map(|tls| Stream::Opened(Box::new(tls))),
                ProxyStream::Tls(way) => connector.connect(name, *way).await.map(|tls| Stream::Nested(Box::new(tls))),
            };
            opened.map_err(|error| vmkit::tls::handshake_error::text(&error))?
        } else {
            match way {
                ProxyStream::Plain(tcp) => Stream::Plain(tcp),
                ProxyStream::Tls(way) => Stream::Opened(way),
            }
        };
        let wire = Wire::new(stream, Arc::clone(&self.metrics.wire));
        Ok(Connection {
            exchange: Box::new(ClientExchange::http1(wire)),
            reused: false,
            tls: url.tls,
            authority: url.authority.clone(),
            tls_generation,
        })
    }

    async fn tcp(&self, address: &HostPort, port: u16) -> Result<TcpStream, String> {
        let mut last = None;
        for addr in self.addresses(address, port).await? {
            match dial(addr, DIAL_TIMEOUT).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(dial_error_text(addr, &error)),
            }
        }
        let hint = if self.ipv6 { "" } else { TRY_TCP6_HINT };
        Err(last.unwrap_or_else(|| self.lookup_failed(format!("lookup {}: no such host{hint}", address.host))))
    }

    async fn addresses(&self, address: &HostPort, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Some(ip) = address.ip() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let (resolver, host, ipv6) = (Arc::clone(&self.resolver), address.host.clone(), self.ipv6);
        let lookup = self.control.spawn(async move { resolver.lookup_ips(&host, ipv6, LOOKUP_TIMEOUT).await });
        let ips = lookup.await.map_err(|_| "the agent is stopping".to_owned())?;
        let ips = ips.map_err(|error| self.lookup_failed(error))?;
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// In the words of the original, for which it is a dial that fails.
    fn lookup_failed(&self, cause: impl std::fmt::Display) -> String {
        format!("dial {}: {cause}", if self.ipv6 { "tcp" } else { "tcp4" })
    }

    /// A connection to the proxy; unless the proxy is handed whole requests it is a tunnel to the target already.
    async fn through_proxy(
        &self,
        proxy: &Proxy,
        identity: &HttpIdentity,
        tls: bool,
        target: &HostPort,
        port: u16,
    ) -> Result<ProxyStream, String> {
        let config = identity.proxy_tls.towards(proxy).await?;
        let (proxy_address, proxy_port) = proxy.address();
        let tcp = self.tcp(proxy_address, proxy_port).await.map_err(|error| format!("proxyconnect: {error}"))?;
        let mut stream = proxy.secure(tcp, config, identity.options.proxy.tls.server_name.clone()).await?;
        if !proxy.takes_requests(tls) {
            proxy.open(&mut stream, &target.host, port, &identity.proxy_headers().await?).await?;
        }
        Ok(stream)
    }
}

/// A header line for credentials of a URL.
pub(super) fn basic_of(user_info: &(String, Secret)) -> String {
    crate::http_identity::basic(&user_info.0, user_info.1.expose())
}
