//! Decides how much of a refused key an error text may show.
//!
//! Text that is no key at all may be anything, for instance another file of secrets, so only its beginning is shown;
//! of a private key nothing but the label is.

use super::KeyError;
use std::fmt::Write;

const MAX_SHOWN_BYTES: usize = 32;

/// The key's text in double quotes, cut where needed.
pub(super) fn shown_key(text: &str, error: &KeyError) -> String {
    match error {
        KeyError::NotPem if !text.contains("PRIVATE KEY") => quoted(text, MAX_SHOWN_BYTES),
        KeyError::NotPem | KeyError::PrivateKey => "\"-----BEGIN PRIVATE KEY-----...\"".to_owned(),
        KeyError::Label(_)
        | KeyError::Der(_)
        | KeyError::KeyType(_)
        | KeyError::Curve
        | KeyError::Point(_)
        | KeyError::RsaSize(_)
        | KeyError::RsaExponent
        | KeyError::RsaModulus
        | KeyError::Ed25519 => quoted(text, 2 * MAX_SHOWN_BYTES),
    }
}

fn quoted(text: &str, max: usize) -> String {
    let mut out = String::from("\"");
    let mut shown = 0;
    for letter in text.chars() {
        shown += letter.len_utf8();
        if shown > max {
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
