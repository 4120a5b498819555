//! The value of one flag: how a word of the command line becomes one, and how it is shown.
//!
//! Error texts are those that follow `invalid value "x" for flag -name: `. Lists grow by each word that is set; the
//! first word replaces the default. Passwords always show as `secret`.

use super::array;
use super::definition::{FlagDef, Kind};
use super::password::Password;
use crate::go_text::quote;
use crate::redact;
use crate::units::{ByteSize, GoDuration};

#[derive(Clone, Debug)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Duration(GoDuration),
    Bytes(ByteSize),
    Password(Password),
    Texts(Vec<String>),
    /// Texts of which each one is checked.
    Checked(Vec<String>, fn(&str) -> Result<(), String>),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
}

const SYNTAX: &str = "parse error";
const RANGE: &str = "value out of range";

impl Value {
    /// The value before anything is set; a default that does not parse is a mistake in the table.
    pub(super) fn default_of(def: &FlagDef) -> Self {
        let mut value = match def.kind {
            Kind::Bool => Self::Bool(false),
            Kind::Int => Self::Int(0),
            Kind::Float => Self::Float(0.0),
            Kind::Text => Self::Text(String::new()),
            Kind::Duration => Self::Duration(GoDuration(0)),
            Kind::Bytes => Self::Bytes(ByteSize::from(0)),
            Kind::Password => Self::Password(Password::unset(def.name)),
            Kind::TextList => Self::Texts(Vec::new()),
            Kind::DurationList => Self::Checked(Vec::new(), check_duration),
            Kind::BytesList => Self::Checked(Vec::new(), check_size),
            Kind::IntList => Self::Ints(Vec::new()),
            Kind::BoolList => Self::Bools(Vec::new()),
        };
        let text = def.default_text();
        if !text.is_empty() {
            value.set(&text, true).expect("BUG: a default in the flag table does not parse");
        }
        value
    }

    /// Whether each further word adds to it.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Texts(_) | Self::Checked(..) | Self::Ints(_) | Self::Bools(_))
    }

    /// Applies one word. `first` is true while only the default is there.
    pub(super) fn set(&mut self, text: &str, first: bool) -> Result<(), String> {
        match self {
            Self::Bool(value) => *value = parse_bool(text).ok_or(SYNTAX)?,
            Self::Int(value) => *value = parse_int(text)?,
            Self::Float(value) => *value = crate::units::parse_float(text).ok_or(SYNTAX)?,
            Self::Text(value) => *value = text.to_string(),
            Self::Duration(value) => *value = parse_duration(text)?,
            Self::Bytes(value) => *value = parse_size(text)?,
            Self::Password(value) => *value = Password::new(value.flag(), text),
            Self::Texts(values) => extend(values, first, array::split(text)),
            Self::Checked(values, check) => {
                let items = array::split(text);
                items.iter().filter(|item| !item.is_empty()).try_for_each(|item| check(item))?;
                extend(values, first, items);
            }
            Self::Ints(values) => extend(values, first, each(text, parse_decimal)?),
            Self::Bools(values) => extend(values, first, each(text, parse_list_bool)?),
        }
        Ok(())
    }

    /// Text for the log, `/flags` and the `flag` metric: URLs without userinfo and query.
    pub(super) fn render(&self) -> String {
        fn joined<T: ToString>(items: &[T]) -> String {
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => {
                let mut out = Vec::new();
                crate::go_text::push_f64(&mut out, *value);
                String::from_utf8(out).unwrap_or_default()
            }
            Self::Text(value) => redact::url(value).into_owned(),
            Self::Duration(value) => value.to_string(),
            Self::Bytes(value) => value.to_string(),
            Self::Password(_) => "secret".to_string(),
            Self::Checked(values, _) => array::join(values),
            Self::Texts(values) => array::join(&values.iter().map(|item| redact::url(item).into()).collect::<Vec<_>>()),
            Self::Ints(values) => joined(values),
            Self::Bools(values) => joined(values),
        }
    }

    /// The same without anything hidden.
    pub(super) fn render_whole(&self) -> String {
        match self {
            Self::Text(value) => value.clone(),
            Self::Texts(values) => array::join(values),
            other => other.render(),
        }
    }
}

