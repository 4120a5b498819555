//! Who may connect at all: `ip_filters` with addresses and networks, allowed and denied.
//!
//! Lists become sorted, merged ranges at build time, so a check is one binary search per list. A denied address stays
//! denied when an allowed network contains it; without an allow list everybody else may pass. IPv4 addresses in IPv6
//! clothes (`::ffff:1.2.3.4`) are IPv4.
//!
//! A client whose address cannot be known is refused: a list that protects must not be passed by a bad header.

use super::client_address::ClientIp;
use ipnet::IpNet;
use std::net::IpAddr;

/// The compiled lists of one `ip_filters` section.
#[derive(Debug)]
pub struct IpFilter {
    allow: Option<Ranges>,
    deny: Ranges,
}

/// Disjoint ranges in ascending order, both ends included.
#[derive(Debug, Default)]
struct Ranges {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpFilter {
    /// Compiles the lists; an empty allow list allows everybody.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self { allow: (!allow.is_empty()).then(|| Ranges::new(allow)), deny: Ranges::new(deny) }
    }

    /// Whether the client may go on.
    pub fn allows(&self, client: ClientIp) -> bool {
        match client {
            ClientIp::Known(ip) => {
                let ip = ip.to_canonical();
                !self.deny.contains(ip) && self.allow.as_ref().is_none_or(|allow| allow.contains(ip))
            }
            ClientIp::Unknown => false,
        }
    }
}

impl Ranges {
    fn new(networks: &[IpNet]) -> Self {
        let mut ranges = Self::default();
        for network in networks {
            match (network.network().to_canonical(), network.broadcast().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => ranges.v4.push((first.into(), last.into())),
                // A network wider than ::ffff:0:0/96 is one of IPv6.
                _ => {
                    if let IpNet::V6(network) = network {
                        ranges.v6.push((network.network().into(), network.broadcast().into()));
                    }
                }
            }
        }
        ranges.v4 = merged(ranges.v4, |last| last.saturating_add(1));
        ranges.v6 = merged(ranges.v6, |last| last.saturating_add(1));
        ranges
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => within(&self.v4, ip.into()),
            IpAddr::V6(ip) => within(&self.v6, ip.into()),
        }
    }
}

fn merged<N: Copy + Ord>(mut ranges: Vec<(N, N)>, after: impl Fn(N) -> N) -> Vec<(N, N)> {
    ranges.sort_unstable();
    let mut result: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match result.last_mut() {
            Some(before) if first <= after(before.1) => before.1 = before.1.max(last),
            Some(_) | None => result.push((first, last)),
        }
    }
    result
}

fn within<N: Copy + Ord>(ranges: &[(N, N)], value: N) -> bool {
    let above = ranges.partition_point(|(first, _)| *first <= value);
    above.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| value <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(items: &[&str]) -> Vec<IpNet> {
        let network = |item: &&str| item.parse().unwrap_or_else(|_| IpNet::from(item.parse::<IpAddr>().unwrap()));
        items.iter().map(network).collect()
    }

    fn known(ip: &str) -> ClientIp {
        ClientIp::Known(ip.parse().unwrap())
    }

    #[test]
    fn decisions() {
        let f = |allow: &[&str], deny: &[&str], client: ClientIp, want: bool| {
            let filter = IpFilter::new(&networks(allow), &networks(deny));
            assert_eq!(filter.allows(client), want, "{allow:?} {deny:?} {client:?}");
        };
        let sample: &[&str] = &["10.0.0.0/24", "1.2.3.4"];
        f(sample, &["10.0.0.42"], known("10.0.0.1"), true);
        f(sample, &["10.0.0.42"], known("10.0.0.42"), false);
        f(sample, &["10.0.0.42"], known("10.0.0.255"), true);
        f(sample, &["10.0.0.42"], known("10.0.1.0"), false);
        f(sample, &["10.0.0.42"], known("1.2.3.4"), true);
        f(sample, &["10.0.0.42"], known("1.2.3.5"), false);
        f(sample, &[], known("::1"), false);
        f(sample, &[], known("::ffff:10.0.0.1"), true);
        f(sample, &[], ClientIp::Unknown, false);
        f(&[], &["10.0.0.0/8"], known("10.1.2.3"), false);
        f(&[], &["10.0.0.0/8"], known("11.1.2.3"), true);
        f(&[], &["10.0.0.0/8"], ClientIp::Unknown, false);
        f(&[], &[], known("11.1.2.3"), true);
        f(&["0.0.0.0/0"], &[], known("255.255.255.255"), true);
        f(&["::/0"], &[], known("ffff::1"), true);
        f(&["::/0"], &[], known("1.2.3.4"), false);
        f(&["10.0.0.77/24"], &[], known("10.0.0.1"), true);
        f(&["::ffff:10.0.0.0/120"], &[], known("10.0.0.200"), true);
        f(&["fd00::/8"], &["fd00::5"], known("fd12::1"), true);
        f(&["fd00::/8"], &["fd00::5"], known("fd00::5"), false);
    }

    #[test]
    fn ranges_are_merged() {
        let ranges = Ranges::new(&networks(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7", "10.0.3.0/24"]));
        assert_eq!(ranges.v4, [(0x0a00_0000, 0x0a00_01ff), (0x0a00_0300, 0x0a00_03ff)]);
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_what_the_items_hold(
            items in proptest::collection::vec((0_u32..1024, 22_u8..=32), 0..12),
            probes in proptest::collection::vec(0_u32..1100, 20),
        ) {
            let networks: Vec<_> =
                items.iter().map(|(ip, bits)| IpNet::new(IpAddr::V4((*ip).into()), *bits).unwrap()).collect();
            let ranges = Ranges::new(&networks);
            for probe in probes {
                let want = items.iter().any(|(ip, bits)| u64::from(ip ^ probe) >> (32 - bits) == 0);
                prop_assert_eq!(ranges.contains(IpAddr::V4(probe.into())), want);
            }
        }
    }
}
