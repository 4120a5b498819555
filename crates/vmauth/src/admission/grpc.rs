//! Tells gRPC calls from other requests.
//!
//! The messages of a call may depend on those of its reply, so nothing of it may be waited for.

use vmkit::exchange::{HeaderId, RequestHead};

/// Types whose requests and replies are streams of messages: gRPC, gRPC-Web and the streams of Connect.
const TYPES: [&[u8]; 2] = [b"application/grpc", b"application/connect+"];

/// Whether the body may be a stream that goes on while the reply comes.
pub fn is_call(head: &RequestHead) -> bool {
    let Some(value) = head.first(HeaderId::ContentType) else { return false };
    TYPES.iter().any(|name| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let f = |content_type: &str, want: bool| {
            let mut head = RequestHead::default();
            head.parse(format!("POST / HTTP/1.1\r\nHost: a\r\n{content_type}\r\n").as_bytes()).unwrap();
            assert_eq!(is_call(&head), want, "{content_type:?}");
        };
        f("", false);
        f("Content-Type: application/grpc\r\n", true);
        f("Content-Type: Application/GRPC+proto\r\n", true);
        f("Content-Type: application/grpc-web-text\r\n", true);
        f("Content-Type: application/connect+json\r\n", true);
        f("Content-Type: application/json\r\n", false);
        f("Content-Type: application/grp\r\n", false);
    }
}
