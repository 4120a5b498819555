//! At most so many lines a second from one place of the source.
//!
//! The first line over the limit is still printed, with a note, so that readers know about the gap. Lock-free: the
//! second and the number of lines in it share one atomic.

use std::sync::atomic::{AtomicU64, Ordering};

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Print,
    /// Print with the note that lines are suppressed from here on.
    PrintLast,
    Drop,
}

/// Lines of the current second.
#[derive(Debug)]
pub(crate) struct RateLimit(AtomicU64);

const COUNT_BITS: u32 = 32;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl RateLimit {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a line at `second`; a limit of 0 admits everything.
    pub(crate) fn admit(&self, limit: u32, second: u64) -> Verdict {
        if limit == 0 {
            return Verdict::Print;
        }
        let second = second & COUNT_MASK;
        let next = |packed: u64| {
            let lines = if packed >> COUNT_BITS == second { packed & COUNT_MASK } else { 0 };
            (second << COUNT_BITS) | (lines + 1).min(COUNT_MASK)
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| Some(next(packed)));
        let lines = next(before.unwrap_or_else(|packed| packed)) & COUNT_MASK;
        match lines.cmp(&(u64::from(limit) + 1)) {
            std::cmp::Ordering::Less => Verdict::Print,
            std::cmp::Ordering::Equal => Verdict::PrintLast,
            std::cmp::Ordering::Greater => Verdict::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_starts_anew() {
        let rate = RateLimit::new();
        let at = |second: u64, lines: usize| (0..lines).map(|_| rate.admit(2, second)).collect::<Vec<_>>();
        assert_eq!(at(10, 5), [Verdict::Print, Verdict::Print, Verdict::PrintLast, Verdict::Drop, Verdict::Drop]);
        assert_eq!(at(11, 3), [Verdict::Print, Verdict::Print, Verdict::PrintLast]);
        assert_eq!(at(13, 1), [Verdict::Print]);
    }

    #[test]
    fn no_limit_admits_everything() {
        let rate = RateLimit::new();
        assert!((0..100).all(|_| rate.admit(0, 1) == Verdict::Print));
    }
}
