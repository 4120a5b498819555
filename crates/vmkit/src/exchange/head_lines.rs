//! Header lines of a head kept as ranges of its raw bytes.
//!
//! A line knows the identity of its name, so that the hop-by-hop filter and the framing rules are a comparison of one
//! byte instead of a case-insensitive text comparison per rule.

use smallvec::SmallVec;

/// Length of the longest known name.
const LONGEST_KNOWN: usize = 19;

/// Names the codec and the proxy rules care about; everything else is `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the header names themselves")]
pub enum HeaderId {
    Other,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Date,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Referer,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    WwwAuthenticate,
    XForwardedFor,
}

impl HeaderId {
    /// Identity of a header name; case does not matter (RFC 9110 §5.1).
    pub fn of(name: &[u8]) -> Self {
        match name.len() {
            2 if is(name, b"te") => Self::Te,
            4 if is(name, b"host") => Self::Host,
            4 if is(name, b"date") => Self::Date,
            6 if is(name, b"expect") => Self::Expect,
            7 if is(name, b"trailer") => Self::Trailer,
            7 if is(name, b"upgrade") => Self::Upgrade,
            7 if is(name, b"referer") => Self::Referer,
            10 if is(name, b"connection") => Self::Connection,
            10 if is(name, b"user-agent") => Self::UserAgent,
            10 if is(name, b"keep-alive") => Self::KeepAlive,
            12 if is(name, b"content-type") => Self::ContentType,
            13 if is(name, b"authorization") => Self::Authorization,
            14 if is(name, b"content-length") => Self::ContentLength,
            14 if is(name, b"http2-settings") => Self::Http2Settings,
            15 if is(name, b"x-forwarded-for") => Self::XForwardedFor,
            15 if is(name, b"accept-encoding") => Self::AcceptEncoding,
            16 if is(name, b"www-authenticate") => Self::WwwAuthenticate,
            16 if is(name, b"content-encoding") => Self::ContentEncoding,
            16 if is(name, b"proxy-connection") => Self::ProxyConnection,
            17 if is(name, b"transfer-encoding") => Self::TransferEncoding,
            18 if is(name, b"proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is(name, b"proxy-authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }

    /// Identity of the name with `_` read as `-`, as servers do that put headers into variables; `Other` for names
    /// without `_`.
    pub fn of_twin(name: &[u8]) -> Self {
        // Where known names of this length have a dash; most names are told apart by one or two bytes.
        let is_at = |places: &[usize]| places.iter().any(|place| name.get(*place) == Some(&b'_'));
        let may_be = match name.len() {
            10 => is_at(&[4]),
            12 => is_at(&[7]),
            14 => is_at(&[5, 7]),
            15 => is_at(&[1, 6, 11]),
            16 => is_at(&[3, 5, 7]),
            17 => is_at(&[8]),
            18 | 19 => is_at(&[5]),
            _ => false,
        };
        if !may_be {
            return Self::Other;
        }
        let name: SmallVec<[u8; LONGEST_KNOWN]> = name.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect();
        Self::of(&name)
    }

    /// A bit of its own.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether a name is `text`, which is in lower case. Compares all bytes, whatever it finds: the compiler knows how many
/// there are and what each may be, so that there is nothing to branch on.
#[inline(always)]
fn is<const N: usize>(name: &[u8], text: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(text).fold(true, |same, (a, b)| same & (*a == *b || *a == b.to_ascii_uppercase()))
}

/// Whether two names are the same for a server that takes `_` for `-`; case does not matter.
#[inline]
pub fn same_or_twin(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other) || is_twin(one, other)
}

fn is_twin(one: &[u8], other: &[u8]) -> bool {
    let plain = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| plain(*a) == plain(*b))
}

/// One header line of a head: name and value without the colon, the surrounding blanks and the line end.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLine<'a> {
    /// Identity of the name.
    pub id: HeaderId,
    /// The name as it came, in the sender's letter case; token characters only.
    pub name: &'a [u8],
    /// The value without surrounding blanks; may hold bytes above 0x7F.
    pub value: &'a [u8],
    /// The whole line as HTTP/1 text, if it is written as `name: value CRLF`; else anything else.
    text: &'a [u8],
}

impl<'a> HeaderLine<'a> {
    /// A line that stands in no head.
    pub fn new(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { id: HeaderId::of(name), name, value, text: &[] }
    }

    /// The line in the form `name: value CRLF`, if it came like that: one copy instead of four.
    #[inline]
    pub(super) fn as_http1(&self) -> Option<&'a [u8]> {
        let is_plain = self.text.len() == self.name.len() + self.value.len() + 4
            && self.text.get(self.name.len()..self.name.len() + 2) == Some(b": ")
            && self.text.ends_with(b"\r\n");
        is_plain.then_some(self.text)
    }
}

/// Members of a comma-separated list without blanks around them; empty ones are left out.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Ranges of one line; offsets are relative to the start of the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) id: HeaderId,
    pub(super) name: (u32, u32),
    pub(super) value: (u32, u32),
}

impl Line {
    /// The line in the head that it belongs to.
    #[inline]
    pub(super) fn of(self, raw: &[u8]) -> HeaderLine<'_> {
        let (name, value) = (slice(raw, self.name), slice(raw, self.value));
        HeaderLine { id: self.id, name, value, text: slice(raw, (self.name.0, self.value.1.saturating_add(2))) }
    }
}

