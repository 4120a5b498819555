//! Stage 5: attempts at backends until one answers, then its reply to the client (docs/reference/balancing.md).
//!
//! Target and headers are written per attempt, because they depend on the chosen backend. A reply is only committed
//! to once its status is known not to be retried; after that the request belongs to this backend.

pub mod attempt;
pub mod form_stream;
mod personal;
pub mod query_key;
pub mod record;
pub mod reply;
pub mod retry_policy;
pub mod time_limit;
mod trailers;
pub mod tunnel;
mod upload;

use std::borrow::Cow;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::grpc as grpc_status;
use vmkit::exchange::{BodyKind, Deadline, HeaderList, ReplyWriter, RequestBody, RequestHead, RequestLine};
use vmkit::http_server::Client;

use crate::admission::body_buffer::{BufferLimits, BufferedBody};
use crate::admission::grpc;
use crate::ending::{End, RequestError};
use crate::rewrite::client_headers::{ForwardContext, authority};
use crate::rewrite::form_body::{BodyReading, reading};
use crate::rewrite::target_url::NormalPath;
use crate::upstream::backend::{Backend, Lease};
use crate::upstream::balance::Policy;
use crate::upstream::fault::Fault;
use crate::upstream::health_check::HealthChecker;
use crate::upstream::pool::{Pool, Pooled};
use crate::upstream::retry_budget::RetryBudget;
use crate::user::{Target, Upstream, User};
use attempt::{Outgoing, Sent, TryError, attempt};
use jwt::VmAccess;
use record::Record;
use reply::RelayError;
use retry_policy::{Cause, Failure, Outcome, Situation, Step, is_idempotent, next_step};
use time_limit::Limited;
use tunnel::TunnelLimits;
use upload::{Kept, Source};

/// What forwarding needs besides the request.
#[derive(Clone, Copy, Debug)]
pub struct ForwardSettings {
    /// Sizes of bodies.
    pub limits: BufferLimits,
    /// `-responseTimeout`; zero for none.
    pub response_timeout: Duration,
    /// When tunnels end by themselves.
    pub tunnels: TunnelLimits,
    /// `-removeXFFHTTPHeaderValue`
    pub remove_xff: bool,
}

/// Who wants to know how a request fares.
pub trait Observer {
    /// The head of a reply with this status is being sent.
    fn replied(&self, status: u16);
    /// The line of the log for this message.
    fn log_text(&self, message: &str) -> String;
    /// Whether the credentials of a request that goes on and on are still good.
    fn may_go_on(&self) -> Pin<Box<dyn Future<Output = bool> + '_>>;
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
    /// What is read of it later, as far as that is worth keeping. `None` at first, and for a body that was read whole.
    pub kept: Option<RefCell<Kept>>,
    /// What the limit of the whole request must know; `None` at first, and for routes without one.
    pub limited: Option<Rc<Limited>>,
    /// Header fields of every reply.
    pub common_lines: &'c HeaderList,
    /// Is told what happens.
    pub observer: &'r dyn Observer,
    /// Where it is noted.
    pub record: &'r Record,
    /// Header and id that are passed on.
    pub request_id: Option<(&'r str, &'r str)>,
    /// When its head was complete.
    pub waited_since: Instant,
}

impl std::fmt::Debug for Forward<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("user", &self.user.display_name).finish_non_exhaustive()
    }
}

/// How the body goes to the backend.
struct Framing {
    kind: BodyKind,
    /// Whether a form must be filtered on its way because it was not buffered whole.
    filter: bool,
}

/// Buffers of an attempt, used again by later attempts and requests of the worker.
#[derive(Debug, Default)]
struct Scratch {
    target: Vec<u8>,
    authority: Vec<u8>,
}

/// Scratch buffers a worker keeps.
const KEPT_SCRATCHES: usize = 64;
/// A scratch that has grown beyond this is not worth keeping.
const MAX_KEPT_SCRATCH: usize = 16 * 1024;

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
        if scratch.target.capacity() + scratch.authority.capacity() > MAX_KEPT_SCRATCH {
            return;
        }
        // A thread that is ending has no pool any more.
        let _ = SCRATCH.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT_SCRATCHES {
                pool.push(scratch);
            }
        });
    }
}

