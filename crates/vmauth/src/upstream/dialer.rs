//! Opens connections to backends: name, TCP or unix socket, TLS, and which protocol is spoken then.
//!
//! Workers do it for their pools, health checks for each probe: what a request would meet is what a probe meets. It holds
//! no connection itself, decides nothing about retries, and blames nobody: errors say what went wrong.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use vmkit::exchange::{ClientCodec, SharedConnection, Stream, Wire, WireStats};
use vmkit::metrics::Counter;
use vmkit::net::dial::dial;
use vmkit::net::dns::Resolver;
use vmkit::net::unix;
use vmkit::net::zone;
use vmkit::tls::handshake_error;

use super::connect_error::ConnectError;
use super::peer::{Peer, PeerKey};

/// Time for the lookup of a name: two name servers with the usual timeout of 5 s.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(11);
/// Time for a connection when the first addresses of a name have used up the limit.
const SHORTEST_DIAL: Duration = Duration::from_secs(1);

/// Counters of all backend connections of the process.
#[derive(Debug, Default)]
pub struct DialStats {
    /// Attempts to connect, failed ones included.
    pub dials: Arc<Counter>,
    /// Failed attempts.
    pub errors: Arc<Counter>,
    /// Bytes and calls of the connections.
    pub wire: Arc<WireStats>,
}

/// How connections are opened.
#[derive(Clone)]
pub struct Dialer {
    /// `-dialTimeout`: for a TCP connection, and for the TLS handshake after it.
    pub dial_timeout: Duration,
    /// `-enableTCP6`
    pub ipv6: bool,
    /// Counters.
    pub stats: Arc<DialStats>,
    /// Runtime of the control plane: names are looked up there.
    pub control: Handle,
    /// Resolver of host names.
    pub resolver: Arc<Resolver>,
    /// The protocol besides HTTP/1, spoken on the connections that it takes and where the URL asks for it.
    pub codec: Arc<dyn ClientCodec>,
    /// Whether HTTP/2 is offered to https backends.
    pub offers_http2: bool,
}

/// What is spoken on a new connection.
#[derive(Debug)]
pub(super) enum Spoken {
    /// HTTP/1.
    Http1(Wire),
    /// The other protocol; the peer has shown that it speaks it.
    Shared(Rc<dyn SharedConnection>),
}

impl Dialer {
    /// The same with another limit for connecting.
    pub(super) fn within(&self, limit: Duration) -> Self {
        Self { dial_timeout: limit, ..self.clone() }
    }

    /// Opens a connection; with it the generation of its TLS files, 0 without TLS.
    pub(super) async fn open(&self, peer: &Peer, only_http1: bool) -> Result<(Wire, u64), ConnectError> {
        let stats = &self.stats;
        let tls = match &peer.tls {
            None => None,
            Some(tls) => Some(tls.current().map_err(|error| ConnectError::OwnTls(error.to_string()))?),
        };
        stats.dials.inc();
        let tcp = self.connect(peer).await.inspect_err(|_| {
            stats.errors.inc();
        })?;
        let mut tls_generation = 0;
        let stream = match (tls, &peer.tls) {
            (Some(loaded), Some(identity)) => {
                tls_generation = loaded.generation;
                let name = identity.options().server_name_for(&peer.key.host);
                let name = name.map_err(|error| ConnectError::OwnTls(error.to_string()))?;
                let config = match peer.key.http2 {
                    true => &loaded.http2,
                    false if only_http1 || !self.offers_http2 => &loaded.config,
                    false => &loaded.http2_or_http1,
                };
                let connecting = tokio_rustls::TlsConnector::from(config.clone()).connect(name, tcp);
                match tokio::time::timeout(self.dial_timeout, connecting).await {
                    Ok(Ok(stream)) => Stream::Opened(Box::new(stream)),
                    Ok(Err(error)) => return Err(ConnectError::Handshake(handshake_error::client_text(&error))),
                    Err(_) => return Err(ConnectError::HandshakeTimeout),
                }
            }
            _ => Stream::Plain(tcp),
        };
        Ok((Wire::new(stream, stats.wire.clone()), tls_generation))
    }

    /// Begins to speak on a new connection that may carry the other protocol. To be called where local tasks can run.
    pub(super) async fn greet(&self, peer: &Peer, wire: Wire) -> Result<Spoken, ConnectError> {
        let takes = self.codec.takes(wire.alpn().as_deref());
        peer.chose_http2.store(takes, Relaxed);
        if !takes && !peer.key.http2 {
            return Ok(Spoken::Http1(wire));
        }
        let connection = self.codec.start(wire);
        let ready = poll_fn(|cx| connection.poll_ready(cx));
        match tokio::time::timeout(self.dial_timeout, ready).await {
            Ok(Ok(())) => Ok(Spoken::Shared(connection)),
            Ok(Err(error)) => Err(ConnectError::Protocol(error.to_string())),
            Err(_) => Err(ConnectError::ProtocolTimeout),
        }
    }

    async fn connect(&self, peer: &Peer) -> Result<tokio::net::TcpStream, ConnectError> {
        if let Some(path) = peer.key.socket() {
            let connected = unix::dial(path, self.dial_timeout).await;
            return connected.map_err(|error| ConnectError::unix(path, &error));
        }
        let mut last = None;
        // One limit for all addresses: a name with several that swallow packets must not cost several limits.
        let until = Instant::now() + self.dial_timeout;
        for addr in self.addresses(&peer.key).await? {
            let least = SHORTEST_DIAL.min(self.dial_timeout);
            let left = until.saturating_duration_since(Instant::now()).max(least);
            match dial(addr, left).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(ConnectError::tcp(addr, &error)),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Lookup(format!("dial tcp4: lookup {}: no such host", peer.key.host))))
    }

    async fn addresses(&self, key: &PeerKey) -> Result<Vec<SocketAddr>, ConnectError> {
        if !key.srv
            && let Some(addr) = zone::socket_addr(key.host.trim_matches(['[', ']']), key.port)
        {
            return Ok(vec![addr]);
        }
        let (resolver, key, ipv6) = (self.resolver.clone(), key.clone(), self.ipv6);
        let lookup = self.control.spawn(async move {
            let (host, port) =
                if key.srv { random_srv_target(&resolver, &key.host).await? } else { (key.host, key.port) };
            let ips = resolver.lookup_ips(&host, ipv6, LOOKUP_TIMEOUT).await;
            let ips = ips.map_err(|error| ConnectError::Lookup(format!("dial tcp4: {error}")))?;
            Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        });
        lookup.await.unwrap_or(Err(ConnectError::ShuttingDown))
    }
}

/// A random target of the SRV records; weights and priorities do not count, as in the original.
async fn random_srv_target(resolver: &Resolver, name: &str) -> Result<(String, u16), ConnectError> {
    let targets = resolver.lookup_srv(name, LOOKUP_TIMEOUT).await;
    let targets = targets.map_err(|error| ConnectError::Lookup(format!("cannot resolve SRV addr {name}: {error}")))?;
    let missing = || ConnectError::Lookup(format!("missing SRV records for {name}"));
    let chosen = fastrand::choice(&targets).ok_or_else(missing)?;
    Ok((chosen.host.clone(), chosen.port))
}
