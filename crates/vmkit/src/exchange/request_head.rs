//! The head of a request: what the client asked for, checked before anything else sees it.
//!
//! A head owns its bytes; names and values are ranges of them. One value is reused for all requests of a connection.
//! The HTTP/1 parser fills it from text (`http1/parse.rs`), other codecs through [`RequestHead::build`]; the rules
//! about target, host, fields and body are the same for both, and nothing that failed them is ever seen by a stage.

use super::framing::{BodyKind, Framing, Version};
use super::head_error::HeadError;
use super::head_lines::{HeaderId, HeaderLine, Line, Lines, slice, tokens};
use super::head_syntax::{any, check_field, has_bad_escape, is_authority, is_host, is_token, is_userinfo};

/// Headers of one request beyond this count are refused.
pub const MAX_HEADERS: usize = 1024;

/// Storage for a head whose size is not known before.
pub(super) const USUAL_HEAD: usize = 512;

/// Storage of a head that a connection keeps for the next one.
pub(super) const MAX_KEPT: usize = 16 * 1024;

/// A checked request head.
#[derive(Debug)]
pub struct RequestHead {
    pub(super) raw: Vec<u8>,
    pub(super) lines: Lines,
    method: (u32, u32),
    /// The method again, if it is one of the usual ones: asked for many times a request.
    usual_method: Option<&'static str>,
    pub(super) target: (u32, u32),
    userinfo: (u32, u32),
    authority: (u32, u32),
    path: (u32, u32),
    query: Option<(u32, u32)>,
    upgrade: Option<(u32, u32)>,
    pub(super) version: Version,
    body: BodyKind,
    keep_alive: bool,
    expect_continue: bool,
    takes_trailers: bool,
    absolute: bool,
}

/// What a codec other than HTTP/1 knows of a request besides its fields (RFC 9113 §8.3.1).
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// `host[:port]`; empty when a `Host` field says it.
    pub authority: &'a [u8],
    /// Path and query, or `*`.
    pub target: &'a [u8],
    /// Whether a body follows, be it empty.
    pub has_body: bool,
    /// The protocol that the client wants to speak on this stream instead.
    pub upgrade: Option<&'a [u8]>,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            lines: Lines::default(),
            method: (0, 0),
            usual_method: None,
            target: (0, 0),
            userinfo: (0, 0),
            authority: (0, 0),
            path: (0, 0),
            query: None,
            upgrade: None,
            version: Version::Http11,
            body: BodyKind::None,
            keep_alive: true,
            expect_continue: false,
            takes_trailers: false,
            absolute: false,
        }
    }
}

