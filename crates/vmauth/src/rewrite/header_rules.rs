//! `headers` and `response_headers` of the config, rendered once when the config is loaded.
//!
//! An empty value deletes a header, any other sets it in place of all lines of that name; of two items with the same
//! name the last wins (proxying.md §1 and §4). Framing is never touched, whatever the config says. Lines that no
//! HTTP message could hold are refused here, before a backend gets blamed for them.

use vmkit::exchange::HeaderId;

use super::hop_by_hop;
use super::jwt_placeholders::{HeaderTemplate, Placeholder, is_header_value};

pub use super::client_headers::{ForwardContext, write_request_headers};
pub use super::response_headers::write_response_headers;

/// Why a header of the config can never be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRuleError {
    /// The name is not a token (RFC 9110 §5.6.2).
    #[error("invalid header field name {0:?}")]
    Name(String),
    /// The value holds a control byte. It is not shown, since it may be a secret.
    #[error("invalid header field value for {0:?}")]
    Value(String),
}

/// Names that a list of rules sets or deletes, for a quick look-up per line of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Overridden {
    /// One bit per known name.
    ids: u32,
    /// One bit per length of the other names, lengths from 63 on share one.
    lengths: u64,
    others: Vec<Box<str>>,
}

impl Overridden {
    fn add(&mut self, id: HeaderId, name: &str) {
        if id == HeaderId::Other {
            self.lengths |= length_bit(name.as_bytes());
            self.others.push(name.into());
        } else {
            self.ids |= id_bit(id);
        }
    }

    fn is_empty(&self) -> bool {
        self.ids == 0 && self.others.is_empty()
    }

    pub(super) fn has_id(&self, id: HeaderId) -> bool {
        self.ids & id_bit(id) != 0
    }

    pub(super) fn contains(&self, id: HeaderId, name: &[u8]) -> bool {
        if id != HeaderId::Other {
            return self.has_id(id);
        }
        self.lengths & length_bit(name) != 0
            && self.others.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name))
    }
}

fn id_bit(id: HeaderId) -> u32 {
    1u32.wrapping_shl(id as u32)
}

fn length_bit(name: &[u8]) -> u64 {
    1u64 << name.len().min(63)
}

/// Rendered rules of one list.
#[derive(Clone, Debug, Default)]
struct Rendered {
    overridden: Overridden,
    /// Complete lines of all headers with a fixed value.
    lines: Vec<u8>,
    templates: Vec<HeaderTemplate>,
    deletes_user_agent: bool,
}

fn render(list: &[(String, String)]) -> Result<Rendered, HeaderRuleError> {
    let mut rendered = Rendered::default();
    for (at, (name, value)) in list.iter().enumerate() {
        let value = checked(name, value)?;
        let id = HeaderId::of(name.as_bytes());
        let later = list.get(at + 1..).unwrap_or_default();
        let is_last = !later.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if id == HeaderId::Host || hop_by_hop::is_framing(id) || !is_last {
            continue;
        }
        rendered.overridden.add(id, name);
        if let Some(placeholder) = Placeholder::of(value) {
            rendered.templates.push(HeaderTemplate { name: name.as_str().into(), placeholder });
        } else if !value.is_empty() {
            push_line(&mut rendered.lines, name, value.as_bytes());
        } else if id == HeaderId::UserAgent {
            rendered.deletes_user_agent = true;
        }
    }
    Ok(rendered)
}

/// Checks one item of a list of headers, so that a config error can name its place.
pub fn check(name: &str, value: &str) -> Result<(), HeaderRuleError> {
    checked(name, value).map(drop)
}

/// The trimmed value of a header that may be sent.
fn checked<'a>(name: &str, value: &'a str) -> Result<&'a str, HeaderRuleError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(HeaderRuleError::Name(name.to_owned()));
    }
    let value = value.trim_matches([' ', '\t', '\r', '\n']);
    if is_header_value(value.as_bytes()) { Ok(value) } else { Err(HeaderRuleError::Value(name.to_owned())) }
}

/// Appends one header line.
pub(super) fn push_line(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: &[u8]) {
    out.extend_from_slice(name.as_ref());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Rules for requests: `headers` and `keep_original_host`.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    pub(super) overridden: Overridden,
    pub(super) lines: Box<[u8]>,
    pub(super) templates: Vec<HeaderTemplate>,
    pub(super) host: HostRule,
}

/// Which `Host` a backend gets (proxying.md §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostRule {
    Target,
    Client,
    Fixed(Box<str>),
    FromToken(HeaderTemplate),
}

impl HeaderRules {
    /// Builds the rules from `headers` in list order. For an inheriting entry pass the user's list and its own after
    /// it. `keep_original_host` wins over a `Host` in the list.
    pub fn build(headers: &[(String, String)], keep_original_host: bool) -> Result<Self, HeaderRuleError> {
        let mut rendered = render(headers)?;
        let host = match headers.iter().rfind(|(name, _)| name == "Host") {
            _ if keep_original_host => HostRule::Client,
            Some((name, value)) => match checked(name, value)? {
                "" => HostRule::Target,
                text if let Some(placeholder) = Placeholder::of(text) => {
                    HostRule::FromToken(HeaderTemplate { name: "Host".into(), placeholder })
                }
                host if host.bytes().all(|b| b.is_ascii_graphic()) => HostRule::Fixed(host.into()),
                _ => return Err(HeaderRuleError::Value(name.clone())),
            },
            None => HostRule::Target,
        };
        // The client's agent is never forwarded, so there is always one of ours.
        if !rendered.overridden.has_id(HeaderId::UserAgent) || rendered.deletes_user_agent {
            push_line(&mut rendered.lines, "User-Agent", b"vmauth");
        }
        rendered.overridden.add(HeaderId::UserAgent, "User-Agent");
        let Rendered { overridden, lines, templates, .. } = rendered;
        Ok(Self { overridden, lines: lines.into(), templates, host })
    }

