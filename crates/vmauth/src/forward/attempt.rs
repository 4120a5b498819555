//! One try at one backend: connect, send the request, wait for the head of the reply.
//!
//! The rest of a body that was not buffered is streamed while the reply is already awaited, so a backend may answer
//! early. Whatever happens here says who is at fault; what to do about it is decided by the caller.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::{
    BodyError, BodyKind, ClientExchange, Deadline, HeaderList, PeerWatch, Refusal, ReplyError, ReplyReader,
    RequestBody, RequestLine, RequestWriter,
};
use vmkit::units::GoDuration;

use super::form_stream::FormStream;
use super::record::Record;
use super::trailers;
use super::upload::{Source, Upload, UploadError};
use crate::ending::RequestError;
use crate::rewrite::client_headers::{ForwardContext, write_request_headers};
use crate::rewrite::jwt_placeholders::PlaceholderError;
use crate::upstream::fault::Fault;
use crate::upstream::peer::Peer;
use crate::upstream::pool::{Pool, Pooled, Wanted};
use crate::upstream::timeouts::Timeouts;

/// A request ready to be sent, as often as needed, over whatever protocol the backend speaks.
#[derive(Debug)]
pub struct Outgoing<'l, 'a> {
    /// What the backend is asked for.
    pub line: RequestLine<'l>,
    /// The client's head, the rules of the route, and the body.
    pub source: Source<'a>,
    /// What the fields depend on besides.
    pub context: ForwardContext<'l>,
    /// Time for the reply head after the request was sent, of the route or else of the flag; zero for no limit.
    pub response_timeout: Duration,
    /// Whether it matters when the request was sent.
    pub is_timed: bool,
    /// Limits of the route.
    pub timeouts: Timeouts,
}

impl Outgoing<'_, '_> {
    /// Writes the head into what is sent.
    fn write_head(&self, exchange: &mut ClientExchange) -> Result<(), PlaceholderError> {
        let Source { head, rules, kind, .. } = self.source;
        let mut fields = exchange.begin(&self.line);
        write_request_headers(&mut fields, head, rules, &self.context)?;
        if kind == BodyKind::Stream {
            for name in trailers::announced_by_request(head, rules) {
                exchange.request.announce_trailer(name);
            }
        }
        exchange.request.end_head(kind);
        exchange.request.limit_writes(Some(self.response_timeout).filter(|limit| !limit.is_zero()));
        Ok(())
    }
}

/// A try that failed.
#[derive(Debug)]
pub enum TryError {
    /// The request cannot go on, whoever the backend is.
    Request(RequestError),
    /// The backend failed.
    Backend(BackendFailure),
}

/// What a failed try tells about its backend.
#[derive(Debug)]
pub struct BackendFailure {
    /// Text for logs.
    pub cause: String,
    /// The kind of failure.
    pub fault: Fault,
    /// `broken pipe` or `reset by peer`: worth repeating at the same backend.
    pub trivial: bool,
    /// The connection had served before and died before the first byte of the reply.
    pub stale: bool,
    /// A connection was there, so the backend may have read the request.
    pub reached: bool,
    /// The backend has said that it did not take the request.
    pub refused: bool,
    /// The same, because it ends the connection: another one may well take it.
    pub moved: bool,
    /// The same, because it wants HTTP/1.1 for it.
    pub wants_http1: bool,
    /// The connection goes on: the backend lives, whatever became of this request.
    pub alive: bool,
}

impl BackendFailure {
    /// A failure of which nothing else is known.
    fn new(cause: String, fault: Fault) -> Self {
        Self {
            cause,
            fault,
            trivial: false,
            stale: false,
            reached: false,
            refused: false,
            moved: false,
            wants_http1: false,
            alive: false,
        }
    }

    /// The backend took too long.
    fn timeout(cause: String) -> Self {
        Self { reached: true, ..Self::new(cause, Fault::Timeout) }
    }
}

/// How far the request got when the reply head arrived.
#[derive(Debug)]
pub enum Sent<'a> {
    /// Completely.
    Whole,
    /// The backend answered before the end of the body; the rest was not sent.
    Partly,
    /// The same, and the rest can be sent beside the reply.
    Going(Box<Upload<'a>>),
}

