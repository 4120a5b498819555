//! `request_timeout` of a route: from the head of the request to the last byte of its reply, all attempts together.
//!
//! When it has passed, everything that was begun is dropped: connections to backends are closed, shared ones reset the
//! stream. Before the reply has begun the client gets 504; after that its connection is closed or its stream reset, and a
//! call of gRPC ends with `DEADLINE_EXCEEDED`. No other backend is tried and none is marked as broken: the limit says what
//! clients may ask for, not how long backends may take. It is a backend's failure when most of the time was its own.
//! Tunnels have limits of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use vmkit::exchange::{Deadline, ReplyWriter, RequestBody};
use vmkit::units::GoDuration;

use super::{Forward, end_call, grpc_status};
use crate::ending::{End, RequestError};
use crate::upstream::backend::Backend;
use crate::upstream::fault::Fault;
use crate::user::Upstream;

/// What must be known of a limited request when its time is over.
#[derive(Default)]
pub struct Limited {
    /// Who is asked and has not begun to answer.
    pub(super) asked: RefCell<Option<Asked>>,
    /// It has become a tunnel.
    pub(super) is_tunnel: Cell<bool>,
}

/// A backend that is asked.
pub(super) struct Asked {
    backend: Arc<Backend<Upstream>>,
    /// When that began, if the client has nothing more to send.
    since: Option<Instant>,
}

impl Limited {
    /// A backend is asked. `has_all`: the whole body is at hand.
    pub(super) fn asks(&self, backend: &Arc<Backend<Upstream>>, has_all: bool) {
        let asked = Asked { backend: Arc::clone(backend), since: has_all.then(Instant::now) };
        *self.asked.borrow_mut() = Some(asked);
    }
}

impl Forward<'_, '_> {
    /// As `attempts`, as long as the limit lets it.
    pub(super) async fn attempts_within(
        &mut self,
        limit: Duration,
        body: &mut RequestBody<'_>,
        reply: &mut ReplyWriter,
        deadline: &mut Deadline,
    ) -> Result<(), RequestError> {
        let limited = Rc::<Limited>::default();
        self.limited = Some(limited.clone());
        let until = self.waited_since + limit;
        let mut attempts = Box::pin(self.attempts(body, reply, deadline));
        tokio::select! {
            biased;
            ended = &mut attempts => return ended,
            () = sleep_until(until) => {}
        }
        if limited.is_tunnel.get() {
            return attempts.await;
        }
        drop(attempts);
        let waiting_for = limited.asked.take().and_then(|asked| self.gave_up(&asked, limit));
        if reply.has_begun() && reply.grpc_type().is_some() {
            let message = format!("the call took longer than request_timeout={}", GoDuration::from(limit));
            end_call(reply, grpc_status::DEADLINE_EXCEEDED, &message).await;
            self.record.set_end(End::ByLimit);
            return Ok(());
        }
        Err(RequestError::TimedOut { limit: limit.into(), waiting_for })
    }

    /// Counts an attempt that was given up, if it is the backend that has used up the time; its host then.
    fn gave_up(&self, asked: &Asked, limit: Duration) -> Option<String> {
        // A client that sends slowly, slots, and backends before this one take time as well.
        let waited = asked.since.or_else(|| self.record.waits_since())?.elapsed();
        if waited < limit / 2 {
            return None;
        }
        let backend = &asked.backend;
        let text = format!("no reply within request_timeout={}", GoDuration::from(limit));
        self.user.metrics.backend_errors.inc();
        self.record.failed(&text);
        backend.failed(Fault::Timeout, &text);
        self.judge(backend, true);
        Some(backend.target().url.shown_host().to_owned())
    }
}
