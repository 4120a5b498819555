//! An `Http1Server` over a real socket: what it keeps, what it closes, and what the client gets to see.

use std::io::IoSlice;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::exchange::{HeaderList, ReplyBody, Stream, WireStats};

fn no_fields() -> HeaderList {
    HeaderList::default()
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

fn server_of(server: TcpStream) -> Http1Server {
    Http1Server::new(Wire::new(Stream::Plain(server), Arc::new(WireStats::default())), Rc::default())
}

async fn pair() -> (Http1Server, TcpStream) {
    let (server, client) = sockets().await;
    (server_of(server), client)
}

async fn next_path(half: &mut Http1Server) -> Result<String, NoRequest> {
    poll_fn(|cx| half.poll_head(cx, &mut || ())).await?;
    Ok(String::from_utf8_lossy(half.head.path()).into_owned())
}

async fn answer(half: &mut Http1Server, status: u16) -> bool {
    half.exchange().reply.send_all(status, &no_fields(), b"ok").await.unwrap();
    half.finish().await
}

/// Everything the client can still read, as text.
async fn rest_of(mut client: TcpStream) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Closes the server's side while the client reads to the end and leaves, so that nobody lingers.
async fn close_and_read(half: Http1Server, client: TcpStream) -> String {
    tokio::join!(rest_of(client), half.close()).0
}

#[tokio::test]
async fn keep_alive_decision() {
    let f = async |head: &str, want: bool| {
        let (mut half, mut client) = pair().await;
        client.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        next_path(&mut half).await.unwrap();
        assert_eq!(answer(&mut half, 200).await, want, "{head:?}");
        let seen = close_and_read(half, client).await;
        assert_eq!(seen.contains("Connection: close\r\n"), !want, "{seen:?}");
        let is_old = head.contains("HTTP/1.0");
        assert_eq!(seen.contains("Connection: keep-alive\r\n"), want && is_old, "{seen:?}");
    };
    f("GET / HTTP/1.1\r\nHost: a", true).await;
    f("GET / HTTP/1.1\r\nHost: a\r\nConnection: close", false).await;
    f("HEAD / HTTP/1.1\r\nHost: a", true).await;
    f("GET / HTTP/1.0", false).await;
    f("GET / HTTP/1.0\r\nConnection: Keep-Alive", true).await;
    f("GET / HTTP/1.0\r\nConnection: keep-alive, close", false).await;
    f("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3", false).await;
    f("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0", true).await;
    f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000", false).await;
}

#[tokio::test]
async fn head_in_two_pieces_split_anywhere() {
    let wire = b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 1..wire.len() {
        let (mut half, mut client) = pair().await;
        let (first, second) = wire.split_at(at);
        let writing = async {
            client.write_all(first).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(second).await.unwrap();
        };
        let serving = async {
            assert_eq!(next_path(&mut half).await.unwrap(), "/a", "split at {at}");
            assert_eq!(half.exchange().body.chunk().await.unwrap().unwrap().data.first(), Some(&b'a'));
            assert!(answer(&mut half, 200).await);
            assert_eq!(next_path(&mut half).await.unwrap(), "/b", "split at {at}");
        };
        tokio::join!(writing, serving);
    }
}

#[tokio::test]
async fn an_unread_body_is_skipped_whatever_it_looks_like() {
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\nX: y\r\n\r\n", inner.len()),
    ] {
        for read in [false, true] {
            let (mut half, mut client) = pair().await;
            let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
            client.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}{next}").as_bytes()).await.unwrap();
            next_path(&mut half).await.unwrap();
            if read {
                half.exchange().body.chunk().await.unwrap();
            }
            assert!(answer(&mut half, 401).await);
            assert_eq!(next_path(&mut half).await.unwrap(), "/next", "{framing:?} {read}");
        }
    }
}

/// The last piece of a body that is too long to be skipped must not be taken for a request.
#[tokio::test]
async fn an_unread_chunked_body_beyond_the_limit_ends_the_connection() {
    let (mut half, mut client) = pair().await;
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let filler = "x".repeat(MAX_DRAINED);
    let wire = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{filler}\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
        filler.len(),
        inner.len()
    );
    let serving = async {
        next_path(&mut half).await.unwrap();
        assert!(!answer(&mut half, 401).await);
    };
    let (written, ()) = tokio::join!(client.write_all(wire.as_bytes()), serving);
    written.unwrap();
}

