//! When to renew, when to ask, when to try again. Times are seconds since 1970; `random` is from 0 to below 1.

use std::time::Duration;

use super::failure::Cause;

/// The longest pause between two tries.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// The first pause when the authority had no part in the failure.
const FREE_PAUSE: Duration = Duration::from_secs(5);
/// The first pause when it had: five failed validations an hour are what Let's Encrypt allows a host.
const COSTLY_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Bounds of the time between two questions for a window (RFC 9773 §4.3.2).
const QUESTIONS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
/// Certificates that are due at a start are renewed within this time: after an outage many processes start together.
const START_SPREAD: i64 = 300;

/// Two thirds of the lifetime, and up to a twentieth more, so that certificates of one day do not renew together.
///
/// One that is due already is renewed soon, long before its end; an expired one now.
pub(super) fn by_lifetime(not_before: i64, not_after: i64, now: i64, random: f64) -> i64 {
    let lifetime = not_after.saturating_sub(not_before).max(0);
    let due = not_before.saturating_add(lifetime / 3 * 2).saturating_add(share(lifetime / 20, random));
    if due > now {
        return due;
    }
    let left = not_after.saturating_sub(now).max(0);
    now.saturating_add(share((left / 10).min(START_SPREAD), random))
}

fn share(whole: i64, random: f64) -> i64 {
    (whole as f64 * random) as i64
}

/// When the authority would like a certificate to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    start: i64,
    end: i64,
}

impl Window {
    /// Bounds in any order.
    pub(super) fn new(start: i64, end: i64) -> Self {
        Self { start: start.min(end), end: start.max(end) }
    }

    /// Any moment of the window, the same for the same `random` (RFC 9773 §4.2). One that is over means now.
    pub(super) fn moment(self, random: f64) -> i64 {
        self.start.saturating_add(share(self.end.saturating_sub(self.start), random))
    }
}

/// The last moment for a first try, with a tenth of the lifetime left.
pub(super) fn latest(not_before: i64, not_after: i64) -> i64 {
    not_after.saturating_sub(not_after.saturating_sub(not_before).max(0) / 10)
}

/// A certificate that is valid for so long is not renewed earlier than after this, in seconds.
pub(super) fn least_age(validity: i64) -> i64 {
    (validity / 4).clamp(1, 3600)
}

/// The authority says when to ask again, within reason.
pub(super) fn until_next_question(asked_for: Duration) -> Duration {
    asked_for.clamp(QUESTIONS.0, QUESTIONS.1)
}

/// Twice as long after each failure (1 = the first), and up to a fifth more.
pub(super) fn pause(cause: Cause, failures: u32, random: f64) -> Duration {
    let first = if cause.is_free() { FREE_PAUSE } else { COSTLY_PAUSE };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    doubled + doubled.mul_f64(random / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn lifetimes_of_days_and_of_hours_renew_at_two_thirds() {
        let f = |lifetime: i64, now: i64, random: f64, want: i64| {
            assert_eq!(by_lifetime(1000, 1000 + lifetime, 1000 + now, random), 1000 + want, "{lifetime} {now}");
        };
        f(90 * DAY, 0, 0.0, 60 * DAY);
        f(90 * DAY, 0, 0.5, 60 * DAY + 90 * DAY / 40);
        f(6 * DAY, 0, 0.0, 4 * DAY);
        f(60, 0, 0.0, 40);
        f(90 * DAY, 70 * DAY, 0.99, 70 * DAY + 297); // due already: within minutes
        f(60, 50, 0.99, 50); // too little left to wait
        f(90 * DAY, 91 * DAY, 0.99, 91 * DAY); // expired: now
        f(0, 5, 0.99, 5);
    }

    #[test]
    fn windows() {
        assert_eq!(Window::new(100, 200).moment(0.5), 150);
        assert_eq!(Window::new(200, 100), Window::new(100, 200));
        assert_eq!(Window::new(7, 7).moment(0.9), 7);
        assert_eq!(latest(1000, 2000), 1900);
        assert_eq!((least_age(90 * DAY), least_age(60), least_age(-5)), (3600, 15, 1));
        assert_eq!(until_next_question(Duration::ZERO), Duration::from_secs(60));
        assert_eq!(until_next_question(Duration::MAX), Duration::from_secs(86_400));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_spare_the_limits_of_the_authority() {
        let f = |cause: Cause, failures: u32, want: u64| assert_eq!(pause(cause, failures, 0.0).as_secs(), want);
        f(Cause::Unreachable, 1, 5);
        f(Cause::Unreachable, 4, 40);
        f(Cause::Validation, 1, 900);
        f(Cause::Validation, 2, 1800);
        f(Cause::Refused, u32::MAX, 21_600);
        f(Cause::Server, u32::MAX, 21_600);
        assert_eq!(pause(Cause::Server, 1, 0.999_999).as_millis(), 5_999);
    }
}
