//! Listening sockets that were opened before the process started (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! A service manager that holds the sockets keeps connections waiting while one process ends and the next one starts,
//! and two of them may serve at once: a restart refuses nobody. Sockets are found by their addresses; an address
//! without one is bound as ever.

use std::net::{IpAddr, SocketAddr, TcpListener};

use listenfd::ListenFd;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes over what the environment announces for this process.
    pub(super) fn from_environment() -> Self {
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let taken = given.take_tcp_listener(index).and_then(|socket| {
                let Some(socket) = socket else { return Ok(()) };
                socket.set_nonblocking(true)?;
                sockets.push((socket.local_addr()?, socket));
                Ok(())
            });
            if let Err(error) = taken {
                crate::warn!("cannot use the socket {index} of LISTEN_FDS: {error}");
            }
        }
        Self(sockets)
    }

    /// The socket that listens at this address of a flag, if there is one.
    pub(super) fn take(&mut self, addr: &str) -> Option<TcpListener> {
        let at = self.0.iter().position(|(local, _)| is_at(addr, *local))?;
        Some(self.0.swap_remove(at).1)
    }

    /// Says which sockets nobody wants, and closes them.
    pub(super) fn close_rest(self) {
        for (local, _) in self.0 {
            crate::warn!("the socket of LISTEN_FDS at {local} is the address of no listener; it is closed");
        }
    }
}

/// Whether a socket is what `addr` (`:port`, `ip:port` or `name:port`) means; a name stands for any address.
fn is_at(addr: &str, local: SocketAddr) -> bool {
    let Some((host, port)) = addr.rsplit_once(':') else { return false };
    if port.parse() != Ok(local.port()) {
        return false;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match (host, host.parse::<IpAddr>()) {
        ("", _) => local.ip().is_unspecified(),
        (_, Ok(ip)) => ip.to_canonical() == local.ip().to_canonical(),
        (_, Err(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_address() {
        let f = |addr: &str, local: &str, want: bool| assert_eq!(is_at(addr, local.parse().unwrap()), want, "{addr}");
        f(":8427", "0.0.0.0:8427", true);
        f(":8427", "[::]:8427", true);
        f(":8427", "127.0.0.1:8427", false);
        f(":8428", "0.0.0.0:8427", false);
        f("127.0.0.1:8427", "127.0.0.1:8427", true);
        f("127.0.0.1:8427", "[::ffff:127.0.0.1]:8427", true);
        f("[::1]:8427", "[::1]:8427", true);
        f("localhost:8427", "127.0.0.1:8427", true);
        f("8427", "0.0.0.0:8427", false);
    }

    #[test]
    fn each_socket_is_taken_once() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let mut inherited = Inherited(vec![(local, socket)]);
        assert!(inherited.take("127.0.0.1:1").is_none());
        assert!(inherited.take(&local.to_string()).is_some());
        assert!(inherited.take(&local.to_string()).is_none());
    }
}