/// Sends the request over a pooled or a new connection and waits for the reply head.
pub async fn attempt<'a>(
    pool: &Pool,
    peer: &Peer,
    wanted: Wanted,
    outgoing: &Outgoing<'_, 'a>,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<(Pooled, Sent<'a>), TryError> {
    let changes_protocol = outgoing.line.upgrade.is_some() && peer.upgrades_over_http1();
    let wanted = if changes_protocol { wanted.over_http1() } else { wanted };
    let mut pooled = match pool.take(peer, wanted) {
        Some(pooled) => pooled,
        None => {
            let began = outgoing.source.record.now();
            let dialled = tokio::select! {
                biased;
                dialled = pool.dial(peer, wanted, outgoing.timeouts.connect) => dialled,
                () = body.gone() => return Err(TryError::Request(RequestError::ClientGone)),
            };
            outgoing.source.record.connected(began);
            dialled.map_err(|error| match error.is_our_own() {
                true => TryError::Request(RequestError::NoConnection { cause: error.to_string() }),
                false => TryError::Backend(BackendFailure::new(error.to_string(), error.fault())),
            })?
        }
    };
    outgoing
        .write_head(&mut pooled.exchange)
        .map_err(|error| TryError::Request(RequestError::BadHeaderValue(error)))?;
    let (reused, began) = (pooled.reused, outgoing.source.record.now());
    let sent = match pooled.exchange.is_stream() {
        false => exchange(&mut pooled, outgoing, body, deadline).await,
        // Boxed, so that an exchange in HTTP/1 needs no room for it.
        true => Box::pin(exchange_on_stream(&mut pooled, outgoing, body, deadline)).await,
    };
    let sent = sent.map_err(|error| error.on(reused))?;
    // Whoever has answered may take the rest as slowly as it likes.
    pooled.exchange.request.limit_writes(None);
    outgoing.source.record.answered(began);
    Ok((pooled, sent))
}

/// Failures before they are told apart by the connection's history.
enum Failure {
    Request(RequestError),
    Reply(ReplyError),
    /// The backend has taken nothing of the request for so long.
    Stalled(Duration),
    /// With the limit of the route, if it was that.
    Timeout(Option<Duration>),
}

impl Failure {
    fn on(self, reused: bool) -> TryError {
        match self {
            Self::Request(error) => TryError::Request(error),
            Self::Timeout(limit) => TryError::Backend(BackendFailure::timeout(timeout_text(limit))),
            Self::Stalled(limit) => {
                let limit = GoDuration::from(limit);
                let cause = format!("the backend has taken nothing of the request for {limit}");
                TryError::Backend(BackendFailure::timeout(cause))
            }
            Self::Reply(error) => TryError::Backend(BackendFailure {
                trivial: is_trivial(&error),
                fault: if error.is_malformed() { Fault::Malformed } else { Fault::Cut },
                stale: reused && error.is_before_reply(),
                reached: true,
                refused: matches!(error, ReplyError::Refused { .. }),
                moved: matches!(error, ReplyError::Refused { why: Refusal::ConnectionEnds, .. }),
                wants_http1: matches!(error, ReplyError::Refused { why: Refusal::WantsHttp1, .. }),
                alive: error.is_of_one_stream(),
                cause: error.to_string(),
            }),
        }
    }
}

fn timeout_text(limit: Option<Duration>) -> String {
    let text = "net/http: timeout awaiting response headers";
    limit.map_or_else(|| text.to_owned(), |limit| format!("{text}; response_timeout={}", GoDuration::from(limit)))
}

fn is_trivial(error: &ReplyError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match error {
        ReplyError::Io { source, .. } => matches!(source.kind(), BrokenPipe | ConnectionReset),
        ReplyError::Eof { .. }
        | ReplyError::Refused { .. }
        | ReplyError::Reset { .. }
        | ReplyError::Invalid { .. }
        | ReplyError::TooManyInterim
        | ReplyError::Malformed(_)
        | ReplyError::NotHttp { .. } => false,
    }
}

async fn exchange<'a>(
    pooled: &mut Pooled,
    outgoing: &Outgoing<'_, 'a>,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<Sent<'a>, Failure> {
    let ClientExchange { request, reply } = &mut *pooled.exchange;
    let source = &outgoing.source;
    let mut form = source.filter.map(FormStream::new);
    let mut filtered = Vec::new();
    let buffered = match &mut form {
        Some(form) => {
            form.push(&mut filtered, source.buffered);
            &filtered
        }
        None => source.buffered,
    };
    let kept = source.kept.map(|kept| kept.borrow().data().to_vec()).unwrap_or_default();
    let trailers = if source.complete { source.trailers(body) } else { HeaderList::default() };
    let first = async {
        let ends = source.complete && trailers.is_empty();
        request.send(buffered, ends).await?;
        if !kept.is_empty() {
            request.send(&kept, false).await?;
        }
        if trailers.is_empty() { Ok(()) } else { request.finish_with(&trailers).await }
    };
    let mut written = tokio::select! {
        biased;
        written = first => written,
        () = body.gone() => return Err(Failure::Request(RequestError::ClientGone)),
        // A backend that answers without reading may wait for its answer to be read: both would wait for ever.
        head = reply.read_head() => return head.map(|()| Sent::Partly).map_err(Failure::Reply),
    };
    if written.is_ok() && !source.complete {
        let rest = async {
            match form {
                Some(form) => send_form(body, request, form, source.record).await,
                None => send_rest(body, request, source).await,
            }
        };
        let rest = pin!(rest);
        tokio::select! {
            biased;
            result = rest => match result {
                Ok(()) => {}
                Err(RestError::Client(error)) => return Err(Failure::Request(RequestError::of_body(error))),
                Err(RestError::Backend(error)) => written = Err(error),
            },
            head = reply.read_head() => return head.map(|()| Sent::Partly).map_err(Failure::Reply),
        }
    }
    if let Err(source) = written {
        return after_failed_write(outgoing, reply, source).await;
    }
    await_head(outgoing, reply, body, deadline).await
}

