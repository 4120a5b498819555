//! Listening sockets that were opened before the process started (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! A service manager that holds the sockets keeps connections waiting while one process ends and the next one starts,
//! and two of them may serve at once: a restart refuses nobody. Sockets are found by their addresses; an address
//! without one is bound as ever.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use crate::net::listener::ListenSocket;
use crate::net::unix;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// Takes over what the environment announces for this process.
    pub(super) fn from_environment() -> Self {
        let mut given = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..given.len() {
            if let Err(error) = sockets.add(&mut given, index) {
                crate::warn!("cannot use the socket {index} of LISTEN_FDS: {error}");
            }
        }
        sockets
    }

    fn add(&mut self, given: &mut ListenFd, index: usize) -> std::io::Result<()> {
        match given.take_tcp_listener(index) {
            Ok(Some(socket)) => {
                socket.set_nonblocking(true)?;
                self.tcp.push((socket.local_addr()?, socket));
            }
            Ok(None) => {}
            // It may be of the other kind.
            Err(error) => {
                let Some(socket) = given.take_unix_listener(index)? else { return Err(error) };
                socket.set_nonblocking(true)?;
                let path = socket.local_addr()?.as_pathname().unwrap_or_else(|| Path::new("")).to_owned();
                self.unix.push((path, socket));
            }
        }
        Ok(())
    }

    /// The socket that listens at this address of a flag, if there is one.
    pub(super) fn take(&mut self, addr: &str) -> Option<ListenSocket> {
        if let Some(path) = addr.strip_prefix(unix::PREFIX) {
            let at = self.unix.iter().position(|(local, _)| local == Path::new(path))?;
            return Some(self.unix.swap_remove(at).1.into());
        }
        let at = self.tcp.iter().position(|(local, _)| is_at(addr, *local))?;
        Some(self.tcp.swap_remove(at).1.into())
    }

    /// Says which sockets nobody wants, and closes them.
    pub(super) fn close_rest(self) {
        let tcp = self.tcp.into_iter().map(|(local, _)| local.to_string());
        for local in tcp.chain(self.unix.into_iter().map(|(path, _)| path.display().to_string())) {
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
        let mut inherited = Inherited { tcp: vec![(local, socket)], unix: Vec::new() };
        assert!(inherited.take("127.0.0.1:1").is_none());
        assert!(inherited.take(&local.to_string()).is_some());
        assert!(inherited.take(&local.to_string()).is_none());
    }
}