fn parse_duration(text: &str) -> Result<GoDuration, String> {
    text.parse().map_err(|_| SYNTAX.to_owned())
}

fn parse_size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|error: crate::units::SizeError| error.to_string())
}

fn check_duration(text: &str) -> Result<(), String> {
    parse_duration(text).map(drop)
}

fn check_size(text: &str) -> Result<(), String> {
    parse_size(text).map(drop)
}

fn extend<T>(values: &mut Vec<T>, first: bool, items: Vec<T>) {
    if first {
        values.clear();
    }
    values.extend(items);
}

fn each<T: Default>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    array::split(text).iter().map(|item| if item.is_empty() { Ok(T::default()) } else { parse(item) }).collect()
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn parse_list_bool(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text)))
}

/// Items of integer lists: an optional sign and decimal digits.
fn parse_decimal(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let problem =
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) { "invalid syntax" } else { RANGE };
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {}: {problem}", quote(text)))
}

/// Integer with optional sign, base prefix and `_` between digits.
fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter();
    let (digits, radix, after_prefix) = prefixed
        .filter_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix, true)))
        .next()
        .unwrap_or_else(|| match lower.strip_prefix('0') {
            Some(rest) if !rest.is_empty() => (rest, 8, true),
            _ => (lower.as_str(), 10, false),
        });
    let digits = digits_without_separators(digits, radix, after_prefix).ok_or(SYNTAX)?;
    let magnitude = i128::from_str_radix(&digits, radix).map_err(|_| RANGE)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| RANGE.to_string())
}

/// `_` may stand between two digits or between a base prefix and a digit.
fn digits_without_separators(text: &str, radix: u32, after_prefix: bool) -> Option<String> {
    let mut digits = String::with_capacity(text.len());
    let mut separator_allowed = after_prefix;
    for c in text.chars() {
        if c.is_digit(radix) {
            digits.push(c);
            separator_allowed = true;
        } else if c == '_' && separator_allowed {
            separator_allowed = false;
        } else {
            return None;
        }
    }
    (separator_allowed && !digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "yes", "tRUE", "2", " 1"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn integers() {
        let f =
            |text: &str, want: Result<i64, &str>| assert_eq!(parse_int(text), want.map_err(str::to_string), "{text}");
        f("0", Ok(0));
        f("-12", Ok(-12));
        f("+12", Ok(12));
        f("0x1F", Ok(31));
        f("0XfF", Ok(255));
        f("0o17", Ok(15));
        f("017", Ok(15));
        f("00", Ok(0));
        f("0b101", Ok(5));
        f("1_000", Ok(1000));
        f("0x_1f", Ok(31));
        f("0_7", Ok(7));
        f("9223372036854775807", Ok(i64::MAX));
        f("-9223372036854775808", Ok(i64::MIN));
        f("9223372036854775808", Err(RANGE));
        f("99999999999999999999999999999999999999999", Err(RANGE));
        for text in ["", "-", "x", "1.5", "1e3", "_1", "1_", "1__0", "0x", "08", "0b2", " 1", "+-1", "0x-1"] {
            f(text, Err(SYNTAX));
        }
    }

    #[test]
    fn list_integers_are_strictly_decimal() {
        let f = |text: &str, want: Result<i64, &str>| {
            assert_eq!(parse_decimal(text), want.map_err(str::to_string), "{text}");
        };
        f("502", Ok(502));
        f("-1", Ok(-1));
        f("foo", Err("strconv.Atoi: parsing \"foo\": invalid syntax"));
        f("0x1", Err("strconv.Atoi: parsing \"0x1\": invalid syntax"));
        f("+", Err("strconv.Atoi: parsing \"+\": invalid syntax"));
        f("99999999999999999999", Err("strconv.Atoi: parsing \"99999999999999999999\": value out of range"));
    }
}
