//! Which names an authority may sign (RFC 5280, section 4.2.1.10).
//!
//! Constraints of a certificate bind all alternative names of everything below it in the path. DNS constraints may
//! begin with a dot (subdomains only). A constraint of a kind that is not understood makes a critical extension
//! unknown. Comparisons are counted: many names under many constraints must not stall a handshake.

use super::alt_names::{AltNames, ip_of};
use super::refusal::Malformed;
use std::net::IpAddr;
use x509_parser::extensions::{GeneralName, GeneralSubtree};

/// More comparisons than any honest path needs.
const MAX_COMPARISONS: usize = 250_000;

/// The lists of one certificate.
#[derive(Debug, Default)]
pub(super) struct NameConstraints {
    permitted: Subtrees,
    excluded: Subtrees,
}

#[derive(Debug, Default)]
struct Subtrees {
    dns: Vec<String>,
    emails: Vec<String>,
    uris: Vec<String>,
    /// Address and mask, of the same family.
    ips: Vec<(IpAddr, IpAddr)>,
}

/// Counts down over all paths of one verification.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_COMPARISONS)
    }
}

impl Budget {
    fn spend(&mut self, comparisons: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(comparisons).ok_or_else(|| "too many constraints to check".to_owned())?;
        Ok(())
    }
}

impl NameConstraints {
    /// The lists, and whether every entry was of a known kind.
    pub(super) fn read(value: &x509_parser::extensions::NameConstraints<'_>) -> Result<(Self, bool), Malformed> {
        let lists = [&value.permitted_subtrees, &value.excluded_subtrees];
        if lists.iter().all(|list| list.as_ref().is_none_or(Vec::is_empty)) {
            return Err(Malformed);
        }
        let mut is_understood = true;
        let [permitted, excluded] = lists.map(|list| Subtrees::read(list.iter().flatten(), &mut is_understood));
        Ok((Self { permitted: permitted?, excluded: excluded? }, is_understood))
    }

    /// Whether these names, of one certificate below, may be signed. The error says which may not.
    pub(super) fn check(&self, names: &AltNames, budget: &mut Budget) -> Result<(), String> {
        let names = Names::of(names)?;
        let (permitted, excluded) = (&self.permitted, &self.excluded);
        for ip in names.ips {
            check("IP address", ip, (&permitted.ips, &excluded.ips), budget, |(net, mask), _| {
                within(*ip, *net, *mask)
            })?;
        }
        for name in names.dns {
            if !is_domain(name, false) {
                return Err(format!("cannot parse dnsName {name:?}"));
            }
            check("DNS name", name, (&permitted.dns, &excluded.dns), budget, |constraint, is_excluded| {
                is_below(constraint, name) || (is_excluded && wildcard_covers(name, constraint))
            })?;
        }
        for host in &names.uri_hosts {
            check("URI", host, (&permitted.uris, &excluded.uris), budget, |constraint, _| is_below(constraint, host))?;
        }
        for mailbox in &names.mailboxes {
            check("email address", &mailbox.text, (&permitted.emails, &excluded.emails), budget, |constraint, _| {
                mailbox.is_below(constraint)
            })?;
        }
        Ok(())
    }
}

/// Fails unless `name` is in a permitted subtree, if there are any, and in no excluded one.
fn check<T>(
    kind: &str,
    name: &(impl std::fmt::Display + ?Sized),
    (permitted, excluded): (&[T], &[T]),
    budget: &mut Budget,
    mut covers: impl FnMut(&T, bool) -> bool,
) -> Result<(), String> {
    budget.spend(permitted.len() + excluded.len())?;
    if !permitted.is_empty() && !permitted.iter().any(|constraint| covers(constraint, false)) {
        return Err(format!("{kind} \"{name}\" is not permitted by any constraint"));
    }
    if excluded.iter().any(|constraint| covers(constraint, true)) {
        return Err(format!("{kind} \"{name}\" is excluded by a constraint"));
    }
    Ok(())
}

/// Alternative names as constraints look at them.
struct Names<'a> {
    ips: &'a [IpAddr],
    dns: &'a [String],
    uri_hosts: Vec<String>,
    mailboxes: Vec<Mailbox<'a>>,
}

impl<'a> Names<'a> {
    /// Names that cannot be compared with constraints are an error: they could hide anything.
    fn of(names: &'a AltNames) -> Result<Self, String> {
        let uri_hosts = names.uris.iter().map(|uri| uri_host(uri)).collect::<Result<_, _>>()?;
        let mailboxes = names.emails.iter().map(|email| Mailbox::parse(email)).collect::<Result<_, _>>()?;
        Ok(Self { ips: &names.ips, dns: &names.dns, uri_hosts, mailboxes })
    }
}

struct Mailbox<'a> {
    text: &'a str,
    local: &'a str,
    domain: &'a str,
}

