//! Which address a request comes from, for `ip_filters` and the limit of failed logins.
//!
//! It is that of the connection unless a header is configured. Headers that proxies append to are read from the right:
//! the last entry was written by the nearest proxy, everything left of the first one that no trusted proxy wrote may
//! be invented. An entry that cannot be read is never skipped; what it hides is unknown.
//!
//! It must never fail at request time: an address that cannot be known is a case of its own.

use ipnet::IpNet;
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use vmkit::exchange::RequestHead;

/// Address of the client as filters see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIp {
    /// Never an IPv4-mapped IPv6 address.
    Known(IpAddr),
    /// The header that should name it holds something else.
    Unknown,
}

/// `-http.trustedProxies`: who may name the client in a header. Empty: everybody who connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The address of the client: the rightmost entry of all lines of `real_ip_header` that is no trusted proxy, or
    /// that of the connection when no header is configured, the request has none, or the sender is not trusted.
    ///
    /// `peer` is `None` for a client at a unix socket: whoever may connect there may name the client, and is unknown
    /// itself. Ports, brackets, quotes and zones of addresses are ignored, as are empty entries.
    pub fn client_ip(&self, head: &RequestHead, real_ip_header: Option<&str>, peer: Option<IpAddr>) -> ClientIp {
        let peer = peer.map(|ip| ip.to_canonical());
        let may_name = self.0.is_empty() || peer.is_none_or(|peer| self.contains(peer));
        let peer = peer.map_or(ClientIp::Unknown, ClientIp::Known);
        let Some(name) = real_ip_header.filter(|_| may_name) else { return peer };
        let lines: SmallVec<[&[u8]; 4]> = head.values(name).collect();
        if lines.is_empty() {
            return peer;
        }
        let mut leftmost = ClientIp::Unknown;
        for item in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            let item = item.trim_ascii();
            if item.is_empty() {
                continue;
            }
            match address(item) {
                None => return ClientIp::Unknown,
                Some(ip) if !self.contains(ip) => return ClientIp::Known(ip),
                Some(ip) => leftmost = ClientIp::Known(ip),
            }
        }
        leftmost
    }
}

fn address(item: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(item).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let ip = ip(text).or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))?;
    Some(ip.to_canonical())
}

/// An address, with or without brackets and zone.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.split_once('%') {
        Some((ip, zone)) if !zone.is_empty() => ip.parse().ok().filter(IpAddr::is_ipv6),
        _ => bare.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ip: &str) -> ClientIp {
        ClientIp::Known(ip.parse().unwrap())
    }

    #[track_caller]
    fn check(trusted: &[&str], lines: &str, header: Option<&str>, want: ClientIp) {
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
        let trusted = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect());
        let got = trusted.client_ip(&head, header, "::ffff:9.9.9.9".parse().ok());
        assert_eq!(got, want, "{lines:?}");
    }

    #[test]
    fn the_nearest_entry_counts() {
        let header = Some("x-forwarded-for");
        let f = |lines: &str, want: ClientIp| check(&[], lines, header, want);
        check(&[], "", None, known("9.9.9.9"));
        check(&[], "X-Forwarded-For: 1.2.3.4\r\n", None, known("9.9.9.9"));
        f("", known("9.9.9.9"));
        f("X-Forwarded-For: 1.2.3.4\r\n", known("1.2.3.4"));
        f("X-Forwarded-For: 1.1.1.1, 6.6.6.6\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: x, 6.6.6.6\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: , 6.6.6.6 ,\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 6.6.6.6\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For:\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: 1.2.3.4:567\r\n", known("1.2.3.4"));
        f("X-Forwarded-For: \"6.6.6.6\"\r\n", known("6.6.6.6"));
        f("X-Forwarded-For: ::ffff:1.2.3.4\r\n", known("1.2.3.4"));
        f("X-Forwarded-For: fd00::1\r\n", known("fd00::1"));
        f("X-Forwarded-For: fe80::1%eth0\r\n", known("fe80::1"));
        f("X-Forwarded-For: \"[fd00::1%2]:80\"\r\n", known("fd00::1"));
        f("X-Forwarded-For: [fd00::1]\r\n", known("fd00::1"));
        f("X-Forwarded-For: \"[fd00::1]:80\"\r\n", known("fd00::1"));
        f("X-Forwarded-For: 1.2.3.4, unknown\r\n", ClientIp::Unknown);
        f("X-Forwarded-For: 1.2.3.4%eth0\r\n", ClientIp::Unknown);
        f("X-Forwarded-For:\r\n", ClientIp::Unknown);
        f("X-Forwarded-For: \u{fc}\r\n", ClientIp::Unknown);
        check(&[], "X-Real-IP: 1.2.3.4\r\n", Some("X-Real-Ip"), known("1.2.3.4"));
    }

    #[test]
    fn trusted_proxies_are_passed_over_from_the_right() {
        let header = Some("x-forwarded-for");
        let trusted = ["9.9.9.9/32", "10.0.0.0/8"];
        let f = |lines: &str, want: ClientIp| check(&trusted, lines, header, want);
        f("X-Forwarded-For: 1.2.3.4\r\n", known("1.2.3.4"));
        f("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.1\r\n", known("1.2.3.4"));
        f("X-Forwarded-For: 6.6.6.6, x, 10.0.0.1\r\n", ClientIp::Unknown);
        f("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n", known("1.2.3.4"));
        // A request of a proxy itself.
        f("X-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n", known("10.0.0.2"));
        f("", known("9.9.9.9"));
        // Who is no proxy cannot speak for others.
        check(&["10.0.0.0/8"], "X-Forwarded-For: 10.0.0.1\r\n", header, known("9.9.9.9"));
    }
}
