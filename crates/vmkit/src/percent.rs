//! Percent-encoding: which bytes may stand where, and both directions of the coding.
//!
//! Two directions of trust: bytes that were encoded already (of a client or a config) keep their escapes and get the
//! missing ones; decoded bytes are encoded as Go does it. Nothing here ever emits a blank, a control byte or a byte
//! above 0x7E.

use std::borrow::Cow;

/// Bytes that may stand unescaped.
pub type ByteSet = [bool; 256];

/// Letters, digits and these.
pub const fn set(punctuation: &[u8]) -> ByteSet {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        allowed[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < punctuation.len() {
        allowed[punctuation[at] as usize] = true;
        at += 1;
    }
    allowed
}

/// An encoded path of a client: `pchar`, `/` and escapes (RFC 3986 §3.3).
pub const CLIENT_PATH: ByteSet = set(b"-_.~!$&'()*+,;=:@/%");
/// An encoded path of the config or of a shown URL; Go keeps brackets there.
pub const SHOWN_PATH: ByteSet = set(b"-_.~!$&'()*+,;=:@/%[]");
/// A decoded path, as Go writes it.
pub const DECODED_PATH: ByteSet = set(b"-_.~$&+,/:;=@");
/// An encoded query of a client: as RFC 3986 §3.4, but no `;`, which some backends take for a separator.
pub const CLIENT_QUERY: ByteSet = set(b"-_.~!$&'()*+,=:@/?%");
/// An encoded query of the config.
pub const CONFIG_QUERY: ByteSet = set(b"-_.~!$&'()*+,;=:@/?%");
/// A decoded name or value of a query argument; blanks become `+`.
const FORM: ByteSet = set(b"-_.~");

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text`, escaping all bytes that are not in `allowed`.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8], allowed: &ByteSet) {
    let mut rest = text;
    loop {
        let run = rest.iter().position(|b| !allowed[*b as usize]).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(run);
        out.extend_from_slice(plain);
        let [byte, after @ ..] = tail else { return };
        push_escape(out, *byte);
        rest = after;
    }
}

/// Appends a decoded name or value of a query argument.
pub fn push_form(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b' ' => out.push(b'+'),
            byte if FORM[byte as usize] => out.push(byte),
            byte => push_escape(out, byte),
        }
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

/// The byte an escape at the start of `text` stands for.
pub fn escape_at(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Decodes; with `plus` a `+` is a blank. `None` when a `%` begins no escape.
pub fn decode_strict(text: &[u8], plus: bool) -> Option<Cow<'_, [u8]>> {
    if plus {
        return is_valid(text).then(|| decode_arg_leniently(text));
    }
    if memchr::memchr(b'%', text).is_none() {
        return Some(Cow::Borrowed(text));
    }
    is_valid(text).then(|| decode_path(text))
}

/// First value of an arg in a query or form; `None` also when its value has a bad escape.
pub fn arg<'a>(query: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    query.split(|b| *b == b'&').find_map(|piece| {
        let (key, value) = split_arg(piece);
        if *decode_arg(key)? == *name.as_bytes() { decode_arg(value) } else { None }
    })
}

/// Whether every `%` begins an escape.
pub fn is_valid(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).all(|at| escape_at(text.get(at..).unwrap_or_default()).is_some())
}

/// Decodes a path; a `%` that begins no escape stays as it is.
pub fn decode_path(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(decode(text, false))
}

/// Decodes a name or value of a query argument, where `+` is a blank; `None` on a bad escape.
pub fn decode_arg(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    is_valid(text).then(|| decode_arg_leniently(text))
}

/// Like [`decode_arg`], but a `%` that begins no escape stays as it is.
pub fn decode_arg_leniently(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(decode(text, true))
}

fn decode(text: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        match (escape_at(rest), after) {
            (Some(decoded), [_, _, behind @ ..]) => {
                out.push(decoded);
                rest = behind;
            }
            _ => {
                out.push(if plus_is_blank && *byte == b'+' { b' ' } else { *byte });
                rest = after;
            }
        }
    }
    out
}

/// Name and value of one piece of a query; without `=` the value is empty.
pub fn split_arg(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', piece) {
        Some(at) => (piece.get(..at).unwrap_or_default(), piece.get(at + 1..).unwrap_or_default()),
        None => (piece, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        let f = |text: &str, path: &str, arg: Option<&str>| {
            assert_eq!(*decode_path(text.as_bytes()), *path.as_bytes(), "{text}");
            assert_eq!(decode_arg(text.as_bytes()).as_deref(), arg.map(str::as_bytes), "{text}");
        };
        f("a+b", "a+b", Some("a b"));
        f("a%2bb%20", "a+b ", Some("a+b "));
        f("%zz", "%zz", None);
        f("100%", "100%", None);
        f("%4", "%4", None);
        f("", "", Some(""));
    }

    #[test]
    fn args() {
        let f = |query: &str, want: Option<&str>| {
            assert_eq!(arg(query.as_bytes(), "authKey").as_deref(), want.map(str::as_bytes), "{query:?}");
        };
        f("authKey=a+b%21", Some("a b!"));
        f("x=1&auth%4Bey=k&authKey=l", Some("k"));
        f("authKey", Some(""));
        f("authKey=%zz", None);
        f("x=authKey", None);
    }

    #[test]
    fn encoding() {
        let f = |text: &str, set: &ByteSet, want: &str| {
            let mut out = Vec::new();
            push_escaped(&mut out, text.as_bytes(), set);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        f("/a b{é}%2F", &CLIENT_PATH, "/a%20b%7B%C3%A9%7D%2F");
        f("/a!b*c(d)'[x]%", &DECODED_PATH, "/a%21b%2Ac%28d%29%27%5Bx%5D%25");
        f("a;b<>`\u{7f}", &CLIENT_QUERY, "a%3Bb%3C%3E%60%7F");
        let mut out = Vec::new();
        push_form(&mut out, "a&b=c#d e+f%/?ю\"".as_bytes());
        assert_eq!(out, b"a%26b%3Dc%23d+e%2Bf%25%2F%3F%D1%8E%22");
    }
}
