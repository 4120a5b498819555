//! The head of a request: what the client asked for, checked for ambiguous framing before anything else sees it.
//!
//! Parsing is strict where two servers could disagree about where a message ends (RFC 9112 §11.2, design §3): both
//! `Content-Length` and `Transfer-Encoding`, repeated or odd lengths, codings other than a final `chunked`, folded
//! lines, bare LF, a missing or repeated `Host` are errors, and an error closes the connection.
//!
//! The head owns its bytes; names and values are ranges of them. One value is reused for all requests of a connection.

use std::mem::MaybeUninit;

use super::head_lines::{HeaderId, HeaderLine, Line, Lines, range_in, slice};

/// Headers of one request beyond this count are refused.
pub const MAX_HEADERS: usize = 1024;

/// Storage of a head that a connection keeps for the next one.
pub(super) const MAX_KEPT: usize = 16 * 1024;

/// Version of the message; anything but 1.0 and 1.1 is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the body of a message is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// No `Content-Length` and no `Transfer-Encoding`: a request without a body.
    None,
    /// Exactly so many bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection ends: replies only.
    UntilClose,
}

/// Why a head was refused. The text is what the client gets as reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is described by its text")]
pub enum HeadError {
    #[error("malformed request")]
    Malformed,
    #[error("invalid header name")]
    BadHeaderName,
    #[error("invalid header value")]
    BadHeaderValue,
    #[error("a line ends without CR")]
    BareLf,
    #[error("too many headers")]
    TooManyHeaders,
    #[error("missing required Host header")]
    MissingHost,
    #[error("too many Host headers")]
    ManyHosts,
    #[error("malformed Host header")]
    BadHost,
    #[error("malformed request target")]
    BadTarget,
    #[error("bad Content-Length")]
    BadContentLength,
    #[error("Content-Length together with Transfer-Encoding")]
    LengthAndCoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    #[error("Unsupported transfer encoding")]
    UnsupportedCoding,
    #[error("unsupported protocol version")]
    BadVersion,
    #[error("unknown expectation")]
    BadExpect,
    #[error("head is too large")]
    TooLarge,
}

impl HeadError {
    /// Status of the answer: 400, 417, 431, 501 or 505.
    pub fn status(self) -> u16 {
        match self {
            Self::BadExpect => 417,
            Self::TooLarge | Self::TooManyHeaders => 431,
            Self::UnsupportedCoding => 501,
            Self::BadVersion => 505,
            Self::Malformed
            | Self::BadHeaderName
            | Self::BadHeaderValue
            | Self::BareLf
            | Self::MissingHost
            | Self::ManyHosts
            | Self::BadHost
            | Self::BadTarget
            | Self::BadContentLength
            | Self::LengthAndCoding
            | Self::CodingInHttp10 => 400,
        }
    }
}

/// A checked request head.
#[derive(Debug)]
pub struct RequestHead {
    raw: Vec<u8>,
    lines: Lines,
    method: (u32, u32),
    target: (u32, u32),
    userinfo: (u32, u32),
    authority: (u32, u32),
    path: (u32, u32),
    query: Option<(u32, u32)>,
    version: Version,
    body: BodyKind,
    keep_alive: bool,
    expect_continue: bool,
    absolute: bool,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            lines: Lines::default(),
            method: (0, 0),
            target: (0, 0),
            userinfo: (0, 0),
            authority: (0, 0),
            path: (0, 0),
            query: None,
            version: Version::Http11,
            body: BodyKind::None,
            keep_alive: true,
            expect_continue: false,
            absolute: false,
        }
    }
}

