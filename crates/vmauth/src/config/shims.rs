//! Stand-ins for parts of `vmkit` that this area needs: a secret text, Go's `%q`, durations.
//!
//! Kept in one file so that they can be replaced by the shared ones; nothing else of the area may define such helpers.

use std::fmt;
use std::time::Duration;

/// A text that cannot be printed.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for building lookup keys.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Quotes `text` as Go's `%q` does.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Parses a duration with units, such as `1m30s` or `500ms`; `None` for anything else, signs included.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&at| at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = tail;
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let f = |text, want: Option<u64>| assert_eq!(parse_duration(text), want.map(Duration::from_millis), "{text}");
        f("30s", Some(30_000));
        f("1m30s", Some(90_000));
        f("500ms", Some(500));
        f("1.5s", Some(1_500));
        f("0s", Some(0));
        for bad in ["", "30", "-1s", "s", "1x", "1.2.3s", "1e9s", "99999999999999999999999999h"] {
            f(bad, None);
        }
    }

    #[test]
    fn quoting() {
        let f = |text, want| assert_eq!(quote(text), want);
        f("a\"b\\c\n", r#""a\"b\\c\n""#);
        f("é\u{1}", "\"é\\x01\"");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
    }
}
