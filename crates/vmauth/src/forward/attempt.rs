//! One try at one backend: connect, send the request, wait for the head of the reply.
//!
//! The rest of a body that was not buffered is streamed while the reply is already awaited, so a backend may answer
//! early. Whatever happens here says who is at fault; what to do about it is decided by the caller.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::{BodyError, BodyKind, Deadline, HeaderId, ReplyError, RequestBody, RequestWriter, tokens};

use super::form_stream::FormStream;
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::header_rules::HeaderRules;
use crate::upstream::pool::{Peer, Pool, Pooled};

/// A request ready to be sent, as often as needed.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Head with the empty line.
    pub head: &'a [u8],
    /// What was read of the body.
    pub buffered: &'a [u8],
    /// Whether the body is sent chunked.
    pub chunked: bool,
    /// Args to remove from the rest of a form on its way; the head announces it as chunked.
    pub filter: Option<&'a ProtectedArgs>,
    /// Whether `buffered` is all of it.
    pub complete: bool,
    /// Whether the method is HEAD.
    pub to_head: bool,
    /// Names of trailers that were announced; only they are forwarded.
    pub trailers: &'a [u8],
    /// Rules of the route; what they decide cannot be changed by a trailer.
    pub rules: &'a HeaderRules,
    /// Time for the reply head after the request was sent; zero for no limit.
    pub response_timeout: Duration,
}

/// A try that failed.
#[derive(Debug)]
pub enum TryError {
    /// The client has left.
    ClientGone,
    /// The client's body is malformed or ended too early.
    ClientBody(BodyError),
    /// The backend failed.
    Backend {
        /// Text for logs.
        cause: String,
        /// `broken pipe` or `reset by peer`: worth repeating at the same backend.
        trivial: bool,
        /// The connection had served before and died before the first byte of the reply.
        stale: bool,
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
            let dialled = tokio::select! {
                biased;
                dialled = pool.dial(peer) => dialled,
                () = body.gone() => return Err(TryError::ClientGone),
            };
            dialled.map_err(|cause| TryError::Backend { cause, trivial: false, stale: false })?
        }
    };
    pooled.half.start(outgoing.to_head);
    let reused = pooled.reused;
    let sent = exchange(&mut pooled, outgoing, body, deadline).await.map_err(|error| error.on(reused))?;
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
            },
            Self::Reply(error) => TryError::Backend {
                trivial: is_trivial(&error),
                stale: reused && error.is_before_reply(),
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
    let half = &mut pooled.half;
    let (request, reply) = (&mut half.request, &mut half.reply);
    let mut form = outgoing.filter.map(FormStream::new);
    let mut filtered = Vec::new();
    let buffered = match &mut form {
        Some(form) => {
            form.push(&mut filtered, outgoing.buffered);
            &filtered
        }
        None => outgoing.buffered,
    };
    let trailers = if outgoing.chunked && outgoing.complete {
        announced(body.trailers(), outgoing.trailers, outgoing.rules)
    } else {
        Vec::new()
    };
    let first = async {
        let ends = outgoing.complete && trailers.is_empty();
        request.send_head(outgoing.head, buffered, outgoing.chunked, ends).await?;
        if trailers.is_empty() { Ok(()) } else { request.send_trailers(&trailers).await }
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
                Some(form) => send_form(body, request, form).await,
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
                request.send(chunk.data, outgoing.chunked, last).await.map_err(RestError::Backend)?;
                if last {
                    return Ok(());
                }
            }
            None => {
                let lines = announced(body.trailers(), outgoing.trailers, outgoing.rules);
                let sent = match body.kind() {
                    BodyKind::Chunked => request.send_trailers(&lines).await,
                    BodyKind::None | BodyKind::Length(_) | BodyKind::UntilClose => {
                        request.send(&[], outgoing.chunked, true).await
                    }
                };
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
) -> Result<(), RestError> {
    let mut out = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(RestError::Client)? {
        let last = chunk.last;
        form.push(&mut out, chunk.data);
        if last {
            break;
        }
        if !out.is_empty() {
            request.send(&out, true, false).await.map_err(RestError::Backend)?;
            out.clear();
        }
    }
    form.finish(&mut out);
    request.send(&out, true, true).await.map_err(RestError::Backend)
}

/// The trailer lines whose names were announced; a client cannot add a header this way that rules would set.
pub fn announced(lines: &[u8], names: &[u8], rules: &HeaderRules) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split_inclusive(|b| *b == b'\n') {
        let name = line.split(|b| *b == b':').next().unwrap_or_default().trim_ascii();
        if tokens(names).any(|known| known.eq_ignore_ascii_case(name)) && may_come_late(name, rules) {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Whether a header may be sent behind the body (RFC 9110 §6.5.1): a backend that merges trailers into the headers
/// must not learn from them about framing, routing, credentials, conditions or content.
pub fn may_come_late(name: &[u8], rules: &HeaderRules) -> bool {
    const EARLY: &[&str] = &["cookie", "forwarded", "max-forwards", "range", "x-real-ip", "x-http-method-override"];
    const EARLY_PREFIXES: &[&str] = &["content-", "if-", "proxy-", "x-forwarded-"];
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix.as_bytes()));
    // Names the proxy knows decide about framing, routing or credentials.
    HeaderId::of(name) == HeaderId::Other
        && !EARLY.iter().any(|early| name.eq_ignore_ascii_case(early.as_bytes()))
        && !EARLY_PREFIXES.iter().any(|prefix| starts(prefix))
        && str::from_utf8(name).is_ok_and(|name| !rules.touches(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::header_rules::HeaderRule;

    #[test]
    fn trailers() {
        let rules = HeaderRules::new(&[HeaderRule::parse("AccountID: 7").unwrap()], false);
        let f = |names: &str, lines: &str, want: &str| {
            let got = announced(lines.replace('|', "\r\n").as_bytes(), names.as_bytes(), &rules);
            assert_eq!(String::from_utf8(got).unwrap().replace("\r\n", "|"), want, "{names:?} {lines:?}");
        };
        f("X-Sum, grpc-status", "x-sum: 1|X-Other: 2|Grpc-Status: 0|", "x-sum: 1|Grpc-Status: 0|");
        f("", "x-sum: 1|", "");
        f("accountid", "AccountID: 8|", "");
        f("Host, Authorization, Content-Length, Transfer-Encoding", "Host: b|Authorization: x|Content-Length: 3|", "");
        f(
            "Content-Range, Cookie, X-Forwarded-Host, If-Match, c",
            "Content-Range: b|Cookie: x|X-Forwarded-Host: y|If-Match: z|C: d|",
            "C: d|",
        );
    }
}
