//! The coarse clock that tells summaries when to start a new sample set.
//!
//! Reading it is one atomic load. The control thread refreshes it about once a second with [`refresh`]; rendering a
//! page and every sixteenth update of a summary refresh it as well, so forgetting the tick only makes windows less
//! exact. It counts from the first use, never goes backwards and has nothing to do with the time of day.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Half of the window of a summary: how long a sample set is the younger of the two.
pub const PERIOD_SECONDS: u64 = 150;

static START: OnceLock<Instant> = OnceLock::new();
static SECONDS: AtomicU64 = AtomicU64::new(0);

/// Reads the system's monotonic clock and stores it for [`seconds`].
pub fn refresh() {
    let now = START.get_or_init(Instant::now).elapsed().as_secs();
    SECONDS.fetch_max(now, Ordering::Relaxed);
}

/// Seconds since the first [`refresh`], as of the last one.
pub fn seconds() -> u64 {
    SECONDS.load(Ordering::Relaxed)
}

/// Number of the present half window; at least 1, so that the one before exists.
pub(crate) fn period() -> u64 {
    seconds() / PERIOD_SECONDS + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_in_period_one_and_never_goes_back() {
        refresh();
        let first = seconds();
        refresh();
        assert!(seconds() >= first);
        assert_eq!(period(), seconds() / 150 + 1);
    }
}
