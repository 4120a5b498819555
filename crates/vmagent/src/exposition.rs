//! The text format of metric pages, OpenMetrics included: bytes in pieces in, samples and metadata out.
//!
//! ```text
//! pieces of a page ─► LineSplitter ─► LineParser ─► Line::Sample │ Line::Help │ Line::Type │ Line::Invalid
//! ```
//!
//! The grammar is that of `docs/reference/vmagent-scraping.md`: laxer than Prometheus' (any bytes are a name), strict
//! about what stands between names and values. A line that makes no sense is skipped and counted by the caller, it
//! never spoils its neighbours. Nothing is allocated for a line: names and values are places in the line itself, or
//! in a buffer of the parser where they had escapes.

mod line_splitter;
mod metadata;
mod number;
mod sample;
mod series_layout;
#[cfg(test)]
mod tests;

pub use line_splitter::LineSplitter;
pub use sample::{LineParser, SampleLine};
pub use series_layout::SeriesLayout;

use crate::remote_write::MetricKind;

/// What a line of a page is.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// Empty, or a comment that says nothing about a metric.
    Nothing,
    /// A value of a series.
    Sample(SampleLine<'a>),
    /// `# HELP`: the description of a metric, escapes resolved.
    Help {
        /// Name of the metric family.
        family: &'a [u8],
        /// Its description.
        text: &'a [u8],
    },
    /// `# TYPE`: the type of a metric.
    Type {
        /// Name of the metric family.
        family: &'a [u8],
        /// Its type.
        kind: MetricKind,
    },
    /// A line that makes no sense.
    Invalid,
}

/// Whether a byte separates tokens.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The text behind leading blanks.
fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// The text in front of trailing blanks.
fn trim_end_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|&&byte| is_blank(byte)).count();
    text.get(..text.len() - blanks).unwrap_or_default()
}
