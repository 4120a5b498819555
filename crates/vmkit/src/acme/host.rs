//! One name that a certificate is kept for.

use instant_acme::{CertificateIdentifier, ChallengeType};

use super::schedule::{self, Window};
use crate::tls::issued::IssuedCertificate;

/// Why a name gets no certificate, `None` when it may.
pub fn check_host(host: &str) -> Option<&'static str> {
    let labels = || host.split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.starts_with("*.") {
        return Some("a wildcard needs validation by DNS, which is not supported; list the names");
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Some("certificates are requested for names, not for addresses");
    }
    if !host.is_ascii() {
        return Some("write the name in its ASCII form, which begins with xn--");
    }
    if host.len() > 253 || !labels().all(is_label) {
        return Some("not a host name");
    }
    if labels().count() < 2 {
        return Some("a public name has a dot");
    }
    None
}

/// What is known about a host.
pub(super) struct Host {
    /// In lower case.
    pub(super) name: String,
    /// When to get the next certificate.
    pub(super) renew_at: i64,
    /// Not before this, whatever windows and clocks say: an authority whose windows are always over must not be asked
    /// without a pause.
    pub(super) earliest: i64,
    /// Not after this, whatever the window says: there must be time for another try.
    latest: i64,
    /// When to ask for the window.
    pub(super) ask_at: i64,
    pub(super) window: Option<Window>,
    /// Of the certificate in use, for ARI.
    pub(super) identifier: Option<CertificateIdentifier<'static>>,
    /// Whether that certificate came from the authority that is asked now.
    pub(super) is_of_this_authority: bool,
    /// In a row.
    pub(super) failures: u32,
    /// The validation that succeeded last.
    pub(super) worked: Option<ChallengeType>,
}

impl Host {
    /// Without a certificate: due at once.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            renew_at: 0,
            earliest: 0,
            latest: i64::MAX,
            ask_at: i64::MAX,
            window: None,
            identifier: None,
            is_of_this_authority: false,
            failures: 0,
            worked: None,
        }
    }

    /// It has this certificate now. One of another authority, such as one for tests, is replaced soon.
    pub(super) fn has(&mut self, certificate: &IssuedCertificate, is_of_this_authority: bool, now: i64, random: f64) {
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        self.renew_at = match is_of_this_authority {
            true => schedule::by_lifetime(not_before, not_after, now, random).max(self.earliest),
            false => now,
        };
        self.latest = schedule::latest(not_before, not_after);
        self.ask_at = now;
        self.window = None;
        self.identifier = certificate
            .leaf()
            .and_then(|leaf| CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned));
        self.is_of_this_authority = is_of_this_authority;
        self.failures = 0;
    }

    /// It has been issued now.
    pub(super) fn obtained(&mut self, certificate: &IssuedCertificate, now: i64, random: f64) {
        self.earliest = now.saturating_add(schedule::least_age(certificate.not_after.saturating_sub(now)));
        self.has(certificate, true, now, random);
    }

    /// The authority would like to renew the certificate then.
    pub(super) fn suggested(&mut self, window: Window, random: f64) {
        if self.window != Some(window) {
            self.window = Some(window);
            self.renew_at = window.moment(random).min(self.latest).max(self.earliest);
        }
    }

    /// When something is to be done.
    pub(super) fn next_step(&self) -> i64 {
        self.renew_at.min(self.ask_at)
    }

    /// What worked the last time goes first.
    pub(super) fn in_order_of_hope(&self, kinds: &[ChallengeType]) -> Vec<ChallengeType> {
        let mut kinds = kinds.to_vec();
        kinds.sort_by_key(|kind| self.worked.as_ref() != Some(kind));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let f = |host: &str, want: bool| assert_eq!(check_host(host).is_none(), want, "{host}");
        f("a.example", true);
        f("xn--bcher-kva.example", true);
        f("_x.a-b.example", true);
        f("*.a.example", false);
        f("192.0.2.1", false);
        f("2001:db8::1", false);
        f("bücher.example", false);
        f("localhost", false);
        f("a..example", false);
        f("a.example.", false);
        f("../a.example", false);
        f("-a.example", false);
        f("", false);
    }

    #[test]
    fn what_worked_goes_first() {
        let mut host = Host::new("a.example");
        let kinds = [ChallengeType::TlsAlpn01, ChallengeType::Http01];
        assert_eq!(host.in_order_of_hope(&kinds), kinds);
        host.worked = Some(ChallengeType::Http01);
        assert_eq!(host.in_order_of_hope(&kinds), [ChallengeType::Http01, ChallengeType::TlsAlpn01]);
        assert_eq!(host.in_order_of_hope(&kinds[..1]), kinds[..1]);
    }
}
