//! How much memory the heads of clients may take: each by itself, and all of them together.
//!
//! Anybody may send a large head, before any credentials are seen, and thousands of them at once. A head takes memory
//! only as its bytes arrive; what goes beyond one pooled buffer is counted over all connections of the server and given
//! back with the head. A head for which nothing is left is refused as too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Largest head unless something else is said.
pub(super) const MAX_HEAD: usize = 1024 * 1024;

/// Limits of the heads of one server; clones share the count.
#[derive(Clone, Debug)]
pub struct HeadBudget {
    max_head: usize,
    max_total: usize,
    taken: Arc<AtomicUsize>,
}

/// Memory that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct HeadClaim {
    budget: HeadBudget,
    bytes: usize,
}

impl Default for HeadBudget {
    fn default() -> Self {
        Self::new(MAX_HEAD, usize::MAX)
    }
}

impl HeadBudget {
    /// Heads of at most `max_head` bytes, and `max_total` bytes for all that need more than their first buffer.
    pub fn new(max_head: usize, max_total: usize) -> Self {
        Self { max_head, max_total, taken: Arc::default() }
    }

    /// Largest head in bytes.
    pub(super) fn max_head(&self) -> usize {
        self.max_head
    }

    /// Counts so many bytes more; `None` when they are not left.
    pub(super) fn claim(&self, bytes: usize) -> Option<HeadClaim> {
        self.take(bytes).then(|| HeadClaim { budget: self.clone(), bytes })
    }

    fn take(&self, bytes: usize) -> bool {
        let sum = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.max_total);
        self.taken.fetch_update(Relaxed, Relaxed, sum).is_ok()
    }
}

impl HeadClaim {
    /// Counts so many bytes more; false when they are not left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let is_left = self.budget.take(bytes);
        self.bytes += if is_left { bytes } else { 0 };
        is_left
    }
}

impl Drop for HeadClaim {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = HeadBudget::new(10, 100);
        let mut first = budget.claim(60).unwrap();
        assert!(budget.claim(41).is_none() && !first.grow(41) && first.grow(40));
        assert!(budget.claim(1).is_none());
        drop(first);
        assert!(budget.claim(100).is_some());
    }
}