impl RequestHead {
    /// Fills the head with what another codec has read, replacing what was there.
    ///
    /// Fields come in order, pseudo fields left out. The same errors as those of HTTP/1; the stream must then be
    /// refused. Connection-specific fields are an error (RFC 9113 §8.2.2), `TE` may only say `trailers`.
    pub fn build<'a>(
        &mut self,
        parts: &RequestParts<'a>,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), HeadError> {
        self.raw.clear();
        self.raw.reserve(USUAL_HEAD);
        self.lines.clear();
        self.version = Version::Http2;
        if !is_token(parts.method.as_bytes()) || any(parts.target, |b| b <= b' ' || b == 0x7F) {
            return Err(HeadError::Malformed);
        }
        let method = self.append(parts.method.as_bytes());
        self.set_method(method, parts.method);
        self.target = self.append(parts.target);
        let authority = self.append(parts.authority);
        let upgrade = parts.upgrade.map(|protocol| self.append(protocol));
        for (name, value) in fields {
            let id = check_field(name, value)?;
            if self.lines.len() == MAX_HEADERS {
                return Err(HeadError::TooManyHeaders);
            }
            let (name, value) = (self.append(name), self.append(value));
            self.lines.push(Line { id, name, value });
        }
        self.split_target()?;
        if self.absolute {
            return Err(HeadError::BadTarget);
        }
        self.check_authority(authority)?;
        let framing = self.read_lines()?;
        self.keep_alive = true;
        self.upgrade = upgrade;
        self.body = framing.marked_body(parts.has_body)?;
        Ok(())
    }

    /// The method, which stands in this range of the raw bytes.
    pub(super) fn set_method(&mut self, range: (u32, u32), method: &str) {
        self.method = range;
        self.usual_method = usual_method(method);
    }

    fn append(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.raw.len() as u32;
        self.raw.extend_from_slice(bytes);
        (start, self.raw.len() as u32)
    }

    /// The authority stands for the host; a `Host` field beside it must say the same (RFC 9113 §8.3.1).
    fn check_authority(&mut self, authority: (u32, u32)) -> Result<(), HeadError> {
        let (name, field) = (slice(&self.raw, authority), self.lines.first(&self.raw, HeaderId::Host));
        if name.is_empty() {
            return self.check_host();
        }
        if !is_authority(name) || field.is_some_and(|host| !host.eq_ignore_ascii_case(name)) {
            return Err(HeadError::BadHost);
        }
        self.authority = authority;
        self.check_host_count(true)
    }

    /// Checks what the HTTP/1 parser has put into `raw`, `lines`, `method`, `target` and `version`.
    pub(super) fn check_http1(&mut self) -> Result<(), HeadError> {
        self.split_target()?;
        self.check_host()?;
        let framing = self.read_lines()?;
        self.keep_alive = framing.persistence.keep_alive(self.version);
        // HTTP/1.0 has no upgrades (RFC 9110 §7.8).
        if !framing.persistence.upgrade || self.version == Version::Http10 {
            self.upgrade = None;
        }
        self.body = framing.body(self.version)?.unwrap_or(BodyKind::None);
        Ok(())
    }

    /// Splits the target into authority, path and query (RFC 9112 §3.2).
    fn split_target(&mut self) -> Result<(), HeadError> {
        let (start, end) = self.target;
        let target = slice(&self.raw, self.target);
        self.userinfo = (0, 0);
        self.authority = (0, 0);
        self.absolute = false;
        if self.usual_method.is_none() && slice(&self.raw, self.method) == b"CONNECT" {
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
        self.check_host_count(false)?;
        if let Some(host) = self.lines.first(&self.raw, HeaderId::Host)
            && !is_host(host)
            && !host.is_empty()
        {
            return Err(HeadError::BadHost);
        }
        Ok(())
    }

    fn check_host_count(&self, may_lack: bool) -> Result<(), HeadError> {
        match self.lines.count(HeaderId::Host) {
            0 if self.version != Version::Http10 && !may_lack => Err(HeadError::MissingHost),
            0 | 1 => Ok(()),
            _ => Err(HeadError::ManyHosts),
        }
    }

    /// Reads the lines that are about the message itself.
    fn read_lines(&mut self) -> Result<Framing, HeadError> {
        let mut framing = Framing::default();
        (self.expect_continue, self.takes_trailers, self.upgrade) = (false, false, None);
        for line in self.lines.known() {
            let value = slice(&self.raw, line.value);
            match line.id {
                // An empty expectation expects nothing.
                HeaderId::Expect if value.is_empty() => {}
                HeaderId::Expect => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(HeadError::BadExpect);
                    }
                    self.expect_continue = self.version != Version::Http10;
                }
                HeaderId::Te => {
                    self.takes_trailers |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"trailers"))
                }
                HeaderId::Upgrade => self.upgrade = self.upgrade.or(Some(line.value)),
                id => framing.read(id, value)?,
            }
        }
        self.takes_trailers &= self.version != Version::Http10;
        Ok(framing)
    }

    /// The request has been served: a large head must not stay with an idle connection.
    pub(super) fn release(&mut self) {
        if self.raw.capacity() > MAX_KEPT {
            self.raw = Vec::new();
            self.lines = Lines::default();
            (self.method, self.target, self.userinfo, self.authority, self.path) = Default::default();
            (self.usual_method, self.query, self.upgrade) = (None, None, None);
        }
    }

    /// Bytes that the head takes.
    pub(super) fn size(&self) -> usize {
        self.raw.capacity() + self.lines.len() * size_of::<Line>()
    }

    /// Method in the client's letter case, such as `GET`.
    pub fn method(&self) -> &str {
        self.usual_method.unwrap_or_else(|| str::from_utf8(slice(&self.raw, self.method)).unwrap_or_default())
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

    /// The host the client means: that of the target, else the `Host` header (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
    pub fn host(&self) -> &[u8] {
        match slice(&self.raw, self.authority) {
            [] => self.lines.first(&self.raw, HeaderId::Host).unwrap_or_default(),
            authority => authority,
        }
    }

    /// What is known of the body.
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// The version of HTTP that the request has come by.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the client allows another request on this connection; always true where streams share one.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// The protocols the client wants to speak instead, in its own words; `None` when it may not or does not.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|range| slice(&self.raw, range))
    }

    /// Whether the client says that it reads trailers of the reply (RFC 9110 §10.1.4).
    pub fn takes_trailers(&self) -> bool {
        self.takes_trailers
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

/// The method as a text that outlives its head.
fn usual_method(method: &str) -> Option<&'static str> {
    ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH"].into_iter().find(|usual| *usual == method)
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

    #[test]
    fn an_empty_expectation_expects_nothing() {
        let head = parse("POST / HTTP/1.1\r\nHost: a\r\nExpect:\r\nContent-Length: 1\r\n\r\n").unwrap();
        assert!(!head.expect_continue());
    }

    #[test]
    fn upgrades_and_trailers_are_wishes_of_the_client() {
        let f = |lines: &str, upgrade: Option<&str>, trailers: bool| {
            let head = parse(&format!("GET / HTTP/1.{lines}\r\n\r\n")).unwrap();
            assert_eq!((head.upgrade(), head.takes_trailers()), (upgrade.map(str::as_bytes), trailers), "{lines:?}");
        };
        f("1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket", Some("websocket"), false);
        f("1\r\nHost: a\r\nUpgrade: websocket", None, false);
        f("0\r\nConnection: Upgrade\r\nUpgrade: websocket", None, false);
        f("1\r\nHost: a\r\nTE: deflate, Trailers", None, true);
        f("0\r\nTE: trailers", None, false);
    }

    const PARTS: RequestParts<'_> =
        RequestParts { method: "GET", authority: b"h:81", target: b"/a?b", has_body: false, upgrade: None };

    #[test]
    fn heads_of_other_codecs() {
        let mut head = RequestHead::default();
        let fields: [(&[u8], &[u8]); 3] = [(b"host", b"H:81"), (b"te", b"trailers"), (b"content-length", b"2")];
        head.build(&RequestParts { has_body: true, upgrade: Some(b"websocket"), ..PARTS }, fields).unwrap();
        assert_eq!((head.method(), head.host(), head.path()), ("GET", &b"h:81"[..], &b"/a"[..]));
        assert_eq!((head.query(), head.target(), head.body()), (Some(&b"b"[..]), &b"/a?b"[..], BodyKind::Length(2)));
        assert!(head.takes_trailers() && head.keep_alive() && !head.is_absolute());
        assert_eq!((head.upgrade(), head.headers().count()), (Some(&b"websocket"[..]), 3));
        head.build(&RequestParts { authority: b"", ..PARTS }, [(&b"host"[..], &b"x"[..])]).unwrap();
        assert_eq!((head.host(), head.upgrade(), head.body()), (&b"x"[..], None, BodyKind::None));
    }

    #[test]
    fn heads_of_other_codecs_that_are_refused() {
        let f = |parts: RequestParts<'_>, fields: &[(&str, &str)], want: HeadError| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(RequestHead::default().build(&parts, fields), Err(want), "{parts:?}");
        };
        f(RequestParts { method: "G T", ..PARTS }, &[], HeadError::Malformed);
        f(RequestParts { target: b"/a b", ..PARTS }, &[], HeadError::Malformed);
        f(RequestParts { target: b"", ..PARTS }, &[], HeadError::BadTarget);
        f(RequestParts { target: b"http://h/", ..PARTS }, &[], HeadError::BadTarget);
        f(RequestParts { method: "CONNECT", ..PARTS }, &[], HeadError::BadTarget);
        f(RequestParts { authority: b"u@h", ..PARTS }, &[], HeadError::BadHost);
        f(RequestParts { authority: b"", ..PARTS }, &[], HeadError::MissingHost);
        f(PARTS, &[("host", "other")], HeadError::BadHost);
        f(PARTS, &[("host", "h:81"), ("host", "h:81")], HeadError::ManyHosts);
        f(PARTS, &[("connection", "close")], HeadError::ConnectionHeader);
        f(PARTS, &[("te", "gzip")], HeadError::ConnectionHeader);
        f(PARTS, &[("transfer-encoding", "chunked")], HeadError::ConnectionHeader);
        f(PARTS, &[("x a", "b")], HeadError::BadHeaderName);
        f(PARTS, &[("x", "a\nb")], HeadError::BadHeaderValue);
        f(PARTS, &[("x", " a")], HeadError::BadHeaderValue);
        f(PARTS, &[("content-length", "2")], HeadError::BadContentLength);
        f(PARTS, &[("expect", "x")], HeadError::BadExpect);
        let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("x", "y")).collect();
        f(PARTS, &many, HeadError::TooManyHeaders);
    }
}
