//! The proxy that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name, as other programs find it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Proxy;

/// The proxy for requests to `host`, which has no brackets. Servers on this machine have none.
pub fn of_environment(
    host: &str,
    port: u16,
    is_https: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<Proxy> {
    let host = host.to_ascii_lowercase();
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let given = |upper: &str| {
        let value = variable(upper).filter(|value| !value.is_empty());
        value.or_else(|| variable(&upper.to_ascii_lowercase()).filter(|value| !value.is_empty()))
    };
    if is_local || given("NO_PROXY").is_some_and(|list| is_exempt(&host, port, &list)) {
        return None;
    }
    let url = given(if is_https { "HTTPS_PROXY" } else { "HTTP_PROXY" })?;
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    Proxy::parse(&url).ok()
}

/// Whether a host is in the list of `NO_PROXY`: a name with everything below it, an address, a network in CIDR notation,
/// or `*`; a port behind a name or address has to fit.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    list.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).any(|item| {
        if item == "*" {
            return true;
        }
        if let Ok(net) = item.parse::<IpNet>() {
            return ip.is_some_and(|ip| net.contains(&ip));
        }
        if let Ok(own) = item.trim_matches(['[', ']']).parse::<IpAddr>() {
            return ip == Some(own);
        }
        let (name, own_port) = match item.rsplit_once(':') {
            Some((name, own)) => (name, Some(own)),
            None => (item.as_str(), None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
        let fits = own_port.is_none_or(|own| own.parse() == Ok(port));
        fits && (name == host || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_by_scheme_and_exemption() {
        let f = |host: &str, is_https: bool, no_proxy: &str, want: Option<&str>| {
            let variable = |name: &str| match name {
                "HTTP_PROXY" => Some("http://plain:1".to_owned()),
                "https_proxy" => Some("secure:2".to_owned()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            };
            let proxy = of_environment(host, 8428, is_https, variable);
            let found = proxy.as_ref().map(|proxy| proxy.address().0.host.as_str());
            assert_eq!(found, want, "{host} without {no_proxy}");
        };
        f("h", false, "", Some("plain"));
        f("h", true, "", Some("secure"));
        f("127.0.0.1", false, "", None);
        f("::1", false, "", None);
        f("localhost", false, "", None);
        f("a.b.c", false, "x, .b.c", None);
        f("a.b.c", false, "b.c", None);
        f("A.B.c", false, "*.b.c", None);
        f("ab.c", false, "b.c", Some("plain"));
        f("h", false, "*", None);
        f("10.1.2.3", false, "10.0.0.0/8", None);
        f("11.1.2.3", false, "10.0.0.0/8", Some("plain"));
        f("h", false, "10.0.0.0/8", Some("plain"));
        f("fd00::1", false, "192.168.0.0/16,fd00::/8", None);
        f("10.1.2.3", false, "10.1.2.3", None);
        f("h", false, "h:8428", None);
        f("h", false, "h:80", Some("plain"));
    }
}
