//! Stage 5: attempts at backends until one answers, then its reply to the client (spec balancing.md §2).
//!
//! Target and headers are written per attempt, because they depend on the chosen backend. A reply is only committed
//! to once its status is known not to be retried; after that the request belongs to this backend.

pub mod attempt;
pub mod form_stream;
pub mod reply;
pub mod retry_policy;
pub mod tunnel;

use std::cell::RefCell;
use std::time::Duration;

use vmkit::exchange::{BodyKind, Deadline, HeaderId, ReplyWriter, RequestBody, RequestHead, push_decimal, tokens};
use vmkit::http_server::Client;

use crate::admission::body_buffer::{BufferLimits, BufferedBody};
use crate::proxy::error::ProxyError;
use crate::proxy::request_scope::RequestScope;
use crate::rewrite::header_rules::{ForwardContext, write_request_headers};
use crate::rewrite::target_url::{NormalPath, TargetInput};
use crate::upstream::backend::Lease;
use crate::upstream::health_check::HealthChecker;
use crate::upstream::pool::{Pool, Pooled};
use crate::user::{Target, Upstream, User};
use attempt::{Outgoing, Sent, TryError, attempt, may_come_late};
use jwt::VmAccess;
use reply::RelayError;
use retry_policy::{Failure, Outcome, Situation, Step, next_step};

/// What forwarding needs besides the request.
#[derive(Clone, Copy, Debug)]
pub struct ForwardSettings {
    /// Sizes of bodies.
    pub limits: BufferLimits,
    /// `-responseTimeout`; zero for none.
    pub response_timeout: Duration,
    /// `-removeXFFHTTPHeaderValue`
    pub remove_xff: bool,
}

/// A request that was admitted, with everything to forward it.
pub struct Forward<'r, 'c> {
    /// Settings of the process.
    pub settings: &'r ForwardSettings,
    /// Backend connections of this worker.
    pub pool: &'r Pool,
    /// Marks backends as broken.
    pub health: &'r HealthChecker,
    /// Whose request it is.
    pub user: &'r User,
    /// Where it goes.
    pub target: &'r Target,
    /// What the client asks for.
    pub head: &'c RequestHead,
    /// Who the client is.
    pub client: &'c Client,
    /// Normalised path.
    pub path: &'r NormalPath<'r>,
    /// Values of the token.
    pub placeholders: Option<&'r VmAccess>,
    /// What was read of the body.
    pub buffered: BufferedBody,
    /// Header lines of every reply.
    pub common_lines: &'c [u8],
    /// The end of the request.
    pub scope: &'r RequestScope<'c>,
}

impl std::fmt::Debug for Forward<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("user", &self.user.display_name).finish_non_exhaustive()
    }
}

/// How the body goes to the backend.
struct Framing {
    chunked: bool,
    /// `Content-Length` to announce.
    length: Option<u64>,
    /// Whether a form must be filtered on its way because it was not buffered whole.
    filter: bool,
}

/// Buffers for the head of an attempt, used again by later attempts and requests of the worker.
#[derive(Debug, Default)]
struct Scratch {
    head: Vec<u8>,
    target: Vec<u8>,
}

/// Scratch buffers a worker keeps, and the size from which one is not worth keeping.
const KEPT_SCRATCH: (usize, usize) = (64, 16 * 1024);

thread_local! {
    static SCRATCH: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// A scratch on loan; goes back when the request ends.
struct ScratchLoan(Scratch);

impl ScratchLoan {
    fn take() -> Self {
        Self(SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for ScratchLoan {
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.0);
        if scratch.head.capacity() + scratch.target.capacity() > KEPT_SCRATCH.1 {
            return;
        }
        // A thread that is ending has no pool any more.
        let _ = SCRATCH.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT_SCRATCH.0 {
                pool.push(scratch);
            }
        });
    }
}

/// What went wrong, for log and client.
enum FailureText {
    Cause(String),
    Status(u16),
}

enum Attempted {
    Replied(Pooled, Sent),
    NextBackend,
}

impl Forward<'_, '_> {
    /// Tries backends until one answers, and streams its reply.
    pub async fn run(
        mut self,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
        deadline: &mut Deadline,
    ) -> Result<(), ProxyError> {
        let framing = self.filter_form(body.kind());
        let backends = self.target.backends.fresh().await;
        let attempts = backends.len();
        let mut loan = ScratchLoan::take();
        let scratch = &mut loan.0;
        for attempt in 1..=attempts {
            let Some(lease) = backends.pick() else { break };
            self.write_head(lease.target(), &framing, scratch)?;
            match self.try_backend(&lease, &framing, scratch, attempts - attempt, body, deadline).await? {
                Attempted::Replied(pooled, sent) => {
                    return self.deliver(&lease, scratch, pooled, sent, body, reply).await;
                }
                Attempted::NextBackend => {}
            }
        }
        Err(ProxyError::AllBackendsFailed { attempts })
    }

