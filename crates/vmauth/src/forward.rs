//! Stage 8: attempts at backends until one answers, then its reply to the client (docs/reference/balancing.md).
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
mod tries;
pub mod tunnel;
mod upload;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::grpc as grpc_status;
use vmkit::exchange::{BodyKind, Deadline, HeaderList, ReplyWriter, RequestBody, RequestHead};
use vmkit::http_server::Client;

use crate::admission::body_buffer::{BufferLimits, BufferedBody};
use crate::admission::grpc;
use crate::ending::{End, RequestError};
use crate::rewrite::form_body::{BodyReading, reading};
use crate::rewrite::target_url::NormalPath;
use crate::upstream::backend::Lease;
use crate::upstream::balance::Policy;
use crate::upstream::fault::Fault;
use crate::upstream::health_check::HealthChecker;
use crate::upstream::pool::{Pool, Pooled};
use crate::user::{Target, Upstream, User};
use attempt::Sent;
use jwt::VmAccess;
use record::Record;
use reply::RelayError;
use time_limit::Limited;
use tries::{Attempted, is_failure};
use tunnel::TunnelLimits;
use upload::Kept;

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

/// Whether the body is a form that log lines may show.
pub fn is_form(head: &RequestHead) -> bool {
    reading(head) == BodyReading::Form
}
