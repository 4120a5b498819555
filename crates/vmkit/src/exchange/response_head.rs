//! The head of a backend's reply, checked as strictly as a request's.
//!
//! A reply with both `Content-Length` and `Transfer-Encoding`, with differing lengths or with a coding other than
//! `chunked` is malformed: the connection it came on cannot be trusted any more.

use std::mem::MaybeUninit;

use super::head_lines::{HeaderId, HeaderLine, Line, Lines, range_in, slice};
use super::request_head::{BodyKind, Framing, HeadError, MAX_HEADERS, MAX_KEPT, Version};

/// A checked reply head; reused for all replies of a connection.
#[derive(Debug)]
pub struct ResponseHead {
    raw: Vec<u8>,
    lines: Lines,
    status: u16,
    body: BodyKind,
    content_length: Option<u64>,
    keep_alive: bool,
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
        }
    }
}

impl ResponseHead {
    /// Parses the head at the start of `bytes`; `to_head` says that it answers a HEAD request.
    ///
    /// Returns the length of the head, or `None` when it is not complete yet.
    pub fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<Option<usize>, HeadError> {
        match self.parse_with(bytes, to_head, &mut [const { MaybeUninit::uninit() }; 64]) {
            Err(HeadError::TooManyHeaders) => {
                self.parse_with(bytes, to_head, &mut vec![const { MaybeUninit::uninit() }; MAX_HEADERS])
            }
            other => other,
        }
    }

    fn parse_with<'b>(
        &mut self,
        bytes: &'b [u8],
        to_head: bool,
        slots: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<usize>, HeadError> {
        let mut response = httparse::Response::new(&mut []);
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots) {
            Ok(httparse::Status::Complete(length)) => {
                self.fill(&bytes[..length], &response, to_head)?;
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyHeaders),
            Err(_) => Err(HeadError::Malformed),
        }
    }

    fn fill(&mut self, bytes: &[u8], response: &httparse::Response<'_, '_>, to_head: bool) -> Result<(), HeadError> {
        self.raw.clear();
        self.raw.extend_from_slice(bytes);
        self.status = response.code.filter(|code| (100..1000).contains(code)).ok_or(HeadError::Malformed)?;
        let version = match response.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            _ => return Err(HeadError::BadVersion),
        };
        self.lines.0.clear();
        for header in response.headers.iter() {
            self.lines.0.push(Line {
                id: HeaderId::of(header.name.as_bytes()),
                name: range_in(bytes, header.name.as_bytes()),
                value: range_in(bytes, header.value),
            });
        }
        self.check_framing(version, to_head)
    }

    fn check_framing(&mut self, version: Version, to_head: bool) -> Result<(), HeadError> {
        let mut framing = Framing::default();
        for line in &self.lines.0 {
            framing.read(line.id, slice(&self.raw, line.value))?;
        }
        // 204 with a length announces what it must not have: the bytes may come, and be taken for the next reply.
        let announces_body = framing.chunked || framing.length.is_some_and(|length| length > 0);
        self.keep_alive = framing.persistence.keep_alive(version) && !(self.status == 204 && announces_body);
        self.content_length = framing.length;
        let never_has_body = to_head || self.is_interim() || matches!(self.status, 204 | 304);
        self.body = if never_has_body {
            BodyKind::None
        } else if let Some(kind) = framing.body(version)? {
            kind
        } else {
            self.keep_alive = false;
            BodyKind::UntilClose
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

    /// How the body is delimited; `None` for replies that never have one.
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// Value of `Content-Length`, also of replies to HEAD.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
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
        f("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false, Ok(BodyKind::Chunked));
        f("HTTP/1.0 200 OK\r\n\r\n", false, Ok(BodyKind::UntilClose));
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
}
