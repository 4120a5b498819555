//! Credentials that belong to a connection instead of a request: NTLM, and Negotiate when it falls back to it.
//!
//! After such a handshake a backend takes everything on the connection for the same user (RFC 4559 §6). A connection on
//! which either side has spoken of them is closed after the exchange and never shared.

use vmkit::exchange::{HeaderId, RequestHead, ResponseHead, tokens};

/// Whether the client sends such credentials.
pub(super) fn is_sent(head: &RequestHead) -> bool {
    // Which of several lines a backend reads is its own business.
    head.headers().any(|line| line.id == HeaderId::Authorization && names_scheme(line.value))
}

/// Whether the backend asks for such credentials, or goes on with their handshake.
pub(super) fn is_asked_for(head: &ResponseHead) -> bool {
    let ids = [HeaderId::WwwAuthenticate, HeaderId::ProxyAuthenticate];
    ids.iter().any(|id| {
        head.first(*id).is_some()
            && head.headers().filter(|line| line.id == *id).any(|line| tokens(line.value).any(names_scheme))
    })
}

fn names_scheme(value: &[u8]) -> bool {
    let scheme = value.split(|b| *b == b' ').next().unwrap_or_default();
    [&b"ntlm"[..], b"negotiate", b"kerberos"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_side_tells() {
        let sent = |value: &str| {
            let mut head = RequestHead::default();
            head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {value}\r\n\r\n").as_bytes()).unwrap();
            is_sent(&head)
        };
        assert!(sent("Basic bnRsbQ==\r\nAuthorization: NTLM TlRMTVNT"));
        assert!(sent("NTLM TlRMTVNT") && sent("negotiate YII=") && !sent("Basic bnRsbQ==") && !sent("ntlmish x"));
        let asked = |lines: &str| {
            let mut head = ResponseHead::default();
            head.parse(format!("HTTP/1.1 401 x\r\n{lines}\r\n").as_bytes(), false).unwrap();
            is_asked_for(&head)
        };
        assert!(asked("WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"));
        assert!(asked("WWW-Authenticate: Basic realm=\"x\", NTLM\r\n") && !asked("WWW-Authenticate: Basic\r\n"));
    }
}