    /// Removes the args from a form that the route enforces; says how the body is framed towards the backend.
    fn filter_form(&mut self, kind: BodyKind) -> Framing {
        let mut framing = match kind {
            BodyKind::Length(n) => Framing { chunked: false, length: Some(n), filter: false },
            BodyKind::Chunked => Framing { chunked: true, length: None, filter: false },
            BodyKind::None | BodyKind::UntilClose => {
                // A method that usually has a body says that it has none; RFC 9110 §8.6.
                let length = matches!(self.head.method(), "POST" | "PUT" | "PATCH").then_some(0);
                Framing { chunked: false, length, filter: false }
            }
        };
        if !is_form(self.head) || self.target.protected_form_args.is_empty() {
            return framing;
        }
        if !self.buffered.complete {
            return Framing { chunked: true, length: None, filter: true };
        }
        if let Some(filtered) = crate::rewrite::form_body::filter(&self.buffered.data, &self.target.protected_form_args)
        {
            framing.length = framing.length.map(|_| filtered.len() as u64);
            self.buffered.data = filtered;
        }
        framing
    }

    fn write_head(&self, upstream: &Upstream, framing: &Framing, scratch: &mut Scratch) -> Result<(), ProxyError> {
        let Scratch { head: out, target } = scratch;
        target.clear();
        if self.target.is_default_url {
            upstream.url.write_default_url_target(target, self.head, self.path, self.placeholders);
        } else {
            let input = TargetInput {
                path: self.path,
                query: self.head.query(),
                drop_parts: self.target.drop_parts,
                merge_args: &self.target.merge_query_args,
                placeholders: self.placeholders,
            };
            upstream.url.write_request_target(target, &input);
        }
        out.clear();
        out.extend_from_slice(self.head.method().as_bytes());
        out.push(b' ');
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let context = ForwardContext {
            client_ip: &self.client.ip_text,
            remove_xff: self.settings.remove_xff,
            upstream_host: upstream.url.host(),
            placeholders: self.placeholders,
        };
        write_request_headers(out, self.head, &self.target.request_rules, &context)
            .map_err(|error| ProxyError::BadHeaderValue(error.to_string()))?;
        self.write_framing(out, framing);
        Ok(())
    }

