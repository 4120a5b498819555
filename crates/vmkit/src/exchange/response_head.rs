//! The head of a backend's reply, checked as strictly as a request's.
//!
//! A reply with both `Content-Length` and `Transfer-Encoding`, with differing lengths or with a coding other than
//! `chunked` is malformed: the connection it came on cannot be trusted any more. What has one meaning and is merely
//! untidy, such as a blank before the colon, is taken and not passed on (RFC 9112 §5.1).

use super::framing::{BodyKind, Framing, Version};
use super::head_error::HeadError;
use super::head_lines::{HeaderId, HeaderLine, Line, Lines, slice};
use super::head_syntax::check_field;
use super::request_head::{MAX_HEADERS, MAX_KEPT, USUAL_HEAD};

/// A checked reply head; reused for all replies of a connection.
#[derive(Debug)]
pub struct ResponseHead {
    pub(super) raw: Vec<u8>,
    pub(super) lines: Lines,
    pub(super) status: u16,
    body: BodyKind,
    content_length: Option<u64>,
    keep_alive: bool,
    until_close: bool,
    upgraded: bool,
}

/// What a codec other than HTTP/1 knows of a reply besides its fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseParts {
    /// Status of a final reply.
    pub status: u16,
    /// Whether the request was HEAD.
    pub to_head: bool,
    /// Whether bytes or trailers follow.
    pub has_body: bool,
    /// The protocol that the stream carries from now on, if it was asked for.
    pub upgraded: Option<&'static [u8]>,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            lines: Lines::default(),
            status: 0,
            body: BodyKind::None,
            content_length: None,
            keep_alive: false,
            until_close: false,
            upgraded: false,
        }
    }
}

