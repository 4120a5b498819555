//! Passive ejection: a backend that fails requests again and again is left out for a while
//! (docs/reference/balancing.md#ejection).
//!
//! Workers count how tries end, which costs two atomics at most; only a failure looks at the clock. Whether a backend that
//! has failed too often is really left out is decided on the control plane ([`HealthChecker`](super::health_check)), where
//! the others of its route are looked at: at most a part of them is ejected at a time.
//!
//! It must never count what is no fault of the backend.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::epoch::Epoch;

/// `outlier_detection` of a user or an entry of `url_map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierSpec {
    /// Failures in a row that eject; 0 for any number.
    pub consecutive_errors: u32,
    /// Share of failures within `interval` that ejects, in percent; 0 for any share.
    pub error_percent: u32,
    /// Requests within `interval` below which the share says nothing.
    pub min_requests: u32,
    /// Over which time the share is taken.
    pub interval: Duration,
    /// How long the first ejection takes; each further one twice as long.
    pub ejection_time: Duration,
    /// How long an ejection takes at most, and after how long a time without one they begin anew.
    pub max_ejection_time: Duration,
    /// Share of a route's backends that may be ejected at a time, in percent, rounded down.
    pub max_ejection_percent: u32,
}

impl OutlierSpec {
    /// How many of so many backends may be ejected.
    pub fn most_of(&self, backends: usize) -> usize {
        backends * self.max_ejection_percent as usize / 100
    }
}

/// Why a backend is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// So many failures in a row.
    InARow(u32),
    /// So many failures of so many requests within the interval.
    Share {
        /// Failures.
        errors: u32,
        /// Requests.
        requests: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(errors) => write!(f, "{errors} failures in a row"),
            Self::Share { errors, requests } => write!(f, "{errors} of {requests} requests have failed"),
        }
    }
}

/// How the tries at one backend have ended.
#[derive(Debug)]
pub struct Outliers {
    spec: Arc<OutlierSpec>,
    in_a_row: AtomicU32,
    requests: AtomicU32,
    errors: AtomicU32,
    /// When counting began that `requests` and `errors` are of, in milliseconds since `epoch`.
    since: AtomicU64,
    epoch: Epoch,
    /// How often it was ejected since it began anew.
    level: AtomicU32,
    ejections: AtomicU64,
    /// When the last ejection ended, in milliseconds since `epoch`.
    returned: AtomicU64,
}

impl Outliers {
    /// Nothing has happened yet.
    pub fn new(spec: Arc<OutlierSpec>) -> Self {
        Self {
            spec,
            in_a_row: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            since: AtomicU64::new(0),
            epoch: Epoch::new(),
            level: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }
    }

    /// The settings.
    pub fn spec(&self) -> &Arc<OutlierSpec> {
        &self.spec
    }

    /// Ejections so far.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Counts a try that was answered well.
    pub fn succeeded(&self) {
        // The load spares busy backends the exclusive access to their cache line.
        if self.in_a_row.load(Relaxed) != 0 {
            self.in_a_row.store(0, Relaxed);
        }
        if self.spec.error_percent != 0 {
            self.requests.fetch_add(1, Relaxed);
        }
    }

    /// Counts a try that has failed; says why the backend should be ejected now.
    pub fn failed(&self) -> Option<Reason> {
        let in_a_row = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        let share = self.count_share();
        let spec = &self.spec;
        if spec.consecutive_errors != 0 && in_a_row >= spec.consecutive_errors {
            return Some(Reason::InARow(in_a_row));
        }
        share
    }

    /// Counts begin anew with the first failure after the interval: what was fine before it says nothing about now.
    fn count_share(&self) -> Option<Reason> {
        let spec = &self.spec;
        if spec.error_percent == 0 {
            return None;
        }
        let now = self.epoch.now();
        if now.saturating_sub(self.since.load(Relaxed)) > millis(spec.interval) {
            self.since.store(now, Relaxed);
            self.requests.store(1, Relaxed);
            self.errors.store(1, Relaxed);
        } else {
            self.requests.fetch_add(1, Relaxed);
            self.errors.fetch_add(1, Relaxed);
        }
        let (errors, requests) = (self.errors.load(Relaxed), self.requests.load(Relaxed));
        let is_much = u64::from(errors) * 100 >= u64::from(requests) * u64::from(spec.error_percent);
        (requests >= spec.min_requests && is_much).then_some(Reason::Share { errors, requests })
    }

    /// Notes an ejection; how long it takes.
    pub(super) fn ejected(&self) -> Duration {
        self.forget();
        let is_first =
            self.epoch.now().saturating_sub(self.returned.load(Relaxed)) > millis(self.spec.max_ejection_time);
        let level = if is_first { 0 } else { self.level.load(Relaxed) };
        self.level.store(level.saturating_add(1), Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.spec.ejection_time.saturating_mul(1 << level.min(16)).min(self.spec.max_ejection_time)
    }

    /// Notes the end of an ejection.
    pub(super) fn returned(&self) {
        self.forget();
        self.returned.store(self.epoch.now(), Relaxed);
    }

    /// What was counted so far has had its consequence, or can have none.
    pub(super) fn forget(&self) {
        self.in_a_row.store(0, Relaxed);
        self.requests.store(0, Relaxed);
        self.errors.store(0, Relaxed);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn outliers(consecutive_errors: u32, error_percent: u32) -> Outliers {
        let seconds = Duration::from_secs;
        Outliers::new(Arc::new(OutlierSpec {
            consecutive_errors,
            error_percent,
            min_requests: 10,
            interval: seconds(10),
            ejection_time: seconds(30),
            max_ejection_time: seconds(100),
            max_ejection_percent: 50,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row() {
        let all = outliers(3, 0);
        assert_eq!((all.failed(), all.failed()), (None, None));
        all.succeeded();
        assert_eq!((all.failed(), all.failed(), all.failed()), (None, None, Some(Reason::InARow(3))));
        // Not taken up, so the next one asks again.
        assert_eq!(all.failed(), Some(Reason::InARow(4)));
        all.forget();
        assert_eq!(all.failed(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_counts_within_the_interval_and_among_enough_requests() {
        let all = outliers(0, 50);
        (0..1000).for_each(|_| all.succeeded());
        advance(Duration::from_secs(11)).await;
        for _ in 0..4 {
            assert_eq!(all.failed(), None);
            all.succeeded();
        }
        assert_eq!(all.failed(), None, "nine requests");
        assert_eq!(all.failed(), Some(Reason::Share { errors: 6, requests: 10 }));
        advance(Duration::from_secs(11)).await;
        assert_eq!(all.failed(), None, "old failures are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn ejections_grow_and_begin_anew() {
        let all = outliers(1, 0);
        let mut times = Vec::new();
        for _ in 0..4 {
            advance(Duration::from_secs(50)).await;
            times.push(all.ejected().as_secs());
            all.returned();
        }
        advance(Duration::from_secs(101)).await;
        times.push(all.ejected().as_secs());
        assert_eq!((times, all.ejections()), (vec![30, 60, 100, 100, 30], 5));
    }

    #[test]
    fn the_cap_is_rounded_down() {
        let spec = outliers(1, 0).spec;
        assert_eq!([0, 1, 2, 3, 4].map(|backends| spec.most_of(backends)), [0, 0, 1, 1, 2]);
    }
}
