//! Tunnels: after `101 Switching Protocols` bytes pass in both directions until both sides have ended theirs.
//!
//! Any protocol may be switched to but HTTP itself, in cleartext (h2c) or in TLS: a connection of it through the tunnel
//! would carry requests that nobody authenticates.
//!
//! A tunnel is one long request: it ends with the credentials that opened it, when nothing has passed for too long, and
//! at a limit of its age.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use vmkit::exchange::{ClientExchange, HeaderId, ReplyWriter, RequestBody, RequestHead, tokens};

use super::Observer;
use super::record::Record;
use crate::ending::End;

/// The protocols the client wants to switch to, if it may.
pub fn wanted(head: &RequestHead) -> Option<&[u8]> {
    let value = head.upgrade()?;
    if head.first(HeaderId::Http2Settings).is_some() || tokens(value).next().is_none() || tokens(value).any(is_http) {
        return None;
    }
    Some(value)
}

/// How often it is looked whether a tunnel may go on.
const LOOK: Duration = Duration::from_secs(1);

/// When a tunnel ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct TunnelLimits {
    /// `-tunnelIdleTimeout`; `None` for no limit.
    pub idle: Option<Duration>,
    /// `-tunnelMaxDuration`; `None` for no limit.
    pub age: Option<Duration>,
}

/// Whether requests would follow: `h2c`, `HTTP/2.0`, `TLS/1.2`.
fn is_http(protocol: &[u8]) -> bool {
    [&b"h2c"[..], b"http/", b"tls/"]
        .iter()
        .any(|start| protocol.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
}

/// Passes bytes until both directions have ended, one of the connections fails or the tunnel may not go on; says how it
/// ended.
pub async fn run(
    backend: &mut ClientExchange,
    client_body: &mut RequestBody<'_>,
    client: &mut ReplyWriter,
    limits: TunnelLimits,
    observer: &dyn Observer,
    record: &Record,
) -> End {
    client_body.start_tunnel();
    backend.reply.start_tunnel();
    let (request, reply) = (&mut backend.request, &mut backend.reply);
    if client.send(&[], false).await.is_err() {
        return End::ByClient;
    }
    let last_active = Cell::new(Instant::now());
    let up = async {
        loop {
            match client_body.chunk().await {
                Ok(Some(chunk)) => {
                    request.send(chunk.data, false).await.map_err(|_| End::ByBackend)?;
                    record.received(chunk.data.len());
                    last_active.set(Instant::now());
                }
                Ok(None) => return request.shutdown().await.map_err(|_| End::ByBackend),
                Err(_) => return Err(End::ByClient),
            }
        }
    };
    let down = async {
        loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => {
                    client.send(chunk.data, false).await.map_err(|_| End::ByClient)?;
                    record.sent(chunk.data.len());
                    last_active.set(Instant::now());
                }
                Ok(None) => return client.shutdown().await.map_err(|_| End::ByClient),
                Err(_) => return Err(End::ByBackend),
            }
        }
    };
    // A direction that ended well leaves the other one open (half close); a failure ends both.
    let passing = async {
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            ended = &mut up => match ended {
                Ok(()) => down.await,
                failed => failed,
            },
            ended = &mut down => match ended {
                Ok(()) => up.await,
                failed => failed,
            },
        }
    };
    tokio::select! {
        ended = passing => ended.err().unwrap_or(End::Complete),
        () = until_it_must_end(limits, &last_active, observer) => End::ByLimit,
    }
}

/// Resolves when who sent a request may no longer do so: a call may be as long as a tunnel.
pub(super) async fn until_credentials_end(observer: &dyn Observer) {
    until_it_must_end(TunnelLimits { idle: None, age: None }, &Cell::new(Instant::now()), observer).await;
}

async fn until_it_must_end(limits: TunnelLimits, last_active: &Cell<Instant>, observer: &dyn Observer) {
    let begun = Instant::now();
    let is_over = |since: Instant, limit: Option<Duration>| limit.is_some_and(|limit| since.elapsed() >= limit);
    loop {
        sleep(LOOK).await;
        if is_over(last_active.get(), limits.idle) || is_over(begun, limits.age) || !observer.may_go_on().await {
            return;
        }
    }
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
        f("Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", None);
        f("Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", None);
        f("Connection: Upgrade\r\nUpgrade: h2\r\n", Some("h2"));
        f("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: x\r\nHTTP2-Settings: AAAA\r\n", None);
        let mut head = RequestHead::default();
        head.parse(b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(wanted(&head), None);
    }
}
