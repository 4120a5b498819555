//! What lives on from one generation to the next: counters of users with the same labels, and slots of unchanged users.
//!
//! Users with equal labels share their counters, as their series are the same. Slots belong to the n-th user with these
//! labels, and only while its limit stays.

use std::collections::HashMap;
use std::sync::Arc;

use crate::admission::concurrency::Limiter;
use crate::user::UserMetrics;

/// What a generation leaves to the next.
#[derive(Debug, Default)]
pub(super) struct CarriedOver {
    /// By label text.
    metrics: HashMap<String, Arc<UserMetrics>>,
    limiters: HashMap<LimiterKey, Arc<Limiter>>,
}

/// Label text, place among the users with these labels, limit.
type LimiterKey = (String, usize, usize);

/// Collects what a new generation takes over from the one before.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    before: Option<&'a CarriedOver>,
    now: CarriedOver,
    /// How many users had these labels so far.
    seen: HashMap<String, usize>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(before: Option<&'a CarriedOver>) -> Self {
        Self { before, now: CarriedOver::default(), seen: HashMap::new() }
    }

    /// Counters with these labels: of another user of this config, of the previous one, or new ones.
    pub(super) fn metrics(&mut self, key: &str) -> Arc<UserMetrics> {
        if let Some(metrics) = self.now.metrics.get(key) {
            return metrics.clone();
        }
        let before = self.before.and_then(|before| before.metrics.get(key));
        let metrics = before.cloned().unwrap_or_default();
        self.now.metrics.insert(key.to_owned(), metrics.clone());
        metrics
    }

    /// The slots of the next user with these labels and this limit.
    pub(super) fn limiter(&mut self, key: &str, capacity: usize) -> Arc<Limiter> {
        let position = self.seen.entry(key.to_owned()).or_default();
        let full_key = (key.to_owned(), *position, capacity);
        *position += 1;
        let before = self.before.and_then(|before| before.limiters.get(&full_key));
        let limiter = before.cloned().unwrap_or_else(|| Limiter::new(u32::try_from(capacity).unwrap_or(u32::MAX)));
        self.now.limiters.insert(full_key, limiter.clone());
        limiter
    }

    pub(super) fn finish(self) -> CarriedOver {
        self.now
    }
}