impl<'a> Mailbox<'a> {
    /// Quoted local parts are not understood.
    fn parse(text: &'a str) -> Result<Self, String> {
        let parts = text.rsplit_once('@').filter(|(local, domain)| {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\@()<>[]:;,".contains(&byte);
            !local.is_empty() && local.bytes().all(is_plain) && !domain.is_empty() && is_domain(domain, false)
        });
        let (local, domain) = parts.ok_or_else(|| format!("cannot parse rfc822Name {text:?}"))?;
        Ok(Self { text, local, domain })
    }

    fn is_below(&self, constraint: &str) -> bool {
        match constraint.rsplit_once('@') {
            Some((local, domain)) => self.local == local && self.domain.eq_ignore_ascii_case(domain),
            None => is_below(constraint, self.domain),
        }
    }
}

impl Subtrees {
    fn read<'a>(
        list: impl Iterator<Item = &'a GeneralSubtree<'a>>,
        is_understood: &mut bool,
    ) -> Result<Self, Malformed> {
        let domain =
            |text: &str| if text.is_ascii() && is_domain(text, true) { Ok(text.to_owned()) } else { Err(Malformed) };
        let mut read = Self::default();
        for subtree in list {
            match &subtree.base {
                GeneralName::DNSName(text) => read.dns.push(domain(text)?),
                GeneralName::URI(text) if text.parse::<IpAddr>().is_err() => read.uris.push(domain(text)?),
                GeneralName::RFC822Name(text) if text.contains('@') => {
                    Mailbox::parse(text).map_err(|_| Malformed)?;
                    read.emails.push((*text).to_owned());
                }
                GeneralName::RFC822Name(text) => read.emails.push(domain(text)?),
                GeneralName::IPAddress(bytes) => read.ips.push(network(bytes)?),
                GeneralName::URI(_) => return Err(Malformed),
                GeneralName::Invalid(tag, _) if matches!(tag.0, 1 | 2 | 6 | 7) => return Err(Malformed),
                _ => *is_understood = false,
            }
        }
        Ok(read)
    }
}

/// Address and mask; the mask must be ones and then zeros.
fn network(bytes: &[u8]) -> Result<(IpAddr, IpAddr), Malformed> {
    let (net, mask) = bytes.split_at_checked(bytes.len() / 2).ok_or(Malformed)?;
    let is_prefix = |mask: IpAddr| match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones() == mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones() == mask.to_bits().count_ones(),
    };
    match (ip_of(net), ip_of(mask)) {
        (Some(net), Some(mask)) if is_prefix(mask) => Ok((net, mask)),
        _ => Err(Malformed),
    }
}

fn within(ip: IpAddr, net: IpAddr, mask: IpAddr) -> bool {
    match (ip, net, mask) {
        (IpAddr::V4(ip), IpAddr::V4(net), IpAddr::V4(mask)) => ip & mask == net & mask,
        (IpAddr::V6(ip), IpAddr::V6(net), IpAddr::V6(mask)) => ip & mask == net & mask,
        _ => false,
    }
}

/// Whether `name` is `constraint` or ends in it at the border of a label; with a leading dot, only below it.
fn is_below(constraint: &str, name: &str) -> bool {
    let Some(head) = name.len().checked_sub(constraint.len()) else { return false };
    let ends_alike = name.as_bytes().get(head..).is_some_and(|end| end.eq_ignore_ascii_case(constraint.as_bytes()));
    let at_border = constraint.is_empty()
        || constraint.starts_with('.')
        || head == 0
        || name.as_bytes().get(head - 1) == Some(&b'.');
    ends_alike && at_border
}

/// Whether the wildcard name `*.x` stands for names that the excluded `constraint` (`a.x`) covers.
fn wildcard_covers(name: &str, constraint: &str) -> bool {
    let (Some(parent), Some(at)) = (name.strip_prefix('*'), constraint.find('.')) else { return false };
    parent.starts_with('.') && constraint.get(at..).is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
}

/// Printable, no trailing dot and no empty label; a constraint may begin with a dot.
fn is_domain(text: &str, is_constraint: bool) -> bool {
    let bare = if is_constraint { text.strip_prefix('.').unwrap_or(text) } else { text };
    text.is_empty()
        || (bare.bytes().all(|byte| byte.is_ascii_graphic()) && bare.split('.').all(|label| !label.is_empty()))
}

/// The host of a URI. URIs without one or with an address cannot be compared with constraints.
fn uri_host(uri: &str) -> Result<String, String> {
    let unusable = || format!("URI {uri:?} cannot be matched against constraints");
    let (_, rest) = uri.split_once("://").ok_or_else(unusable)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    let is_name = !host.is_empty() && !host.starts_with('[') && host.parse::<IpAddr>().is_err();
    if is_name && is_domain(host, false) { Ok(host.to_ascii_lowercase()) } else { Err(unusable()) }
}
