//! The accept loop of one listener. It runs on the first worker and never gives up: when descriptors run out it
//! waits a little and goes on, so that the service recovers by itself.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::worker::{Peers, Worker};
use super::{Handler, Listener};
use crate::net::listener::ListenSocket;
use crate::net::unix;

/// First pause after a failed accept; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A client that vanishes is given up after this silence, and so many probes without an answer: 20 seconds in all.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 2;

pub(super) async fn run<H: Handler>(
    worker: Rc<Worker<H>>,
    socket: ListenSocket,
    listener: Arc<Listener>,
    peers: Rc<Peers>,
) {
    let socket = match Socket::open(socket) {
        Ok(socket) => socket,
        Err(error) => return crate::error!("cannot accept connections at {}: {error}", listener.flag_value),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match socket.accept().await {
            Ok((stream, addr)) => {
                pause = FIRST_PAUSE;
                listener.accepts.inc();
                match peers.limits.claim((!listener.is_unix).then(|| addr.ip())) {
                    Some(counted) => worker.place(stream, addr, &listener, &peers, counted),
                    None => listener.rejected.inc(),
                }
            }
            Err(error) if is_of_one_connection(&error) => listener.accept_errors.inc(),
            Err(error) => {
                listener.accept_errors.inc();
                crate::error!("cannot accept a connection at {}: {error}; retrying in {pause:?}", listener.flag_value);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// A socket that is being listened at.
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn open(socket: ListenSocket) -> std::io::Result<Self> {
        match socket {
            ListenSocket::Tcp(socket) => {
                let socket = TcpListener::from_std(socket)?;
                set_options(&socket);
                Ok(Self::Tcp(socket))
            }
            ListenSocket::Unix(socket) => Ok(Self::Unix(UnixListener::from_std(socket)?)),
        }
    }

    /// The next connection. At a unix socket the address stands for none.
    async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        match self {
            // One task accepts: it needs no place in a list of waiting ones.
            Self::Tcp(socket) => poll_fn(|cx| socket.poll_accept(cx)).await,
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((unix::into_stream(stream.into_std()?)?, SocketAddr::from(([0; 4], 0))))
            }
        }
    }
}

/// Small replies are sent at once, and a client that has vanished is noticed while its request waits.
///
/// Set once on the listening socket, from which accepted ones inherit them (tcp(7)): no system call a connection.
/// `TCP_USER_TIMEOUT` is left alone: it would also end clients that read slowly, for whom there is a limit of its own.
fn set_options(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&probes)) {
        crate::warn!("cannot set TCP_NODELAY and keep-alive probes: {error}");
    }
}

/// Errors that concern the connection that was to be accepted, not the listener (accept(2)).
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_replies_are_sent_at_once_and_clients_are_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        set_options(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        let given_up = socket.tcp_keepalive_time().unwrap()
            + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(given_up, Duration::from_secs(20));
    }

    #[test]
    fn errors_of_one_connection_do_not_pause_the_listener() {
        let f = |code: i32, want: bool| {
            assert_eq!(is_of_one_connection(&std::io::Error::from_raw_os_error(code)), want, "{code}");
        };
        f(103, true);
        f(104, true);
        f(24, false);
        f(12, false);
    }
}
