//! `-remoteWrite.rateLimit`: bytes a second to one URL, shared by its senders.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A budget that is filled up once a second.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bytes: u64,
    /// When all that was sent so far is paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// 0 is no limit.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, paid_at: Mutex::new(None) }
    }

    /// Waits until so many bytes may be sent. True if it had to.
    pub(crate) async fn wait(&self, len: usize) -> bool {
        let Some(wait) = self.reserve(len, Instant::now()) else { return false };
        tokio::time::sleep(wait).await;
        true
    }

    fn reserve(&self, len: usize, now: Instant) -> Option<Duration> {
        if self.bytes == 0 {
            return None;
        }
        let cost = Duration::from_secs_f64(len as f64 / self.bytes as f64);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = paid_at.map_or(now, |at| at.max(now));
        *paid_at = start.checked_add(cost);
        // A second's worth may go at once.
        let wait = start.saturating_duration_since(now).saturating_sub(Duration::from_secs(1));
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_goes_at_once_and_the_rest_waits() {
        let limit = RateLimit::new(1000);
        let now = Instant::now();
        assert_eq!(limit.reserve(1000, now), None);
        assert_eq!(limit.reserve(500, now), None);
        assert_eq!(limit.reserve(500, now), Some(Duration::from_millis(500)));
        assert_eq!(limit.reserve(1000, now + Duration::from_secs(2)), None);
        assert_eq!(RateLimit::new(0).reserve(usize::MAX, now), None);
    }
}