/// How often a request goes to a further connection because its backend ends the one before and has not taken it: where
/// many wait, the few that a connection takes may be others.
const MOST_MOVES: u32 = 10;

/// What went wrong, for log and client.
enum FailureText {
    Cause(Fault, String),
    Status(u16),
}

impl FailureText {
    fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Cause(_, cause) => cause.into(),
            Self::Status(status) => format!("status {status}").into(),
        }
    }

    /// Whether the backend is to blame: it may be asked for what cannot be done.
    fn is_of_backend(&self) -> bool {
        match self {
            Self::Cause(..) => true,
            Self::Status(status) => is_failure(*status),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Cause(fault, _) => *fault,
            Self::Status(_) => Fault::Status,
        }
    }
}

/// Whether a reply with this status is the backend's failure.
fn is_failure(status: u16) -> bool {
    status >= 500
}

enum Attempted<'a> {
    Replied(Pooled, Sent<'a>),
    NextBackend,
}

/// Whether the args of a form must be filtered, because the route enforces some.
///
/// # Errors
/// The body may be a form, and it is not said clearly enough how to read it.
pub fn filters_form(target: &Target, head: &RequestHead, kind: BodyKind) -> Result<bool, RequestError> {
    if kind == BodyKind::None || target.protected_form_args.is_empty() {
        return Ok(false);
    }
    match reading(head) {
        BodyReading::Form => Ok(true),
        BodyReading::NoForm => Ok(false),
        BodyReading::Unclear => Err(RequestError::UnclearForm),
    }
}

impl Forward<'_, '_> {
    /// Tries backends until one answers, and streams its reply.
    pub async fn run(
        mut self,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
        deadline: &mut Deadline,
    ) -> Result<(), RequestError> {
        match self.target.timeouts.request {
            None => self.attempts(body, reply, deadline).await,
            Some(limit) => Box::pin(self.attempts_within(limit, body, reply, deadline)).await,
        }
    }

    async fn attempts(
        &mut self,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
        deadline: &mut Deadline,
    ) -> Result<(), RequestError> {
        self.record.begin(self.waited_since);
        let framing = self.filter_form(body.kind())?;
        if let Some(values) = self.placeholders {
            self.target.request_rules.check_values(values).map_err(RequestError::BadHeaderValue)?;
        }
        if !self.buffered.complete {
            // A call is not read ahead to its end; what is sent of it meanwhile is kept as far as a whole one would be.
            let (length, limit) = (self.buffered.data.len(), self.settings.limits.retry);
            let kept = if grpc::is_call(self.head) { Kept::new(length, limit) } else { Kept::nothing() };
            self.kept = Some(RefCell::new(kept));
        }
        let backends = self.target.backends.fresh().await;
        let key = if backends.policy() == Policy::HashQuery { self.query_key() } else { 0 };
        if let Some(budget) = &self.target.retry_budget {
            budget.request(self.waited_since);
        }
        let mut loan = ScratchLoan::take();
        let scratch = &mut loan.0;
        let mut tried = Vec::new();
        let Some((mut lease, attempts)) = backends.begin(key) else {
            return Err(RequestError::AllBackendsFailed { attempts: 0 });
        };
        for attempt in 1..=attempts {
            scratch.target.clear();
            let url = &lease.target().url;
            self.target.write_target(url, &mut scratch.target, self.head, self.path, self.placeholders);
            match self.try_backend(&lease, &framing, scratch, attempts - attempt, body, deadline).await? {
                Attempted::Replied(pooled, sent) => {
                    return self.deliver(&lease, scratch, pooled, sent, body, reply).await;
                }
                Attempted::NextBackend => tried.push(Arc::clone(&lease)),
            }
            if attempt < attempts {
                let Some(next) = backends.pick(key, &tried) else { break };
                lease = next;
            }
        }
        Err(RequestError::AllBackendsFailed { attempts })
    }

