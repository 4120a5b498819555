//! `request_timeout` of a route: from the head of the request to the last byte of its reply, all attempts together.
//!
//! When it has passed, everything that was begun is dropped: connections to backends are closed, shared ones reset the
//! stream. Before the reply has begun the client gets 504; after that its connection is closed or its stream reset, and a
//! call of gRPC ends with `DEADLINE_EXCEEDED`. No other backend is tried and none is marked: the limit says what clients
//! may ask for, not how long backends may take. Tunnels have limits of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;
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
    /// The backend whose reply has not begun.
    pub(super) trying: RefCell<Option<Arc<Backend<Upstream>>>>,
    /// It has become a tunnel.
    pub(super) is_tunnel: Cell<bool>,
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
        let waiting_for = limited.trying.take().map(|backend| self.gave_up(&backend, limit.into()));
        if reply.has_begun() && reply.grpc_type().is_some() {
            let message = format!("the call took longer than request_timeout={}", GoDuration::from(limit));
            end_call(reply, grpc_status::DEADLINE_EXCEEDED, &message).await;
            self.record.set_end(End::ByLimit);
            return Ok(());
        }
        Err(RequestError::TimedOut { limit: limit.into(), waiting_for })
    }

    /// Counts an attempt that was given up; the backend's host.
    fn gave_up(&self, backend: &Backend<Upstream>, limit: GoDuration) -> String {
        let text = format!("no reply within request_timeout={limit}");
        self.user.metrics.backend_errors.inc();
        self.record.failed(&text);
        backend.failed(Fault::Timeout, &text);
        backend.target().url.shown_host().to_owned()
    }
}
