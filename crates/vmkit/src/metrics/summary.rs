//! Durations with quantiles over a sliding window of five minutes.
//!
//! Two sample sets overlap: each takes every update, and every 2.5 minutes the older one is thrown away. The page reads
//! the older, so quantiles cover the last 2.5 to 5 minutes. A set keeps the first 1,000 samples, then each further one
//! replaces a random sample with the probability that keeps the choice uniform. Sum and count are for the life of the
//! process; the maximum of a set is exact.
//!
//! The request path calls `update`: atomics only, no lock. Sets are replaced, never cleared, so a late writer can only
//! write into a set nobody reads any more. Storage grows in chunks on demand and goes away when the window empties.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::clock;
use super::prometheus_text::Page;

/// Samples a set keeps at most.
const MAX_SAMPLES: usize = 1000;

/// Where the chunks of a sample set end: small at first, since most series see few requests in five minutes.
const CHUNK_ENDS: [usize; 5] = [8, 32, 128, 512, MAX_SAMPLES];

const QUANTILES: [(f64, &str); 5] = [
    (0.5, r#"quantile="0.5""#),
    (0.9, r#"quantile="0.9""#),
    (0.97, r#"quantile="0.97""#),
    (0.99, r#"quantile="0.99""#),
    (1.0, r#"quantile="1""#),
];

/// A summary of durations with quantiles 0.5, 0.9, 0.97, 0.99 and 1; share it as `Arc<Summary>`.
#[derive(Debug, Default)]
pub struct Summary {
    count: AtomicU64,
    sum_nanos: AtomicU64,
    /// The set that began in period `p` is at `p % 2`.
    sets: [ArcSwapOption<SampleSet>; 2],
}

impl Summary {
    /// An empty summary; it allocates nothing until the first update.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a duration in seconds, kept with nanosecond resolution. Negative values count as 0, NaN is ignored.
    pub fn update(&self, seconds: f64) {
        if !seconds.is_nan() {
            // Float casts saturate.
            self.record((seconds * 1e9).round() as u64);
        }
    }

    /// Records a duration.
    pub fn update_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Updates so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Sum of all recorded durations, in seconds.
    pub fn sum(&self) -> f64 {
        seconds(self.sum_nanos.load(Ordering::Relaxed))
    }

    fn record(&self, nanos: u64) {
        if self.count.load(Ordering::Relaxed).is_multiple_of(16) {
            clock::refresh();
        }
        self.record_in(nanos, clock::period());
    }

    fn record_in(&self, nanos: u64, period: u64) {
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.add_to_set(nanos, period);
        self.add_to_set(nanos, period.saturating_sub(1));
    }

    fn add_to_set(&self, nanos: u64, period: u64) {
        let place = &self.sets[(period % 2) as usize];
        let current = place.load();
        match &*current {
            // A younger set means that another thread saw the clock first.
            Some(set) if set.period >= period => set.add(nanos),
            _ => {
                let fresh = Arc::new(SampleSet::new(period));
                let before = place.compare_and_swap(&current, Some(fresh.clone()));
                let same = match (&*before, &*current) {
                    (None, None) => true,
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    _ => false,
                };
                match &*before {
                    Some(winner) if !same => winner.add(nanos),
                    _ => fresh.add(nanos),
                }
            }
        }
    }

    /// Appends the lines of this summary; nothing if it was never updated.
    pub(crate) fn write(&self, page: &mut Page, family: &str, labels: &str, scratch: &mut Vec<u64>) {
        self.write_in(page, family, labels, scratch, clock::period());
    }

    fn write_in(&self, page: &mut Page, family: &str, labels: &str, scratch: &mut Vec<u64>, period: u64) {
        let count = self.count();
        if count == 0 {
            return;
        }
        if let Some(values) = self.quantiles(scratch, period) {
            for ((_, label), value) in QUANTILES.iter().zip(values) {
                page.name(family, "", labels, label);
                page.value(value);
            }
        }
        page.name(family, "_sum", labels, "");
        page.value(self.sum());
        page.name(family, "_count", labels, "");
        page.integer(count);
    }

    /// Quantiles in seconds, in the order of [`QUANTILES`]; none when the window is empty.
    fn quantiles(&self, scratch: &mut Vec<u64>, period: u64) -> Option<[f64; 5]> {
        self.drop_stale_sets(period);
        let older = period.saturating_sub(1);
        let set = self.sets[(older % 2) as usize].load_full().filter(|set| set.period == older)?;
        scratch.clear();
        set.collect(scratch);
        let last = scratch.len().checked_sub(1)?;
        let max = set.max.load(Ordering::Relaxed);
        let mut values = [seconds(max); 5];
        let mut sorted_below = 0;
        for (value, (phi, _)) in values.iter_mut().zip(QUANTILES) {
            if phi < 1.0 {
                let at = ((phi * last as f64 + 0.5) as usize).min(last);
                // Quantiles ascend, so each selection only looks at what is above the one before.
                if at >= sorted_below {
                    scratch[sorted_below..].select_nth_unstable(at - sorted_below);
                    sorted_below = at + 1;
                }
                *value = seconds(scratch[at]);
            }
        }
        Some(values)
    }

    /// Frees the sets of a summary that was idle for a whole window.
    fn drop_stale_sets(&self, period: u64) {
        for place in &self.sets {
            let current = place.load();
            if current.as_ref().is_some_and(|set| set.period + 1 < period) {
                place.compare_and_swap(&current, None);
            }
        }
    }
}

/// Samples that began to be collected in one period.
#[derive(Debug)]
struct SampleSet {
    period: u64,
    count: AtomicU64,
    max: AtomicU64,
    /// Nanoseconds plus one; 0 is a place whose writer has not arrived yet.
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNK_ENDS.len()],
}

impl SampleSet {
    fn new(period: u64) -> Self {
        Self { period, count: AtomicU64::new(0), max: AtomicU64::new(0), chunks: Default::default() }
    }

    fn add(&self, nanos: u64) {
        // A load is much cheaper than the read-modify-write that is hardly ever needed.
        if nanos > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(nanos, Ordering::Relaxed);
        }
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let at = if before < MAX_SAMPLES as u64 { before } else { fastrand::u64(..=before) };
        if let Some(place) = self.place(at) {
            place.store(nanos.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn place(&self, at: u64) -> Option<&AtomicU64> {
        let at = usize::try_from(at).ok()?;
        let mut begin = 0;
        for (chunk, end) in self.chunks.iter().zip(CHUNK_ENDS) {
            if at < end {
                let storage = chunk.get_or_init(|| (begin..end).map(|_| AtomicU64::new(0)).collect());
                return storage.get(at - begin);
            }
            begin = end;
        }
        None
    }

    fn collect(&self, into: &mut Vec<u64>) {
        for place in self.chunks.iter().filter_map(OnceLock::get).flatten() {
            if let Some(nanos) = place.load(Ordering::Relaxed).checked_sub(1) {
                into.push(nanos);
            }
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests;
