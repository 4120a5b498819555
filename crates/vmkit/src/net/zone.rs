//! IPv6 addresses with a zone: `fe80::1%eth0` (RFC 4007, section 11).
//!
//! A link-local address means something only on one link. The kernel knows links by number; names are looked up where
//! it shows them. Used by listeners, by backends and for name servers.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An IP address and the number of its link, 0 without a zone; `None` if the text is no address or the link is not
/// there. In URLs `%` is written `%25` (RFC 6874); both are understood.
pub fn parse_ip(text: &str) -> Option<(IpAddr, u32)> {
    let Some((ip, zone)) = text.split_once('%') else { return text.parse().ok().map(|ip| (ip, 0)) };
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    match ip.parse().ok()? {
        IpAddr::V6(ip) => Some((ip.into(), index(zone)?)),
        IpAddr::V4(_) => None,
    }
}

/// The same with a port.
pub fn socket_addr(text: &str, port: u16) -> Option<SocketAddr> {
    match parse_ip(text)? {
        (IpAddr::V6(ip), scope) => Some(SocketAddrV6::new(ip, port, 0, scope).into()),
        (ip, _) => Some(SocketAddr::new(ip, port)),
    }
}

fn index(zone: &str) -> Option<u32> {
    if let Ok(index @ 1..) = zone.parse() {
        return Some(index);
    }
    if zone.is_empty() || zone.contains('/') || zone.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_zones() {
        let loopback: u32 = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap();
        let f = |text: &str, want: Option<(&str, u32)>| {
            assert_eq!(parse_ip(text), want.map(|(ip, scope)| (ip.parse().unwrap(), scope)), "{text}");
        };
        f("10.0.0.1", Some(("10.0.0.1", 0)));
        f("::1", Some(("::1", 0)));
        f("::ffff:10.0.0.1", Some(("::ffff:10.0.0.1", 0)));
        f("fe80::1%lo", Some(("fe80::1", loopback)));
        f("fe80::1%25lo", Some(("fe80::1", loopback)));
        f("fe80::1%7", Some(("fe80::1", 7)));
        f("fe80::1%25", Some(("fe80::1", 25)));
        f("fe80::1%", None);
        f("fe80::1%nothing0", None);
        f("fe80::1%../lo", None);
        f("10.0.0.1%lo", None);
        f("host", None);
        assert_eq!(socket_addr("fe80::1%7", 80).unwrap().to_string(), "[fe80::1%7]:80");
    }
}
