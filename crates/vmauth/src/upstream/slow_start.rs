//! Slow start: a backend that returns gets a small share of its requests at first, which grows for a while
//! (docs/reference/balancing.md#slow-start).
//!
//! It may have cold caches and no connections yet. While it warms up it takes a request that would be its by chance; another
//! one takes the rest. Balancing asks only of a backend that carries the mark, so others pay nothing for it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::epoch::Epoch;

/// Share at the beginning.
const FIRST_SHARE: f64 = 0.1;

/// How one backend warms up.
#[derive(Debug)]
pub(super) struct SlowStart {
    time: Duration,
    epoch: Epoch,
    /// When it has returned, in milliseconds since `epoch`.
    since: AtomicU64,
}

impl SlowStart {
    /// Takes so long.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, epoch: Epoch::new(), since: AtomicU64::new(0) }
    }

    /// How long it takes.
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// The backend has returned.
    pub(super) fn begin(&self) {
        self.since.store(self.epoch.now(), Relaxed);
    }

    /// The share of its requests that the backend is to get now; `None` when it is warm.
    pub(super) fn share(&self) -> Option<f64> {
        let elapsed = Duration::from_millis(self.epoch.now().saturating_sub(self.since.load(Relaxed)));
        let share = elapsed.as_secs_f64() / self.time.as_secs_f64();
        (share < 1.0).then(|| share.max(FIRST_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_share_grows() {
        let start = SlowStart::new(Duration::from_secs(100));
        advance(Duration::from_secs(1000)).await;
        start.begin();
        assert_eq!(start.share(), Some(FIRST_SHARE));
        advance(Duration::from_secs(50)).await;
        assert_eq!(start.share(), Some(0.5));
        advance(Duration::from_secs(50)).await;
        assert_eq!(start.share(), None);
    }
}
