//! Hosts and ports as they are written in URLs and flags.
//!
//! Used where a backend URL is taken apart (health checks, discovery, the pool). It decides syntax only: it never
//! resolves a name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Why a `host:port` text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing before the port.
    #[error("missing host in address {0:?}")]
    MissingHost(String),
    /// `a:b:c` without brackets.
    #[error("too many colons in address {0:?}")]
    TooManyColons(String),
    /// `[` without `]`, or something other than a port behind `]`.
    #[error("misplaced brackets in address {0:?}")]
    Brackets(String),
    /// Not a number from 0 to 65535.
    #[error("invalid port {0:?}")]
    InvalidPort(String),
    /// Space, control byte or a delimiter of URLs inside the host.
    #[error("invalid character in host {0:?}")]
    InvalidHost(String),
}

/// A host name or IP address with an optional port (RFC 3986, section 3.2.2 and 3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or IP literal as written; IPv6 addresses without their brackets. Never empty.
    pub host: String,
    /// The port, when one was written. An empty one (`host:`) counts as none.
    pub port: Option<u16>,
}

impl HostPort {
    /// Parses `host`, `host:port`, `ipv4:port`, `[ipv6]` and `[ipv6]:port`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        if host.is_empty() {
            return Err(AddressError::MissingHost(text.to_owned()));
        }
        if host.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"/?#@\\[]<>\"".contains(&byte)) {
            return Err(AddressError::InvalidHost(host.to_owned()));
        }
        Ok(Self { host: host.to_owned(), port: parse_port(port)? })
    }

    /// The written port, else the default port of the URL scheme (80, and 443 for `https`).
    pub fn port_or_default(&self, scheme: &str) -> u16 {
        self.port.unwrap_or_else(|| default_port(scheme))
    }

    /// The host as an IP address, when it is a literal.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The socket address, when the host is a literal.
    pub fn socket_addr(&self, default_port: u16) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip, self.port.unwrap_or(default_port)))
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Writes `host`, `host:port` or `[ipv6]:port`.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// 443 for `https`, 80 for everything else; the scheme in any letter case.
pub fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }
}

/// Splits into host and port text; the port is empty when there is none.
fn split(text: &str) -> Result<(&str, &str), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| AddressError::Brackets(text.to_owned()))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => "",
            None => return Err(AddressError::Brackets(text.to_owned())),
        };
        return Ok((host, port));
    }
    match text.split_once(':') {
        None => Ok((text, "")),
        Some((_, port)) if port.contains(':') => Err(AddressError::TooManyColons(text.to_owned())),
        Some(parts) => Ok(parts),
    }
}

fn parse_port(text: &str) -> Result<Option<u16>, AddressError> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::InvalidPort(text.to_owned()));
    }
    text.parse().map(Some).map_err(|_| AddressError::InvalidPort(text.to_owned()))
}

/// What stands for all addresses that somebody has who has this one: an IPv4 address itself, the /64 of an IPv6 address
/// (RFC 6177 §2).
pub fn customer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_addresses() {
        let f = |text: &str, host: &str, port: Option<u16>| {
            let want = HostPort { host: host.to_owned(), port };
            assert_eq!(HostPort::parse(text), Ok(want), "{text}");
        };
        f("foo", "foo", None);
        f("foo:80", "foo", Some(80));
        f("foo:", "foo", None);
        f("Foo_Bar.example.:0", "Foo_Bar.example.", Some(0));
        f("127.0.0.1:8427", "127.0.0.1", Some(8427));
        f("[::1]", "::1", None);
        f("[::1]:65535", "::1", Some(65535));
        f("srv+_http._tcp.foo", "srv+_http._tcp.foo", None);
    }

    #[test]
    fn bad_addresses() {
        let f = |text: &str, want: &str| {
            assert_eq!(HostPort::parse(text).map_err(|err| err.to_string()), Err(want.to_owned()), "{text}");
        };
        f("", "missing host in address \"\"");
        f(":80", "missing host in address \":80\"");
        f("::1", "too many colons in address \"::1\"");
        f("[::1", "misplaced brackets in address \"[::1\"");
        f("[::1]80", "misplaced brackets in address \"[::1]80\"");
        f("foo:65536", "invalid port \"65536\"");
        f("foo:+1", "invalid port \"+1\"");
        f("foo:http", "invalid port \"http\"");
        f("fo o:1", "invalid character in host \"fo o\"");
        f("a@b:1", "invalid character in host \"a@b\"");
    }

    #[test]
    fn ports_and_literals() {
        let f = |text: &str, scheme: &str, port: u16, socket: Option<&str>| {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!(parsed.port_or_default(scheme), port, "{text}");
            assert_eq!(parsed.socket_addr(port), socket.map(|addr| addr.parse().unwrap()), "{text}");
        };
        f("foo", "http", 80, None);
        f("foo", "HTTPS", 443, None);
        f("1.2.3.4", "https", 443, Some("1.2.3.4:443"));
        f("[::1]:9", "https", 9, Some("[::1]:9"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_display_parses_back(text in "[a-z0-9.:\\[\\]@ ]{0,20}") {
            if let Ok(parsed) = HostPort::parse(&text) {
                prop_assert_eq!(HostPort::parse(&parsed.to_string()), Ok(parsed));
            }
        }
    }
}