/// The lines of one head. Twenty-four fit without an allocation.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: SmallVec<[Line; 24]>,
    /// One bit per known name that occurs: most questions are about names that do not.
    present: u32,
}

impl Lines {
    #[inline]
    pub(super) fn push(&mut self, line: Line) {
        self.present |= line.id.bit();
        self.lines.push(line);
    }

    /// Replaces all lines by those that a tokeniser has found in `raw`.
    pub(super) fn refill(&mut self, raw: &[u8], headers: &[httparse::Header<'_>]) {
        let mut present = 0;
        self.lines.clear();
        self.lines.extend(headers.iter().map(|header| {
            let id = HeaderId::of(header.name.as_bytes());
            present |= id.bit();
            Line { id, name: range_in(raw, header.name.as_bytes()), value: range_in(raw, header.value) }
        }));
        self.present = present;
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.present = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The ranges of lines with known names, in order: only those can say anything about the message itself.
    pub(super) fn known(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.id != HeaderId::Other)
    }

    fn has(&self, id: HeaderId) -> bool {
        self.present & id.bit() != 0
    }

    pub(super) fn iter<'a>(&'a self, raw: &'a [u8]) -> impl Iterator<Item = HeaderLine<'a>> + Clone {
        self.lines.iter().map(move |line| line.of(raw))
    }

    pub(super) fn first<'a>(&self, raw: &'a [u8], id: HeaderId) -> Option<&'a [u8]> {
        if !self.has(id) {
            return None;
        }
        self.lines.iter().find(|line| line.id == id).map(|line| slice(raw, line.value))
    }

    pub(super) fn count(&self, id: HeaderId) -> usize {
        if self.has(id) { self.lines.iter().filter(|line| line.id == id).count() } else { 0 }
    }
}

/// Bytes of a range; an impossible range is empty instead of a panic.
pub(super) fn slice(raw: &[u8], range: (u32, u32)) -> &[u8] {
    raw.get(range.0 as usize..range.1 as usize).unwrap_or_default()
}

/// The range that `part`, a slice of `raw`, occupies in it.
pub(super) fn range_in(raw: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).saturating_sub(raw.as_ptr() as usize);
    (start as u32, (start + part.len()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins() {
        let f = |name: &str, want: HeaderId| assert_eq!(HeaderId::of_twin(name.as_bytes()), want, "{name}");
        f("Transfer_Encoding", HeaderId::TransferEncoding);
        f("content_length", HeaderId::ContentLength);
        f("X-Forwarded_For", HeaderId::XForwardedFor);
        f("Content-Length", HeaderId::Other);
        f("X_Other", HeaderId::Other);
        f("Proxy_Authorization", HeaderId::ProxyAuthorization);
        f(&"_".repeat(100), HeaderId::Other);
        assert!(same_or_twin(b"X_Scope_OrgID", b"x-scope-orgid") && same_or_twin(b"a", b"A"));
        assert!(!same_or_twin(b"X_Scope", b"X.Scope") && !same_or_twin(b"X_", b"X"));
    }

    #[test]
    fn only_lines_in_the_plain_form_are_copied_whole() {
        let f = |raw: &str, want: bool| {
            let colon = raw.find(':').unwrap();
            let value = raw.find('v').unwrap();
            let line = Line { id: HeaderId::Other, name: (0, colon as u32), value: (value as u32, value as u32 + 1) };
            assert_eq!(line.of(raw.as_bytes()).as_http1(), want.then_some(raw.as_bytes()), "{raw:?}");
        };
        f("X: v\r\n", true);
        f("X:v\r\n", false);
        f("X:  v\r\n", false);
        f("X:\tv\r\n", false);
        f("X: v \r\n", false);
        f("X: v\n", false);
        f("X: v", false);
        assert_eq!(HeaderLine::new(b"X", b"v").as_http1(), None);
    }

    #[test]
    fn every_dash_of_every_known_name_has_a_twin() {
        // A missing name here shows by a known one that is missing in the count.
        let names = "user-agent keep-alive content-type content-length http2-settings x-forwarded-for accept-encoding \
                     www-authenticate content-encoding proxy-connection transfer-encoding proxy-authenticate \
                     proxy-authorization";
        let plain = ["te", "host", "date", "expect", "trailer", "upgrade", "referer", "connection", "authorization"];
        assert_eq!(names.split(' ').count() + plain.len(), HeaderId::XForwardedFor as usize);
        for name in names.split(' ') {
            let id = HeaderId::of(name.as_bytes());
            assert_ne!(id, HeaderId::Other, "{name}");
            for (place, _) in name.match_indices('-') {
                let mut twin = name.to_owned();
                twin.replace_range(place..=place, "_");
                assert_eq!(HeaderId::of_twin(twin.as_bytes()), id, "{twin}");
            }
            assert_eq!(HeaderId::of_twin(name.replace('-', "_").as_bytes()), id, "{name}");
        }
    }

    #[test]
    fn every_known_name_has_a_bit() {
        assert!((HeaderId::XForwardedFor as u32) < u32::BITS);
        assert_eq!(HeaderId::of(b"x-forwarded-for"), HeaderId::XForwardedFor);
        assert_eq!("proxy-authorization".len(), LONGEST_KNOWN);
    }
}
