//! Header lines of a head kept as ranges of its raw bytes.
//!
//! A line knows the identity of its name, so that the hop-by-hop filter and the framing rules are a comparison of one
//! byte instead of a case-insensitive text comparison per rule.

use smallvec::SmallVec;

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
    XForwardedFor,
}

impl HeaderId {
    /// Identity of a header name; case does not matter (RFC 9110 §5.1).
    pub fn of(name: &[u8]) -> Self {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Expect,
            7 if is("trailer") => Self::Trailer,
            7 if is("upgrade") => Self::Upgrade,
            7 if is("referer") => Self::Referer,
            10 if is("connection") => Self::Connection,
            10 if is("user-agent") => Self::UserAgent,
            10 if is("keep-alive") => Self::KeepAlive,
            12 if is("content-type") => Self::ContentType,
            13 if is("authorization") => Self::Authorization,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Http2Settings,
            15 if is("x-forwarded-for") => Self::XForwardedFor,
            15 if is("accept-encoding") => Self::AcceptEncoding,
            16 if is("content-encoding") => Self::ContentEncoding,
            16 if is("proxy-connection") => Self::ProxyConnection,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            18 if is("proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is("proxy-authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }
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
}

/// Ranges of one line; offsets are relative to the start of the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) id: HeaderId,
    pub(super) name: (u32, u32),
    pub(super) value: (u32, u32),
}

/// The lines of one head. Twenty-four fit without an allocation.
#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) SmallVec<[Line; 24]>);

impl Lines {
    pub(super) fn iter<'a>(&'a self, raw: &'a [u8]) -> impl Iterator<Item = HeaderLine<'a>> + Clone {
        self.0.iter().map(move |line| HeaderLine {
            id: line.id,
            name: slice(raw, line.name),
            value: slice(raw, line.value),
        })
    }

    pub(super) fn first<'a>(&self, raw: &'a [u8], id: HeaderId) -> Option<&'a [u8]> {
        self.0.iter().find(|line| line.id == id).map(|line| slice(raw, line.value))
    }

    pub(super) fn count(&self, id: HeaderId) -> usize {
        self.0.iter().filter(|line| line.id == id).count()
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
