//! One client connection from accept to close: PROXY header, TLS handshake, then the exchanges it carries.
//!
//! A malformed request is answered here and never reaches the application; the connection then closes, because
//! nobody knows where the next request would start.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::reused_futures::ReusedFutures;
use super::{Client, Handler, Listener, Request, Shared, builtin_routes};
use crate::exchange::{
    Deadline, Draining, Exchange, Exchanges, HeadError, HeaderList, Http1Server, Http2Server, Http2Settings, NoRequest,
    ReplyWriter, RequestBody, Stream, StreamExchange, Wire, reason,
};
use crate::net::proxy_protocol::{self, Parsed};
use crate::tls::client_identity::Subject;
use crate::tls::server_config::ServerTls;
use crate::tls::{handshake_error, plain_http_on_tls};

/// Time for a complete request head, and for the PROXY header.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Deadlines of streams that a worker keeps.
const MOST_DEADLINES: usize = 64;

/// What all connections of a worker share.
pub(super) struct Context<H> {
    pub(super) shared: Arc<Shared>,
    pub(super) handler: H,
    /// Begins when connections are to be closed after their current reply.
    pub(super) draining: Rc<Draining>,
    streams: Rc<ReusedFutures<OnStream<H>, Box<StreamExchange>>>,
    /// Those that no stream has: to arm a timer for each stream costs more than to move one.
    deadlines: RefCell<Vec<Deadline>>,
}

/// An exchange on a stream, and its connection.
type OnStream<H> = (Rc<Connection<H>>, Box<StreamExchange>);

impl<H: Handler> Context<H> {
    pub(super) fn new(shared: Arc<Shared>, handler: H) -> Self {
        let streams = Rc::new(ReusedFutures::new(serve_stream));
        Self { shared, handler, draining: Rc::default(), streams, deadlines: RefCell::default() }
    }
}

/// One connection, once it is known who is at its other end.
struct Connection<H> {
    context: Rc<Context<H>>,
    listener: Arc<Listener>,
    client: Client,
    /// Whether the connection may be closed at any time.
    idle: Rc<Cell<bool>>,
}

pub(super) async fn serve<H: Handler>(
    mut stream: TcpStream,
    addr: SocketAddr,
    listener: Arc<Listener>,
    context: Rc<Context<H>>,
    idle: Rc<Cell<bool>>,
) {
    let mut client = if listener.is_unix { Client::local() } else { Client::new(addr) };
    if listener.proxy_protocol {
        match tokio::time::timeout(HEAD_TIMEOUT, read_proxy_header(&mut stream)).await {
            Ok(Ok(Some(source))) => client = Client::new(source),
            Ok(Ok(None)) => {}
            Ok(Err(None)) | Err(_) => return,
            Ok(Err(Some(cause))) => {
                proxy_header_error(addr, &cause);
                let _ = stream.write_all(&refusal(400, "")).await;
                return;
            }
        }
    }
    let stream = match &listener.tls {
        None => Stream::Plain(stream),
        Some(tls) => match handshake(stream, tls, &mut client).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let limit = context.shared.options.write_limit;
    let wire = Wire::new(stream, listener.stats.clone()).with_write_limit(limit);
    let codec = listener.codec.clone();
    let connection = Connection { context, listener, client, idle };
    match codec {
        Some(codec) => codec.serve(wire, Rc::new(connection)).await,
        None => connection.serve(wire).await,
    }
}

impl<H: Handler> Connection<H> {
    /// Serves the protocol that TLS has negotiated, or that the first bytes on a plain listener speak.
    async fn serve(self, wire: Wire) {
        let http2 = self.context.shared.options.http2;
        if http2.on_tls && wire.speaks(b"h2") {
            return self.serve_http2(wire, Vec::new()).await;
        }
        let mut http = Http1Server::new(wire, self.context.draining.clone());
        http.set_head_budget(self.context.shared.heads.clone());
        if http2.on_plain && !self.client.tls {
            match tokio::time::timeout(HEAD_TIMEOUT, poll_fn(|cx| http.poll_is_http2(cx))).await {
                Ok(Some(false)) => {}
                Ok(Some(true)) => match http.into_parts() {
                    Some((wire, received)) => return self.serve_http2(wire, received).await,
                    None => return,
                },
                Ok(None) | Err(_) => return,
            }
        }
        self.http1_requests(&mut http).await;
        http.close().await;
    }

    /// Boxed: connections of HTTP/1 must not be larger for it.
    fn serve_http2(self, wire: Wire, received: Vec<u8>) -> Pin<Box<dyn Future<Output = ()>>> {
        let shared = &self.context.shared;
        let server = Http2Server::new(Http2Settings {
            max_streams: shared.options.http2.max_streams,
            max_head: shared.options.max_header_bytes,
            idle: shared.options.idle_conn_timeout,
            max_age: with_jitter(shared.options.conn_timeout),
            keep_alive: !shared.options.disable_keep_alive,
            heads: shared.heads.clone(),
            windows: shared.windows.clone(),
        });
        Box::pin(server.serve(wire, received, Rc::new(self)))
    }

    async fn http1_requests(&self, http: &mut Http1Server) {
        let options = &self.context.shared.options;
        let metrics = &self.context.shared.metrics;
        let accepted = Instant::now();
        let max_age = with_jitter(options.conn_timeout);
        let mut deadline = Deadline::new(accepted + HEAD_TIMEOUT);
        let mut wait_until = accepted + HEAD_TIMEOUT;
        loop {
            self.idle.set(!http.has_begun());
            deadline.set(Some(wait_until));
            match next_head(http, &mut deadline, &self.idle).await {
                Some(Ok(())) => {}
                Some(Err(NoRequest::Refused(error))) => {
                    metrics.malformed_requests.count(error);
                    // A client that does not take its refusal must not hold a connection for ever.
                    let _ = tokio::time::timeout(HEAD_TIMEOUT, refuse(http.reply(), error)).await;
                    return;
                }
                Some(Err(NoRequest::Closed)) | None => return,
            }
            self.idle.set(false);
            let exchange = http.exchange();
            let now = Instant::now();
            if !max_age.is_zero() && now.duration_since(accepted) > max_age {
                metrics.conn_timeout_closed.inc();
                exchange.reply.set_close();
            } else if options.disable_keep_alive {
                exchange.reply.set_close();
            }
            self.serve_exchange(exchange, &mut deadline, now).await;
            if !http.finish().await || self.context.draining.has_begun() {
                return;
            }
            wait_until = Instant::now() + options.idle_conn_timeout;
        }
    }

    /// Serves one exchange, whatever protocol has brought it, whose head came at `started`.
    async fn serve_exchange<'a>(&'a self, exchange: Exchange<'a>, deadline: &'a mut Deadline, started: Instant) {
        let shared = &self.context.shared;
        shared.metrics.requests_all.inc();
        let request = Request {
            path: exchange.head.path(),
            exchange,
            client: &self.client,
            deadline,
            started,
            common_lines: &shared.common_lines,
            shared,
        };
        builtin_routes::serve(request, &self.listener, shared, &self.context.handler).await;
    }
}

