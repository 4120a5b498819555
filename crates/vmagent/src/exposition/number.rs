//! Values and timestamps of samples.
//!
//! Most values are short decimal numbers and are computed in one pass, exactly: below 2^53 both the digits and the
//! power of ten are exact, so one division rounds correctly. Everything else goes to the standard library.

/// Digits that certainly fit in 53 bits.
const EXACT_DIGITS: usize = 15;

const POWERS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A decimal number, `NaN` or an infinity, letters in any case. Hexadecimal digits and underscores are refused.
pub(super) fn value(token: &[u8]) -> Option<f64> {
    short_decimal(token).or_else(|| str::from_utf8(token).ok()?.parse().ok())
}

fn short_decimal(token: &[u8]) -> Option<f64> {
    let (negative, digits) = match token.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, token),
    };
    if digits.is_empty() || digits.len() > EXACT_DIGITS {
        return None;
    }
    let (mut number, mut places) = (0_u64, None);
    for &byte in digits {
        match (byte, places) {
            (b'0'..=b'9', _) => {
                number = number * 10 + u64::from(byte - b'0');
                places = places.map(|places: usize| places + 1);
            }
            (b'.', None) => places = Some(0),
            _ => return None,
        }
    }
    let places = places.unwrap_or(0);
    if places == 0 && digits.contains(&b'.') && digits.len() == 1 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)]
    let magnitude = number as f64 / POWERS.get(places)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Milliseconds since the epoch. What would be a time before 1970-01-26 in milliseconds is seconds, as in OpenMetrics.
pub(super) fn timestamp_ms(token: &[u8]) -> Option<i64> {
    const SECONDS: std::ops::Range<f64> = -2_147_483_648.0..2_147_483_648.0;
    if let Some(whole) = whole_number(token) {
        #[allow(clippy::cast_precision_loss)]
        return Some(if SECONDS.contains(&(whole as f64)) { whole * 1000 } else { whole });
    }
    let number = value(token).filter(|number| number.is_finite())?;
    #[allow(clippy::cast_possible_truncation)]
    Some(if SECONDS.contains(&number) { number * 1000.0 } else { number }.trunc() as i64)
}

fn whole_number(token: &[u8]) -> Option<i64> {
    let (negative, digits) = match token.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, token),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let digit = |number: i64, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'));
    let number = digits.iter().try_fold(0, digit)?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values() {
        let f = |text: &str, want: Option<f64>| {
            let got = value(text.as_bytes());
            assert!(got == want || got.is_some_and(f64::is_nan) && want.is_some_and(f64::is_nan), "{text}: {got:?}");
        };
        f("0", Some(0.0));
        f("-0", Some(0.0));
        f("007", Some(7.0));
        f("-42", Some(-42.0));
        f("1.5", Some(1.5));
        f(".5", Some(0.5));
        f("5.", Some(5.0));
        f("+7", Some(7.0));
        f("0.1", Some(0.1));
        f("25e-1", Some(2.5));
        f("1e309", Some(f64::INFINITY));
        f("9007199254740993", Some(9_007_199_254_740_992.0));
        f("8.41e21", Some(8.41e21));
        f("0.1234567890123456789012345", Some(0.123_456_789_012_345_68));
        f("-nAn", Some(f64::NAN));
        f("+Infinity", Some(f64::INFINITY));
        f("-INF", Some(f64::NEG_INFINITY));
        for bad in [
            "", ".", "-", "+", "-.", "1e", "--5", "1,5", "0x1F", "1_000", "0b1", "infin", "NaNN", "1.2.3", " 1",
            "\u{664}",
        ] {
            f(bad, None);
        }
    }

    #[test]
    fn timestamps() {
        let f = |text: &str, want: Option<i64>| assert_eq!(timestamp_ms(text.as_bytes()), want, "{text}");
        f("1700000000000", Some(1_700_000_000_000));
        f("1700000000", Some(1_700_000_000_000));
        f("2147483647", Some(2_147_483_647_000));
        f("2147483648", Some(2_147_483_648));
        f("-2147483648", Some(-2_147_483_648_000));
        f("-2147483649", Some(-2_147_483_649));
        f("1700000000.5", Some(1_700_000_000_500));
        f("1700000000.123", Some(1_700_000_000_123));
        f("1700000000.1239", Some(1_700_000_000_123));
        f("1700000000000.9", Some(1_700_000_000_000));
        f("1.7e9", Some(1_700_000_000_000));
        f("1700000000e3", Some(1_700_000_000_000));
        f("99999999999999999999", Some(i64::MAX));
        for bad in ["", "foo", "12x", "--1", "1e", "NaN", "Inf"] {
            f(bad, None);
        }
    }

    proptest! {
        #[test]
        fn short_numbers_are_those_of_the_standard_library(text in "-?[0-9]{0,16}(\\.[0-9]{0,16})?") {
            prop_assert_eq!(value(text.as_bytes()), text.parse::<f64>().ok());
        }
    }
}