impl ResponseHead {
    /// Fills the head with what another codec has read, replacing what was there; `to_head` as for HTTP/1.
    ///
    /// Fields come in order, pseudo fields left out; connection-specific ones are an error. `has_body` says whether
    /// bytes or trailers follow. With `upgraded` the head is that of a change of protocol, status 101, as HTTP/1 knows it.
    pub fn build<'a>(
        &mut self,
        parts: ResponseParts,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), HeadError> {
        self.raw.clear();
        self.raw.reserve(USUAL_HEAD);
        self.lines.clear();
        if !(100..1000).contains(&parts.status) || parts.status == 101 {
            return Err(HeadError::Malformed);
        }
        self.status = parts.status;
        let mut framing = Framing::default();
        for (name, value) in fields {
            let id = check_field(name, value)?;
            if self.lines.len() == MAX_HEADERS {
                return Err(HeadError::TooManyHeaders);
            }
            framing.read(id, value)?;
            let (name, value) = (self.append(name), self.append(value));
            self.lines.push(Line { id, name, value });
        }
        (self.keep_alive, self.until_close, self.upgraded) = (true, false, parts.upgraded.is_some());
        if let Some(protocol) = parts.upgraded {
            let (name, value) = (self.append(b"upgrade"), self.append(protocol));
            self.lines.push(Line { id: HeaderId::Upgrade, name, value });
            (self.status, self.content_length, self.body) = (101, None, BodyKind::None);
            return Ok(());
        }
        self.content_length = framing.length;
        let never_has_body = parts.to_head || matches!(self.status, 204 | 304);
        self.body = if never_has_body { BodyKind::None } else { framing.marked_body(parts.has_body)? };
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.raw.len() as u32;
        self.raw.extend_from_slice(bytes);
        (start, self.raw.len() as u32)
    }

    /// Checks what the HTTP/1 parser has put into `raw`, `lines` and `status`.
    pub(super) fn check_http1(&mut self, version: Version, to_head: bool) -> Result<(), HeadError> {
        let mut framing = Framing::default();
        for line in self.lines.known() {
            framing.read(line.id, slice(&self.raw, line.value))?;
        }
        // 204 with a length announces what it must not have: the bytes may come, and be taken for the next reply.
        let announces_body = framing.chunked || framing.length.is_some_and(|length| length > 0);
        self.keep_alive = framing.persistence.keep_alive(version) && !(self.status == 204 && announces_body);
        self.content_length = framing.length;
        self.upgraded = self.status == 101;
        let never_has_body = to_head || self.is_interim() || matches!(self.status, 204 | 304);
        let marked = framing.body(version);
        self.until_close = !never_has_body && marked == Ok(None);
        self.keep_alive &= !self.until_close;
        self.body = match never_has_body {
            true => BodyKind::None,
            false => marked?.unwrap_or(BodyKind::Stream),
        };
        Ok(())
    }

    /// The reply has been used: a large head must not stay with an idle connection.
    pub(super) fn release(&mut self) {
        if self.raw.capacity() > MAX_KEPT {
            self.raw = Vec::new();
            self.lines = Lines::default();
        }
    }

    /// Status code, 100..=999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the final reply is still to come: 1xx other than 101.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// What is known of the body; `None` for replies that never have one.
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// Value of `Content-Length`, also of replies to HEAD.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the body ends with its connection.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.until_close
    }

    /// The protocol that is spoken from here on, in the backend's words; `None` when it stays with HTTP.
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.upgraded { Some(self.first(HeaderId::Upgrade).unwrap_or_default()) } else { None }
    }

    /// Whether the backend keeps the connection open after the body.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// All header lines in order.
    pub fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> + Clone {
        self.lines.iter(&self.raw)
    }

    /// Value of the first line with this identity.
    pub fn first(&self, id: HeaderId) -> Option<&[u8]> {
        self.lines.first(&self.raw, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing() {
        let f = |text: &str, to_head: bool, want: Result<BodyKind, HeadError>| {
            let mut head = ResponseHead::default();
            let got = head.parse(text.as_bytes(), to_head).map(|length| {
                assert_eq!(length, Some(text.len()));
                head.body()
            });
            assert_eq!(got, want, "{text:?}");
        };
        f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Ok(BodyKind::Length(5)));
        f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Ok(BodyKind::None));
        f("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", false, Ok(BodyKind::None));
        f("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false, Ok(BodyKind::Stream));
        f("HTTP/1.0 200 OK\r\n\r\n", false, Ok(BodyKind::Stream));
        f(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Err(HeadError::LengthAndCoding),
        );
        f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", false, Err(HeadError::BadContentLength));
        f("HTTP/1.1 099 OK\r\n\r\n", false, Err(HeadError::Malformed));
        f("this is not http\r\n\r\n", false, Err(HeadError::Malformed));
    }

    #[test]
    fn keep_alive() {
        let f = |lines: &str, want: bool| {
            let mut head = ResponseHead::default();
            head.parse(format!("HTTP/1.{lines}\r\n\r\n").as_bytes(), false).unwrap();
            assert_eq!(head.keep_alive(), want, "{lines:?}");
        };
        f("1 200 OK\r\nContent-Length: 5", true);
        f("1 200 OK\r\nContent-Length: 5\r\nConnection: Close", false);
        f("1 200 OK", false);
        f("0 200 OK\r\nContent-Length: 5", false);
        f("0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive", true);
        f("0 200 OK\r\nContent-Length: 5\r\nConnection: close, keep-alive", false);
        f("1 204 No Content", true);
        f("1 204 No Content\r\nContent-Length: 0", true);
        f("1 204 No Content\r\nContent-Length: 5", false);
        f("1 204 No Content\r\nTransfer-Encoding: chunked", false);
        f("1 304 Not Modified\r\nContent-Length: 5", true);
    }

    #[test]
    fn untidy_replies_are_taken_and_cleaned() {
        let f = |text: &str, name: &str, value: &str| {
            let mut head = ResponseHead::default();
            assert_eq!(head.parse(text.as_bytes(), false), Ok(Some(text.len())), "{text:?}");
            let line = head.headers().next().unwrap();
            assert_eq!((head.status(), line.name, line.value), (200, name.as_bytes(), value.as_bytes()), "{text:?}");
        };
        f("HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n", "X-A", "b");
        f("HTTP/1.1 200 OK\r\nX-A\t: b\r\n\r\n", "X-A", "b");
        f("HTTP/1.1  200  OK\r\nX-A: b\r\n\r\n", "X-A", "b");
        let mut head = ResponseHead::default();
        let both = "HTTP/1.1 200 OK\r\nContent-Length : 3\r\nTransfer-Encoding : chunked\r\n\r\n";
        assert_eq!(head.parse(both.as_bytes(), false), Err(HeadError::LengthAndCoding));
    }

    #[test]
    fn heads_of_other_codecs() {
        let f = |parts: ResponseParts, fields: &[(&str, &str)], want: Result<BodyKind, HeadError>| {
            let mut head = ResponseHead::default();
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(head.build(parts, fields).map(|()| head.body()), want, "{parts:?}");
        };
        let parts = ResponseParts { status: 200, has_body: true, ..ResponseParts::default() };
        f(parts, &[("content-length", "3")], Ok(BodyKind::Length(3)));
        f(parts, &[], Ok(BodyKind::Stream));
        f(ResponseParts { has_body: false, ..parts }, &[], Ok(BodyKind::None));
        f(ResponseParts { to_head: true, ..parts }, &[("content-length", "3")], Ok(BodyKind::None));
        f(ResponseParts { status: 204, ..parts }, &[], Ok(BodyKind::None));
        f(ResponseParts { status: 101, ..parts }, &[], Err(HeadError::Malformed));
        f(ResponseParts { status: 99, ..parts }, &[], Err(HeadError::Malformed));
        f(parts, &[("connection", "close")], Err(HeadError::ConnectionHeader));
        f(parts, &[("content-length", "3"), ("content-length", "4")], Err(HeadError::BadContentLength));
        f(ResponseParts { has_body: false, ..parts }, &[("content-length", "3")], Err(HeadError::BadContentLength));
    }
}
