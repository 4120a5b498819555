//! TCP connections to a host and port: the name looked up, its addresses tried.
//!
//! Names resolve as those of backends do. The two families race as in Go (RFC 8305): the other one begins when the first
//! has failed or has not answered for a while. Texts of errors are Go's and name the address, never more of a URL.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::blocking::off_thread;
use crate::go_text::os_error;
use crate::net::dial::dial;
use crate::net::dns::Resolver;
use crate::net::zone;

/// A server that swallows SYNs must not use up the whole time of a request; all addresses of a family share it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For a name, and for the files that say whom to ask.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// What the other family waits for.
const HEAD_START: Duration = Duration::from_millis(300);

/// Opens connections. Clones share the resolver.
#[derive(Clone, Default)]
pub(super) struct Dialer {
    /// Its files are read when a name is looked up for the first time.
    resolver: Arc<OnceCell<Resolver>>,
}

/// Why there is no connection: `dial tcp 127.0.0.1:80: connect: connection refused`,
/// `dial tcp: lookup nosuch on 127.0.0.11:53: no such host`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dial tcp{0}")]
pub(super) struct DialError(String);

impl DialError {
    fn of(addr: SocketAddr, error: &io::Error) -> Self {
        // Only system calls are named; a deadline of ours is not one.
        let operation = if error.raw_os_error().is_some() { "connect: " } else { "" };
        Self(format!(" {addr}: {operation}{}", os_error(error)))
    }
}

impl Dialer {
    /// `host` is a name or an address, in brackets or not.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let host = host.trim_matches(['[', ']']);
        match zone::socket_addr(host, port) {
            Some(addr) => race(&[addr]).await,
            None => race(&self.lookup(host, port).await?).await,
        }
    }

    async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let failed = |text: String| DialError(format!(": {text}"));
        let open = || off_thread(LOOKUP_LIMIT, Resolver::from_system);
        let resolver = self.resolver.get_or_try_init(open).await;
        let resolver = resolver.map_err(|error| failed(format!("lookup {host}: {error}")))?;
        let ips = resolver.lookup_ips(host, true, LOOKUP_LIMIT).await.map_err(|error| failed(error.to_string()))?;
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

/// The first connection; the error is that of the family that began.
async fn race(addrs: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let is_first = |addr: &SocketAddr| addrs.first().is_some_and(|first| first.is_ipv4() == addr.is_ipv4());
    let (first, other): (Vec<_>, Vec<_>) = addrs.iter().copied().partition(is_first);
    let mut first = pin!(in_order(&first));
    if other.is_empty() {
        return first.await;
    }
    match timeout(HEAD_START, &mut first).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => return in_order(&other).await.map_err(|_| error),
        Err(_) => {}
    }
    let mut other = pin!(in_order(&other));
    tokio::select! {
        done = &mut first => match done {
            Ok(stream) => Ok(stream),
            Err(error) => other.await.map_err(|_| error),
        },
        done = &mut other => match done {
            Ok(stream) => Ok(stream),
            Err(_) => first.await,
        },
    }
}

/// The first connection; the error is that of the first address.
async fn in_order(addrs: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let limit = CONNECT_LIMIT / u32::try_from(addrs.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = None;
    for addr in addrs {
        match dial(*addr, limit).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                failure.get_or_insert_with(|| DialError::of(*addr, &error));
            }
        }
    }
    Err(failure.unwrap_or_else(|| DialError(": no addresses".to_owned())))
}

#[cfg(test)]
mod tests {
    use testkit::backend::reserve;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[tokio::test]
    async fn addresses_and_names() {
        let (_listener, addr) = listener().await;
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(Dialer::default().connect(host, addr.port()).await.unwrap().peer_addr().unwrap(), addr);
        }
        let (_socket, refused) = reserve("[::1]:0".parse().unwrap());
        let error = Dialer::default().connect("[::1]", refused.port()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("dial tcp {refused}: connect: connection refused"));
    }

    #[tokio::test]
    async fn texts_of_lookups() {
        let servers = testkit::dns_server::DnsServer::start();
        let dialer = Dialer::default();
        assert!(dialer.resolver.set(Resolver::from_servers(&[servers.address()])).is_ok());
        let error = dialer.connect("nosuch.example", 80).await.unwrap_err();
        let want = format!("dial tcp: lookup nosuch.example on {}: no such host", servers.address());
        assert_eq!(error.to_string(), want);
    }

    #[tokio::test]
    async fn all_addresses_are_tried_and_the_first_failure_counts() {
        let (_listener, good) = listener().await;
        let (_first, refused) = reserve("127.0.0.1:0".parse().unwrap());
        let (_second, other) = reserve("127.0.0.2:0".parse().unwrap());
        let (_third, ipv6) = reserve("[::1]:0".parse().unwrap());
        assert_eq!(race(&[refused, ipv6, good]).await.unwrap().peer_addr().unwrap(), good);
        assert_eq!(race(&[ipv6, good]).await.unwrap().peer_addr().unwrap(), good);
        let want = |addr: SocketAddr| format!("dial tcp {addr}: connect: connection refused");
        assert_eq!(race(&[refused, other, ipv6]).await.unwrap_err().to_string(), want(refused));
        assert_eq!(race(&[ipv6, refused]).await.unwrap_err().to_string(), want(ipv6));
    }

    #[tokio::test]
    async fn a_family_that_does_not_answer_is_overtaken() {
        // A full backlog leaves further connections unanswered.
        let socket = TcpSocket::new_v6().unwrap();
        socket.bind("[::1]:0".parse().unwrap()).unwrap();
        let silent = socket.listen(1).unwrap();
        let addr = silent.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
            held.push(stream);
            assert!(held.len() < 100, "the backlog never fills");
        }
        let (_listener, good) = listener().await;
        assert_eq!(race(&[addr, good]).await.unwrap().peer_addr().unwrap(), good);
    }
}
