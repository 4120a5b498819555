//! One try at one backend: connect, send the request, wait for the head of the reply.
//!
//! The rest of a body that was not buffered is streamed while the reply is already awaited, so a backend may answer
//! early. Whatever happens here says who is at fault; what to do about it is decided by the caller.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::{
    BodyError, BodyKind, ClientExchange, Deadline, HeaderList, ReplyError, RequestBody, RequestHead, RequestLine,
    RequestWriter,
};

use super::form_stream::FormStream;
use super::record::Record;
use super::trailers;
use crate::rewrite::client_headers::{ForwardContext, write_request_headers};
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::header_rules::HeaderRules;
use crate::rewrite::jwt_placeholders::PlaceholderError;
use crate::upstream::pool::{Peer, Pool, Pooled};

/// A request ready to be sent, as often as needed, over whatever protocol the backend speaks.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// What the backend is asked for.
    pub line: RequestLine<'a>,
    /// The client's head, the source of the fields.
    pub head: &'a RequestHead,
    /// Rules of the route; what they decide cannot be changed by a trailer.
    pub rules: &'a HeaderRules,
    /// What the fields depend on besides.
    pub context: ForwardContext<'a>,
    /// What body the head announces.
    pub kind: BodyKind,
    /// What was read of the body.
    pub buffered: &'a [u8],
    /// Args to remove from the rest of a form on its way; `kind` is a stream then.
    pub filter: Option<&'a ProtectedArgs>,
    /// Whether `buffered` is all of it.
    pub complete: bool,
    /// Time for the reply head after the request was sent; zero for no limit.
    pub response_timeout: Duration,
    /// Where bytes and times are noted.
    pub record: &'a Record,
}

impl Outgoing<'_> {
    /// Writes the head into what is sent.
    fn write_head(&self, exchange: &mut ClientExchange) -> Result<(), PlaceholderError> {
        let mut fields = exchange.begin(&self.line);
        write_request_headers(&mut fields, self.head, self.rules, &self.context)?;
        if self.kind == BodyKind::Stream {
            for name in trailers::announced_by_request(self.head, self.rules) {
                exchange.request.announce_trailer(name);
            }
        }
        exchange.request.end_head(self.kind);
        Ok(())
    }

    /// Trailers of a body that was read to its end.
    fn trailers(&self, body: &RequestBody<'_>) -> HeaderList {
        match self.kind {
            BodyKind::Stream => trailers::of_request(body.trailers(), self.head, self.rules),
            BodyKind::None | BodyKind::Length(_) => HeaderList::default(),
        }
    }
}

/// A try that failed.
#[derive(Debug)]
pub enum TryError {
    /// The client has left.
    ClientGone,
    /// The client's body is malformed or ended too early.
    ClientBody(BodyError),
    /// A value of the token cannot be sent.
    Token(PlaceholderError),
    /// The proxy cannot open a connection, whoever the backend is.
    Own(String),
    /// The backend failed.
    Backend {
        /// Text for logs.
        cause: String,
        /// `broken pipe` or `reset by peer`: worth repeating at the same backend.
        trivial: bool,
        /// The connection had served before and died before the first byte of the reply.
        stale: bool,
        /// A connection was there, so the backend may have read the request.
        reached: bool,
    },
}

/// How far the request got when the reply head arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// Completely.
    Whole,
    /// The backend answered before the end of the body; the rest was not sent.
    Partly,
}

/// Sends the request over a pooled or a new connection and waits for the reply head.
///
/// `fresh` forbids a pooled connection.
pub async fn attempt(
    pool: &Pool,
    peer: &Peer,
    fresh: bool,
    outgoing: &Outgoing<'_>,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<(Pooled, Sent), TryError> {
    let pooled = if fresh { None } else { pool.take(peer) };
    let mut pooled = match pooled {
        Some(pooled) => pooled,
        None => {
            let began = outgoing.record.now();
            let dialled = tokio::select! {
                biased;
                dialled = pool.dial(peer) => dialled,
                () = body.gone() => return Err(TryError::ClientGone),
            };
            outgoing.record.connected(began);
            dialled.map_err(|error| match error.is_our_own() {
                true => TryError::Own(error.to_string()),
                false => TryError::Backend { cause: error.to_string(), trivial: false, stale: false, reached: false },
            })?
        }
    };
    outgoing.write_head(&mut pooled.exchange).map_err(TryError::Token)?;
    let (reused, began) = (pooled.reused, outgoing.record.now());
    let sent = exchange(&mut pooled, outgoing, body, deadline).await.map_err(|error| error.on(reused))?;
    outgoing.record.answered(began);
    Ok((pooled, sent))
}

/// Failures before they are told apart by the connection's history.
enum Failure {
    Client(TryError),
    Reply(ReplyError),
    Timeout,
}

