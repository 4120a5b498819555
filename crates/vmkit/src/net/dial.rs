//! Outgoing TCP connections.
//!
//! The upstream pool and the health check come here with an address that is already resolved. It decides the socket
//! options and the error text; pooling, TLS and retries are decided above. It must never leave a half-open socket
//! behind: dropping the future or passing the deadline closes it.

use crate::go_text::os_error;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection may be silent before the kernel probes it, and the pause between probes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What the error text of a failed dial ends with when IPv6 is disabled and the target is no IPv4 literal.
pub const TRY_TCP6_HINT: &str = "; try -enableTCP6 command-line flag for dialing ipv6 addresses";

/// Connects to `addr` within `timeout`, with `TCP_NODELAY` and keep-alive probes every 30 s.
///
/// A passed deadline is an error of kind `TimedOut`. [`dial_error_text`] turns the error into the text for logs.
pub async fn dial(addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = match tokio::time::timeout(timeout, TcpStream::connect(addr)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    // A free port of the ephemeral range may be given to the very socket that dials it: a connection to itself.
    if stream.local_addr()? == addr {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error()));
    }
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    Ok(stream)
}

/// `dial tcp4 127.0.0.1:1: connect: connection refused`; `dial tcp4 127.0.0.1:1: i/o timeout`.
pub fn dial_error_text(addr: SocketAddr, error: &io::Error) -> String {
    let network = if addr.is_ipv4() { "tcp4" } else { "tcp" };
    let cause = os_error(error);
    // Only system calls are named; a deadline of ours is not one.
    let operation = if error.raw_os_error().is_some() { "connect: " } else { "" };
    format!("dial {network} {addr}: {operation}{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn options_are_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = dial(listener.local_addr().unwrap(), Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEP_ALIVE);
    }

    #[tokio::test]
    async fn a_closed_port() {
        let (_held, addr) = testkit::backend::reserve("127.0.0.1:0".parse().unwrap());
        let err = dial(addr, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(dial_error_text(addr, &err), format!("dial tcp4 {addr}: connect: connection refused"));
    }

    #[tokio::test]
    async fn the_deadline() {
        // A full backlog leaves further connection attempts unanswered.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut held = Vec::new();
        let err = loop {
            match dial(addr, Duration::from_millis(100)).await {
                Ok(stream) => held.push(stream),
                Err(err) => break err,
            }
            assert!(held.len() < 100, "the backlog never fills");
        };
        assert_eq!(dial_error_text(addr, &err), format!("dial tcp4 {addr}: i/o timeout"));
    }

    #[test]
    fn texts() {
        let f = |addr: &str, error: io::Error, want: &str| {
            assert_eq!(dial_error_text(addr.parse().unwrap(), &error), want);
        };
        f("127.0.0.1:1", io::Error::from_raw_os_error(111), "dial tcp4 127.0.0.1:1: connect: connection refused");
        f("[::1]:1", io::Error::from_raw_os_error(101), "dial tcp [::1]:1: connect: network is unreachable");
        f("127.0.0.1:1", io::ErrorKind::TimedOut.into(), "dial tcp4 127.0.0.1:1: i/o timeout");
    }
}
