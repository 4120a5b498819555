//! How many connections a worker has.
//!
//! A connection counts from the moment its worker was chosen, on whatever thread that happens, until its guard is
//! dropped. Whoever stops a worker waits here until there are none. Nothing here knows the connections themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::connection_limits::Counted;

/// Connections of a worker that count for draining, and for the choice of the next one.
#[derive(Debug, Default)]
pub(super) struct Load {
    open: AtomicUsize,
    closed: Notify,
}

impl Load {
    /// Counts a connection from now until the guard is dropped, on whatever thread that happens.
    pub(super) fn claim(self: &Arc<Self>, counted: Counted) -> OpenGuard {
        self.open.fetch_add(1, Ordering::SeqCst);
        OpenGuard { load: self.clone(), _counted: counted }
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until there are no connections.
    pub(super) async fn drained(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// A connection that is counted as open.
pub(super) struct OpenGuard {
    load: Arc<Load>,
    _counted: Counted,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::SeqCst);
        self.load.closed.notify_waiters();
    }
}
