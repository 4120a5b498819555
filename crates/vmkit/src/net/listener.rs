//! Binding of listening sockets.
//!
//! Called once an address at start, before any runtime exists. It decides which family a text such as `:8427` means,
//! the socket options and the error text; accepting is the business of `http_server`. It binds the address asked for,
//! where "all addresses" of either family means all of both with IPv6 and all of IPv4 without, as in Go.

use crate::go_text::os_error;
use crate::net::zone;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;

/// The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A listening socket of either kind, non-blocking.
#[derive(Debug)]
pub enum ListenSocket {
    /// At an address and port.
    Tcp(TcpListener),
    /// At a path of the file system.
    Unix(UnixListener),
}

impl From<TcpListener> for ListenSocket {
    fn from(socket: TcpListener) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixListener> for ListenSocket {
    fn from(socket: UnixListener) -> Self {
        Self::Unix(socket)
    }
}

/// Why an address cannot be listened at. The text reads `listen tcp4 127.0.0.1:8427: bind: address already in use`.
#[derive(Debug, thiserror::Error)]
#[error("listen {network}{address}: {cause}")]
pub struct BindError {
    /// `tcp4`, or `tcp` when IPv6 is enabled.
    network: &'static str,
    /// With a leading space; empty when the address could not be understood.
    address: String,
    /// What failed, with the system's reason.
    cause: String,
}

/// Listens at `addr`: `:port`, `host:port`, `ipv4:port` or `[ipv6]:port`; port 0 takes a free one.
///
/// Without `ipv6` only IPv4 addresses are bound, all of them for `[::]:port` too; with it `:port`, `[::]:port` and
/// `0.0.0.0:port` serve both families. An IPv4-mapped address is the IPv4 one; `[fe80::1%eth0]:port` names a link. The
/// socket is non-blocking, with `SO_REUSEADDR` and the longest backlog that the system grants. A host name is resolved
/// by the system, so the call may block; it is meant for the start of the process.
pub fn bind(addr: &str, ipv6: bool) -> Result<TcpListener, BindError> {
    let network = if ipv6 { "tcp" } else { "tcp4" };
    let syntax = |cause: String| BindError { network, address: String::new(), cause };
    let (host, port) = split(addr).map_err(|cause| syntax(format!("address {addr}: {cause}")))?;
    let port: u16 = match port.parse() {
        Ok(port) if !port_has_sign(addr) => port,
        _ if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(syntax(format!("address {port}: invalid port")));
        }
        _ => return Err(syntax(format!("lookup tcp/{port}: unknown port"))),
    };
    let target = resolve(host, port, ipv6).map_err(syntax)?;
    let failed = |(operation, err): (&str, io::Error)| BindError {
        network,
        address: match target {
            None => format!(" :{port}"),
            Some(addr) => format!(" {addr}"),
        },
        cause: format!("{operation}: {}", os_error(&err)),
    };
    let all_ipv4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    match target {
        Some(addr) => listen(addr, false),
        None if ipv6 => match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true) {
            // A kernel without IPv6, or with it switched off, still serves the other family.
            Err((operation, err)) if operation == "socket" || err.kind() == io::ErrorKind::AddrNotAvailable => {
                listen(all_ipv4, false)
            }
            result => result,
        },
        None => listen(all_ipv4, false),
    }
    .map_err(failed)
}

/// The warning for an address that is neither `:port` nor `ipv4:port`; to be logged when IPv6 is disabled.
pub fn looks_like_ipv6_warning(addr: &str) -> Option<String> {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    if addr.contains(':') && (host.is_empty() || host.parse::<Ipv4Addr>().is_ok()) {
        return None;
    }
    if !addr.is_empty() && addr.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(format!("listening address {addr:?} is a port without a colon; write \":{addr}\""));
    }
    Some(format!(
        "listening address {addr:?} looks like IPv6, but IPv6 is disabled; the server will listen on IPv4 only. \
         Pass -enableTCP6 command-line flag to enable IPv6 support"
    ))
}

/// Makes the listening socket; the error names the system call that failed.
fn listen(addr: SocketAddr, dual_stack: bool) -> Result<TcpListener, (&'static str, io::Error)> {
    let socket =
        Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP)).map_err(|err| ("socket", err))?;
    let options = || -> io::Result<()> {
        if addr.is_ipv6() {
            socket.set_only_v6(!dual_stack)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)
    };
    options().map_err(|err| ("setsockopt", err))?;
    socket.bind(&addr.into()).map_err(|err| ("bind", err))?;
    socket.listen(BACKLOG).map_err(|err| ("listen", err))?;
    Ok(socket.into())
}

/// Host and port; the host is empty for "all addresses".
fn split(addr: &str) -> Result<(&str, &str), &'static str> {
    let (host, port) = addr.rsplit_once(':').ok_or("missing port in address")?;
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').map(|inner| (inner, port)).ok_or("missing ']' in address");
    }
    if host.contains(':') {
        return Err("too many colons in address");
    }
    Ok((host, port))
}

