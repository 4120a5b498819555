//! How long a sender waits before it sends a block again.
//!
//! Doubling from the minimum to the maximum, lengthened by up to a tenth so that senders do not march in step. What the
//! remote asks for in `Retry-After` counts within the same bounds.

use std::time::{Duration, SystemTime};

/// Waits of one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        let min = min.min(max);
        Self { next: min, min, max }
    }

    /// The next wait without its random part.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.max);
        retry_after.map_or(wait, |asked| asked.clamp(self.min, self.max))
    }
}

/// A wait with its random part, at most ten seconds.
pub(crate) fn with_jitter(wait: Duration) -> Duration {
    wait + (wait / 10).min(Duration::from_secs(10)).mul_f64(fastrand::f64())
}

/// The wait in a `Retry-After` header: seconds or an HTTP date (RFC 9110, section 10.2.3). A date in the past is no
/// wait; anything else, zero included, is no header.
pub(crate) fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    // Nobody means less than a whole number of seconds since 1970.
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.replace("GMT", "+0000")).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<u64> = (0..8).map(|_| backoff.next(None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let mut backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(2));
        assert_eq!(backoff.next(None), Duration::from_secs(2), "the maximum counts");
    }

    #[test]
    fn what_the_remote_asks_for_is_bounded() {
        let f = |asked: u64, want: u64| {
            let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(10));
            assert_eq!(backoff.next(Some(Duration::from_secs(asked))), Duration::from_secs(want));
        };
        f(3, 3);
        f(0, 2);
        f(300, 10);
        let wait = Duration::from_secs(1);
        assert!((0..100).all(|_| (wait..=wait * 11 / 10).contains(&with_jitter(wait))));
    }

    #[test]
    fn retry_after() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let f = |text: &str, want: Option<u64>| {
            assert_eq!(parse_retry_after(text, now).map(|wait| wait.as_secs()), want, "{text}");
        };
        f("3", Some(3));
        f(" 0 ", None);
        f(" 4 ", Some(4));
        f("Tue, 14 Nov 2023 22:13:30 GMT", Some(10));
        f("Tue, 14 Nov 2023 22:13:10 GMT", Some(0));
        f("soon", None);
        f("-1", None);
        f("1.5", None);
        f("", None);
    }
}
