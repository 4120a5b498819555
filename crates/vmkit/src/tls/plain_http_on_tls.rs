//! The answer to a client that speaks plain HTTP to a TLS port.
//!
//! The acceptor peeks at the first bytes, or asks here after a failed handshake. The reply is constant and the
//! connection closes after it (spec server.md §3); nothing of the request is read or logged.

/// What such a client gets before the connection closes.
pub const REPLY: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Bytes that [`looks_like_http`] needs for a firm answer.
pub const PROBE_LEN: usize = 5;

const METHODS: [&[u8]; 10] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"TRACE ", b"CONNECT ", b"PRI * "];

/// Whether a connection begins as an HTTP request; a TLS record begins with a control byte.
///
/// Fewer than three bytes are never enough, from [`PROBE_LEN`] on the answer stays.
pub fn looks_like_http(first_bytes: &[u8]) -> bool {
    let probe = first_bytes.get(..PROBE_LEN).unwrap_or(first_bytes);
    probe.len() >= 3 && METHODS.iter().any(|method| method.iter().zip(probe).all(|(want, byte)| want == byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let f = |bytes: &[u8], want: bool| assert_eq!(looks_like_http(bytes), want, "{bytes:?}");
        f(b"GET / HTTP/1.1", true);
        f(b"OPTIO", true);
        f(b"PRI * HTTP/2.0", true);
        f(b"POS", true);
        f(b"PO", false);
        f(b"", false);
        f(b"GETX", false);
        f(b"get /", false);
        f(&[0x16, 3, 1, 2, 0, 1], false);
        f(b"SSH-2.0", false);
    }

    #[test]
    fn the_reply_has_the_length_of_its_connection() {
        let text = std::str::from_utf8(REPLY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 400 Bad Request\r\n") && !head.contains("  "));
        assert_eq!(body, "Client sent an HTTP request to an HTTPS server.\n");
    }
}
