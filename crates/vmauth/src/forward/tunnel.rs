//! Tunnels: after `101 Switching Protocols` bytes pass in both directions until both sides have ended theirs.
//!
//! Any protocol may be switched to but h2c: a cleartext HTTP/2 connection through the tunnel would carry requests that
//! nobody authenticates.

use vmkit::exchange::{ClientHalf, HeaderId, ReplyWriter, RequestBody, RequestHead, tokens};

use super::has_token;

/// The protocols the client wants to switch to, if it may; the value of `Upgrade`.
pub fn wanted(head: &RequestHead) -> Option<&[u8]> {
    let value = head.first(HeaderId::Upgrade)?;
    if !has_token(head, HeaderId::Connection, b"upgrade") || head.first(HeaderId::Http2Settings).is_some() {
        return None;
    }
    let is_h2c = |token: &[u8]| token.len() >= 3 && token[..3].eq_ignore_ascii_case(b"h2c");
    if tokens(value).next().is_none() || tokens(value).any(is_h2c) { None } else { Some(value) }
}

/// Passes bytes until both directions have ended or one of the connections fails.
pub async fn run(backend: &mut ClientHalf, client_body: &mut RequestBody<'_>, client: &mut ReplyWriter) {
    client_body.start_tunnel();
    backend.reply.start_tunnel();
    let (request, reply) = (&mut backend.request, &mut backend.reply);
    if client.send(&[], false).await.is_err() {
        return;
    }
    let up = async {
        while let Ok(Some(chunk)) = client_body.chunk().await {
            if request.send(chunk.data, false, false).await.is_err() {
                return false;
            }
        }
        request.shutdown().await.is_ok()
    };
    let down = async {
        while let Ok(Some(chunk)) = reply.chunk().await {
            if client.send(chunk.data, false).await.is_err() {
                return false;
            }
        }
        client.shutdown().await.is_ok()
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    // A direction that ended well leaves the other one open (half close); a failure ends both.
    let go_on = tokio::select! {
        clean = &mut up => clean && { down.await; false },
        clean = &mut down => clean && { up.await; false },
    };
    debug_assert!(!go_on, "BUG: both directions have ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols() {
        let f = |lines: &str, want: Option<&str>| {
            let mut head = RequestHead::default();
            head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
            assert_eq!(wanted(&head), want.map(str::as_bytes), "{lines:?}");
        };
        f("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", Some("websocket"));
        f("Upgrade: websocket\r\n", None);
        f("Connection: upgrade\r\n", None);
        f("Connection: Upgrade\r\nUpgrade: H2C\r\n", None);
        f("Connection: Upgrade\r\nUpgrade: websocket, h2c-16\r\n", None);
        f("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: x\r\nHTTP2-Settings: AAAA\r\n", None);
    }
}
