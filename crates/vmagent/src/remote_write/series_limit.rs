//! Limits of different series in an hour or a day, `-remoteWrite.maxHourlySeries` and `-remoteWrite.maxDailySeries`.
//!
//! Series are told apart by a hash of their labels. The set is emptied when its period ends, and never holds more than
//! its limit, so a flood of new series costs memory up to the limit and no more.

use foldhash::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vmkit::metrics::Counter;

/// Without a limit so many are tracked.
const TRACKED: usize = 10_000_000;

/// One limit; shared with the metrics page.
#[derive(Debug)]
pub struct SeriesLimit {
    limit: usize,
    period: Duration,
    seen: Mutex<(Instant, HashSet<u64>)>,
    current: AtomicU64,
    dropped: Arc<Counter>,
}

impl SeriesLimit {
    /// `None` at 0; -1 counts only. `dropped` counts samples.
    pub fn new(limit: i64, period: Duration, dropped: Arc<Counter>) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        let limit = usize::try_from(limit).unwrap_or(TRACKED);
        let seen = Mutex::new((Instant::now(), HashSet::default()));
        Some(Self { limit, period, seen, current: AtomicU64::new(0), dropped })
    }

    /// Whether a series may pass; else its samples are counted as dropped.
    pub fn admits(&self, hash: u64, samples: usize) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, series) = &mut *seen;
        if start.elapsed() >= self.period {
            *start = Instant::now();
            series.clear();
        }
        let admitted = series.contains(&hash) || (series.len() < self.limit && series.insert(hash));
        self.current.store(series.len() as u64, Ordering::Relaxed);
        if !admitted {
            self.dropped.add(samples as u64);
        }
        admitted
    }

    /// Series in the present period.
    pub fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// Most series in one period.
    pub fn max(&self) -> u64 {
        self.limit as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_series_pass_and_new_ones_do_not() {
        let dropped = Arc::new(Counter::new());
        let limit = SeriesLimit::new(3, Duration::from_secs(3600), Arc::clone(&dropped)).unwrap();
        let passed: Vec<bool> = [1, 2, 1, 3, 4, 5, 3].iter().map(|hash| limit.admits(*hash, 2)).collect();
        assert_eq!(passed, [true, true, true, true, false, false, true]);
        assert_eq!((limit.current(), limit.max(), dropped.get()), (3, 3, 4));
    }

    #[test]
    fn a_new_period_begins_anew() {
        let limit = SeriesLimit::new(1, Duration::ZERO, Arc::default()).unwrap();
        assert!(limit.admits(1, 1) && limit.admits(2, 1));
        assert!(SeriesLimit::new(0, Duration::ZERO, Arc::default()).is_none());
        let tracking = SeriesLimit::new(-1, Duration::from_secs(60), Arc::default()).unwrap();
        assert!((0..1000).all(|hash| tracking.admits(hash, 1)));
    }
}
