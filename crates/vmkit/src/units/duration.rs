//! Durations in the grammar of flags: decimal numbers with units, `1h30m`, `1.5s`, `-10ms`.
//!
//! Reads every text that existing command lines may hold and prints the canonical form used in messages, `/flags` and
//! metrics (`1m30s`, `2m0s`, `500ms`). Days and weeks are no units here, and a bare number other than zero is an error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::go_text::quote;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// Magnitude of the smallest value; the largest is one less.
const MAX_MAGNITUDE: u64 = 1 << 63;

/// Signed duration in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units, or beyond ±292 years.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without unit at the end, such as `5` or `1m30`.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit other than `ns us µs ms s m h`.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// What stands in place of the unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl GoDuration {
    /// For timers: negative durations count as zero.
    pub fn as_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// The same span if it is longer than zero; for options where zero and less mean “no limit”.
    pub fn positive(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.as_std())
    }
}

impl From<Duration> for GoDuration {
    /// Spans beyond 292 years are cut to that.
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_string());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (span, tail) = leading_span(rest, text)?;
            total = total.checked_add(span).filter(|total| *total <= MAX_MAGNITUDE).ok_or_else(invalid)?;
            rest = tail;
        }
        if negative {
            return Ok(Self(0_i64.wrapping_sub_unsigned(total)));
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

/// Nanoseconds of the first number with unit of `rest`, and what follows it.
fn leading_span<'a>(rest: &'a str, text: &str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_string());
    let (whole, tail) = split_digits(rest);
    let (fraction, tail) = match tail.strip_prefix('.') {
        Some(tail) => split_digits(tail),
        None => ("", tail),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(end);
    let unit = match unit {
        "" => return Err(DurationError::MissingUnit(text.to_string())),
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return Err(DurationError::UnknownUnit { unit: unit.to_string(), text: text.to_string() }),
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let span = whole.checked_mul(unit).and_then(|span| span.checked_add(fraction_of(fraction, unit)));
    span.map(|span| (span, tail)).ok_or_else(invalid)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Digits beyond the 18th are below the resolution of every unit.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (value, scale) = digits.bytes().take(18).fold((0_u128, 1_u128), |(value, scale), digit| {
        (value * 10 + u128::from(digit.wrapping_sub(b'0')), scale * 10)
    });
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(0)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match span {
            0 => f.write_str("0s"),
            1..MICROSECOND => write!(f, "{span}ns"),
            MICROSECOND..MILLISECOND => write_fraction(f, span, MICROSECOND, "µs"),
            MILLISECOND..SECOND => write_fraction(f, span, MILLISECOND, "ms"),
            _ => {
                if span >= HOUR {
                    write!(f, "{}h", span / HOUR)?;
                }
                if span >= MINUTE {
                    write!(f, "{}m", span % HOUR / MINUTE)?;
                }
                write_fraction(f, span % MINUTE, SECOND, "s")
            }
        }
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, span: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", span / unit)?;
    if !span.is_multiple_of(unit) {
        // One and the digits behind it have the right number of leading zeros.
        let digits = (unit + span % unit).to_string();
        write!(f, ".{}", digits[1..].trim_end_matches('0'))?;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_grammar_and_prints_the_canonical_form() {
        let f = |text: &str, nanos: i64, printed: &str| {
            let got: GoDuration = text.parse().unwrap();
            assert_eq!((got.0, got.to_string().as_str()), (nanos, printed), "{text}");
        };
        f("0", 0, "0s");
        f("+0", 0, "0s");
        f("-0", 0, "0s");
        f("0s", 0, "0s");
        f("1ns", 1, "1ns");
        f("1.5us", 1_500, "1.5µs");
        f("1µs", 1_000, "1µs");
        f("1\u{3bc}s", 1_000, "1µs");
        f("500ms", 500_000_000, "500ms");
        f("3s", 3_000_000_000, "3s");
        f("90s", 90_000_000_000, "1m30s");
        f("1m30s", 90_000_000_000, "1m30s");
        f("2m", 120_000_000_000, "2m0s");
        f("1.5h", 5_400_000_000_000, "1h30m0s");
        f("1h", 3_600_000_000_000, "1h0m0s");
        f(".5s", 500_000_000, "500ms");
        f("5.s", 5_000_000_000, "5s");
        f("-1m", -60_000_000_000, "-1m0s");
        f("1s1s", 2_000_000_000, "2s");
        f("1.000000001s", 1_000_000_001, "1.000000001s");
        f("0.1234567891234567891234s", 123_456_789, "123.456789ms");
        f("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s");
        f("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s");
    }

    #[test]
    fn refuses_everything_else() {
        let f = |text: &str, want: &str| assert_eq!(text.parse::<GoDuration>().unwrap_err().to_string(), want);
        f("", "time: invalid duration \"\"");
        f("-", "time: invalid duration \"-\"");
        f("s", "time: invalid duration \"s\"");
        f(".s", "time: invalid duration \".s\"");
        f("abc", "time: invalid duration \"abc\"");
        f("5", "time: missing unit in duration \"5\"");
        f("1m30", "time: missing unit in duration \"1m30\"");
        f("1d", "time: unknown unit \"d\" in duration \"1d\"");
        f("1w", "time: unknown unit \"w\" in duration \"1w\"");
        f("1S", "time: unknown unit \"S\" in duration \"1S\"");
        f("1 s", "time: unknown unit \" s\" in duration \"1 s\"");
        f("--1s", "time: invalid duration \"--1s\"");
        f("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\"");
        f("99999999999999999999h", "time: invalid duration \"99999999999999999999h\"");
        f("9223372036854775807h", "time: invalid duration \"9223372036854775807h\"");
    }

    #[test]
    fn negative_durations_are_zero_for_timers() {
        assert_eq!(GoDuration(-1).as_std(), Duration::ZERO);
        assert_eq!(GoDuration(-1).positive(), None);
        assert_eq!(GoDuration(0).positive(), None);
        assert_eq!(GoDuration(5).positive(), Some(Duration::from_nanos(5)));
    }

    proptest! {
        #[test]
        fn printing_is_undone_by_reading(nanos in any::<i64>()) {
            prop_assert_eq!(GoDuration(nanos).to_string().parse(), Ok(GoDuration(nanos)));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<GoDuration>();
        }

        #[test]
        fn no_text_of_its_own_alphabet_panics(text in "[-+]?([0-9]{0,25}\\.?[0-9]{0,25}(ns|us|µs|ms|s|m|h)?){0,4}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
