//! The hosts file (hosts(5)): addresses by name, in any letter case, in the order of the file.
//!
//! Lines that cannot be understood are passed over one by one; bytes need not be UTF-8. IPv4-mapped addresses are
//! IPv4, as in Go.

use crate::net::zone;
use std::collections::HashMap;
use std::net::IpAddr;

/// Names of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            let Some((ip, _)) = words.next().and_then(zone::parse_ip) else { continue };
            let ip = ip.to_canonical();
            for name in words {
                let addresses = hosts.entry(key(name)).or_default();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        Self(hosts)
    }

    /// Addresses of a name, IPv4 first; IPv6 ones only when wanted.
    pub(super) fn addresses(&self, name: &str, want_ipv6: bool) -> Vec<IpAddr> {
        let known = self.0.get(&key(name)).map(Vec::as_slice).unwrap_or_default();
        let v4 = known.iter().filter(|ip| ip.is_ipv4());
        let v6 = known.iter().filter(|ip| ip.is_ipv6() && want_ipv6);
        v4.chain(v6).copied().collect()
    }
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_file() {
        let text = b"# names\n10.1.1.1 foo Foo.Test. # bar\nfe80::1 foo\n10.1.1.2\tfoo\n::ffff:10.1.1.3 mapped\r\n\
            \xff\xfe odd\n10.1.1.4 caf\xe9 plain\nx 10.1.1.5\n10.1.1.6\n\n10.1.1.7 last";
        let hosts = Hosts::parse(text);
        let f = |name: &str, want_ipv6: bool, want: &[&str]| {
            let want: Vec<IpAddr> = want.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(hosts.addresses(name, want_ipv6), want, "{name}");
        };
        f("foo", false, &["10.1.1.1", "10.1.1.2"]);
        f("FOO.", true, &["10.1.1.1", "10.1.1.2", "fe80::1"]);
        f("foo.test", true, &["10.1.1.1"]);
        f("mapped", false, &["10.1.1.3"]);
        f("plain", false, &["10.1.1.4"]);
        f("last", false, &["10.1.1.7"]);
        f("bar", true, &[]);
        f("odd", true, &[]);
    }
}
