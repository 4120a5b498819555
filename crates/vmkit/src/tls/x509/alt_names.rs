//! The names that a certificate is for, and whether the host that was dialled is one of them (RFC 6125 with Go's
//! leniency).
//!
//! A wildcard stands for one whole leftmost label and may stand right below a one-label domain (`*.svc`). Names that
//! are no host names match only byte for byte. The common name never counts. IP addresses match IP entries only.

use super::refusal::Malformed;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;

/// Subject alternative names of the four kinds that Go knows.
#[derive(Debug, Default)]
pub(super) struct AltNames {
    pub(super) dns: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) ips: Vec<IpAddr>,
}

impl AltNames {
    /// Of the other kinds nothing is kept.
    pub(super) fn read(names: &[GeneralName<'_>]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for name in names {
            match name {
                GeneralName::DNSName(text) if text.is_ascii() => read.dns.push((*text).to_owned()),
                GeneralName::RFC822Name(text) if text.is_ascii() => read.emails.push((*text).to_owned()),
                GeneralName::URI(text) if text.is_ascii() => read.uris.push((*text).to_owned()),
                GeneralName::IPAddress(bytes) => read.ips.push(ip_of(bytes).ok_or(Malformed)?),
                GeneralName::DNSName(_) | GeneralName::RFC822Name(_) | GeneralName::URI(_) => return Err(Malformed),
                GeneralName::Invalid(tag, _) if matches!(tag.0, 1 | 2 | 6 | 7) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(read)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.emails.is_empty() && self.uris.is_empty() && self.ips.is_empty()
    }

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

pub(super) fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
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
