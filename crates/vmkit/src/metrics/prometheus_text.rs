//! The text exposition format: one sample a line, no timestamps, no help texts.
//!
//! [`Page`] is what every writer of metrics appends to. It knows the number format (integers plain, others in the
//! shortest form), label escaping, and the `# HELP`/`# TYPE` lines that appear once a family when metadata is on.
//! Names and labels of registered series pass through byte for byte; this file must never reorder or re-escape them.

use std::collections::HashSet;

/// Type of a family as shown on its `# TYPE` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the exposition format")]
pub enum Kind {
    Counter,
    Gauge,
    Summary,
    Histogram,
    /// Histograms with `vmrange` buckets, which the format has no word for.
    Untyped,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// A page of metrics being written.
#[derive(Debug, Default)]
pub struct Page {
    out: Vec<u8>,
    described: Option<HashSet<Box<str>>>,
}

impl Page {
    /// An empty page, with comment lines before each family if `expose_metadata`.
    pub fn new(expose_metadata: bool) -> Self {
        Self { out: Vec::with_capacity(64 << 10), described: expose_metadata.then(HashSet::new) }
    }

    /// Announces a family; call it before the family's first sample. Repeated calls write nothing.
    pub fn family(&mut self, family: &str, kind: Kind) {
        let Some(described) = &mut self.described else { return };
        if described.contains(family) {
            return;
        }
        described.insert(family.into());
        for part in ["# HELP ", family, "\n# TYPE ", family, " ", kind.as_str(), "\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes one sample; `name` may carry labels in braces.
    pub fn sample(&mut self, name: &str, value: f64) {
        self.out.extend_from_slice(name.as_bytes());
        self.value(value);
    }

    /// Announces and writes a counter that has no other series.
    pub fn counter(&mut self, name: &str, value: f64) {
        self.family(name, Kind::Counter);
        self.sample(name, value);
    }

    /// Announces and writes a gauge that has no other series.
    pub fn gauge(&mut self, name: &str, value: f64) {
        self.family(name, Kind::Gauge);
        self.sample(name, value);
    }

    /// Writes `family{a="b", c="d"} value`, escaping the values.
    pub fn labeled(&mut self, family: &str, labels: &[(&str, &str)], value: f64) {
        self.out.extend_from_slice(family.as_bytes());
        push_labels(&mut self.out, labels);
        self.value(value);
    }

    /// The finished text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes `family` + `suffix`, then `labels` with `extra` put last. `labels` is empty or has its braces.
    pub(crate) fn name(&mut self, family: &str, suffix: &str, labels: &str, extra: &str) {
        let out = &mut self.out;
        out.extend_from_slice(family.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        if extra.is_empty() {
            out.extend_from_slice(labels.as_bytes());
            return;
        }
        let inner = labels.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or("");
        out.push(b'{');
        if !inner.is_empty() {
            out.extend_from_slice(inner.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(extra.as_bytes());
        out.push(b'}');
    }

    /// Ends a line begun by [`Page::name`] with a number.
    pub(crate) fn value(&mut self, value: f64) {
        self.out.push(b' ');
        push_number(&mut self.out, value);
        self.out.push(b'\n');
    }

    /// Ends a line begun by [`Page::name`] with an integer, exact beyond 2^53.
    pub(crate) fn integer(&mut self, value: impl itoa::Integer) {
        self.out.push(b' ');
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.push(b'\n');
    }
}

/// Splits a full name into the family and its labels; the labels keep their braces and may be empty.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    name.find('{').map_or((name, ""), |at| name.split_at(at))
}

/// Appends `{a="b", c="d"}`, escaping the values; nothing without labels.
pub(super) fn push_labels(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (i, (name, text)) in labels.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"{" } else { b", " });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        push_label_value(out, text);
        out.push(b'"');
    }
    if !labels.is_empty() {
        out.push(b'}');
    }
}

/// Appends a label value with backslash, quote and newline escaped.
pub fn push_label_value(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
}

/// Appends a number: integral values plain, others like C's shortest `%g` (`1.172e-06`), `NaN`, `+Inf`, `-Inf`.
pub fn push_number(out: &mut Vec<u8>, value: f64) {
    // 2^63: below it the cast is exact.
    if value.trunc() == value && value.abs() < 9_223_372_036_854_775_808.0 {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if value.is_finite() {
        push_shortest(out, value);
    } else {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn push_shortest(out: &mut Vec<u8>, value: f64) {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        out.extend_from_slice(format!("{value}").as_bytes());
        return;
    }
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    out.extend_from_slice(format!("{:02}", exponent.unsigned_abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let f = |value: f64, want: &str| {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        f(0.0, "0");
        f(-0.0, "0");
        f(1.0, "1");
        f(-3.0, "-3");
        f(32768.0, "32768");
        f(1_700_000_000.0, "1700000000");
        f(9_007_199_254_740_992.0, "9007199254740992");
        f(0.5, "0.5");
        f(0.25e-3, "0.00025");
        f(1.172e-06, "1.172e-06");
        f(-0.000012, "-1.2e-05");
        f(12345.678, "12345.678");
        f(1234567.5, "1.2345675e+06");
        f(1e300, "1e+300");
        f(1e-300, "1e-300");
        f(f64::NAN, "NaN");
        f(f64::INFINITY, "+Inf");
        f(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn label_merging() {
        let f = |labels: &str, extra: &str, want: &str| {
            let mut page = Page::new(false);
            page.name("x", "_s", labels, extra);
            page.value(1.0);
            assert_eq!(String::from_utf8(page.into_bytes()).unwrap(), format!("{want} 1\n"));
        };
        f("", "", "x_s");
        f(r#"{a="b"}"#, "", r#"x_s{a="b"}"#);
        f("", r#"q="1""#, r#"x_s{q="1"}"#);
        f("{}", r#"q="1""#, r#"x_s{q="1"}"#);
        f(r#"{a="b", c="}"}"#, r#"q="1""#, r#"x_s{a="b", c="}",q="1"}"#);
    }

    #[test]
    fn names_are_split_at_the_first_brace() {
        let f = |name: &str, family: &str, labels: &str| assert_eq!(split_name(name), (family, labels));
        f("a_total", "a_total", "");
        f(r#"a{b="{"}"#, "a", r#"{b="{"}"#);
        f("", "", "");
    }

    #[test]
    fn metadata_comes_once_a_family() {
        let f = |metadata: bool, want: &str| {
            let mut page = Page::new(metadata);
            page.family("x_total", Kind::Counter);
            page.labeled("x_total", &[("a", "1"), ("b", "q\"\\\n")], 2.0);
            page.family("x_total", Kind::Counter);
            page.labeled("x_total", &[], 3.0);
            page.gauge("y", 0.5);
            assert_eq!(String::from_utf8(page.into_bytes()).unwrap(), want);
        };
        f(false, "x_total{a=\"1\", b=\"q\\\"\\\\\\n\"} 2\nx_total 3\ny 0.5\n");
        f(
            true,
            "# HELP x_total\n# TYPE x_total counter\nx_total{a=\"1\", b=\"q\\\"\\\\\\n\"} 2\nx_total 3\n\
             # HELP y\n# TYPE y gauge\ny 0.5\n",
        );
    }
}
