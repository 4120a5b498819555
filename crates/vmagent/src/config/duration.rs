//! Durations of the scrape config: `30s`, `1h30m`, `1d`, `0.5`, `10S`.
//!
//! A bare number is seconds. Units may be in upper case except `M`, which could mean months. Signs are allowed; what
//! is zero or less counts as not set wherever such a duration is used.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse duration {}; write 30s, 5m, 1h30m or a number of seconds", vmkit::go_text::quote(.0))]
pub struct DurationTextError(String);

/// Reads a duration; negative ones are zero.
///
/// # Errors
/// No number, no or another unit, a number without unit behind one with a unit, or more than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationTextError> {
    let error = || DurationTextError(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if is_number(rest) {
        let seconds: f64 = rest.parse().map_err(|_| error())?;
        return finish(seconds * 1e3, negative).ok_or_else(error);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut milliseconds = 0.0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let factor = match unit {
            "m" => 60e3,
            _ => match unit.to_ascii_lowercase().as_str() {
                "ms" if unit != "Ms" && unit != "MS" => 1.0,
                "s" => 1e3,
                "h" => 3600e3,
                "d" => 86_400e3,
                "w" => 7.0 * 86_400e3,
                "y" => 365.0 * 86_400e3,
                _ => return Err(error()),
            },
        };
        if !is_number(number) {
            return Err(error());
        }
        milliseconds += number.parse::<f64>().map_err(|_| error())? * factor;
        rest = tail;
    }
    finish(milliseconds, negative).ok_or_else(error)
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.matches('.').count() <= 1
}

fn finish(milliseconds: f64, negative: bool) -> Option<Duration> {
    const LONGEST: f64 = 292.0 * 365.0 * 86_400e3;
    let whole = milliseconds.round();
    if !(0.0..=LONGEST).contains(&whole) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(if negative { Duration::ZERO } else { Duration::from_millis(whole as u64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let f = |text: &str, want: Option<u64>| {
            assert_eq!(parse_duration(text).ok(), want.map(Duration::from_millis), "{text}");
        };
        f("30", Some(30_000));
        f("0.5", Some(500));
        f("500ms", Some(500));
        f("10s", Some(10_000));
        f("10S", Some(10_000));
        f("1h30m", Some(5_400_000));
        f("1.5m", Some(90_000));
        f("1d", Some(86_400_000));
        f("1W", Some(604_800_000));
        f("1y", Some(31_536_000_000));
        f("0", Some(0));
        f("-5s", Some(0));
        for bad in
            ["", "-", "s", "10M", "1m30", "10 parsecs", "1x", "1.2.3s", ".", "1Ms", "999999y", "NaN", "1e3", "s1"]
        {
            f(bad, None);
        }
    }
}
