//! Whether a certificate is for the host that was dialled (RFC 6125 with Go's leniency).
//!
//! A wildcard stands for one whole leftmost label and may stand right below a one-label domain (`*.svc`). Names that
//! are no host names match only byte for byte. The common name never counts. IP addresses match IP entries only.

use super::certificate::AltNames;
use rustls::pki_types::ServerName;
use std::net::IpAddr;

impl AltNames {
    /// Whether one of the names is `host`.
    pub(super) fn include(&self, host: &ServerName<'_>) -> bool {
        match host {
            ServerName::IpAddress(ip) => {
                let ip = IpAddr::from(*ip).to_canonical();
                self.ips.iter().any(|known| known.to_canonical() == ip)
            }
            ServerName::DnsName(name) => self.include_dns(name.as_ref()),
            _ => false,
        }
    }

    fn include_dns(&self, host: &str) -> bool {
        let bare = host.strip_suffix('.').unwrap_or(host);
        let is_host_name = is_valid(bare, false);
        self.dns.iter().any(|pattern| {
            if is_host_name && is_valid(pattern, true) {
                matches(pattern, bare)
            } else {
                !pattern.is_empty() && pattern != "." && pattern.eq_ignore_ascii_case(host)
            }
        })
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    let (mut labels, mut wanted) = (host.split('.'), pattern.split('.'));
    let first = match (wanted.next(), labels.next()) {
        (Some(pattern), Some(label)) => pattern == "*" || pattern.eq_ignore_ascii_case(label),
        _ => false,
    };
    // Both are of as many labels, or one ends first and is unequal to the other's next.
    first
        && loop {
            match (wanted.next(), labels.next()) {
                (None, None) => break true,
                (Some(pattern), Some(label)) if pattern.eq_ignore_ascii_case(label) => {}
                _ => break false,
            }
        }
}

/// Letters, digits, `_`, and `-` except in front; in a pattern the leftmost label may be `*`, but not the only one.
fn is_valid(name: &str, is_pattern: bool) -> bool {
    name != "*"
        && name.split('.').enumerate().all(|(i, label)| {
            (is_pattern && i == 0 && label == "*")
                || (!label.is_empty()
                    && !label.starts_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verdicts of `x509.Certificate.VerifyHostname` of Go 1.26.
    #[test]
    fn names_match_as_in_go() {
        let f = |pattern: &str, host: &str, want: bool| {
            let names = AltNames { dns: vec![pattern.to_owned()], ..AltNames::default() };
            assert_eq!(names.include(&ServerName::try_from(host).unwrap()), want, "{pattern} {host}");
        };
        f("web.example.com", "web.example.com", true);
        f("WEB.Example.com", "web.exAmple.COM", true);
        f("*.example.com", "web.example.com", true);
        f("*.example.com", "a.web.example.com", false);
        f("*.example.com", "example.com", false);
        f("*.monitoring", "web.monitoring", true);
        f("*.svc", "a.b.svc", false);
        f("*", "web", false);
        f("*.*.com", "a.b.com", false);
        f("w*.example.com", "web.example.com", false);
        f("a.*.com", "a.b.com", false);
        f("web_1.lan", "web_1.lan", true);
        f("web.lan.", "web.lan", false);
        f("{svc}.example.com", "web.example.com", false);
        f("", "web", false);
    }

    #[test]
    fn addresses_match_addresses_only() {
        let names = AltNames {
            dns: vec!["10.0.0.2".to_owned()],
            ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ..AltNames::default()
        };
        let f = |host: &str, want: bool| {
            assert_eq!(names.include(&ServerName::try_from(host).unwrap()), want, "{host}");
        };
        f("10.0.0.1", true);
        f("::ffff:10.0.0.1", true);
        f("fd00::1", true);
        f("10.0.0.2", false);
    }
}