impl<H: Handler> Exchanges for Connection<H> {
    fn serve(self: Rc<Self>, exchange: Box<StreamExchange>) -> Pin<Box<dyn Future<Output = Box<StreamExchange>>>> {
        let streams = self.context.streams.clone();
        Box::pin(streams.call((self, exchange)))
    }

    fn refuse<'a>(&'a self, error: HeadError, reply: &'a mut ReplyWriter) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        self.context.shared.metrics.malformed_requests.count(error);
        Box::pin(refuse(reply, error))
    }

    fn broken(&self) {
        self.context.shared.metrics.malformed_requests.count_protocol();
    }

    fn aged(&self) {
        self.context.shared.metrics.conn_timeout_closed.inc();
    }

    fn draining(&self) -> &Rc<Draining> {
        &self.context.draining
    }

    fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }
}

/// Serves one exchange on a stream.
async fn serve_stream<H: Handler>((connection, mut exchange): OnStream<H>) -> Box<StreamExchange> {
    let now = Instant::now();
    let kept = connection.context.deadlines.borrow_mut().pop();
    let mut deadline = kept.unwrap_or_else(|| Deadline::new(now + HEAD_TIMEOUT));
    deadline.set(None);
    let StreamExchange { head, reply, body } = &mut *exchange;
    let body = RequestBody::stream(body, head.body());
    connection.serve_exchange(Exchange { head, body, reply }, &mut deadline, now).await;
    let mut deadlines = connection.context.deadlines.borrow_mut();
    if deadlines.len() < MOST_DEADLINES {
        deadlines.push(deadline);
    }
    drop(deadlines);
    exchange
}

/// The next request head; `None` when it does not come in time.
async fn next_head(
    http: &mut Http1Server,
    deadline: &mut Deadline,
    idle: &Cell<bool>,
) -> Option<Result<(), NoRequest>> {
    let begun = Cell::new(false);
    let mut has_head_deadline = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = http.poll_head(cx, &mut || begun.set(true)) {
            return Poll::Ready(Some(result));
        }
        if begun.get() && !has_head_deadline {
            has_head_deadline = true;
            idle.set(false);
            deadline.set(Some(Instant::now() + HEAD_TIMEOUT));
        }
        deadline.poll_passed(cx).map(|()| None)
    })
    .await
}