/// The same where both directions are independent: the rest of the body may be sent beside the reply.
async fn exchange_on_stream<'a>(
    pooled: &mut Pooled,
    outgoing: &Outgoing<'_, 'a>,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<Sent<'a>, Failure> {
    let ClientExchange { request, reply } = &mut *pooled.exchange;
    let mut upload = Box::new(Upload::new(outgoing.source, body));
    let mut written = tokio::select! {
        biased;
        written = upload.send_at_hand(request) => written,
        () = body.gone() => return Err(Failure::Request(RequestError::ClientGone)),
        head = reply.read_head() => return head.map(|()| Sent::Going(upload)).map_err(Failure::Reply),
    };
    if written.is_ok() {
        written = tokio::select! {
            biased;
            written = upload.send_rest(body, request) => written,
            head = reply.read_head() => return head.map(|()| Sent::Going(upload)).map_err(Failure::Reply),
        };
    }
    match written {
        Ok(()) => await_head(outgoing, reply, body, deadline).await,
        Err(UploadError::Client(error)) => Err(Failure::Request(RequestError::of_body(error))),
        Err(UploadError::Backend(error)) => after_failed_write(outgoing, reply, error).await,
    }
}

/// A backend that stops reading may have answered already, such as 413: its reply says more than the failed write.
async fn after_failed_write<'a>(
    outgoing: &Outgoing<'_, '_>,
    reply: &mut ReplyReader,
    source: std::io::Error,
) -> Result<Sent<'a>, Failure> {
    if source.kind() == std::io::ErrorKind::TimedOut && source.raw_os_error().is_none() {
        return Err(Failure::Stalled(outgoing.response_timeout));
    }
    match tokio::time::timeout(Duration::from_secs(1), reply.read_head()).await {
        Ok(Ok(())) => Ok(Sent::Partly),
        Ok(Err(error)) if error.is_of_one_stream() => Err(Failure::Reply(error)),
        Ok(Err(_)) | Err(_) => Err(Failure::Reply(ReplyError::Io { begun: reply.has_begun(), source })),
    }
}

/// Waits for the head of the reply to a request that was sent whole.
async fn await_head<'a>(
    outgoing: &Outgoing<'_, '_>,
    reply: &mut ReplyReader,
    body: &mut RequestBody<'_>,
    deadline: &mut Deadline,
) -> Result<Sent<'a>, Failure> {
    let timeout = outgoing.response_timeout;
    let now = (!timeout.is_zero() || outgoing.is_timed).then(Instant::now);
    outgoing.source.record.sent_whole(now);
    deadline.set(now.filter(|_| !timeout.is_zero()).map(|now| now + timeout));
    let head = poll_fn(|cx| {
        if let Poll::Ready(head) = reply.poll_head(cx) {
            return Poll::Ready(head.map_err(Failure::Reply));
        }
        if body.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::Request(RequestError::ClientGone)));
        }
        deadline.poll_passed(cx).map(|()| Err(Failure::Timeout(outgoing.timeouts.response)))
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
    source: &Source<'_>,
) -> Result<(), RestError> {
    let client = body.watch();
    loop {
        match body.chunk().await.map_err(RestError::Client)? {
            Some(chunk) => {
                let last = chunk.last;
                source.record.received(chunk.data.len());
                if let Some(kept) = source.kept {
                    kept.borrow_mut().push(chunk.data);
                }
                while_there(client.as_deref(), request.send(chunk.data, last)).await?;
                if last {
                    return Ok(());
                }
            }
            None => {
                let sent = request.finish_with(&source.trailers(body)).await;
                return sent.map_err(RestError::Backend);
            }
        }
    }
}

/// Waits for a write, unless the client leaves: a backend may take nothing for long.
async fn while_there(
    client: Option<&dyn PeerWatch>,
    write: impl Future<Output = std::io::Result<()>>,
) -> Result<(), RestError> {
    let gone = poll_fn(|cx| client.map_or(Poll::Pending, |client| client.poll_gone(cx)));
    tokio::select! {
        biased;
        written = write => written.map_err(RestError::Backend),
        () = gone => Err(RestError::Client(BodyError::UnexpectedEof)),
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
    let client = body.watch();
    while let Some(chunk) = body.chunk().await.map_err(RestError::Client)? {
        let last = chunk.last;
        record.received(chunk.data.len());
        form.push(&mut out, chunk.data);
        if last {
            break;
        }
        if !out.is_empty() {
            while_there(client.as_deref(), request.send(&out, false)).await?;
            out.clear();
        }
    }
    form.finish(&mut out);
    while_there(client.as_deref(), request.send(&out, true)).await
}
