//! The id of a request: taken from the client, or made up; it links log lines here and at backends.
//!
//! What a client sends is foreign text: an id that is long or has odd bytes counts as none. Ids are no secrets and are
//! never compared with anything.

use std::fmt::Write;

use vmkit::exchange::RequestHead;

/// Longest id of a client that is taken over.
const MAX_LEN: usize = 128;
/// The header that is looked at unless `-requestIDHeader` names another one.
pub(super) const USUAL_HEADER: &str = "X-Request-ID";

/// The id that the client has sent in this header, if it can be used.
pub fn of_client<'h>(head: &'h RequestHead, header: &'h str) -> Option<&'h str> {
    let mut values = head.values(header);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    let is_usable = !only.is_empty() && only.len() <= MAX_LEN && only.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(only).ok().filter(|_| is_usable)
}

/// A new one: 32 hex digits.
pub(super) fn made_up() -> String {
    let mut id = String::with_capacity(32);
    // Writing to a string cannot fail.
    let _ = write!(id, "{:032x}", fastrand::u128(..));
    id
}

/// The id of the trace that the client's `traceparent` names (W3C Trace Context §3.2.2).
pub(super) fn trace_id(head: &RequestHead) -> Option<&[u8]> {
    let value = head.values("traceparent").next()?;
    let id = value.get(3..35)?;
    let is_lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_valid = value.get(2) == Some(&b'-')
        && value.get(35) == Some(&b'-')
        && id.iter().all(is_lower_hex)
        && id.iter().any(|byte| *byte != b'0');
    is_valid.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> RequestHead {
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap().unwrap();
        head
    }

    #[test]
    fn ids_of_clients() {
        let f = |lines: &str, want: Option<&str>| assert_eq!(of_client(&head(lines), USUAL_HEADER), want, "{lines}");
        f("x-request-id: a/b=1\r\n", Some("a/b=1"));
        f("", None);
        f("X-Request-ID:\r\n", None);
        f("X-Request-ID: a b\r\n", None);
        f("X-Request-ID: a\r\nX-Request-ID: b\r\n", None);
        f(&format!("X-Request-ID: {}\r\n", "x".repeat(MAX_LEN)), Some(&"x".repeat(MAX_LEN)));
        f(&format!("X-Request-ID: {}\r\n", "x".repeat(MAX_LEN + 1)), None);
    }

    #[test]
    fn made_up_ids_differ() {
        let (a, b) = (made_up(), made_up());
        assert!(a != b && a.len() == 32 && a.bytes().all(|byte| byte.is_ascii_hexdigit()), "{a} {b}");
    }

    #[test]
    fn traces() {
        let f = |value: &str, want: Option<&str>| {
            let head = head(&format!("traceparent: {value}\r\n"));
            assert_eq!(trace_id(&head), want.map(str::as_bytes), "{value}");
        };
        f("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("0af7651916cd43dd8448eb211c80319c"));
        f("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        f("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
        f("00-0af7", None);
        f("", None);
    }
}
