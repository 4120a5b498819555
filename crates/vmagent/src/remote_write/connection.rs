//! Connections to one remote, and one request over one of them.
//!
//! Each sender has a connection of its own and keeps it between blocks. A redirect is never followed, because a body
//! that arrives nowhere must not count as delivered. What a reply says is read up to a bound; a success whose body is
//! cut is still a success.

use super::url::{Lookup, RemoteUrl};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, RETRY_AFTER};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use vmkit::http_client::{ConnectionCounts, Counted, TlsFiles};
use vmkit::net::dial::{TRY_TCP6_HINT, dial, dial_error_text};
use vmkit::net::dns::Resolver;
use vmkit::proxy::{Proxy, ProxyStream};

/// For the records of a name.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// For one address of a name.
const DIAL_LIMIT: Duration = Duration::from_secs(20);
/// Of a reply's body, for the log.
const SHOWN_BODY: usize = 1024;
const HANDSHAKE_TIMEOUT: &str = "net/http: TLS handshake timeout";
/// Read and thrown away, so that the connection can be used again.
const DRAINED_BODY: usize = 256 * 1024;
/// The rest of a reply is waited for so long.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// Where connections of a URL go.
pub(crate) struct Endpoint {
    pub(crate) url: RemoteUrl,
    pub(crate) tls: TlsFiles,
    pub(crate) handshake_limit: Duration,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) resolver: Arc<Resolver>,
    /// `-enableTCP6`.
    pub(crate) ipv6: bool,
    pub(crate) metrics: Arc<ConnectionCounts>,
}

/// A connection that may be kept.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    tls_generation: u64,
}

/// A reply of any status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    /// The beginning of the body.
    pub(crate) body: String,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) struct NoReply {
    pub(crate) text: String,
    /// The connection ended before a reply began; it may have been too old.
    pub(crate) is_end: bool,
}

impl NoReply {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_end: false }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Sends a block and reads the reply, over `kept` if that is still open. What can be used again is kept.
    pub(crate) async fn post(
        &self,
        kept: &mut Option<Connection>,
        headers: &HeaderMap,
        authorization: Option<HeaderValue>,
        block: &Bytes,
    ) -> Result<Reply, NoReply> {
        let mut connection = match self.usable(kept.take()).await {
            Some(connection) => connection,
            None => self.connect().await.map_err(NoReply::new)?,
        };
        let mut request = Request::new(Full::new(block.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target().parse::<Uri>().map_err(|err| NoReply::new(err.to_string()))?;
        *request.headers_mut() = headers.clone();
        if let Some(value) = self.plain_proxy().and_then(Proxy::authorization) {
            let mut value = HeaderValue::from_str(&value).map_err(|err| NoReply::new(err.to_string()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&self.host_header()).map_err(|err| NoReply::new(err.to_string()))?;
            request.headers_mut().insert(HOST, host);
        }
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let reply = connection.sender.send_request(request).await.map_err(|err| no_reply(&err))?;
        let (head, body) = reply.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (body, whole) = tokio::time::timeout(BODY_LIMIT, read_body(body)).await.unwrap_or_default();
        if whole && !connection.sender.is_closed() {
            *kept = Some(connection);
        }
        Ok(Reply { status: head.status.as_u16(), retry_after, body })
    }

    /// The proxy that is handed whole requests, because there is no TLS to the remote.
    fn plain_proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.takes_requests(self.url.is_https))
    }

    fn target(&self) -> String {
        match self.plain_proxy() {
            Some(_) => format!("http://{}{}", self.url.authority, self.url.target),
            None => self.url.target.clone(),
        }
    }

    fn host_header(&self) -> String {
        match self.tls.options().server_name.as_deref().filter(|name| !name.is_empty() && self.url.is_https) {
            Some(name) => name.to_owned(),
            None => self.url.authority.clone(),
        }
    }

    async fn usable(&self, kept: Option<Connection>) -> Option<Connection> {
        let mut connection = kept?;
        // Lets go of a connection whose certificates have been replaced.
        if self.url.is_https {
            let current = self.tls.current().await.ok()?;
            if current.generation != connection.tls_generation {
                return None;
            }
        }
        connection.sender.ready().await.ok()?;
        Some(connection)
    }

    async fn connect(&self) -> Result<Connection, String> {
        self.metrics.dials.inc();
        let connected = self.try_connect().await;
        if connected.is_err() {
            self.metrics.dial_errors.inc();
        }
        connected
    }

    async fn try_connect(&self) -> Result<Connection, String> {
        let way = match &self.proxy {
            None => ProxyStream::Plain(self.dial_remote().await?),
            Some(proxy) => self.through_proxy(proxy).await?,
        };
        if !self.url.is_https {
            return self.handshake(way, 0).await;
        }
        let loaded = self.tls.current().await?;
        let name = self.tls.options().server_name_for(&self.url.host).map_err(|err| err.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&loaded.config));
        let tls = tokio::time::timeout(self.handshake_limit, connector.connect(name, way)).await;
        let tls = tls.map_err(|_| HANDSHAKE_TIMEOUT.to_owned())?;
        let tls = tls.map_err(|err| vmkit::tls::handshake_error::text(&err))?;
        self.handshake(tls, loaded.generation).await
    }

    /// To the proxy, and through it unless it is handed whole requests. TLS towards it has the options of the URL; the
    /// name of the remote's certificate is not that of the proxy.
    async fn through_proxy(&self, proxy: &Proxy) -> Result<ProxyStream, String> {
        let (address, port) = proxy.address();
        let tcp = self.dial(&address.host, port).await.map_err(|err| format!("proxyconnect: {err}"))?;
        let config = self.tls.towards(proxy).await?;
        let secured = tokio::time::timeout(self.handshake_limit, proxy.secure(tcp, config, None)).await;
        let mut stream = secured.map_err(|_| format!("proxyconnect: {HANDSHAKE_TIMEOUT}"))??;
        if !proxy.takes_requests(self.url.is_https) {
            let credentials = proxy.authorization().map(|value| ("Proxy-Authorization".to_owned(), value));
            proxy.open(&mut stream, &self.url.host, self.url.port, credentials.as_slice()).await?;
        }
        Ok(stream)
    }

    /// To the remote itself. Each connection chooses anew, so senders spread over what a name stands for.
    async fn dial_remote(&self) -> Result<TcpStream, String> {
        if self.url.lookup != Lookup::Services {
            return self.dial(&self.url.host, self.url.port).await;
        }
        let services = self.resolver.lookup_srv(&self.url.host, LOOKUP_LIMIT).await;
        let mut services = services.map_err(|error| self.lookup_failed(error))?;
        fastrand::shuffle(&mut services);
        services.sort_by_key(|service| service.priority);
        let mut last = self.lookup_failed(format!("lookup {}: no SRV records", self.url.host));
        for service in services {
            let port = if self.url.has_port { self.url.port } else { service.port };
            match self.dial(&service.host, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = self.resolver.lookup_ips(host, self.ipv6, LOOKUP_LIMIT).await;
        let mut found = found.map_err(|error| self.lookup_failed(error))?;
        if self.url.lookup == Lookup::AnyAddress {
            fastrand::shuffle(&mut found);
        }
        let hint = if self.ipv6 { "" } else { TRY_TCP6_HINT };
        let mut last = self.lookup_failed(format!("lookup {host}: no addresses{hint}"));
        for addr in found.into_iter().map(|ip| SocketAddr::new(ip, port)) {
            match dial(addr, DIAL_LIMIT).await {
                Ok(stream) => return Ok(stream),
                Err(err) => last = dial_error_text(addr, &err),
            }
        }
        Err(last)
    }

    /// In the words of the original, for which it is a dial that fails.
    fn lookup_failed(&self, cause: impl std::fmt::Display) -> String {
        format!("dial {}: {cause}", if self.ipv6 { "tcp" } else { "tcp4" })
    }

    async fn handshake<S>(&self, stream: S, tls_generation: u64) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let counted = Counted::new(stream, Arc::clone(&self.metrics));
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(64 * 1024).title_case_headers(true);
        let (sender, driver) = builder.handshake(TokioIo::new(counted)).await.map_err(|err| err.to_string())?;
        // Ends with the connection; its errors show in the request.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { sender, tls_generation })
    }
}

