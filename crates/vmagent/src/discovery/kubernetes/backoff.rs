//! How long to wait before an API server is asked again.
//!
//! Waits grow from one second to half a minute and are spread over their whole range, so that agents which lost the
//! same server do not come back together. `Retry-After` beats them, within reason.

use std::time::Duration;

const LONGEST: f64 = 30.0;
/// A server in trouble may ask for more patience than a retry has, but not for silence without end.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The shortest wait; a second but for tests.
    unit: Duration,
    failures: i32,
}

impl Backoff {
    pub(super) fn new(unit: Duration) -> Self {
        Self { unit, failures: 0 }
    }

    /// All is well again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure; `asked` is what the server asked for, `random` is from 0 to 1.
    pub(super) fn next(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        self.failures = (self.failures + 1).min(5);
        let upper = f64::from(1 << self.failures).min(LONGEST);
        let own = self.unit.mul_f64(1.0 + random.clamp(0.0, 1.0) * (upper - 1.0));
        asked.map_or(own, |asked| asked.clamp(self.unit, LONGEST_ASKED))
    }
}

/// Seconds of a `Retry-After` header (RFC 9110, section 10.2.3); dates are not sent by API servers.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let f = |backoff: &mut Backoff, random: f64, want: f64| {
            assert_eq!(backoff.next(None, random).as_secs_f64(), want);
        };
        f(&mut backoff, 0.0, 1.0);
        f(&mut backoff, 1.0, 4.0);
        f(&mut backoff, 0.5, 4.5);
        f(&mut backoff, 1.0, 16.0);
        f(&mut backoff, 1.0, 30.0);
        for _ in 0..100 {
            f(&mut backoff, 1.0, 30.0);
            f(&mut backoff, 0.0, 1.0);
        }
        backoff.reset();
        f(&mut backoff, 1.0, 2.0);
    }

    #[test]
    fn the_server_may_ask_for_a_wait() {
        let f = |header: &str, want: Option<u64>| {
            let asked = retry_after(header);
            let wait = Backoff::new(Duration::from_secs(1)).next(asked, 1.0).as_secs_f64();
            assert_eq!(wait, want.map_or(2.0, |seconds| seconds as f64), "{header}");
        };
        f("7", Some(7));
        f(" 60 ", Some(60));
        f("0", Some(1));
        f("86400", Some(300));
        f("soon", None);
        f("-1", None);
    }
}
