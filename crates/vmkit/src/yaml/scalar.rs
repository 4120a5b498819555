//! How a scalar's text becomes a number, a boolean or nothing: the rules of YAML 1.1 as yaml.v2 has them.
//!
//! Only values wanted as numbers or booleans are resolved; fields of type string keep the source text. `010` is eight,
//! `1_000` a thousand, `yes` true, a quoted `"10"` text. Pure functions, no positions, no messages.

use super::tree::{Kind, Node, ScalarTag};

/// A resolved scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Above `i64::MAX`.
    Uint(u64),
    /// A decimal fraction, an infinity or NaN.
    Float(f64),
    /// A date, with or without a time.
    Timestamp,
    /// `<<`
    Merge,
    /// Anything else.
    Text,
}

impl Scalar {
    /// Reads the scalar `node`; collections count as text.
    pub fn of(node: Node<'_>) -> Self {
        let Kind::Scalar { text, plain } = node.kind else { return Self::Text };
        match node.tag {
            ScalarTag::Implicit if plain => Self::resolve(text),
            ScalarTag::Resolved => Self::resolve(text),
            ScalarTag::Implicit | ScalarTag::Text => Self::Text,
        }
    }

    /// The short tag that messages show.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Timestamp => "!!timestamp",
            Self::Merge => "!!merge",
            Self::Text => "!!str",
        }
    }

    /// The name of the Go type that such a value decodes into when none is asked for.
    pub fn go_type(self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Timestamp | Self::Merge | Self::Text => "string",
        }
    }

    /// The value for an integer field; fractions are cut off.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Null => Some(0),
            Self::Int(value) => Some(value),
            // Both bounds are exact as floats; NaN fails the comparison.
            Self::Float(value) if (-2f64.powi(63)..2f64.powi(63)).contains(&value) => Some(value as i64),
            _ => None,
        }
    }

    fn resolve(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                return Self::Bool(true);
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                return Self::Bool(false);
            }
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            "<<" => return Self::Merge,
            _ => {}
        }
        match text.as_bytes().first() {
            Some(b'0'..=b'9' | b'+' | b'-') => Self::number(text),
            Some(b'.') => float(text).map_or(Self::Text, Self::Float),
            _ => Self::Text,
        }
    }

    fn number(text: &str) -> Self {
        if is_timestamp(text) {
            return Self::Timestamp;
        }
        let plain: String = text.chars().filter(|&c| c != '_').collect();
        let (negative, digits) = match plain.as_bytes().first() {
            Some(b'-') => (true, plain.get(1..).unwrap_or_default()),
            Some(b'+') => (false, plain.get(1..).unwrap_or_default()),
            _ => (false, plain.as_str()),
        };
        if let Some(value) = magnitude(digits) {
            return match (negative, i64::try_from(value)) {
                (false, Ok(value)) => Self::Int(value),
                (true, Ok(value)) => Self::Int(-value),
                (true, Err(_)) if value == i64::MIN.unsigned_abs() => Self::Int(i64::MIN),
                // ParseUint takes no sign.
                (false, Err(_)) if !plain.starts_with('+') => Self::Uint(value),
                _ => float(&plain).map_or(Self::Text, Self::Float),
            };
        }
        float(&plain).map_or(Self::Text, Self::Float)
    }
}

/// An unsigned number with Go's prefixes; a leading `0` means octal.
fn magnitude(digits: &str) -> Option<u64> {
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, rest) = match lower.as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // from_str_radix would take another sign.
    if !rest.bytes().next()?.is_ascii_alphanumeric() {
        return None;
    }
    u64::from_str_radix(rest, radix).ok()
}

/// A decimal float: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<f64> {
    let only = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E'));
    if !only {
        return None;
    }
    // Rust's grammar equals the one above on this alphabet; Go reports values out of range as an error.
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// `2026-01-02`, optionally with a time.
fn is_timestamp(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let number = |part: &str, longest: usize| {
        !part.is_empty() && part.len() <= longest && part.bytes().all(|b| b.is_ascii_digit())
    };
    let day = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    year.len() == 4 && number(year, 4) && number(month, 2) && number(day, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_resolve_as_in_yaml_1_1() {
        let f = |text: &str, want: Scalar| assert_eq!(Scalar::resolve(text), want, "{text:?}");
        f("", Scalar::Null);
        f("~", Scalar::Null);
        f("yes", Scalar::Bool(true));
        f("ON", Scalar::Bool(true));
        f("n", Scalar::Bool(false));
        f("yEs", Scalar::Text);
        f("500", Scalar::Int(500));
        f("+5", Scalar::Int(5));
        f("-5", Scalar::Int(-5));
        f("010", Scalar::Int(8));
        f("0o10", Scalar::Int(8));
        f("0x1F", Scalar::Int(31));
        f("0b101", Scalar::Int(5));
        f("-0x10", Scalar::Int(-16));
        f("1_000", Scalar::Int(1000));
        f("08", Scalar::Float(8.0));
        f("5.5", Scalar::Float(5.5));
        f("1e3", Scalar::Float(1000.0));
        f(".5", Scalar::Float(0.5));
        f("1.", Scalar::Float(1.0));
        f("+-5", Scalar::Text);
        f("0x", Scalar::Text);
        f("1:30", Scalar::Text);
        f("9223372036854775807", Scalar::Int(i64::MAX));
        f("-9223372036854775808", Scalar::Int(i64::MIN));
        f("9223372036854775808", Scalar::Uint(9_223_372_036_854_775_808));
        f("99999999999999999999", Scalar::Float(1e20));
        f("1e999", Scalar::Text);
        f("2026-01-02", Scalar::Timestamp);
        f("2026-01-02T03:04:05Z", Scalar::Timestamp);
        f("127.0.0.1", Scalar::Text);
        f("<<", Scalar::Merge);
        f("é", Scalar::Text);
        f("0é", Scalar::Text);
        f("-", Scalar::Text);
    }

    #[test]
    fn integers_from_scalars() {
        let f = |text: &str, want: Option<i64>| assert_eq!(Scalar::resolve(text).as_i64(), want, "{text:?}");
        f("5.9", Some(5));
        f("-5.9", Some(-5));
        f("null", Some(0));
        f("99999999999999999999", None);
        f("9223372036854775808", None);
        f(".nan", None);
        f(".inf", None);
        f("yes", None);
    }
}
