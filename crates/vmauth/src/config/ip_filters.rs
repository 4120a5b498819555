//! `ip_filters`: lists of addresses and networks, and the header that names the client.
//!
//! Nothing may vanish silently here, unlike in other lists: a `null` item or an allow list that turned out empty (an
//! unset variable, say) would open what the list was to close.

use super::model::IpFilterSpec;
use super::raw::RawIpFilters;
use super::stage::{Problems, Stage};
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;
use vmkit::go_text::quote;
use vmkit::yaml::Place;
use vmkit::yaml::{Text, TextList};

/// Builds the filter at `place`; `outer_header` is the enclosing level's header.
pub(super) fn build(
    raw: &RawIpFilters<'_>,
    place: &Place<'_>,
    outer_header: Option<&str>,
    problems: &mut Problems,
) -> IpFilterSpec {
    if let Some(empty) = raw.allow_list.as_ref().filter(|list| list.written == 0) {
        let hint = "list the allowed addresses, or remove the field to allow everyone";
        problems.push(Stage::Values, &place.field("allow_list"), empty.mark, "`allow_list` cannot be empty", hint);
    }
    let mut list = |name: &str, items: Option<&TextList<'_>>| {
        items.map(|items| networks(items, &place.field(name), problems)).unwrap_or_default()
    };
    let allow_list = list("allow_list", raw.allow_list.as_ref());
    let deny_list = list("deny_list", raw.deny_list.as_ref());
    IpFilterSpec { allow_list, deny_list, real_ip_header: header(raw, outer_header) }
}

/// The header that holds the client's address at this level.
pub(super) fn header(raw: &RawIpFilters<'_>, outer: Option<&str>) -> Option<String> {
    let own = raw.real_ip_header.map(|text| text.value.trim()).filter(|name| !name.is_empty());
    own.or(outer).map(str::to_owned)
}

fn networks(list: &TextList<'_>, place: &Place<'_>, problems: &mut Problems) -> Vec<IpNet> {
    if let Some((index, mark)) = list.null_at {
        let hint = "write an IP address or a network, or remove the item";
        problems.push(Stage::Values, &place.index(index), mark, "an item of `ip_filters` cannot be null", hint);
    }
    let mut networks = Vec::with_capacity(list.items.len());
    for &(index, Text { value, mark }) in &list.items {
        match network(value.trim()) {
            Some(network) => networks.push(network),
            None => {
                let message = format!("cannot parse IP address or CIDR {} in `ip_filters`", quote(value));
                let hint = "write an address such as 10.1.2.3 or a network such as 10.0.0.0/8";
                problems.push(Stage::Values, &place.index(index), mark, message, hint);
            }
        }
    }
    networks
}

/// An address or a network without host bits; IPv4 written as IPv6 becomes IPv4.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?.trunc(),
    };
    let IpNet::V6(v6) = network else { return Some(network) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).ok().map(IpNet::V4),
        _ => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        let f = |text, want: Option<&str>| assert_eq!(network(text).map(|n| n.to_string()), want.map(str::to_owned));
        f("1.2.3.4", Some("1.2.3.4/32"));
        f("10.0.0.0/24", Some("10.0.0.0/24"));
        f("10.1.2.3/8", Some("10.0.0.0/8"));
        f("2001:db8::/32", Some("2001:db8::/32"));
        f("::1", Some("::1/128"));
        f("::ffff:10.0.0.1", Some("10.0.0.1/32"));
        f("::ffff:10.0.0.0/104", Some("10.0.0.0/8"));
        f("10.0.0.0/33", None);
        f("10.0.0", None);
        f("localhost", None);
        f("", None);
    }
}
