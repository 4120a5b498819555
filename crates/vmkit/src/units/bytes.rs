//! Byte sizes in the grammar of flags: a number with an optional unit, `16384`, `64KiB`, `1.5mb`.
//!
//! `KB MB GB TB` are powers of 1000, `KiB MiB GiB TiB` powers of 1024; case does not matter. A size remembers its
//! normalised text, because that is what the log, `/flags` and the `flag` metric show (`12kib` → `12KiB`).

use std::fmt;
use std::str::FromStr;

use crate::go_text::quote;

const UNITS: [(&str, f64); 8] = [
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// Number of bytes, possibly negative, and the text it was written as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteSize {
    bytes: i64,
    text: String,
}

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The part before the unit is no number.
    #[error("strconv.ParseFloat: parsing {}: invalid syntax", quote(.0))]
    Syntax(String),
    /// More than 8 EiB.
    #[error("strconv.ParseFloat: parsing {}: value out of range", quote(.0))]
    Range(String),
}

impl ByteSize {
    /// The number of bytes; fractions are cut off.
    pub fn bytes(&self) -> i64 {
        self.bytes
    }

    /// For limits where negative means zero.
    pub fn as_usize(&self) -> usize {
        usize::try_from(self.bytes.max(0)).unwrap_or(usize::MAX)
    }
}

impl From<i64> for ByteSize {
    fn from(bytes: i64) -> Self {
        Self { bytes, text: bytes.to_string() }
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    /// The empty text is zero and is shown as the empty text.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = text.to_ascii_uppercase().replace('I', "i");
        let unit = UNITS.iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
        let (number, factor) = unit.unwrap_or((&text, 1.0));
        let bytes = match (factor == 1.0).then(|| number.parse::<i64>()) {
            // Beyond 2^53 a float would not hold every integer.
            Some(Ok(bytes)) => bytes,
            _ => scaled(number, factor)?,
        };
        Ok(Self { bytes, text })
    }
}

fn scaled(number: &str, factor: f64) -> Result<i64, SizeError> {
    let value = parse_float(number).ok_or_else(|| SizeError::Syntax(number.to_string()))? * factor;
    if value.is_nan() || value.abs() >= i64::MAX as f64 {
        return Err(SizeError::Range(number.to_string()));
    }
    // The range is checked, so this only cuts the fraction.
    Ok(value as i64)
}

/// A float literal with optional `_` between digits. Surrounding space is an error.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let separates = |at: usize| bytes[at] != b'_' || (is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    if !(0..bytes.len()).all(separates) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        let f = |text: &str, bytes: i64, printed: &str| {
            let got: ByteSize = text.parse().unwrap();
            assert_eq!((got.bytes(), got.to_string().as_str()), (bytes, printed), "{text}");
        };
        f("", 0, "");
        f("0", 0, "0");
        f("16384", 16384, "16384");
        f("-1", -1, "-1");
        f("12kib", 12 * 1024, "12KiB");
        f("12KIB", 12 * 1024, "12KiB");
        f("1.5KiB", 1536, "1.5KiB");
        f("3kb", 3000, "3KB");
        f("2MB", 2_000_000, "2MB");
        f("2mib", 2 << 20, "2MiB");
        f("1gb", 1_000_000_000, "1GB");
        f("1GiB", 1 << 30, "1GiB");
        f("1TB", 1_000_000_000_000, "1TB");
        f("1tib", 1 << 40, "1TiB");
        f("1e3", 1000, "1E3");
        f("1_000", 1000, "1_000");
        f("9223372036854775807", i64::MAX, "9223372036854775807");
    }

    #[test]
    fn refuses_other_texts() {
        let f = |text: &str, want: &str| assert_eq!(text.parse::<ByteSize>().unwrap_err().to_string(), want);
        f("abc", "strconv.ParseFloat: parsing \"ABC\": invalid syntax");
        f("5B", "strconv.ParseFloat: parsing \"5B\": invalid syntax");
        f("5 KB", "strconv.ParseFloat: parsing \"5 \": invalid syntax");
        f("KB", "strconv.ParseFloat: parsing \"\": invalid syntax");
        f("5KK", "strconv.ParseFloat: parsing \"5KK\": invalid syntax");
        f("_5", "strconv.ParseFloat: parsing \"_5\": invalid syntax");
        f("5__0", "strconv.ParseFloat: parsing \"5__0\": invalid syntax");
        f("1e30", "strconv.ParseFloat: parsing \"1E30\": value out of range");
        f("inf", "strconv.ParseFloat: parsing \"iNF\": value out of range");
        f("99999999TiB", "strconv.ParseFloat: parsing \"99999999\": value out of range");
    }

    #[test]
    fn negative_sizes_are_no_room() {
        assert_eq!(ByteSize::from(-5).as_usize(), 0);
        assert_eq!(ByteSize::from(5).as_usize(), 5);
    }

    proptest! {
        #[test]
        fn the_normalised_text_reads_back_the_same(number in -1_000_000_i64..1_000_000, unit in "([kmgtKMGT][iI]?[bB])?") {
            let size: ByteSize = format!("{number}{unit}").parse().unwrap();
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<ByteSize>();
        }
    }
}
