//! A `ClientExchange` over an HTTP/1 connection on a real socket: which connections may be used again, and what a broken one is called.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::exchange::{ClientExchange, Stream, WireStats};

async fn pair() -> (ClientExchange, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let half = ClientExchange::http1(Wire::new(Stream::Plain(client), Arc::new(WireStats::default())));
    (half, listener.accept().await.unwrap().0)
}

/// Writes a head without fields; it is sent with the body.
fn begin(half: &mut ClientExchange, method: &str, body: BodyKind) {
    half.begin(&RequestLine { method, target: b"/", authority: b"a", upgrade: None, wants_trailers: false });
    half.request.end_head(body);
}

/// One exchange; the backend answers with these bytes and keeps the connection.
async fn exchange(half: &mut ClientExchange, backend: &mut TcpStream, to_head: bool, reply: &str) -> Vec<u8> {
    begin(half, if to_head { "HEAD" } else { "GET" }, BodyKind::None);
    half.request.send(b"", true).await.unwrap();
    backend.write_all(reply.as_bytes()).await.unwrap();
    half.reply.read_head().await.unwrap();
    let mut body = Vec::new();
    while let Some(chunk) = half.reply.chunk().await.unwrap() {
        body.extend_from_slice(chunk.data);
    }
    body
}

#[tokio::test]
async fn reuse() {
    let f = async |reply: &str, to_head: bool, want_body: &str, want: bool| {
        let (mut half, mut backend) = pair().await;
        let body = exchange(&mut half, &mut backend, to_head, reply).await;
        assert_eq!((String::from_utf8(body).unwrap().as_str(), half.is_reusable()), (want_body, want), "{reply:?}");
        if want {
            let body = exchange(&mut half, &mut backend, false, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz").await;
            assert_eq!(body, b"z");
        }
    };
    f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, "ab", true).await;
    f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false, "ab", false).await;
    f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", false, "ab", false).await;
    f("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", false, "ab", false).await;
    f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false, "ab", true).await;
    f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n", false, "ab", true).await;
    f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nHTTP", false, "ab", false).await;
    f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true, "", true).await;
    f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true, "", false).await;
    f("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", false, "", true).await;
    f("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", false, "", false).await;
    f("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 204 x\r\n\r\n", false, "", true).await;
}

#[tokio::test]
async fn an_idle_connection_that_speaks_or_closes_is_noticed() {
    for speaks in [true, false] {
        let (mut half, mut backend) = pair().await;
        exchange(&mut half, &mut backend, false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(half.is_reusable() && half.is_idle_and_open());
        if speaks {
            backend.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        } else {
            backend.shutdown().await.unwrap();
        }
        while half.is_idle_and_open() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_request_that_was_not_sent_whole_forbids_reuse() {
    for whole in [true, false] {
        let (mut half, mut backend) = pair().await;
        begin(&mut half, "POST", BodyKind::Stream);
        half.request.send(b"a", false).await.unwrap();
        if whole {
            half.request.send(b"", true).await.unwrap();
        }
        backend.write_all(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        half.reply.read_head().await.unwrap();
        assert_eq!(half.is_reusable(), whole);
    }
}

#[tokio::test]
async fn errors_say_whether_the_reply_had_begun() {
    let f = async |reply: &str, want: &str, before_reply: bool| {
        let (mut half, mut backend) = pair().await;
        begin(&mut half, "GET", BodyKind::None);
        backend.write_all(reply.as_bytes()).await.unwrap();
        drop(backend);
        let error = half.reply.read_head().await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_before_reply()), (want, before_reply), "{reply:?}");
    };
    f("", "EOF", true).await;
    f("H", "unexpected EOF", false).await;
    f("HTTP/1.1 100 Continue\r\n\r\n", "unexpected EOF", false).await;
    let broken = "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
    f("SSH-2.0-x\"\r\n", &format!("{broken} \"SSH-2.0-x\\\"\""), false).await;
    let shown = "x".repeat(64);
    f(&"x".repeat(100), &format!("{broken} \"{shown}\""), false).await;
    f(
        "\u{15}\u{3}\u{1}\0\u{2}",
        &format!("{broken} \"\\x15\\x03\\x01\\x00\\x02\"; it speaks TLS on this port: write https://"),
        false,
    )
    .await;
    f("HTTP/1.1 2x0 OK\r\n\r\n", &format!("{broken}: malformed request"), false).await;
    let (mut half, mut backend) = pair().await;
    begin(&mut half, "GET", BodyKind::None);
    backend.write_all("HTTP/1.1 103 x\r\n\r\n".repeat(MAX_INTERIM + 1).as_bytes()).await.unwrap();
    assert!(matches!(half.reply.read_head().await, Err(ReplyError::TooManyInterim)));
}

#[tokio::test]
async fn a_body_until_the_end_of_the_connection() {
    let (mut half, mut backend) = pair().await;
    begin(&mut half, "GET", BodyKind::None);
    half.request.send(b"", true).await.unwrap();
    backend.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap();
    backend.shutdown().await.unwrap();
    half.reply.read_head().await.unwrap();
    assert_eq!(half.reply.chunk().await.unwrap().unwrap().data, b"abc");
    assert!(half.reply.chunk().await.unwrap().is_none());
    assert!(!half.is_reusable());
}

#[tokio::test]
async fn a_cut_off_body_is_an_error() {
    for reply in ["Content-Length: 9\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (mut half, mut backend) = pair().await;
        begin(&mut half, "GET", BodyKind::None);
        backend.write_all(format!("HTTP/1.1 200 OK\r\n{reply}").as_bytes()).await.unwrap();
        drop(backend);
        half.reply.read_head().await.unwrap();
        assert_eq!(half.reply.chunk().await.unwrap().unwrap().data, b"abc");
        assert!(matches!(half.reply.chunk().await, Err(BodyError::UnexpectedEof)));
        assert!(!half.is_reusable());
    }
}

/// What the backend reads of one request, up to its end.
async fn sent(write: impl AsyncFnOnce(&mut ClientExchange)) -> String {
    let (mut half, mut backend) = pair().await;
    write(&mut half).await;
    drop(half);
    let mut seen = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut backend, &mut seen).await.unwrap();
    seen
}

#[tokio::test]
async fn framing_is_written_behind_the_seam() {
    let line = RequestLine { method: "POST", target: b"/x?y", authority: b"h:1", upgrade: None, wants_trailers: false };
    let seen = sent(async |half| {
        half.begin(&line).line(b"X-A", b"1");
        half.request.end_head(BodyKind::Length(2));
        half.request.send(b"ab", true).await.unwrap();
    });
    assert_eq!(seen.await, "POST /x?y HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nab");
    let seen = sent(async |half| {
        half.begin(&RequestLine { upgrade: Some(b"websocket"), wants_trailers: true, ..line });
        half.request.end_head(BodyKind::None);
        half.request.send(b"", true).await.unwrap();
    });
    let options = "Connection: Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n";
    assert_eq!(seen.await, format!("POST /x?y HTTP/1.1\r\nHost: h:1\r\n{options}\r\n"));
    let mut trailers = HeaderList::default();
    trailers.push("X-T", b"1");
    let seen = sent(async |half| {
        half.begin(&line);
        half.request.announce_trailer(b"X-T");
        half.request.end_head(BodyKind::Stream);
        half.request.send(b"ab", false).await.unwrap();
        half.request.finish_with(&trailers).await.unwrap();
    });
    let head = "POST /x?y HTTP/1.1\r\nHost: h:1\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(seen.await, format!("{head}2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"));
}
