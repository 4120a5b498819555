//! The `Date` of replies (RFC 9110 §5.6.7), rendered once a second a thread.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// A date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) type DateText = [u8; 29];

/// The date of this second.
pub(super) fn now() -> DateText {
    thread_local! {
        static DATE: Cell<(u64, DateText)> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (at, mut text) = DATE.get();
    if at != now {
        text = render(now);
        DATE.set((now, text));
    }
    text
}

/// A moment that no calendar knows is the beginning of time.
fn render(seconds: u64) -> DateText {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp.unwrap_or(Timestamp::UNIX_EPOCH));
    text.ok().and_then(|text| text.as_bytes().try_into().ok()).unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(&render(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&render(1_709_210_096), b"Thu, 29 Feb 2024 12:34:56 GMT");
        assert_eq!(&render(1_795_284_488), b"Sat, 21 Nov 2026 18:08:08 GMT");
        assert_eq!(&render(u64::MAX), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
