//! The answer to a client that speaks plain HTTP to a TLS port.
//!
//! The first bytes are looked at before TLS sees them, because a TLS library answers them with an alert, which such a
//! client cannot read. The reply is constant and the connection closes after it; nothing of the request is logged.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What such a client gets before the connection closes.
const REPLY: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Bytes that [`looks_like_http`] needs for a firm answer.
const PROBE_LEN: usize = 5;

/// What is read of the request so that the reply is not lost in a reset, and how long that may take.
const MAX_DRAINED: usize = 64 << 10;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

const METHODS: [&[u8]; 10] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"TRACE ", b"CONNECT ", b"PRI * "];

/// Whether the connection begins with an HTTP request; then it has been answered and is of no more use.
///
/// Waits for the first bytes, at most for `limit`, and leaves them unread for TLS. A client that sends its first
/// letters one by one is taken for one that speaks TLS.
pub async fn refuse(stream: &mut TcpStream, limit: Duration) -> bool {
    let mut first = [0; PROBE_LEN];
    let Ok(Ok(length)) = timeout(limit, stream.peek(&mut first)).await else { return false };
    if !looks_like_http(first.get(..length).unwrap_or_default()) {
        return false;
    }
    let answer = async {
        stream.write_all(REPLY).await?;
        stream.shutdown().await?;
        let mut left = MAX_DRAINED;
        let mut buffer = [0; 4096];
        while let length @ 1.. = stream.read(&mut buffer).await? {
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Who does not read its answer does not get it.
    let _ = timeout(DRAIN_TIMEOUT, answer).await;
    true
}

/// Whether a connection begins as an HTTP request; a TLS record begins with a control byte.
///
/// Fewer than three bytes are never enough, from [`PROBE_LEN`] on the answer stays.
fn looks_like_http(first_bytes: &[u8]) -> bool {
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

    #[tokio::test]
    async fn the_answer_is_text_without_alert_bytes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let request = [b"POST / HTTP/1.1\r\n\r\n".as_slice(), &[b'x'; 10_000]].concat();
        client.write_all(&request).await.unwrap();
        let ask = async {
            let mut reply = Vec::new();
            client.read_to_end(&mut reply).await.unwrap();
            drop(client);
            reply
        };
        let (refused, reply) = tokio::join!(refuse(&mut server, Duration::from_secs(5)), ask);
        assert!(refused);
        assert_eq!(reply, REPLY);
    }

    #[tokio::test]
    async fn tls_is_left_unread() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        assert!(!refuse(&mut server, Duration::from_secs(5)).await);
        let mut first = [0; 5];
        server.read_exact(&mut first).await.unwrap();
        assert_eq!(first, [0x16, 3, 1, 2, 0]);
    }

    #[test]
    fn the_reply_has_the_length_of_its_connection() {
        let text = std::str::from_utf8(REPLY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 400 Bad Request\r\n") && !head.contains("  "));
        assert_eq!(body, "Client sent an HTTP request to an HTTPS server.\n");
    }
}