#[tokio::test]
async fn a_malformed_body_ends_the_connection_and_says_so() {
    let (mut half, mut client) = pair().await;
    let wire =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nGET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(wire.as_bytes()).await.unwrap();
    next_path(&mut half).await.unwrap();
    half.exchange().body.chunk().await.unwrap_err();
    assert!(!answer(&mut half, 400).await);
    assert!(close_and_read(half, client).await.contains("Connection: close\r\n"));
}

#[tokio::test]
async fn a_refusal_after_head_has_its_body() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    assert!(answer(&mut half, 200).await);
    assert!(matches!(next_path(&mut half).await, Err(NoRequest::Refused(_))));
    half.reply().send_all(400, &no_fields(), b"the reason").await.unwrap();
    let seen = close_and_read(half, client).await;
    assert!(seen.ends_with("Connection: close\r\n\r\nthe reason"), "{seen:?}");
}

#[tokio::test]
async fn bare_line_feeds_before_a_request_are_refused() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"\r\n\n").await.unwrap();
    assert!(matches!(next_path(&mut half).await, Err(NoRequest::Refused(HeadError::BareLf))));
}

#[tokio::test]
async fn continue_is_sent_once_and_only_to_who_waits() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    for sent_with_head in ["", "a"] {
        let (mut half, mut client) = pair().await;
        client.write_all(format!("{head}{sent_with_head}").as_bytes()).await.unwrap();
        next_path(&mut half).await.unwrap();
        let reading = async {
            let mut exchange = half.exchange();
            let mut read = 0;
            while let Some(chunk) = exchange.body.chunk().await.unwrap() {
                read += chunk.data.len();
            }
            assert_eq!(read, 2);
        };
        let writing = async {
            if sent_with_head.is_empty() {
                let mut interim = [0; 25];
                client.read_exact(&mut interim).await.unwrap();
                assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
                client.write_all(b"a").await.unwrap();
            }
            client.write_all(b"b").await.unwrap();
        };
        tokio::join!(reading, writing);
        assert!(answer(&mut half, 200).await);
        drop(half);
        let seen = rest_of(client).await;
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen:?}");
    }
}

/// Polls a future once and drops it.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn no_continue_comes_into_a_reply_that_was_begun() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let mut exchange = half.exchange();
    exchange.reply.begin(200);
    exchange.reply.end_head(ReplyBody::Stream);
    exchange.reply.send(b"early", false).await.unwrap();
    assert!(poll_once(exchange.body.chunk()).await.is_none());
    exchange.reply.finish().await.unwrap();
    assert!(!half.finish().await);
    let seen = close_and_read(half, client).await;
    assert!(seen.ends_with("Connection: close\r\n\r\n5\r\nearly\r\n0\r\n\r\n"), "{seen:?}");
}

/// A server socket that takes no more bytes, because its client reads none.
async fn stuffed() -> (Http1Server, TcpStream) {
    let (server, client) = sockets().await;
    server.writable().await.unwrap();
    while server.try_write(&[b'x'; 65536]).is_ok() {}
    (server_of(server), client)
}

#[tokio::test]
async fn nothing_follows_a_continue_that_may_be_cut_off() {
    let (mut half, mut client) = stuffed().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let mut exchange = half.exchange();
    assert!(poll_once(exchange.body.chunk()).await.is_none());
    assert!(exchange.reply.send_all(408, &no_fields(), b"").await.is_err());
    assert!(!half.finish().await);
}

#[tokio::test]
async fn nothing_follows_a_reply_that_may_be_cut_off() {
    let (mut half, mut client) = stuffed().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let reply = half.exchange().reply;
    assert!(poll_once(reply.send_all(200, &no_fields(), b"body")).await.is_none());
    assert!(reply.send(b"more", true).await.is_err());
    assert!(reply.finish().await.is_err());
    assert!(!half.finish().await);
}

