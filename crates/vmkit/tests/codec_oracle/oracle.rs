//! Runs byte streams through hyper.

use std::cell::RefCell;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Message, Reply};

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    lines.sort();
    super::without_lengths(lines)
}

async fn play(mut end: DuplexStream, pieces: &[&[u8]]) {
    for piece in pieces {
        if end.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = end.shutdown().await;
    let mut seen = Vec::new();
    let _ = end.read_to_end(&mut seen).await;
}

/// The requests that hyper serves, bodies read to their end.
pub(crate) async fn serve(pieces: &[&[u8]]) -> Vec<Message> {
    let (server, client) = tokio::io::duplex(1 << 20);
    let messages = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let messages = messages.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            let host = parts.uri.authority().map(|authority| {
                let text = authority.as_str();
                text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned()
            });
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
            let method = parts.method.to_string();
            messages.borrow_mut().push(Message { method, target, host, headers: lines(&parts.headers), body });
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
    let (_, ()) = tokio::join!(connection, play(client, pieces));
    messages.take()
}

/// The reply that hyper reads.
pub(crate) async fn fetch(to_head: bool, pieces: &[&[u8]]) -> Option<Reply> {
    let (client, backend) = tokio::io::duplex(1 << 20);
    // RFC 9112 §5.1: a proxy removes the blanks before a colon of a reply; hyper does so when it is asked to.
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.allow_spaces_after_header_name_in_responses(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(client)).await.ok()?;
    let sending = async move {
        let mut backend = backend;
        let mut request = [0; 4];
        backend.read_exact(&mut request).await.ok()?;
        play(backend, pieces).await;
        Some(())
    };
    let reading = async move {
        let method = if to_head { "HEAD" } else { "GET" };
        let request =
            Request::builder().method(method).uri("/").header("host", "a").body(Empty::<Bytes>::new()).ok()?;
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes().to_vec();
        Some(Reply { status: parts.status.as_u16(), headers: lines(&parts.headers), body })
    };
    let (reply, _, _) = tokio::join!(reading, connection, sending);
    reply
}
