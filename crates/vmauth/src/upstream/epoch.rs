//! A moment that others are told from by milliseconds, which fit into an atomic.

use tokio::time::Instant;

/// The moment that counting begins at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(Instant);

impl Epoch {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds until now.
    pub(super) fn now(self) -> u64 {
        self.millis(Instant::now())
    }

    /// Milliseconds until `at`; 0 if it was before.
    pub(super) fn millis(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
    }
}
