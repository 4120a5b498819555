//! What a refusal of a gRPC call looks like: its clients read no status of HTTP and no text, only `grpc-status` and
//! `grpc-message` (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! Only on streams: over HTTP/1 nobody speaks gRPC.

use std::fmt::Write as _;

use super::head_lines::HeaderId;
use super::header_list::HeaderList;
use super::request_head::RequestHead;

/// `DEADLINE_EXCEEDED`: there was no time left for the call.
pub const DEADLINE_EXCEEDED: u8 = 4;

/// `UNAVAILABLE`: the same call may succeed later.
pub const UNAVAILABLE: u8 = 14;

/// `UNAUTHENTICATED`: the credentials are missing or no longer valid.
pub const UNAUTHENTICATED: u8 = 16;

/// Content types of calls and that of their replies, longer ones first.
const TYPES: [(&[u8], &str); 3] = [
    (b"application/grpc-web-text", "application/grpc-web-text"),
    (b"application/grpc-web", "application/grpc-web"),
    (b"application/grpc", "application/grpc"),
];

/// The type of the reply to a call of gRPC; `None` for other requests.
pub(super) fn reply_type(head: &RequestHead) -> Option<&'static str> {
    let value = head.first(HeaderId::ContentType)?;
    let is = |name: &[u8]| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    TYPES.iter().find(|(name, _)| is(name)).map(|(_, reply)| *reply)
}

/// The code for a status of HTTP that the proxy answers with.
pub fn code_of(status: u16) -> u8 {
    match status {
        400 | 414 | 417 => 3,
        401 => UNAUTHENTICATED,
        403 => 7,
        404 | 405 | 501 | 505 => 12,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 431 => 8,
        429 | 502 | 503 => UNAVAILABLE,
        500 => 13,
        _ => 2,
    }
}

/// The fields that end a call.
pub fn push_status(fields: &mut HeaderList, code: u8, message: &str) {
    fields.push("grpc-status", itoa::Buffer::new().format(code).as_bytes());
    fields.push("grpc-message", escaped(message).as_bytes());
}

/// Everything but printable ASCII is escaped, and blanks at the ends, which no field may have.
fn escaped(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for b in message.trim().bytes() {
        match b {
            b'%' | 0..0x20 | 0x7F.. => {
                let _ = write!(out, "%{b:02X}");
            }
            _ => out.push(char::from(b)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let f = |value: &str, want: Option<&str>| {
            let mut head = RequestHead::default();
            head.parse(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {value}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(reply_type(&head), want, "{value}");
        };
        f("application/grpc", Some("application/grpc"));
        f("Application/Grpc+proto", Some("application/grpc"));
        f("application/grpc-web+proto", Some("application/grpc-web"));
        f("application/grpc-web-text", Some("application/grpc-web-text"));
        f("application/json", None);
        assert_eq!(reply_type(&RequestHead::default()), None);
    }

    #[test]
    fn messages() {
        let mut fields = HeaderList::default();
        push_status(&mut fields, 16, "100 % ü\n \"x\" ");
        assert_eq!(fields.as_http1(), b"grpc-status: 16\r\ngrpc-message: 100 %25 %C3%BC%0A \"x\"\r\n");
    }

    #[test]
    fn codes() {
        let codes = [400, 401, 403, 404, 429, 502, 503, 504].map(code_of);
        assert_eq!(codes, [3, 16, 7, 12, 14, 14, 14, 4]);
    }
}
