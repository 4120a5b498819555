//! Comments that say something about a metric: `# HELP name text` and `# TYPE name type`.

use super::{Line, skip_blanks, trim_end_blanks};
use crate::remote_write::MetricKind;

/// Reads a line that begins with a hash. `unescaped` takes a description that has escapes.
pub(super) fn comment<'a>(line: &'a [u8], unescaped: &'a mut Vec<u8>) -> Line<'a> {
    let (keyword, rest) = word(skip_blanks(line.get(1..).unwrap_or_default()));
    let is_help = match keyword {
        b"HELP" => true,
        b"TYPE" => false,
        _ => return Line::Nothing,
    };
    let (family, rest) = word(skip_blanks(rest));
    if family.is_empty() {
        return Line::Nothing;
    }
    if is_help {
        return Line::Help { family, text: unescape(rest.get(1..).unwrap_or_default(), unescaped) };
    }
    match kind(trim_end_blanks(skip_blanks(rest))) {
        Some(kind) => Line::Type { family, kind },
        None => Line::Nothing,
    }
}

fn kind(name: &[u8]) -> Option<MetricKind> {
    Some(match name {
        b"counter" => MetricKind::COUNTER,
        b"gauge" => MetricKind::GAUGE,
        b"histogram" => MetricKind::HISTOGRAM,
        b"summary" => MetricKind::SUMMARY,
        b"untyped" | b"unknown" => MetricKind::UNKNOWN,
        b"info" => MetricKind::INFO,
        b"gaugehistogram" => MetricKind::GAUGE_HISTOGRAM,
        b"stateset" => MetricKind::STATE_SET,
        _ => return None,
    })
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| super::is_blank(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// `\\` and `\n` resolved.
fn unescape<'a>(text: &'a [u8], unescaped: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(b'\\', text).is_none() {
        return text;
    }
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(b'\\')) => {
                bytes.next();
                unescaped.push(b'\\');
            }
            (b'\\', Some(b'n')) => {
                bytes.next();
                unescaped.push(b'\n');
            }
            _ => unescaped.push(byte),
        }
    }
    unescaped
}
