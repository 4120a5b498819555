//! Decodes base64url without padding (RFC 7515 §2), the encoding of every part of a token and of every key in a JWKS.
//!
//! The letters `+` and `/` of the standard alphabet are tolerated; `=`, whitespace and unused bits that are not zero
//! are errors, so one signature has one spelling but for those letters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64url without padding")]
pub struct Base64Error;

/// Decodes `text`; an empty text gives no bytes.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    if text.bytes().any(|byte| matches!(byte, b'+' | b'/')) {
        let translated: String = text.chars().map(to_url_alphabet).collect();
        return URL_SAFE_NO_PAD.decode(translated).map_err(|_| Base64Error);
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64Error)
}

fn to_url_alphabet(letter: char) -> char {
    match letter {
        '+' => '-',
        '/' => '_',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_both_alphabets_and_nothing_else() {
        let f = |text: &str, want: Option<&[u8]>| assert_eq!(decode(text).ok().as_deref(), want, "{text:?}");
        f("", Some(b""));
        f("Zm9v", Some(b"foo"));
        f("Zm8", Some(b"fo"));
        f("-_-_", Some(&[0xfb, 0xff, 0xbf]));
        f("+/+/", Some(&[0xfb, 0xff, 0xbf]));
        f("+_-/", Some(&[0xfb, 0xff, 0xbf]));
        f("Zm8=", None);
        f("Zm9v=", None);
        f(" Zm9v", None);
        f("Zm9v\n", None);
        f("Zm\r\n9v", None);
        f("Zm9vY", None);
        f("Zm9", None); // unused bits are not zero
        f("Zm9é", None);
        f("Zm9v\0", None);
    }
}