#[tokio::test]
async fn a_short_reply_ends_the_connection_before_its_announced_end() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let reply = half.exchange().reply;
    reply.begin(200);
    reply.end_head(ReplyBody::Length(10));
    reply.send(b"half", false).await.unwrap();
    assert!(reply.finish().await.is_err());
    assert!(!half.finish().await);
    assert!(close_and_read(half, client).await.ends_with("Content-Length: 10\r\n\r\nhalf"));
}

#[tokio::test]
async fn bytes_beyond_the_announced_length_are_not_sent() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let reply = half.exchange().reply;
    reply.begin(200);
    reply.end_head(ReplyBody::Length(4));
    reply.send(b"fourHTTP/1.1 200 OK\r\n", false).await.unwrap();
    reply.send(b"HTTP/1.1", true).await.unwrap();
    assert!(half.finish().await);
    drop(half);
    assert!(rest_of(client).await.ends_with("\r\n\r\nfour"));
}

#[tokio::test]
async fn an_old_client_sees_that_a_streamed_reply_is_cut_off() {
    for complete in [true, false] {
        let (mut half, mut client) = pair().await;
        client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        next_path(&mut half).await.unwrap();
        let reply = half.exchange().reply;
        reply.begin(200);
        reply.end_head(ReplyBody::Stream);
        reply.send(b"first", complete).await.unwrap();
        assert!(!half.finish().await);
        // The client closes at once, so that a lingering close need not wait.
        let closing = half.close();
        let mut seen = Vec::new();
        let (ended, ()) = tokio::join!(
            async {
                let ended = client.read_to_end(&mut seen).await;
                drop(client);
                ended
            },
            closing
        );
        assert_eq!(ended.is_ok(), complete);
    }
}

#[tokio::test]
async fn a_client_that_still_sends_can_read_its_refusal() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    assert!(!answer(&mut half, 413).await);
    let sending = async {
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        rest_of(client).await
    };
    let (seen, ()) = tokio::join!(sending, half.close());
    assert!(seen.starts_with("HTTP/1.1 413 ") && seen.ends_with("ok"), "{seen:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_after_the_last_piece() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET").await.unwrap();
    next_path(&mut half).await.unwrap();
    let mut exchange = half.exchange();
    assert!(exchange.body.chunk().await.unwrap().unwrap().last);
    assert!(poll_once(exchange.body.gone()).await.is_none());
    drop(client);
    exchange.body.gone().await;
    assert_eq!(half.reader.unread(), b"GET");
}

#[tokio::test]
async fn a_tunnel_begins_behind_the_last_piece() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabraw").await.unwrap();
    next_path(&mut half).await.unwrap();
    let mut exchange = half.exchange();
    assert_eq!(exchange.body.chunk().await.unwrap().unwrap().data, b"ab");
    exchange.body.start_tunnel();
    assert_eq!(exchange.body.chunk().await.unwrap().unwrap().data, b"raw");
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let (mut half, mut client) = pair().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    next_path(&mut half).await.unwrap();
    let mut body = Vec::new();
    for piece in ["3", "\r\nab", "c", "\r", "\n2\r\nde\r\n", "0\r", "\n\r", "\n"] {
        let mut exchange = half.exchange();
        while let Some(Ok(Some(chunk))) = poll_once(exchange.body.chunk()).await {
            body.extend_from_slice(chunk.data);
        }
        client.write_all(piece.as_bytes()).await.unwrap();
    }
    while let Some(chunk) = half.exchange().body.chunk().await.unwrap() {
        body.extend_from_slice(chunk.data);
    }
    assert_eq!(body, b"abcde");
    assert!(answer(&mut half, 200).await);
}

#[tokio::test]
async fn heads_beyond_the_limit_are_refused() {
    let (mut half, mut client) = pair().await;
    let sending = async {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await.unwrap();
        client.write_all(&vec![b'x'; super::super::head_budget::MAX_HEAD]).await.unwrap();
    };
    let ((), found) = tokio::join!(sending, next_path(&mut half));
    assert!(matches!(found, Err(NoRequest::Refused(HeadError::TooLarge))));
}

