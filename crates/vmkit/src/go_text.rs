//! Text forms that existing log parsers, dashboards and tests expect: quoted strings, JSON strings, numbers, OS errors.
//!
//! The access log and the metrics page are written with these functions, so the `push_*` ones append to a buffer of
//! the caller and allocate nothing themselves. Input may be any bytes from the network: nothing here may panic, and
//! the output is always one line of printable text.

use std::io::{self, Write as _};

/// `text` in double quotes with backslash escapes; printable characters beyond ASCII stay as they are.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let mut out = Vec::with_capacity(text.as_ref().len() + 2);
    push_quoted(&mut out, text.as_ref());
    String::from_utf8(out).expect("BUG: only whole characters are pushed")
}

/// Appends [`quote`] of `text`; one pass and one copy when nothing needs an escape.
pub fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // Without an early exit the scan is turned into vector instructions.
    let plain = text.iter().fold(true, |plain, &b| plain & (0x20..0x7f).contains(&b) & (b != b'"') & (b != b'\\'));
    if plain {
        out.extend_from_slice(text);
    } else {
        push_escaped(out, text);
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted_char(out, c);
        }
        for byte in chunk.invalid() {
            push_hex(out, "\\x", u32::from(*byte), 2);
        }
    }
}

fn push_quoted_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\x07' => out.extend_from_slice(b"\\a"),
        '\x08' => out.extend_from_slice(b"\\b"),
        '\x0c' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\x0b' => out.extend_from_slice(b"\\v"),
        '\0'..='\x1f' | '\x7f' => push_hex(out, "\\x", c.into(), 2),
        c if is_printable(c) => push_char(out, c),
        '\0'..='\u{ffff}' => push_hex(out, "\\u", c.into(), 4),
        c => push_hex(out, "\\U", c.into(), 8),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library keeps the table but shows it only through its escapes. Behind another character, marks
    // that join it are left alone, which is what is wanted here.
    let mut buffer = [b'a'; 5];
    let len = c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..=len]).expect("BUG: an ASCII letter and one encoded character");
    text.escape_debug().nth(1) == Some(c)
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_hex(out: &mut Vec<u8>, prefix: &str, value: u32, digits: u32) {
    out.extend_from_slice(prefix.as_bytes());
    for position in (0..digits).rev() {
        let nibble = (value >> (4 * position)) & 15;
        out.push(char::from_digit(nibble, 16).map_or(b'0', |c| c as u8));
    }
}

/// Appends `text` as a JSON string in the form of `remoteAddr`: besides what JSON demands, `<` and `'` are escaped.
/// Bytes that are no UTF-8 become U+FFFD, so the result is always valid JSON.
pub fn push_json_string(out: &mut Vec<u8>, text: &[u8]) {
    push_json(out, text, |b| b == b'<' || b == b'\'');
}

/// Appends `text` as a JSON string with only the escapes that JSON demands.
pub fn push_json_text(out: &mut Vec<u8>, text: &[u8]) {
    push_json(out, text, |_| false);
}

fn push_json(out: &mut Vec<u8>, text: &[u8], extra: impl Fn(u8) -> bool) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut copied = 0;
        for (at, &byte) in valid.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' && !extra(byte) {
                continue;
            }
            out.extend_from_slice(&valid[copied..at]);
            copied = at + 1;
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x08 => out.extend_from_slice(b"\\b"),
                0x0c => out.extend_from_slice(b"\\f"),
                _ => push_hex(out, "\\u", u32::from(byte), 4),
            }
        }
        out.extend_from_slice(&valid[copied..]);
        if !chunk.invalid().is_empty() {
            push_char(out, char::REPLACEMENT_CHARACTER);
        }
    }
    out.push(b'"');
}

/// Appends a metric value: integers below 1e21 in plain digits, everything else in the shortest form that reads back
/// the same, with an exponent of at least two digits below 1e-4 and from 1e6 on (from 1e21 on for integers).
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value == value.trunc() && value.abs() < 1e21 {
        // Negative zero prints as zero.
        let _ = write!(out, "{}", value + 0.0);
    } else if value.abs() < 1e-4 || value.abs() >= 1e6 {
        push_exponent_form(out, value);
    } else {
        let _ = write!(out, "{value}");
    }
}

fn push_exponent_form(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
}

/// Content of a text in double quotes (with backslash escapes) or in backticks (taken as it is).
/// `None` when `text` is no such literal, or when its escapes spell bytes that are no UTF-8.
pub fn unquote(text: &str) -> Option<String> {
    if let Some(raw) = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return (!raw.contains('`')).then(|| raw.replace('\r', ""));
    }
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\n' => return None,
            '\\' => push_unescaped(&mut out, &mut rest)?,
            c => push_char(&mut out, c),
        }
    }
    String::from_utf8(out).ok()
}

fn push_unescaped(out: &mut Vec<u8>, rest: &mut std::str::Chars<'_>) -> Option<()> {
    let plain = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(number(rest, 0, 2, 16)?).ok()?,
        first @ '0'..='7' => u8::try_from(number(rest, first.to_digit(8)?, 2, 8)?).ok()?,
        'u' => return number(rest, 0, 4, 16).and_then(char::from_u32).map(|c| push_char(out, c)),
        'U' => return number(rest, 0, 8, 16).and_then(char::from_u32).map(|c| push_char(out, c)),
        _ => return None,
    };
    out.push(plain);
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, first: u32, digits: usize, radix: u32) -> Option<u32> {
    (0..digits).try_fold(first, |value, _| value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

/// Text of an operating system error as users of the product know it, without the number and without a leading capital:
/// `no such file or directory`. A deadline of our own is `i/o timeout`, an unexpected end of a stream `EOF`.
pub fn os_error(error: &io::Error) -> String {
    if error.raw_os_error().is_none() {
        return match error.kind() {
            io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => error.to_string(),
        };
    }
    let text = error.to_string();
    lower_first(text.rsplit_once(" (os error ").map_or(text.as_str(), |(text, _)| text))
}

/// Lower-cases the first letter unless the word is an acronym (`RPC …`).
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && !second.is_ascii_uppercase() => {
            let mut lowered = String::with_capacity(text.len());
            lowered.push(first.to_ascii_lowercase());
            lowered.push_str(chars.as_str());
            lowered
        }
        _ => text.to_owned(),
    }
}

/// Number of single edits between two names, for "did you mean"; names whose lengths differ by more than two are far away.
pub fn edit_distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let (diagonal, above) = (row.get(j).copied().unwrap_or(0), row.get(j + 1).copied().unwrap_or(0));
            let left = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
