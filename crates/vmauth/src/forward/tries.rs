//! One attempt: tries at one backend until it answers or another one is to be asked (docs/reference/balancing.md#attempts).
//!
//! What follows a failed try is decided by `retry_policy.rs`, and done here: counted, marked, judged and logged once. What can
//! be sent again may change while it is sent, so it is looked at when a try has ended, never before.

use std::borrow::Cow;
use std::sync::Arc;

use vmkit::exchange::{Deadline, RequestBody, RequestLine};

use super::attempt::{BackendFailure, Outgoing, Sent, TryError, attempt};
use super::retry_policy::{
    Cause, Failure, Outcome, Situation, Step, connection_for, is_idempotent, most_repeats, next_step,
};
use super::upload::Source;
use super::{Forward, Framing, Scratch, tunnel};
use crate::admission::grpc;
use crate::ending::RequestError;
use crate::rewrite::client_headers::{ForwardContext, authority};
use crate::upstream::backend::{Backend, Lease};
use crate::upstream::fault::Fault;
use crate::upstream::pool::{Pooled, Wanted};
use crate::upstream::retry_budget::RetryBudget;
use crate::user::Upstream;

/// What becomes of an attempt that does not end the request.
pub(super) enum Attempted<'a> {
    Replied(Pooled, Sent<'a>),
    NextBackend,
}

/// A try that has failed.
struct FailedTry {
    outcome: Outcome,
    situation: Situation,
    text: FailureText,
    /// The backend has failed this request only.
    lives: bool,
}

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
pub(super) fn is_failure(status: u16) -> bool {
    status >= 500
}