impl RequestHead {
    /// Parses the head at the start of `bytes` into `self`, replacing what was there.
    ///
    /// Returns the length of the head, or `None` when it is not complete yet. Leading empty lines must be removed by
    /// the caller. After an error the connection must be closed: nobody knows where the next message starts.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        match self.parse_with(bytes, &mut [const { MaybeUninit::uninit() }; 64]) {
            Err(HeadError::TooManyHeaders) => {
                self.parse_with(bytes, &mut vec![const { MaybeUninit::uninit() }; MAX_HEADERS])
            }
            other => other,
        }
    }

    fn parse_with<'b>(
        &mut self,
        bytes: &'b [u8],
        slots: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<usize>, HeadError> {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, slots) {
            Ok(httparse::Status::Complete(length)) => {
                self.fill(&bytes[..length], &request)?;
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(head_error(error)),
        }
    }

    fn fill(&mut self, bytes: &[u8], request: &httparse::Request<'_, '_>) -> Result<(), HeadError> {
        if memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r') {
            return Err(HeadError::BareLf);
        }
        self.raw.clear();
        self.raw.extend_from_slice(bytes);
        let method = request.method.ok_or(HeadError::Malformed)?;
        let target = request.path.ok_or(HeadError::Malformed)?;
        self.method = range_in(bytes, method.as_bytes());
        self.target = range_in(bytes, target.as_bytes());
        self.version = match request.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            _ => return Err(HeadError::BadVersion),
        };
        self.lines.0.clear();
        for header in request.headers.iter() {
            self.lines.0.push(Line {
                id: HeaderId::of(header.name.as_bytes()),
                name: range_in(bytes, header.name.as_bytes()),
                value: range_in(bytes, header.value),
            });
        }
        self.split_target()?;
        self.check_host()?;
        self.check_framing()
    }

    /// Splits the target into authority, path and query (RFC 9112 §3.2).
    fn split_target(&mut self) -> Result<(), HeadError> {
        let (start, end) = self.target;
        let target = slice(&self.raw, self.target);
        self.userinfo = (0, 0);
        self.authority = (0, 0);
        self.absolute = false;
        if slice(&self.raw, self.method) == b"CONNECT" {
            return Err(HeadError::BadTarget);
        }
        let mut path_at = 0;
        if target.first() != Some(&b'/') && target != b"*" {
            let scheme = [&b"http://"[..], &b"https://"[..]]
                .into_iter()
                .find(|s| target.len() >= s.len() && target[..s.len()].eq_ignore_ascii_case(s))
                .ok_or(HeadError::BadTarget)?;
            let rest = &target[scheme.len()..];
            let authority_len = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
            let authority = &rest[..authority_len];
            let host_at = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
            let userinfo = &authority[..host_at.saturating_sub(1)];
            if !is_authority(&authority[host_at..]) || !is_userinfo(userinfo) {
                return Err(HeadError::BadTarget);
            }
            // A fragment is no part of a target (RFC 9112 §3.2); behind a host it would be taken for a path.
            if rest.get(authority_len) == Some(&b'#') {
                return Err(HeadError::BadTarget);
            }
            let base = start + scheme.len() as u32;
            self.userinfo = (base, base + (host_at as u32).saturating_sub(1));
            self.authority = (base + host_at as u32, base + authority_len as u32);
            self.absolute = true;
            path_at = scheme.len() + authority_len;
        }
        let rest = &target[path_at..];
        let from = start + path_at as u32;
        match memchr::memchr(b'?', rest) {
            Some(at) => {
                self.path = (from, from + at as u32);
                self.query = Some((from + at as u32 + 1, end));
            }
            None => {
                self.path = (from, end);
                self.query = None;
            }
        }
        if has_bad_escape(slice(&self.raw, self.path)) {
            return Err(HeadError::BadTarget);
        }
        Ok(())
    }

    fn check_host(&mut self) -> Result<(), HeadError> {
        match self.lines.count(HeaderId::Host) {
            0 if self.version == Version::Http11 => return Err(HeadError::MissingHost),
            0 | 1 => {}
            _ => return Err(HeadError::ManyHosts),
        }
        if let Some(host) = self.lines.first(&self.raw, HeaderId::Host)
            && !is_host(host)
            && !host.is_empty()
        {
            return Err(HeadError::BadHost);
        }
        Ok(())
    }

    fn check_framing(&mut self) -> Result<(), HeadError> {
        let mut framing = Framing::default();
        self.expect_continue = false;
        for line in &self.lines.0 {
            let value = slice(&self.raw, line.value);
            match line.id {
                HeaderId::Expect => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(HeadError::BadExpect);
                    }
                    self.expect_continue = self.version == Version::Http11;
                }
                id => framing.read(id, value)?,
            }
        }
        self.keep_alive = framing.persistence.keep_alive(self.version);
        self.body = framing.body(self.version)?.unwrap_or(BodyKind::None);
        Ok(())
    }

    /// The request has been served: a large head must not stay with an idle connection.
    pub(super) fn release(&mut self) {
        if self.raw.capacity() > MAX_KEPT {
            self.raw = Vec::new();
            self.lines = Lines::default();
            (self.method, self.target, self.userinfo, self.authority, self.path) = Default::default();
            self.query = None;
        }
    }

    /// Method in the client's letter case, such as `GET`.
    pub fn method(&self) -> &str {
        str::from_utf8(slice(&self.raw, self.method)).unwrap_or_default()
    }

    /// The request target as it came, byte for byte.
    pub fn target(&self) -> &[u8] {
        slice(&self.raw, self.target)
    }

    /// Path of the target, still percent-encoded: empty for `http://host`, `*` for `OPTIONS *`.
    pub fn path(&self) -> &[u8] {
        slice(&self.raw, self.path)
    }

    /// Query of the target without the `?`; `None` when there is no `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.map(|range| slice(&self.raw, range))
    }

    /// True for a target such as `http://host/path`.
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// `user:password` of an absolute-form target, still percent-encoded; empty when there is none.
    pub fn userinfo(&self) -> &[u8] {
        slice(&self.raw, self.userinfo)
    }

    /// The host the client means: that of an absolute-form target, else the `Host` header (RFC 9112 §3.2.2).
    pub fn host(&self) -> &[u8] {
        if self.absolute {
            slice(&self.raw, self.authority)
        } else {
            self.lines.first(&self.raw, HeaderId::Host).unwrap_or_default()
        }
    }

    /// Version of the message.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body is delimited.
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// Whether the client allows another request on this connection.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// All header lines in order, `Host` included.
    pub fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> + Clone {
        self.lines.iter(&self.raw)
    }

    /// Value of the first line with this identity.
    pub fn first(&self, id: HeaderId) -> Option<&[u8]> {
        self.lines.first(&self.raw, id)
    }

    /// Values of all lines with this name; case does not matter.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let id = HeaderId::of(name.as_bytes());
        self.headers()
            .filter(move |line| {
                line.id == id && (id != HeaderId::Other || line.name.eq_ignore_ascii_case(name.as_bytes()))
            })
            .map(|line| line.value)
    }
}

