//! How many requests of a route may be tried again: a share of its requests, and a few a second
//! (docs/reference/balancing.md#retry-budget).
//!
//! When backends fail because they have too much to do, each retry gives them more of it. Requests and retries are counted
//! over a sliding window: those of the running ten seconds, and as many of the ten before as the window still covers.
//! Workers share the counts, which are atomics; a request brings the time that it knows anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

use super::epoch::Epoch;

/// Over which time requests and retries are counted.
const WINDOW_SECONDS: u64 = 10;
const WINDOW_MILLIS: u64 = WINDOW_SECONDS * 1000;

/// `retry_budget` of a user or an entry of `url_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSpec {
    /// Retries in percent of requests.
    pub percent: u32,
    /// Retries a second that are allowed besides.
    pub min_per_second: u32,
}

/// The budget of one route.
#[derive(Debug)]
pub struct RetryBudget {
    spec: BudgetSpec,
    epoch: Epoch,
    /// Number of the running window, from 0.
    window: AtomicU64,
    requests: Count,
    retries: Count,
}

/// A count of the running window and of the one before.
#[derive(Debug, Default)]
struct Count {
    now: AtomicU64,
    before: AtomicU64,
}

impl Count {
    fn roll(&self, windows: u64) {
        let ended = self.now.swap(0, Relaxed);
        self.before.store(if windows == 1 { ended } else { 0 }, Relaxed);
    }

    /// `left`: share of the window before that still counts, in thousandths.
    fn sliding(&self, left: u64) -> u64 {
        self.now.load(Relaxed) + self.before.load(Relaxed) * left / 1000
    }
}

impl RetryBudget {
    /// A budget of which nothing is used.
    pub fn new(spec: BudgetSpec) -> Self {
        Self {
            spec,
            epoch: Epoch::new(),
            window: AtomicU64::new(0),
            requests: Count::default(),
            retries: Count::default(),
        }
    }

    /// Counts a request that came at this time.
    pub fn request(&self, at: Instant) {
        self.roll(at);
        self.requests.now.fetch_add(1, Relaxed);
    }

    /// Takes one retry out of the budget; `false` when there is none left.
    pub fn take(&self) -> bool {
        let into = self.roll(Instant::now());
        let left = 1000 - into * 1000 / WINDOW_MILLIS;
        let most = self.requests.sliding(left) * u64::from(self.spec.percent) / 100
            + u64::from(self.spec.min_per_second) * WINDOW_SECONDS;
        let is_left = self.retries.sliding(left) < most;
        if is_left {
            self.retries.now.fetch_add(1, Relaxed);
        }
        is_left
    }

    /// Begins another window if it is time; milliseconds into the running one.
    fn roll(&self, now: Instant) -> u64 {
        let elapsed = self.epoch.millis(now);
        let (window, known) = (elapsed / WINDOW_MILLIS, self.window.load(Relaxed));
        if window > known && self.window.compare_exchange(known, window, Relaxed, Relaxed).is_ok() {
            self.requests.roll(window - known);
            self.retries.roll(window - known);
        }
        elapsed % WINDOW_MILLIS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::advance;

    fn taken(budget: &RetryBudget) -> usize {
        std::iter::repeat_with(|| budget.take()).take(1000).filter(|is_left| *is_left).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_requests_and_a_few() {
        let budget = RetryBudget::new(BudgetSpec { percent: 20, min_per_second: 1 });
        assert_eq!(taken(&budget), 10);
        (0..100).for_each(|_| budget.request(Instant::now()));
        assert_eq!(taken(&budget), 20);
        assert_eq!(taken(&budget), 0);
        advance(Duration::from_secs(25)).await;
        assert_eq!(taken(&budget), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_slides() {
        let budget = RetryBudget::new(BudgetSpec { percent: 10, min_per_second: 0 });
        (0..100).for_each(|_| budget.request(Instant::now()));
        assert_eq!(taken(&budget), 10);
        advance(Duration::from_secs(15)).await;
        // Half of what was asked and tried again still counts.
        (0..100).for_each(|_| budget.request(Instant::now()));
        assert_eq!(taken(&budget), 10);
        assert_eq!(taken(&RetryBudget::new(BudgetSpec { percent: 0, min_per_second: 0 })), 0);
    }
}