    /// Whether the rules set or delete this header.
    pub fn touches(&self, name: &str) -> bool {
        self.overridden.contains(HeaderId::of(name.as_bytes()), name.as_bytes())
    }

    /// Whether a token's values are inserted.
    pub fn has_placeholders(&self) -> bool {
        !self.templates.is_empty() || matches!(self.host, HostRule::FromToken(_))
    }
}

/// Rules for replies: `response_headers`.
#[derive(Clone, Debug, Default)]
pub struct ResponseRules {
    pub(super) overridden: Overridden,
    pub(super) lines: Box<[u8]>,
}

impl ResponseRules {
    /// Builds the rules from `response_headers` in list order; for an inheriting entry the user's list first.
    pub fn build(headers: &[(String, String)]) -> Result<Self, HeaderRuleError> {
        let mut rendered = render(headers)?;
        // Placeholders are refused in replies before this; what is left of them is text.
        for template in &rendered.templates {
            push_line(&mut rendered.lines, template.name.as_bytes(), template.placeholder.text().as_bytes());
        }
        Ok(Self { overridden: rendered.overridden, lines: rendered.lines.into() })
    }

    /// Whether the rules set or delete this header, so that the proxy must not write its own, such as
    /// `X-Server-Hostname`, `Vary`, `Date` or a sniffed `Content-Type`.
    pub fn touches(&self, name: &str) -> bool {
        self.overridden.contains(HeaderId::of(name.as_bytes()), name.as_bytes())
    }

    /// Appends rendered lines of the proxy itself, save for those that the rules set or delete.
    pub fn write_own_lines(&self, out: &mut Vec<u8>, lines: &[u8]) {
        if self.overridden.is_empty() {
            return out.extend_from_slice(lines);
        }
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let name = line.split(|b| *b == b':').next().and_then(|name| str::from_utf8(name).ok());
            if !name.is_some_and(|name| self.touches(name)) {
                out.extend_from_slice(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[(&str, &str)]) -> Vec<(String, String)> {
        items.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn refused() {
        let f = |name: &str, value: &str, want: &str| {
            let items = list(&[(name, value)]);
            assert_eq!(HeaderRules::build(&items, false).unwrap_err().to_string(), want);
        };
        f("", "v", r#"invalid header field name """#);
        f("X A", "v", r#"invalid header field name "X A""#);
        f("X:", "v", r#"invalid header field name "X:""#);
        f("X-é", "v", r#"invalid header field name "X-é""#);
        f("X-A", "a\r\nb", r#"invalid header field value for "X-A""#);
        f("X-A", "a\0b", r#"invalid header field value for "X-A""#);
        f("Host", "a b", r#"invalid header field value for "Host""#);
        assert!(ResponseRules::build(&list(&[("X-A", "a\nb")])).is_err());
        assert!(HeaderRules::build(&list(&[("X-A", "a\tb é")]), false).is_ok());
    }

    #[test]
    fn every_known_name_has_a_bit() {
        for name in ["te", "host", "x-forwarded-for", "user-agent", "upgrade", "date"] {
            assert_eq!(id_bit(HeaderId::of(name.as_bytes())).count_ones(), 1);
        }
        assert!((HeaderId::XForwardedFor as u32) < u32::BITS);
    }

    #[test]
    fn host_rule() {
        let f = |items: &[(&str, &str)], keep: bool, want: HostRule| {
            assert_eq!(HeaderRules::build(&list(items), keep).unwrap().host, want, "{items:?}");
        };
        f(&[], false, HostRule::Target);
        f(&[("host", "x")], false, HostRule::Target);
        f(&[("Host", "x"), ("Host", "y:1")], false, HostRule::Fixed("y:1".into()));
        f(&[("Host", "x")], true, HostRule::Client);
        f(&[("Host", "")], false, HostRule::Target);
    }

    #[test]
    fn headers_of_the_proxy_itself() {
        let rules =
            ResponseRules::build(&list(&[("Vary", ""), ("X-Server-Hostname", "a"), ("Connection", "x")])).unwrap();
        for (name, want) in [("vary", true), ("X-server-hostname", true), ("Connection", false), ("Date", false)] {
            assert_eq!(rules.touches(name), want, "{name}");
        }
        let own = b"Vary: Accept-Encoding\r\nX-Server-Hostname: a\r\nX-Other: b:c\r\n";
        let mut out = Vec::new();
        rules.write_own_lines(&mut out, own);
        assert_eq!(out, b"X-Other: b:c\r\n");
        ResponseRules::default().write_own_lines(&mut out, own);
        assert_eq!(out.len(), own.len() + 14);
    }
}