/// `u16::from_str` takes `+80`, which no one means.
fn port_has_sign(addr: &str) -> bool {
    addr.rsplit_once(':').is_some_and(|(_, port)| port.starts_with('+'))
}

/// The address to bind; `None` for all. IPv4 addresses are preferred for names, as with the original.
fn resolve(host: &str, port: u16, ipv6: bool) -> Result<Option<SocketAddr>, String> {
    if host.is_empty() {
        return Ok(None);
    }
    let candidates: Vec<SocketAddr> = match zone::socket_addr(host, port) {
        Some(addr) if addr.ip().is_unspecified() => return Ok(None),
        Some(SocketAddr::V6(addr)) => match addr.ip().to_ipv4_mapped() {
            Some(ip) => vec![(ip, port).into()],
            None => vec![addr.into()],
        },
        Some(addr) => vec![addr],
        None => (host, port).to_socket_addrs().map_err(|_| format!("lookup {host}: no such host"))?.collect(),
    };
    let first = candidates.iter().find(|addr| addr.is_ipv4()).or_else(|| candidates.iter().find(|_| ipv6));
    first.copied().map(Some).ok_or_else(|| format!("address {host}: no suitable address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{IpAddr, TcpStream};

    #[test]
    fn address_forms() {
        let f = |addr: &str, ipv6: bool, want: &str| {
            let bound = bind(addr, ipv6).unwrap().local_addr().unwrap();
            assert_ne!(bound.port(), 0, "{addr}");
            assert_eq!(bound.ip().to_string(), want, "{addr}");
        };
        f(":0", false, "0.0.0.0");
        f("127.0.0.1:0", false, "127.0.0.1");
        f("127.0.0.1:0", true, "127.0.0.1");
        f("localhost:0", false, "127.0.0.1");
        f("0.0.0.0:0", false, "0.0.0.0");
        f("[::]:0", false, "0.0.0.0");
        f("[::ffff:127.0.0.1]:0", false, "127.0.0.1");
        f("[::ffff:127.0.0.1]:0", true, "127.0.0.1");
        f("[::ffff:0.0.0.0]:0", false, "0.0.0.0");
        f("[::1]:0", true, "::1");
        f("[::1%lo]:0", true, "::1");
    }

    #[test]
    fn all_addresses_mean_both_families_with_ipv6() {
        for addr in [":0", "[::]:0", "0.0.0.0:0"] {
            let listener = bind(addr, true).unwrap();
            let port = listener.local_addr().unwrap().port();
            listener.set_nonblocking(false).unwrap();
            for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
                let mut client = TcpStream::connect((ip, port)).unwrap();
                drop(listener.accept().unwrap());
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "{addr} {ip}");
            }
        }
    }

    #[test]
    fn without_ipv6_all_addresses_are_those_of_ipv4() {
        for addr in [":0", "[::]:0", "0.0.0.0:0"] {
            let listener = bind(addr, false).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(), "{addr}");
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_err(), "{addr}");
        }
    }

    #[test]
    fn accepting_never_blocks() {
        let listener = bind("127.0.0.1:0", false).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn errors_name_operation_and_cause() {
        let f = |addr: &str, ipv6: bool, want: &str| assert_eq!(bind(addr, ipv6).unwrap_err().to_string(), want);
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        f(&taken.to_string(), false, &format!("listen tcp4 {taken}: bind: address already in use"));
        f(&taken.to_string(), true, &format!("listen tcp {taken}: bind: address already in use"));
        f(&format!("localhost:{}", taken.port()), false, &format!("listen tcp4 {taken}: bind: address already in use"));
        f(
            &format!(":{}", taken.port()),
            false,
            &format!("listen tcp4 :{}: bind: address already in use", taken.port()),
        );
        f("192.0.2.1:80", false, "listen tcp4 192.0.2.1:80: bind: cannot assign requested address");
        f("[::1]:80", false, "listen tcp4: address ::1: no suitable address");
        f("localhost", false, "listen tcp4: address localhost: missing port in address");
        f("::1:80", true, "listen tcp: address ::1:80: too many colons in address");
        f("localhost:foo", false, "listen tcp4: lookup tcp/foo: unknown port");
        f("localhost:+1", false, "listen tcp4: lookup tcp/+1: unknown port");
        f("localhost:99999", false, "listen tcp4: address 99999: invalid port");
    }

    #[test]
    fn warning_about_ipv6() {
        let f = |addr: &str, want: bool| assert_eq!(looks_like_ipv6_warning(addr).is_some(), want, "{addr}");
        f(":8427", false);
        f("127.0.0.1:8427", false);
        f("localhost:8427", true);
        f("[::1]:8427", true);
        f("8427", true);
        assert_eq!(
            looks_like_ipv6_warning("localhost:8427").unwrap(),
            "listening address \"localhost:8427\" looks like IPv6, but IPv6 is disabled; the server will listen on \
             IPv4 only. Pass -enableTCP6 command-line flag to enable IPv6 support"
        );
    }
}
