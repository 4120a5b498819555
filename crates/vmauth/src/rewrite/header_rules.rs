//! `headers` and `response_headers` of the config, rendered once when the config is loaded.
//!
//! An empty value deletes a header, any other sets it in place of all lines of that name; of two items with the same
//! name the last wins (`docs/reference/proxying.md`). Framing is never touched, whatever the config says. An item is parsed
//! into a [`HeaderRule`] with the config: lines that no HTTP message could hold never get as far as a backend, which
//! would be blamed for them.

use std::fmt;

use jwt::VmAccess;
use vmkit::exchange::{HeaderId, HeaderList, HeaderWriter, same_or_twin};
use vmkit::go_text::quote;
use vmkit::yaml::decode::shown_name;

use super::hop_by_hop;
use super::jwt_placeholders::{HeaderTemplate, Placeholder, PlaceholderError, is_header_value};

/// Why an item of a list of headers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRuleError {
    /// There is no colon. Only what can be a name is shown, quoted.
    #[error("missing separator char ':' between Name and Value in the header {0}; expected format - 'Name: Value'")]
    NoColon(String),
    /// The name is not a token (RFC 9110 §5.6.2).
    #[error("invalid header field name {0:?}")]
    Name(String),
    /// The value holds a control byte, or bytes that no `Host` may have. It is not shown, since it may be a secret.
    #[error("invalid header field value for {0:?}")]
    Value(String),
}

impl HeaderRuleError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoColon(_) => "",
            Self::Name(_) => "a name has letters, digits and `-`",
            Self::Value(_) => "write the value in one line",
        }
    }
}

/// Name and value of `Name: value`, both trimmed.
///
/// # Errors
/// There is no colon.
pub fn split_header(item: &str) -> Result<(&str, &str), HeaderRuleError> {
    let no_colon = || HeaderRuleError::NoColon(quote(shown_name(item, 32)));
    item.split_once(':').map(|(name, value)| (name.trim(), value.trim())).ok_or_else(no_colon)
}

/// An item of a list of headers: what it names can be sent. An empty value deletes the header.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HeaderRule {
    name: Box<str>,
    value: Box<str>,
}

/// Shows no value: it may be a secret.
impl fmt::Debug for HeaderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

impl HeaderRule {
    /// Reads `Name: value`.
    ///
    /// # Errors
    /// No HTTP message could hold such a line.
    pub fn parse(item: &str) -> Result<Self, HeaderRuleError> {
        let (name, value) = split_header(item)?;
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderRuleError::Name(name.to_owned()));
        }
        let is_host = name.eq_ignore_ascii_case("Host") && Placeholder::of(value).is_none();
        let fits =
            if is_host { value.bytes().all(|b| b.is_ascii_graphic()) } else { is_header_value(value.as_bytes()) };
        if fits {
            Ok(Self { name: name.into(), value: value.into() })
        } else {
            Err(HeaderRuleError::Value(name.to_owned()))
        }
    }

    /// The name as written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; may be a secret.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the name is this one, whatever the case of its letters.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
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
        self.lengths & length_bit(name) != 0 && self.others.iter().any(|other| same_or_twin(other.as_bytes(), name))
    }

    /// Whether a field of this name would be taken for one that the rules set or delete.
    pub(super) fn has_same_or_twin(&self, name: &[u8]) -> bool {
        let id = HeaderId::of(name);
        let id = if id == HeaderId::Other { HeaderId::of_twin(name) } else { id };
        self.contains(id, name)
    }
}

fn id_bit(id: HeaderId) -> u32 {
    id.bit()
}

fn length_bit(name: &[u8]) -> u64 {
    1u64 << name.len().min(63)
}

/// Rendered rules of one list.
#[derive(Clone, Debug, Default)]
struct Rendered {
    overridden: Overridden,
    /// All headers with a fixed value.
    lines: HeaderList,
    templates: Vec<HeaderTemplate>,
    deletes_user_agent: bool,
}

fn render(list: &[HeaderRule]) -> Rendered {
    let mut rendered = Rendered::default();
    for (at, HeaderRule { name, value }) in list.iter().enumerate() {
        let id = HeaderId::of(name.as_bytes());
        let later = list.get(at + 1..).unwrap_or_default();
        let is_last = !later.iter().any(|other| other.is_named(name));
        if id == HeaderId::Host || hop_by_hop::is_framing(id) || !is_last {
            continue;
        }
        rendered.overridden.add(id, name);
        if let Some(placeholder) = Placeholder::of(value) {
            rendered.templates.push(HeaderTemplate { name: name.clone(), placeholder });
        } else if !value.is_empty() {
            rendered.lines.push(name.as_bytes(), value.as_bytes());
        } else if id == HeaderId::UserAgent {
            rendered.deletes_user_agent = true;
        }
    }
    rendered
}

/// Rules for requests: `headers` and `keep_original_host`.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    pub(super) overridden: Overridden,
    pub(super) lines: HeaderList,
    pub(super) templates: Vec<HeaderTemplate>,
    pub(super) host: HostRule,
}

/// Which `Host` a backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostRule {
    Target,
    Client,
    Fixed(Box<str>),
    FromToken(HeaderTemplate),
}

