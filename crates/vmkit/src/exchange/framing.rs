//! How a message is delimited, read from the header lines that say so (RFC 9112 §6 and §9.3).
//!
//! Requests and replies are read by the same rules, so that neither can be laxer than the other. What two servers may
//! read differently is an error: a length beside a coding, differing or odd lengths, codings other than one `chunked`.
//! Stages see only [`BodyKind`]; which bytes delimit a body is known to its codec alone.

use super::head_error::HeadError;
use super::head_lines::{HeaderId, tokens};

/// Version of HTTP that a message has come by; HTTP/1 messages of other versions are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2, and other protocols with streams.
    Http2,
}

impl Version {
    /// The version as Go names it: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// What is known of a body before it is read, whatever the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none, and none was announced.
    None,
    /// Exactly so many bytes; may be 0.
    Length(u64),
    /// As many bytes as come; trailers may follow.
    Stream,
}

/// What the lines of a head say about its body and its connection.
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

    /// How the body of an HTTP/1 message is delimited; `None` when no line says so.
    pub(super) fn body(self, version: Version) -> Result<Option<BodyKind>, HeadError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(HeadError::LengthAndCoding),
            (None, true) if version == Version::Http10 => Err(HeadError::CodingInHttp10),
            (None, true) => Ok(Some(BodyKind::Stream)),
            (Some(length), false) => Ok(Some(BodyKind::Length(length))),
            (None, false) => Ok(None),
        }
    }

    /// The body of a message whose protocol marks its end by itself; a length must agree with that.
    pub(super) fn marked_body(self, has_body: bool) -> Result<BodyKind, HeadError> {
        match (self.length, has_body) {
            (Some(length), true) => Ok(BodyKind::Length(length)),
            (None, true) => Ok(BodyKind::Stream),
            (None, false) => Ok(BodyKind::None),
            (Some(0), false) => Ok(BodyKind::Length(0)),
            (Some(_), false) => Err(HeadError::BadContentLength),
        }
    }
}

/// What the `Connection` lines of a head say (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
    /// The sender wants another protocol on this connection.
    pub(super) upgrade: bool,
}

impl Persistence {
    /// Reads one `Connection` value.
    fn read(&mut self, value: &[u8]) {
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// `close` wins wherever it stands; HTTP/1.0 must ask to stay open.
    pub(super) fn keep_alive(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version != Version::Http10)
    }
}

/// Decimal digits only (RFC 9110 §8.6); no sign, list or blank, and nothing beyond 63 bits, which a backend with
/// signed lengths would read as something else.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0_i64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })?;
    u64::try_from(length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let f = |text: &str, want: Option<u64>| assert_eq!(parse_length(text.as_bytes()), want, "{text:?}");
        f("0", Some(0));
        f("9223372036854775807", Some(i64::MAX as u64));
        for odd in ["", "9223372036854775808", "+3", "-3", " 3", "3 ", "3,3", "0x3", "3_0", "٣"] {
            f(odd, None);
        }
    }

    #[test]
    fn an_end_marked_by_the_protocol_agrees_with_the_length() {
        let f = |length: Option<u64>, has_body: bool, want: Result<BodyKind, HeadError>| {
            let framing = Framing { length, ..Framing::default() };
            assert_eq!(framing.marked_body(has_body), want, "{length:?} {has_body}");
        };
        f(None, false, Ok(BodyKind::None));
        f(None, true, Ok(BodyKind::Stream));
        f(Some(3), true, Ok(BodyKind::Length(3)));
        f(Some(0), false, Ok(BodyKind::Length(0)));
        f(Some(3), false, Err(HeadError::BadContentLength));
    }
}