/// Members of a comma-separated list without blanks around them; empty ones are left out.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// What the lines of a head say about where its body ends and whether its connection stays (RFC 9112 §6 and §9.3).
///
/// Requests and replies are read by the same rules, so that neither can be laxer than the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) persistence: Persistence,
}

impl Framing {
    /// Reads one line; lines about other things are passed over.
    pub(super) fn read(&mut self, id: HeaderId, value: &[u8]) -> Result<(), HeadError> {
        match id {
            HeaderId::ContentLength => {
                let parsed = parse_length(value).ok_or(HeadError::BadContentLength)?;
                if self.length.is_some_and(|before| before != parsed) {
                    return Err(HeadError::BadContentLength);
                }
                self.length = Some(parsed);
            }
            HeaderId::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::UnsupportedCoding);
                }
                self.chunked = true;
            }
            HeaderId::Connection => self.persistence.read(value),
            _ => {}
        }
        Ok(())
    }

    /// How the body is delimited; `None` when no line says so.
    pub(super) fn body(self, version: Version) -> Result<Option<BodyKind>, HeadError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(HeadError::LengthAndCoding),
            (None, true) if version == Version::Http10 => Err(HeadError::CodingInHttp10),
            (None, true) => Ok(Some(BodyKind::Chunked)),
            (Some(length), false) => Ok(Some(BodyKind::Length(length))),
            (None, false) => Ok(None),
        }
    }
}

/// What the `Connection` lines of a head say about its connection (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    /// Reads one `Connection` value.
    fn read(&mut self, value: &[u8]) {
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// `close` wins wherever it stands; HTTP/1.0 must ask to stay open.
    pub(super) fn keep_alive(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }
}

/// Decimal digits only (RFC 9110 §8.6); no sign, list or blank, and nothing beyond 63 bits, which a backend with
/// signed lengths would read as something else.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok().filter(|length| i64::try_from(*length).is_ok())
}

/// Characters that may stand in `host[:port]` (RFC 3986 §3.2.2), without deciding whether the name makes sense.
fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host.iter().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
                || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
        })
}

/// `name[:port]` or `[address][:port]` of a target; stricter than for `Host`, because it wins over it.
fn is_authority(authority: &[u8]) -> bool {
    let (name_is_fine, port) = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let is_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            (end > 0 && rest[..end].iter().all(is_address), &rest[end + 1..])
        }
        _ => {
            let (name, port) = authority.split_at(memchr::memchr(b':', authority).unwrap_or(authority.len()));
            (is_host(name) && !name.iter().any(|b| matches!(b, b'[' | b']' | b'%')), port)
        }
    };
    let port_is_fine = match port {
        [] => true,
        [b':', digits @ ..] => !digits.is_empty() && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    name_is_fine && port_is_fine
}