impl Forward<'_, '_> {
    /// One attempt: at most one more try at the same backend, silently.
    pub(super) async fn try_backend<'s>(
        &'s self,
        lease: &Lease<Upstream>,
        framing: &Framing,
        scratch: &mut Scratch,
        attempts_left: usize,
        body: &mut RequestBody<'_>,
        deadline: &mut Deadline,
    ) -> Result<Attempted<'s>, RequestError> {
        let upstream = lease.target();
        let Scratch { target, authority: room } = scratch;
        let authority = authority(self.head, &self.target.request_rules, upstream.url.host(), self.placeholders, room)
            .map_err(RequestError::BadHeaderValue)?;
        let outgoing = self.outgoing(upstream, framing, target, authority);
        let attempts_left = u32::try_from(attempts_left).unwrap_or(u32::MAX);
        let (mut repeats, mut wanted) = (0, Wanted::Any);
        loop {
            self.user.metrics.backend_requests.inc();
            if let Some(limited) = &self.limited {
                limited.asks(lease, self.buffered.complete);
            }
            self.record.attempt(upstream.url.shown_host());
            let failed = match attempt(self.pool, &upstream.peer, wanted, &outgoing, body, deadline).await {
                Ok((pooled, sent)) => {
                    if let Some(replies) = &upstream.peer.replies {
                        replies.replied(pooled.exchange.reply.head().status());
                    }
                    match self.unwanted(&pooled, &sent, outgoing.line.upgrade.is_some(), attempts_left) {
                        None => return Ok(Attempted::Replied(pooled, sent)),
                        Some(failed) => failed,
                    }
                }
                Err(TryError::Request(error)) => return Err(error),
                Err(TryError::Backend(failure)) => {
                    let over_http1 = failure.wants_http1 && upstream.peer.upgrades_over_http1();
                    wanted = if over_http1 { Wanted::OwnHttp1 } else { connection_for(repeats + 1) };
                    // It can want that once, and comes to it after a refusal or a stale connection, too.
                    self.failed(failure, if over_http1 { 0 } else { repeats }, attempts_left)
                }
            };
            self.no_longer_waits();
            self.record.failed(&failed.text.shown());
            lease.failed(failed.text.fault(), &failed.text.shown());
            let mut step = next_step(failed.outcome, failed.situation);
            if step == Step::Repeat {
                repeats += 1;
                continue;
            }
            if step == Step::NextAttempt(Cause::Transport) && !self.may_retry() {
                step = Step::OverBudget;
            }
            let FailedTry { text, lives, .. } = failed;
            return self.after_failure(lease, &outgoing, step, lives, text).map(|()| Attempted::NextBackend);
        }
    }

    /// The request as this backend gets it.
    fn outgoing<'l, 's: 'l>(
        &'s self,
        upstream: &'l Upstream,
        framing: &Framing,
        target: &'l [u8],
        authority: &'l [u8],
    ) -> Outgoing<'l, 's> {
        let rules = &self.target.request_rules;
        Outgoing {
            line: RequestLine {
                method: self.head.method(),
                target,
                authority,
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
        }
    }

    /// What is wrong with a reply that is not to be the client's.
    fn unwanted(&self, pooled: &Pooled, sent: &Sent<'_>, asks_upgrade: bool, attempts_left: u32) -> Option<FailedTry> {
        let head = pooled.exchange.reply.head();
        let status = head.status();
        let is_odd = head.upgrade().is_some() && !(asks_upgrade && matches!(sent, Sent::Whole));
        if !is_odd && !self.target.retry_status_codes.contains(&status) {
            return None;
        }
        let (situation, harms_twice) = (self.situation(attempts_left), self.harms_twice());
        if is_odd {
            let cause = "malformed HTTP response: unexpected switch of protocols".to_owned();
            return Some(FailedTry {
                outcome: Outcome::Failed(Failure::Other),
                situation: Situation { only_once: harms_twice, ..situation },
                text: FailureText::Cause(Fault::Malformed, cause),
                lives: false,
            });
        }
        // Without a budget for another try, what is there goes to the client.
        let is_retried = !harms_twice && (attempts_left == 0 || !situation.body_replayable || self.may_retry());
        let (outcome, text) = (Outcome::RetriedStatus, FailureText::Status(status));
        is_retried.then_some(FailedTry { outcome, situation, text, lives: false })
    }

    /// A try without a reply.
    fn failed(&self, failure: BackendFailure, repeats: u32, attempts_left: u32) -> FailedTry {
        let situation = self.situation(attempts_left);
        let most = most_repeats(failure.moved && attempts_left == 0);
        let is_stale = failure.stale && situation.body_replayable;
        FailedTry {
            outcome: Outcome::Failed(if failure.trivial { Failure::Cut } else { Failure::Other }),
            situation: Situation {
                stale_connection: is_stale || failure.refused && self.has_lost_nothing(),
                only_once: self.harms_twice() && failure.reached && !failure.refused,
                repeated: repeats >= most,
                ..situation
            },
            text: FailureText::Cause(failure.fault, failure.cause),
            lives: failure.alive,
        }
    }

    fn situation(&self, attempts_left: u32) -> Situation {
        Situation {
            body_replayable: self.is_replayable(),
            attempts_left,
            stale_connection: false,
            only_once: false,
            repeated: false,
        }
    }

    /// Whether it may do harm that a backend reads the request twice.
    fn harms_twice(&self) -> bool {
        self.target.retry_only_idempotent && !is_idempotent(self.head.method())
    }

    /// The backend has answered or failed.
    pub(super) fn no_longer_waits(&self) {
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
        outgoing: &Outgoing<'_, '_>,
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
        let target = lease.target().url.display(outgoing.line.target);
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
    pub(super) fn judge(&self, backend: &Arc<Backend<Upstream>>, has_failed: bool) {
        let Some(outliers) = backend.outliers() else { return };
        if !has_failed {
            outliers.succeeded();
        } else if let Some(reason) = outliers.failed() {
            self.health.eject(backend, self.target.backends.known().snapshot(), reason);
        }
    }
}

/// Numbers as the original prints a list of them.
fn blank_separated(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