impl HeaderRules {
    /// Compiles `headers` in list order. For an inheriting entry pass the user's list and its own after it.
    /// `keep_original_host` wins over a `Host` in the list.
    pub fn new(headers: &[HeaderRule], keep_original_host: bool) -> Self {
        let mut rendered = render(headers);
        let host = match headers.iter().rfind(|rule| &*rule.name == "Host") {
            _ if keep_original_host => HostRule::Client,
            None => HostRule::Target,
            Some(HeaderRule { value, .. }) => match Placeholder::of(value) {
                Some(placeholder) => HostRule::FromToken(HeaderTemplate { name: "Host".into(), placeholder }),
                None if value.is_empty() => HostRule::Target,
                None => HostRule::Fixed(value.clone()),
            },
        };
        // The client's agent is never forwarded, so there is always one of ours.
        if !rendered.overridden.has_id(HeaderId::UserAgent) || rendered.deletes_user_agent {
            rendered.lines.push("User-Agent", b"vmauth");
        }
        rendered.overridden.add(HeaderId::UserAgent, "User-Agent");
        let Rendered { overridden, lines, templates, .. } = rendered;
        Self { overridden, lines, templates, host }
    }

    /// Whether the rules set or delete this header.
    pub fn touches(&self, name: &str) -> bool {
        self.overridden.contains(HeaderId::of(name.as_bytes()), name.as_bytes())
    }

    /// Whether the rules set or delete this header, or one that some server would take it for.
    pub fn touches_twin_of(&self, name: &[u8]) -> bool {
        self.overridden.has_same_or_twin(name)
    }

    /// Checks that the values of a token can be sent, before a backend is chosen.
    pub fn check_values(&self, values: &VmAccess) -> Result<(), PlaceholderError> {
        let host = match &self.host {
            HostRule::FromToken(template) => Some(template),
            HostRule::Target | HostRule::Client | HostRule::Fixed(_) => None,
        };
        let mut value = Vec::new();
        self.templates.iter().chain(host).try_for_each(|template| template.push_value(&mut value, values))
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
    pub(super) lines: HeaderList,
}

impl ResponseRules {
    /// Compiles `response_headers` in list order; for an inheriting entry the user's list first.
    pub fn new(headers: &[HeaderRule]) -> Self {
        let mut rendered = render(headers);
        // Placeholders are refused in replies before this; what is left of them is text.
        for template in &rendered.templates {
            rendered.lines.push(template.name.as_bytes(), template.placeholder.text().as_bytes());
        }
        Self { overridden: rendered.overridden, lines: rendered.lines }
    }

    /// Whether the rules set or delete this header, so that the proxy must not write its own, such as
    /// `X-Server-Hostname`, `Vary`, `Date` or a sniffed `Content-Type`.
    pub fn touches(&self, name: &str) -> bool {
        self.overridden.contains(HeaderId::of(name.as_bytes()), name.as_bytes())
    }

    /// Whether the rules set or delete this header, or one that some client would take it for.
    pub fn touches_twin_of(&self, name: &[u8]) -> bool {
        self.overridden.has_same_or_twin(name)
    }

    /// Writes fields of the proxy itself, save for those that the rules set or delete.
    pub fn write_own_lines(&self, out: &mut HeaderWriter<'_>, lines: &HeaderList) {
        if self.overridden.is_empty() {
            return out.list(lines);
        }
        for line in lines.iter().filter(|line| !self.overridden.contains(line.id, line.name)) {
            out.line(line.name, line.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<HeaderRule> {
        items.iter().map(|item| HeaderRule::parse(item).unwrap()).collect()
    }

    #[test]
    fn refused() {
        let f = |item: &str, want: &str| assert_eq!(HeaderRule::parse(item).unwrap_err().to_string(), want);
        f(": v", r#"invalid header field name """#);
        f("X A: v", r#"invalid header field name "X A""#);
        f("X-é: v", r#"invalid header field name "X-é""#);
        f("X-A: a\r\nb", r#"invalid header field value for "X-A""#);
        f("X-A: a\0b", r#"invalid header field value for "X-A""#);
        f("Host: a b", r#"invalid header field value for "Host""#);
        let no_colon = "missing separator char ':' between Name and Value in the header";
        f("X-A", &format!("{no_colon} \"X-A\"; expected format - 'Name: Value'"));
        f("Cookie s3cret", &format!("{no_colon} \"Cookie...\"; expected format - 'Name: Value'"));
        let rule = HeaderRule::parse(" X-A :\ta\tb é\r\n").unwrap();
        assert_eq!((rule.name(), rule.value()), ("X-A", "a\tb é"));
        assert!(!format!("{rule:?}").contains('é'), "values may be secrets");
    }

    #[test]
    fn host_rule() {
        let f = |items: &[&str], keep: bool, want: HostRule| {
            assert_eq!(HeaderRules::new(&list(items), keep).host, want, "{items:?}");
        };
        f(&[], false, HostRule::Target);
        f(&["host: x"], false, HostRule::Target);
        f(&["Host: x", "Host: y:1"], false, HostRule::Fixed("y:1".into()));
        f(&["Host: x"], true, HostRule::Client);
        f(&["Host:"], false, HostRule::Target);
    }

    #[test]
    fn headers_of_the_proxy_itself() {
        let rules = ResponseRules::new(&list(&["Vary:", "X-Server-Hostname: a", "Connection: x"]));
        for (name, want) in [("vary", true), ("X-server-hostname", true), ("Connection", false), ("Date", false)] {
            assert_eq!(rules.touches(name), want, "{name}");
        }
        let mut own = HeaderList::default();
        for (name, value) in [("Vary", "Accept-Encoding"), ("X-Server-Hostname", "a"), ("X-Other", "b:c")] {
            own.push(name, value.as_bytes());
        }
        let mut out = Vec::new();
        rules.write_own_lines(&mut HeaderWriter::Http1(&mut out), &own);
        assert_eq!(out, b"X-Other: b:c\r\n");
        ResponseRules::default().write_own_lines(&mut HeaderWriter::Http1(&mut out), &own);
        assert_eq!(out.len(), own.as_http1().len() + 14);
    }
}