#[tokio::test]
async fn trailers_reach_who_takes_them() {
    let f = async |lines: &str, want_announced: bool, want_end: &str| {
        let (mut half, mut client) = pair().await;
        client.write_all(format!("GET / HTTP/1.{lines}\r\n\r\n").as_bytes()).await.unwrap();
        next_path(&mut half).await.unwrap();
        let reply = half.exchange().reply;
        reply.begin(200);
        if reply.takes_trailers() {
            reply.announce_trailer(b"X-T");
        }
        reply.end_head(ReplyBody::Stream);
        reply.send(b"ab", false).await.unwrap();
        let mut trailers = HeaderList::default();
        trailers.push("X-T", b"1");
        reply.finish_with(&trailers).await.unwrap();
        half.finish().await;
        let seen = close_and_read(half, client).await;
        assert_eq!(seen.contains("\r\nTrailer: X-T\r\n"), want_announced, "{seen:?}");
        assert!(seen.ends_with(want_end), "{seen:?}");
    };
    f("1\r\nHost: a\r\nTE: trailers", true, "\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n").await;
    f("1\r\nHost: a", false, "\r\n2\r\nab\r\n0\r\n\r\n").await;
    f("0\r\nTE: trailers", false, "\r\n\r\nab").await;
}

/// What nobody knows the length of cannot be promised to be skipped.
#[tokio::test]
async fn a_reply_before_the_end_of_a_chunked_body_announces_the_close() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (arrived, want) in [("3\r\nabc\r\n", false), ("", false), ("3\r\nabc\r\n0\r\n\r\n", true)] {
        let (mut half, mut client) = pair().await;
        client.write_all(format!("{head}{arrived}").as_bytes()).await.unwrap();
        next_path(&mut half).await.unwrap();
        assert_eq!(answer(&mut half, 401).await, want, "{arrived:?}");
        client.shutdown().await.unwrap();
        let seen = close_and_read(half, client).await;
        assert_eq!(seen.contains("Connection: close\r\n"), !want, "{arrived:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_ends_its_reply() {
    let (server, _client) = sockets().await;
    let wire = Wire::new(Stream::Plain(server), Arc::new(WireStats::default()));
    let wire = wire.with_write_limit(Some(Duration::from_millis(20)));
    let piece = vec![b'x'; 1 << 20];
    let error = loop {
        if let Err(error) = wire.write_all(&mut [IoSlice::new(&piece)]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn large_heads_share_a_budget_and_give_it_back() {
    let budget = HeadBudget::new(1 << 20, 300_000);
    let wire = |server| Wire::new(Stream::Plain(server), Arc::new(WireStats::default()));
    let head = format!("GET /large HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let connect = async || {
        let (server, mut client) = sockets().await;
        let mut half = Http1Server::new(wire(server), Rc::default());
        half.set_head_budget(budget.clone());
        let bytes = head.clone();
        tokio::spawn(async move {
            let _ = client.write_all(bytes.as_bytes()).await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        });
        half
    };
    let (mut first, mut second, mut third) = (connect().await, connect().await, connect().await);
    assert_eq!(next_path(&mut first).await.unwrap(), "/large");
    assert_eq!(next_path(&mut second).await.unwrap(), "/large");
    assert!(matches!(next_path(&mut third).await, Err(NoRequest::Refused(HeadError::TooLarge))));
    assert!(answer(&mut first, 200).await);
    drop((first, third));
    let mut fourth = connect().await;
    assert_eq!(next_path(&mut fourth).await.unwrap(), "/large");
}

#[tokio::test]
async fn the_largest_head_can_be_set() {
    let (server, mut client) = sockets().await;
    let wire = Wire::new(Stream::Plain(server), Arc::new(WireStats::default()));
    let mut half = Http1Server::new(wire, Rc::default());
    half.set_head_budget(HeadBudget::new(1000, 1 << 20));
    client.write_all(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1000)).as_bytes()).await.unwrap();
    assert!(matches!(next_path(&mut half).await, Err(NoRequest::Refused(HeadError::TooLarge))));
}
