//! Decides how much of a refused key an error text may show.
//!
//! Text that is no key at all may be anything, for instance another file of secrets, so only its beginning is shown;
//! of a private key nothing but the label is.

use super::KeyError;
use std::fmt::Write;

const MAX_SHOWN_BYTES: usize = 32;

/// The beginning of the key's text in double quotes.
pub(super) fn shown_key(text: &str, error: &KeyError) -> String {
    if *error == KeyError::PrivateKey || text.contains("PRIVATE KEY") {
        return "\"-----BEGIN PRIVATE KEY-----...\"".to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut shown = 0;
    for letter in text.chars() {
        shown += letter.len_utf8();
        if shown > MAX_SHOWN_BYTES {
            out.push_str("...");
            break;
        }
        // Writing to a string cannot fail.
        let _ = match letter {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            control if control.is_ascii_control() => write!(out, "\\x{:02x}", control as u32),
            control if control.is_control() => write!(out, "\\u{:04x}", control as u32),
            plain => write!(out, "{plain}"),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_little() {
        let f = |text: &str, want: &str| assert_eq!(shown_key(text, &KeyError::NotPem), want, "{text:?}");
        f("", r#""""#);
        f("invalid", r#""invalid""#);
        f("foo\n", r#""foo\n""#);
        f("a\"b\\c\r\t\0\u{85}é", r#""a\"b\\c\r\t\x00\u0085é""#);
        f("users:\n- username: foo\n  password: secret", r#""users:\n- username: foo\n  passwor...""#);
        f("-----BEGIN PRIVATE KEY-----\nMC4", r#""-----BEGIN PRIVATE KEY-----...""#);
    }
}