    fn write_framing(&self, out: &mut Vec<u8>, framing: &Framing) {
        if framing.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            let names = self.head.first(HeaderId::Trailer).unwrap_or_default();
            for name in tokens(names).filter(|name| may_come_late(name, &self.target.request_rules)) {
                out.extend_from_slice(b"Trailer: ");
                out.extend_from_slice(name);
                out.extend_from_slice(b"\r\n");
            }
        } else if let Some(length) = framing.length {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(protocol) = tunnel::wanted(self.head) {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            out.extend_from_slice(protocol);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// One attempt: at most one more try at the same backend, silently.
    async fn try_backend(
        &self,
        lease: &Lease<Upstream>,
        framing: &Framing,
        scratch: &Scratch,
        attempts_left: usize,
        body: &mut RequestBody<'_>,
        deadline: &mut Deadline,
    ) -> Result<Attempted, ProxyError> {
        let upstream = lease.target();
        let metrics = &self.user.metrics;
        let replayable = self.buffered.is_replayable(self.settings.limits);
        let outgoing = Outgoing {
            head: &scratch.head,
            buffered: &self.buffered.data,
            chunked: framing.chunked,
            filter: if framing.filter { Some(&self.target.protected_form_args) } else { None },
            complete: self.buffered.complete,
            to_head: self.head.method() == "HEAD",
            trailers: self.head.first(HeaderId::Trailer).unwrap_or_default(),
            rules: &self.target.request_rules,
            response_timeout: self.settings.response_timeout,
        };
        let mut situation = Situation {
            client_gone: false,
            body_replayable: replayable,
            attempts_left: u32::try_from(attempts_left).unwrap_or(u32::MAX),
            stale_connection: false,
            repeated: false,
        };
        loop {
            metrics.backend_requests.inc();
            let (outcome, text) =
                match attempt(self.pool, &upstream.peer, situation.repeated, &outgoing, body, deadline).await {
                    Ok((pooled, sent)) => {
                        let status = pooled.half.reply.head().status();
                        let retried = self.target.retry_status_codes.contains(&status);
                        if status == 101 && (tunnel::wanted(self.head).is_none() || sent == Sent::Partly) {
                            let cause = "malformed HTTP response: unexpected switch of protocols".to_owned();
                            (Outcome::Failed(Failure::Other), FailureText::Cause(cause))
                        } else if retried {
                            (Outcome::Reply { retried }, FailureText::Status(status))
                        } else {
                            return Ok(Attempted::Replied(pooled, sent));
                        }
                    }
                    Err(TryError::ClientGone) => return Err(ProxyError::ClientGone),
                    Err(TryError::ClientBody(error)) => return Err(client_body_error(&error)),
                    Err(TryError::Backend { cause, trivial, stale }) => {
                        situation.stale_connection = stale && replayable;
                        let failure = if trivial { Failure::Cut } else { Failure::Other };
                        (Outcome::Failed(failure), FailureText::Cause(cause))
                    }
                };
            let step = next_step(outcome, situation);
            if step == Step::Repeat {
                situation.repeated = true;
                continue;
            }
            return self.after_failure(lease, scratch, step, text).map(|()| Attempted::NextBackend);
        }
    }

    /// Counts and reports a failed attempt; an error ends the request.
    fn after_failure(
        &self,
        lease: &Lease<Upstream>,
        scratch: &Scratch,
        step: Step,
        failure: FailureText,
    ) -> Result<(), ProxyError> {
        if step.counts_backend_error() {
            self.user.metrics.backend_errors.inc();
        }
        if step.marks_broken() {
            self.health.mark_broken(lease);
        }
        let target = lease.target().url.display(&scratch.target);
        if step.warns_of_retry() {
            let message = match &failure {
                FailureText::Cause(cause) => {
                    format!("request to {target} failed: {cause}, retrying the request at another backend")
                }
                FailureText::Status(status) => format!(
                    "request to {target} failed, retrying the request at another backend because response status \
                     code={status} belongs to retry_status_codes={:?}",
                    self.target.retry_status_codes
                ),
            };
            vmkit::warn!("{}", self.scope.log_text(&message));
            return Ok(());
        }
        Err(match failure {
            FailureText::Cause(cause) => ProxyError::NotReplayable { target, cause },
            FailureText::Status(status) => ProxyError::RetryStatusNotReplayable { target, status },
        })
    }

    /// Streams the reply; the lease ends with its last byte.
    async fn deliver(
        &self,
        lease: &Lease<Upstream>,
        scratch: &Scratch,
        mut pooled: Pooled,
        sent: Sent,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
    ) -> Result<(), ProxyError> {
        let upstream = lease.target();
        let half = &mut pooled.half;
        let status = half.reply.head().status();
        if sent == Sent::Partly {
            // The rest of the body is not wanted: the connections on both sides end with this exchange.
            reply.set_close();
        }
        reply::begin(&half.reply, reply, self.common_lines, &self.target.response_rules);
        self.scope.set_status(status);
        if status == 101 {
            tunnel::run(half, body, reply).await;
            return Ok(());
        }
        match reply::relay(&mut half.reply, reply, body).await {
            Ok(()) => {
                self.pool.put(&upstream.peer, pooled);
                Ok(())
            }
            Err(RelayError::ClientGone) => Err(ProxyError::ClientGone),
            Err(RelayError::Backend(error)) => {
                let target = upstream.url.display(&scratch.target);
                Err(ProxyError::BrokenReply { target, cause: format!("cannot read data from backend: {error}") })
            }
        }
    }
}

fn client_body_error(error: &vmkit::exchange::BodyError) -> ProxyError {
    match error {
        vmkit::exchange::BodyError::UnexpectedEof | vmkit::exchange::BodyError::Io(_) => ProxyError::ClientGone,
        other => ProxyError::BadBody(other.to_string()),
    }
}

/// Whether the body is a form.
pub fn is_form(head: &RequestHead) -> bool {
    head.first(HeaderId::ContentType).is_some_and(crate::rewrite::form_body::is_form)
}

/// Whether a list header names a token.
pub(crate) fn has_token(head: &RequestHead, id: HeaderId, token: &[u8]) -> bool {
    head.headers()
        .filter(|line| line.id == id)
        .any(|line| tokens(line.value).any(|found| found.eq_ignore_ascii_case(token)))
}
