//! The wish of a worker that its connections end: after their current reply, or at once when they are idle.

use std::cell::Cell;

use tokio::sync::Notify;

/// Shared by a worker and all its connections.
#[derive(Debug, Default)]
pub struct Draining {
    begun: Cell<bool>,
    change: Notify,
}

impl Draining {
    /// From now on no connection is kept after a reply.
    pub fn begin(&self) {
        if !self.begun.replace(true) {
            self.change.notify_waiters();
        }
    }

    /// Whether connections are to end.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Waits until connections are to end.
    pub async fn begun(&self) {
        let change = self.change.notified();
        if !self.begun.get() {
            change.await;
        }
    }
}