/// Characters that may stand in `user:password` (RFC 3986 §3.2.1), with whole escapes; may be empty.
fn is_userinfo(userinfo: &[u8]) -> bool {
    let is_allowed = |b: &u8| is_host(&[*b]) && !matches!(b, b'[' | b']');
    userinfo.iter().all(is_allowed) && !has_bad_escape(userinfo)
}

/// Whether a `%` is not followed by two hexadecimal digits.
fn has_bad_escape(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .any(|at| !path.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::BadHeaderName,
        httparse::Error::HeaderValue => HeadError::BadHeaderValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => HeadError::BadVersion,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => HeadError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RequestHead, HeadError> {
        let mut head = RequestHead::default();
        let length = head.parse(text.as_bytes())?;
        assert_eq!(length, Some(text.len()), "{text:?}");
        Ok(head)
    }

    #[test]
    fn origin_form() {
        let head = parse("POST /a%20b?x=1?2 HTTP/1.1\r\nHost: h:81\r\nX-A:  b \r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!((head.method(), head.path(), head.query()), ("POST", &b"/a%20b"[..], Some(&b"x=1?2"[..])));
        assert_eq!((head.host(), head.body(), head.keep_alive()), (&b"h:81"[..], BodyKind::Length(3), true));
        assert_eq!(head.values("x-a").collect::<Vec<_>>(), [b"b"]);
    }

    #[test]
    fn absolute_form() {
        let head = parse("GET http://u:p@h.x?a=b HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!((head.host(), head.userinfo(), head.path()), (&b"h.x"[..], &b"u:p"[..], &b""[..]));
        assert_eq!(head.query(), Some(&b"a=b"[..]));
        for authority in ["h", "h:80", "[::1]", "[::1]:80", "127.0.0.1:1"] {
            let head = parse(&format!("GET http://{authority}/ HTTP/1.1\r\nHost: other\r\n\r\n")).unwrap();
            assert_eq!(head.host(), authority.as_bytes());
        }
    }

    #[test]
    fn refused() {
        let f = |rest: &str, want: HeadError| {
            assert_eq!(parse(rest).unwrap_err(), want, "{rest:?}");
        };
        f("GET / HTTP/1.1\r\n\r\n", HeadError::MissingHost);
        f("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HeadError::ManyHosts);
        f("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HeadError::BadHost);
        f("GET / HTTP/1.1\nHost: a\n\n", HeadError::BareLf);
        f("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget);
        f("GET foo HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget);
        for authority in [
            "h#x", "h:x", "h:80:80", "h:", "h:123456", ":80", "h%41", "[::1", "[]", "[::1]x", "a[b", "u@p@h",
            "\u{e9}@h", "%zz@h", "u@",
        ] {
            f(&format!("GET http://{authority} HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::BadTarget);
        }
        f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", HeadError::BadContentLength);
        f("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadTarget);
        f(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadError::LengthAndCoding,
        );
        f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", HeadError::BadContentLength);
        f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", HeadError::BadContentLength);
        f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", HeadError::BadContentLength);
        f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HeadError::UnsupportedCoding);
        f("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::CodingInHttp10);
        f("GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", HeadError::BadHeaderName);
        f("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", HeadError::BadHeaderName);
        f("GET / HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n", HeadError::BadExpect);
        f("GET / HTTP/2.0\r\nHost: a\r\n\r\n", HeadError::BadVersion);
    }

    #[test]
    fn many_headers() {
        let lines: String = (0..150).map(|i| format!("X-{i}: {i}\r\n")).collect();
        let head = parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).unwrap();
        assert_eq!(head.headers().count(), 151);
    }

    #[test]
    fn keep_alive_by_version() {
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive());
        assert!(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive());
        assert!(!parse("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n").unwrap().keep_alive());
        assert!(!parse("GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive());
        assert!(!parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").unwrap().keep_alive());
    }

    #[test]
    fn large_heads_are_not_kept() {
        let mut head = parse(&format!("GET /a?b HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_KEPT))).unwrap();
        head.release();
        assert_eq!((head.raw.capacity(), head.path(), head.query(), head.headers().count()), (0, &b""[..], None, 0));
        let mut head = parse("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        head.release();
        assert_eq!(head.path(), b"/a");
    }
}
