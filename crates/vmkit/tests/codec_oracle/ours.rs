//! Runs byte streams through our codec over loopback sockets.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vmkit::exchange::{
    BodyKind, ClientExchange, HeadError, HeaderLine, HeaderList, Http1Server, NoRequest, RequestLine, Stream, Wire,
    WireStats,
};

use super::{Message, Reply};

/// Why no further request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client had nothing more to say.
    Closed,
    /// The last reply ended the connection.
    NotKept,
    /// A head was refused.
    Refused(HeadError),
    /// A body was malformed or ended too early.
    BadBody,
}

/// What came of a stream of requests.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) messages: Vec<Message>,
    pub(crate) end: End,
    /// What the client has read up to the end of the connection.
    pub(crate) replies: String,
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (listener.accept().await.unwrap().0, client)
}

fn wire(socket: TcpStream) -> Wire {
    Wire::new(Stream::Plain(socket), Arc::new(WireStats::default()))
}

fn lines<'a>(headers: impl Iterator<Item = HeaderLine<'a>>) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> =
        headers.map(|line| (String::from_utf8_lossy(line.name).to_ascii_lowercase(), line.value.to_vec())).collect();
    lines.sort();
    super::without_lengths(lines)
}

/// Serves the stream to its end; a refusal is answered and ends the connection, as the server does it.
pub(crate) async fn serve(pieces: &[&[u8]]) -> Served {
    let (server, client) = sockets().await;
    let (mut reader, mut writer) = client.into_split();
    let sending = async move {
        for piece in pieces {
            // The server may have closed already.
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(writer);
    };
    let reading = async move {
        let mut seen = Vec::new();
        let _ = reader.read_to_end(&mut seen).await;
        String::from_utf8_lossy(&seen).into_owned()
    };
    let ((), replies, (messages, end)) = tokio::join!(sending, reading, answer_all(server));
    Served { messages, end, replies }
}

async fn answer_all(server: TcpStream) -> (Vec<Message>, End) {
    let mut half = Http1Server::new(wire(server), Rc::default());
    let mut messages = Vec::new();
    let end = loop {
        match poll_fn(|cx| half.poll_head(cx, &mut || ())).await {
            Ok(()) => {}
            Err(NoRequest::Closed) => break End::Closed,
            Err(NoRequest::Refused(error)) => {
                half.reply().set_close();
                let _ = half.reply().send_all(error.status(), &HeaderList::default(), b"").await;
                break End::Refused(error);
            }
        }
        let mut exchange = half.exchange();
        let head = exchange.head;
        let path = if head.path().is_empty() { b"/" } else { head.path() };
        let mut target = String::from_utf8_lossy(path).into_owned();
        if let Some(query) = head.query() {
            target.push('?');
            target.push_str(&String::from_utf8_lossy(query));
        }
        let host = head.is_absolute().then(|| String::from_utf8_lossy(head.host()).into_owned());
        let mut message = Message {
            method: head.method().to_owned(),
            target,
            host,
            headers: lines(head.headers()),
            body: Vec::new(),
        };
        let read = loop {
            match exchange.body.chunk().await {
                Ok(Some(chunk)) => message.body.extend_from_slice(chunk.data),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let status = if read { 200 } else { 400 };
        let sent = exchange.reply.send_all(status, &HeaderList::default(), b"ok").await;
        if read {
            messages.push(message);
        }
        match (read, half.finish().await && sent.is_ok()) {
            (false, kept) => {
                assert!(!kept, "a malformed body must end the connection");
                break End::BadBody;
            }
            (true, false) => break End::NotKept,
            (true, true) => {}
        }
    };
    half.close().await;
    (messages, end)
}

/// Reads one reply, and says whether the connection could be used again.
pub(crate) async fn fetch(to_head: bool, pieces: &[&[u8]]) -> Option<(Reply, bool)> {
    let (backend, client) = sockets().await;
    backend.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = backend.into_split();
    let sending = async move {
        reader.readable().await.unwrap();
        for piece in pieces {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(writer);
        let mut request = Vec::new();
        let _ = reader.read_to_end(&mut request).await;
    };
    let reading = async move {
        let mut half = ClientExchange::http1(wire(client));
        let method = if to_head { "HEAD" } else { "GET" };
        half.begin(&RequestLine { method, target: b"/", authority: b"a", upgrade: None, wants_trailers: false });
        half.request.end_head(BodyKind::None);
        half.request.send(b"", true).await.ok()?;
        half.reply.read_head().await.ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = half.reply.chunk().await.ok()? {
            body.extend_from_slice(chunk.data);
        }
        let head = half.reply.head();
        let reply = Reply { status: head.status(), headers: lines(head.headers()), body };
        let reusable = half.is_reusable();
        Some((reply, reusable))
    };
    tokio::join!(sending, reading).1
}
