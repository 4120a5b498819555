//! A number that only grows, except when it carries a timestamp.
//!
//! Updated on the request path by any thread with one relaxed atomic addition; read by the page. It wraps at 2^64 and
//! never panics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter; share it as `Arc<Counter>`.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the value: for counters that show a moment, such as the time of the last reload.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let counter = Counter::new();
        counter.inc();
        counter.add(41);
        assert_eq!(counter.get(), 42);
        counter.set(7);
        assert_eq!(counter.get(), 7);
    }

    #[test]
    fn wraps_instead_of_panicking() {
        let counter = Counter::new();
        counter.set(u64::MAX);
        counter.inc();
        assert_eq!(counter.get(), 0);
    }
}