async fn read_body(mut body: hyper::body::Incoming) -> (String, bool) {
    let mut shown = Vec::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (String::from_utf8_lossy(&shown).into_owned(), false) };
        let Some(data) = frame.data_ref() else { continue };
        shown.extend_from_slice(&data[..data.len().min(SHOWN_BODY - shown.len())]);
        read += data.len();
        if read > DRAINED_BODY {
            return (String::from_utf8_lossy(&shown).into_owned(), false);
        }
    }
    (String::from_utf8_lossy(&shown).into_owned(), true)
}

fn no_reply(error: &hyper::Error) -> NoReply {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let reset =
        io.is_some_and(|io| matches!(io.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe));
    let is_end = error.is_incomplete_message() || error.is_canceled() || error.is_closed() || reset;
    let text = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    NoReply { text, is_end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::dns_server::{Answer, DnsServer};
    use vmkit::tls::client_config::ClientTlsOptions;

    fn endpoint(url: &str, names: &DnsServer) -> Endpoint {
        Endpoint {
            url: RemoteUrl::parse(url).unwrap().0,
            tls: TlsFiles::of(ClientTlsOptions::default()),
            handshake_limit: DIAL_LIMIT,
            proxy: None,
            resolver: Arc::new(Resolver::from_servers(&[names.address()])),
            ipv6: false,
            metrics: Arc::default(),
        }
    }

    #[tokio::test]
    async fn remotes_by_srv_records_and_by_any_address() {
        let remote = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = remote.local_addr().unwrap().port();
        let names = DnsServer::start();
        names.set("a.svc", Answer::Addresses(vec!["127.0.0.1".parse().unwrap()]));
        let dials =
            async |url: &str| endpoint(url, &names).dial_remote().await.map(|tcp| tcp.peer_addr().unwrap().port());
        names.set("_insert.svc", Answer::Services(vec![(port, "a.svc".to_owned())]));
        assert_eq!(dials("http://srv+_insert.svc/w").await, Ok(port));
        assert_eq!(dials(&format!("http://dns+a.svc:{port}/w")).await, Ok(port));
        assert_eq!(dials(&format!("http://a.svc:{port}/w")).await, Ok(port));
        names.set("_insert.svc", Answer::Services(vec![(1, "a.svc".to_owned())]));
        assert_eq!(dials(&format!("http://srv+_insert.svc:{port}/w")).await, Ok(port), "the port of the URL counts");
        assert!(dials("http://srv+_insert.svc/w").await.unwrap_err().contains("refused"));
        assert!(dials("http://srv+none.svc/w").await.unwrap_err().contains("none.svc"));
    }
}