impl Failure {
    fn on(self, reused: bool) -> TryError {
        match self {
            Self::Client(error) => error,
            Self::Timeout => TryError::Backend {
                cause: "net/http: timeout awaiting response headers".to_owned(),
                trivial: false,
                stale: false,
                reached: true,
            },
            Self::Reply(error) => TryError::Backend {
                trivial: is_trivial(&error),
                stale: reused && error.is_before_reply(),
                reached: true,
                cause: error.to_string(),
            },
        }
    }
}

fn is_trivial(error: &ReplyError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match error {
        ReplyError::Io { source, .. } => matches!(source.kind(), BrokenPipe | ConnectionReset),
        ReplyError::Eof { .. } | ReplyError::Malformed(_) => false,
    }
}

async fn exchange(
    pooled: &mut Pooled,
    outgoing: &Outgoing<'_>,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<Sent, Failure> {
    let ClientExchange { request, reply } = &mut *pooled.exchange;
    let mut form = outgoing.filter.map(FormStream::new);
    let mut filtered = Vec::new();
    let buffered = match &mut form {
        Some(form) => {
            form.push(&mut filtered, outgoing.buffered);
            &filtered
        }
        None => outgoing.buffered,
    };
    let trailers = if outgoing.complete { outgoing.trailers(body) } else { HeaderList::default() };
    let first = async {
        let ends = outgoing.complete && trailers.is_empty();
        request.send(buffered, ends).await?;
        if trailers.is_empty() { Ok(()) } else { request.finish_with(&trailers).await }
    };
    let mut written = tokio::select! {
        biased;
        written = first => written,
        () = body.gone() => return Err(Failure::Client(TryError::ClientGone)),
        // A backend that answers without reading may wait for its answer to be read: both would wait for ever.
        head = reply.read_head() => return head.map(|()| Sent::Partly).map_err(Failure::Reply),
    };
    if written.is_ok() && !outgoing.complete {
        let rest = async {
            match form {
                Some(form) => send_form(body, request, form, outgoing.record).await,
                None => send_rest(body, request, outgoing).await,
            }
        };
        let rest = pin!(rest);
        tokio::select! {
            biased;
            result = rest => match result {
                Ok(()) => {}
                Err(RestError::Client(error)) => return Err(Failure::Client(TryError::ClientBody(error))),
                Err(RestError::Backend(error)) => written = Err(error),
            },
            head = reply.read_head() => return head.map(|()| Sent::Partly).map_err(Failure::Reply),
        }
    }
    // A backend that stops reading may have answered already, such as 413: its reply says more than the failed write.
    if let Err(source) = written {
        let grace = tokio::time::timeout(Duration::from_secs(1), reply.read_head()).await;
        return match grace {
            Ok(Ok(())) => Ok(Sent::Partly),
            Ok(Err(_)) | Err(_) => Err(Failure::Reply(ReplyError::Io { begun: reply.has_begun(), source })),
        };
    }
    let timeout = outgoing.response_timeout;
    deadline.set(if timeout.is_zero() { None } else { Some(Instant::now() + timeout) });
    let head = std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(head) = reply.poll_head(cx) {
            return std::task::Poll::Ready(head.map_err(Failure::Reply));
        }
        if body.poll_gone(cx).is_ready() {
            return std::task::Poll::Ready(Err(Failure::Client(TryError::ClientGone)));
        }
        deadline.poll_passed(cx).map(|()| Err(Failure::Timeout))
    });
    head.await.map(|()| Sent::Whole)
}

enum RestError {
    Client(BodyError),
    Backend(std::io::Error),
}

/// Streams what was not buffered, then the trailers.
async fn send_rest(
    body: &mut RequestBody<'_>,
    request: &mut RequestWriter,
    outgoing: &Outgoing<'_>,
) -> Result<(), RestError> {
    loop {
        match body.chunk().await.map_err(RestError::Client)? {
            Some(chunk) => {
                let last = chunk.last;
                outgoing.record.received(chunk.data.len());
                request.send(chunk.data, last).await.map_err(RestError::Backend)?;
                if last {
                    return Ok(());
                }
            }
            None => {
                let sent = request.finish_with(&outgoing.trailers(body)).await;
                return sent.map_err(RestError::Backend);
            }
        }
    }
}

/// Streams the rest of a form without the args that the route enforces.
async fn send_form(
    body: &mut RequestBody<'_>,
    request: &mut RequestWriter,
    mut form: FormStream<'_>,
    record: &Record,
) -> Result<(), RestError> {
    let mut out = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(RestError::Client)? {
        let last = chunk.last;
        record.received(chunk.data.len());
        form.push(&mut out, chunk.data);
        if last {
            break;
        }
        if !out.is_empty() {
            request.send(&out, false).await.map_err(RestError::Backend)?;
            out.clear();
        }
    }
    form.finish(&mut out);
    request.send(&out, true).await.map_err(RestError::Backend)
}