    /// What the query is about, whatever time it is for.
    fn query_key(&self) -> u64 {
        let form = (self.buffered.complete && is_form(self.head)).then_some(&*self.buffered.data);
        query_key::of(self.head, self.path, form, self.placeholders)
    }

    /// Removes the args from a form that the route enforces; says how the body is framed towards the backend.
    fn filter_form(&mut self, kind: BodyKind) -> Result<Framing, RequestError> {
        let mut framing = Framing { kind, filter: false };
        if kind == BodyKind::None && matches!(self.head.method(), "POST" | "PUT" | "PATCH") {
            // A method that usually has a body says that it has none; RFC 9110 §8.6.
            framing.kind = BodyKind::Length(0);
        }
        if !filters_form(self.target, self.head, kind)? {
            return Ok(framing);
        }
        if !self.buffered.complete {
            return Ok(Framing { kind: BodyKind::Stream, filter: true });
        }
        if let Some(filtered) = crate::rewrite::form_body::filter(&self.buffered.data, &self.target.protected_form_args)
        {
            if let BodyKind::Length(length) = &mut framing.kind {
                *length = filtered.len() as u64;
            }
            self.buffered.data = filtered;
        }
        Ok(framing)
    }

    /// One attempt: at most one more try at the same backend, silently.
    async fn try_backend<'s>(
        &'s self,
        lease: &Lease<Upstream>,
        framing: &Framing,
        scratch: &mut Scratch,
        attempts_left: usize,
        body: &mut RequestBody<'_>,
        deadline: &mut Deadline,
    ) -> Result<Attempted<'s>, RequestError> {
        let upstream = lease.target();
        let metrics = &self.user.metrics;
        let rules = &self.target.request_rules;
        let Scratch { target, authority: room } = &mut *scratch;
        let outgoing = Outgoing {
            line: RequestLine {
                method: self.head.method(),
                target,
                authority: authority(self.head, rules, upstream.url.host(), self.placeholders, room)
                    .map_err(RequestError::BadHeaderValue)?,
                upgrade: tunnel::wanted(self.head).filter(|protocol| upstream.peer.takes_upgrade(protocol)),
                wants_trailers: self.head.takes_trailers(),
            },
            source: Source {
                head: self.head,
                rules,
                kind: framing.kind,
                buffered: &self.buffered.data,
                complete: self.buffered.complete,
                kept: self.kept.as_ref(),
                filter: if framing.filter { Some(&self.target.protected_form_args) } else { None },
                record: self.record,
            },
            context: ForwardContext {
                client_ip: &self.client.ip_text,
                remove_xff: self.settings.remove_xff,
                placeholders: self.placeholders,
                request_id: self.request_id,
            },
            response_timeout: self.target.timeouts.response.unwrap_or(self.settings.response_timeout),
            is_timed: upstream.peer.replies.is_some() || self.limited.is_some(),
            timeouts: self.target.timeouts,
        };
        let harms_twice = self.target.retry_only_idempotent && !is_idempotent(self.head.method());
        let mut situation = Situation {
            body_replayable: self.is_replayable(),
            attempts_left: u32::try_from(attempts_left).unwrap_or(u32::MAX),
            stale_connection: false,
            only_once: false,
            repeated: false,
        };
        let mut repeats = 0;
        loop {
            metrics.backend_requests.inc();
            if let Some(limited) = &self.limited {
                limited.asks(lease, self.buffered.complete);
            }
            self.record.attempt(upstream.url.shown_host());
            let mut lives = false;
            let (outcome, text) = match attempt(self.pool, &upstream.peer, repeats > 0, &outgoing, body, deadline).await
            {
                Ok((pooled, sent)) => {
                    let head = pooled.exchange.reply.head();
                    let (status, is_tunnel) = (head.status(), head.upgrade().is_some());
                    upstream.peer.replies.iter().for_each(|replies| replies.replied(status));
                    situation.body_replayable = self.is_replayable();
                    // Without a budget for another try, what is there goes to the client.
                    let retried = !harms_twice
                        && self.target.retry_status_codes.contains(&status)
                        && (attempts_left == 0 || !situation.body_replayable || self.may_retry());
                    if is_tunnel && (outgoing.line.upgrade.is_none() || !matches!(sent, Sent::Whole)) {
                        situation.only_once = harms_twice;
                        let cause = "malformed HTTP response: unexpected switch of protocols".to_owned();
                        (Outcome::Failed(Failure::Other), FailureText::Cause(Fault::Malformed, cause))
                    } else if retried {
                        (Outcome::RetriedStatus, FailureText::Status(status))
                    } else {
                        return Ok(Attempted::Replied(pooled, sent));
                    }
                }
                Err(TryError::Request(error)) => return Err(error),
                Err(TryError::Backend(failed)) => {
                    lives = failed.alive;
                    situation.repeated = repeats >= if failed.moved && attempts_left == 0 { MOST_MOVES } else { 1 };
                    situation.body_replayable = self.is_replayable();
                    situation.only_once = harms_twice && failed.reached && !failed.refused;
                    situation.stale_connection =
                        failed.stale && situation.body_replayable || failed.refused && self.has_lost_nothing();
                    let failure = if failed.trivial { Failure::Cut } else { Failure::Other };
                    (Outcome::Failed(failure), FailureText::Cause(failed.fault, failed.cause))
                }
            };
            self.no_longer_waits();
            self.record.failed(&text.shown());
            lease.failed(text.fault(), &text.shown());
            let mut step = next_step(outcome, situation);
            if step == Step::Repeat {
                repeats += 1;
                continue;
            }
            if step == Step::NextAttempt(Cause::Transport) && !self.may_retry() {
                step = Step::OverBudget;
            }
            return self.after_failure(lease, scratch, step, lives, text).map(|()| Attempted::NextBackend);
        }
    }

    /// The backend has answered or failed.
    fn no_longer_waits(&self) {
        if let Some(limited) = &self.limited {
            limited.asked.take();
        }
    }

    /// Whether the route has a retry left, which is taken then.
    fn may_retry(&self) -> bool {
        let may = self.target.retry_budget.as_deref().is_none_or(RetryBudget::take);
        if !may {
            self.user.metrics.retries_over_budget.inc();
        }
        may
    }

    /// Whether the body may be sent to another backend.
    fn is_replayable(&self) -> bool {
        if self.kept.is_some() && grpc::is_call(self.head) {
            return self.has_lost_nothing();
        }
        self.buffered.is_replayable(self.settings.limits)
    }

    /// Whether everything that was read of the body is still at hand.
    fn has_lost_nothing(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.borrow().is_whole())
    }

    /// Counts and reports a failed attempt; an error ends the request. A backend that `lives` has failed this request
    /// only.
    fn after_failure(
        &self,
        lease: &Lease<Upstream>,
        scratch: &Scratch,
        step: Step,
        lives: bool,
        failure: FailureText,
    ) -> Result<(), RequestError> {
        if step.counts_backend_error() {
            self.user.metrics.backend_errors.inc();
        }
        if step.marks_broken() && !lives {
            self.health.mark_broken(lease);
        }
        if !lives && failure.is_of_backend() {
            self.judge(lease, true);
        }
        let target = lease.target().url.display(&scratch.target);
        if step.warns_of_retry() {
            let message = match &failure {
                FailureText::Cause(_, cause) => {
                    format!("request to {target} failed: {cause}, retrying the request at another backend")
                }
                FailureText::Status(status) => format!(
                    "request to {target} failed, retrying the request at another backend because response status \
                     code={status} belongs to retry_status_codes=[{}]",
                    blank_separated(&self.target.retry_status_codes)
                ),
            };
            vmkit::warn!("{}", self.observer.log_text(&message));
            return Ok(());
        }
        Err(match failure {
            FailureText::Cause(_, cause) if step == Step::OverBudget => {
                RequestError::RetryBudgetSpent { target, cause }
            }
            FailureText::Cause(_, cause) => RequestError::NotReplayable { target, cause },
            FailureText::Status(status) => RequestError::RetryStatusNotReplayable { target, status },
        })
    }

    /// Notes how a try has ended, where the route wants to know.
    fn judge(&self, backend: &Arc<Backend<Upstream>>, has_failed: bool) {
        let Some(outliers) = backend.outliers() else { return };
        if !has_failed {
            outliers.succeeded();
        } else if let Some(reason) = outliers.failed() {
            self.health.eject(backend, self.target.backends.known().snapshot(), reason);
        }
    }

    /// Streams the reply; the lease ends with its last byte.
    async fn deliver(
        &self,
        lease: &Lease<Upstream>,
        scratch: &Scratch,
        mut pooled: Pooled,
        sent: Sent<'_>,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
    ) -> Result<(), RequestError> {
        lease.served();
        self.no_longer_waits();
        let upstream = lease.target();
        let exchange = &mut pooled.exchange;
        let head = exchange.reply.head();
        pooled.is_personal = personal::is_sent(self.head) || personal::is_asked_for(head);
        let (status, is_tunnel) = (head.status(), head.upgrade().is_some());
        self.judge(lease, is_failure(status));
        if !matches!(sent, Sent::Whole) && !reply.is_stream() {
            // The rest of the body may not be wanted: the connections on both sides end with this exchange.
            reply.set_close();
        }
        let (own, rules) = (self.common_lines, &self.target.response_rules);
        reply::begin(head, reply, own, rules);
        self.observer.replied(status);
        if is_tunnel {
            self.limited.iter().for_each(|limited| limited.is_tunnel.set(true));
            self.record
                .set_end(tunnel::run(exchange, body, reply, self.settings.tunnels, self.observer, self.record).await);
            return Ok(());
        }
        let passing = |found: Option<&HeaderList>| trailers::of_reply(found, rules, own);
        let is_call = reply.grpc_type().is_some();
        let upload = match sent {
            Sent::Going(upload) => Some(upload),
            Sent::Whole | Sent::Partly => None,
        };
        let relayed = if exchange.is_stream() {
            let relaying = Box::pin(reply::relay_both(exchange, reply, body, upload, passing, self.record));
            tokio::select! {
                biased;
                relayed = relaying => relayed,
                () = tunnel::until_credentials_end(self.observer), if is_call => Err(RelayError::CredentialsEnded),
            }
        } else {
            reply::relay(&mut exchange.reply, reply, body, passing, self.record).await
        };
        match relayed {
            Ok(()) => {
                self.record.set_end(End::Complete);
                if let Some(replies) = &upstream.peer.replies {
                    self.record.finish().iter().for_each(|time| replies.took(*time));
                }
                self.pool.put(&upstream.peer, pooled);
                Ok(())
            }
            Err(RelayError::Client(error)) => Err(error),
            Err(RelayError::CredentialsEnded) => {
                end_call(reply, grpc_status::UNAUTHENTICATED, "the credentials of the call are no longer valid").await;
                self.record.set_end(End::ByLimit);
                Ok(())
            }
            Err(RelayError::Backend(error)) => {
                lease.failed(Fault::Cut, &error.to_string());
                self.judge(lease, true);
                if is_call {
                    end_call(reply, grpc_status::UNAVAILABLE, "the backend has broken off its reply").await;
                }
                let target = upstream.url.display(&scratch.target);
                Err(RequestError::BrokenReply { target, cause: format!("cannot read data from backend: {error}") })
            }
        }
    }
}

/// Ends a call whose reply has begun; if that cannot be done, its stream is reset.
async fn end_call(reply: &mut ReplyWriter, code: u8, message: &str) {
    let mut trailers = HeaderList::default();
    grpc_status::push_status(&mut trailers, code, message);
    let _ = reply.finish_with(&trailers).await;
}

/// Numbers as the original prints a list of them.
fn blank_separated(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Whether the body is a form that log lines may show.
pub fn is_form(head: &RequestHead) -> bool {
    reading(head) == BodyReading::Form
}