/// Answers a malformed request the way net/http does: nothing but the status, and the reason as text.
async fn refuse(reply: &mut ReplyWriter, error: HeadError) {
    let detail = match error {
        HeadError::MissingHost | HeadError::BadHost | HeadError::BadHeaderName | HeadError::BadVersion => {
            error.to_string()
        }
        HeadError::UnsupportedCoding => return send_refusal(reply, 501, Some("Unsupported transfer encoding")).await,
        _ => String::new(),
    };
    let status = error.status();
    if detail.is_empty() {
        return send_refusal(reply, status, None).await;
    }
    send_refusal(reply, status, Some(&format!("{}: {detail}", reason(status)))).await;
}

async fn send_refusal(reply: &mut ReplyWriter, status: u16, text: Option<&str>) {
    let standard = format!("{status} {}", reason(status));
    let body = match text {
        Some(text) if status == 501 => text.to_owned(),
        Some(text) => format!("{status} {text}"),
        None => standard,
    };
    let mut fields = HeaderList::default();
    fields.push("Content-Type", b"text/plain; charset=utf-8");
    reply.set_close();
    let _ = reply.send_all(status, &fields, body.as_bytes()).await;
}

/// A complete refusal for a connection that has no HTTP reader yet.
fn refusal(status: u16, text: &str) -> Vec<u8> {
    let body = if text.is_empty() { format!("{status} {}", reason(status)) } else { text.to_owned() };
    format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{body}",
        reason(status)
    )
    .into_bytes()
}

/// Reads exactly the PROXY header. `Err(None)` is a connection that was closed before its first byte.
async fn read_proxy_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Option<String>> {
    // Twelve bytes tell the versions apart and are shorter than any header.
    let mut header = vec![0; 12];
    match stream.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(None),
        Err(error) => return Err(Some(error.to_string())),
    }
    loop {
        match proxy_protocol::parse(&header) {
            Ok(Parsed::Complete { source, .. }) => return Ok(source),
            Ok(Parsed::Incomplete) => {}
            Err(error) => return Err(Some(error.to_string())),
        }
        // Version 2 tells its length at offset 14; version 1 ends with a line end that must not be overshot.
        let missing = match header.as_slice() {
            [b'P', ..] => 1,
            [_, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] => {
                (16 + usize::from(u16::from_be_bytes([*high, *low]))).saturating_sub(header.len()).max(1)
            }
            _ => 16 - header.len(),
        };
        let filled = header.len();
        header.resize(filled + missing, 0);
        stream.read_exact(&mut header[filled..]).await.map_err(|error| Some(error.to_string()))?;
    }
}

/// At most one line per 5 seconds and worker: a scanner must not fill the log.
fn proxy_header_error(addr: SocketAddr, cause: &str) {
    thread_local! {
        static LAST: Cell<(Option<Instant>, u64)> = const { Cell::new((None, 0)) };
    }
    let (last, dropped) = LAST.get();
    let now = Instant::now();
    if last.is_some_and(|last| now - last < Duration::from_secs(5)) {
        return LAST.set((last, dropped + 1));
    }
    LAST.set((Some(now), 0));
    crate::error!(
        "cannot read proxy proto conn for TCP addr \"{addr}\": {cause}. (Similar {dropped} log messages were dropped \
         due to throttling)"
    );
}

async fn handshake(mut stream: TcpStream, tls: &ServerTls, client: &mut Client) -> Option<Stream> {
    if plain_http_on_tls::refuse(&mut stream, HANDSHAKE_TIMEOUT).await {
        let addr = client.addr;
        crate::error!("http: TLS handshake error from {addr}: client sent an HTTP request to an HTTPS server");
        return None;
    }
    let addr = client.addr;
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(Some(stream))) => stream,
        Ok(Ok(None)) => return None,
        Ok(Err(error)) => {
            if !handshake_error::is_silent(&error) {
                crate::error!("http: TLS handshake error from {addr}: {}", handshake_error::text(&error));
            }
            return None;
        }
        Err(_) => {
            crate::error!("http: TLS handshake error from {addr}: timed out after {HANDSHAKE_TIMEOUT:?}");
            return None;
        }
    };
    client.tls = true;
    client.subject = Subject::of_connection(stream.get_ref().1);
    Some(Stream::Accepted(Box::new(stream)))
}

/// Adds up to a tenth, in whole seconds, so that connections opened together do not end together.
fn with_jitter(age: Duration) -> Duration {
    age + Duration::from_secs(fastrand::u64(0..=age.as_secs() / 10))
}

#[cfg(test)]
mod tests;
