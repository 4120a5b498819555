//! Which bytes may stand where in a head: hosts, authorities, tokens, fields.
//!
//! Pure rules over bytes, for every codec alike; what is done about a broken one is the caller's. Tables and folds
//! instead of ways out: each request asks for all of its fields.

use super::head_error::HeadError;
use super::head_lines::HeaderId;
use crate::percent::{self, ByteSet};

/// Characters that may stand in `host[:port]` (RFC 3986 §3.2.2), without deciding whether the name makes sense.
pub(super) fn is_host(host: &[u8]) -> bool {
    const ALLOWED: ByteSet = percent::set(b"-._~:[]%!$&'()*+,;=");
    !host.is_empty() && host.iter().all(|b| ALLOWED[usize::from(*b)])
}

/// `name[:port]` or `[address][:port]` of a target; stricter than for `Host`, because it wins over it.
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let (name_is_fine, port) = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let is_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            (end > 0 && rest[..end].iter().all(is_address), &rest[end + 1..])
        }
        _ => {
            let (name, port) = authority.split_at(memchr::memchr(b':', authority).unwrap_or(authority.len()));
            (is_host(name) && !name.iter().any(|b| matches!(b, b'[' | b']' | b'%')), port)
        }
    };
    let port_is_fine = match port {
        [] => true,
        [b':', digits @ ..] => !digits.is_empty() && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    name_is_fine && port_is_fine
}

/// Characters that may stand in `user:password` (RFC 3986 §3.2.1), with whole escapes; may be empty.
pub(super) fn is_userinfo(userinfo: &[u8]) -> bool {
    let is_allowed = |b: &u8| is_host(&[*b]) && !matches!(b, b'[' | b']');
    userinfo.iter().all(is_allowed) && !has_bad_escape(userinfo)
}

/// Whether a `%` is not followed by two hexadecimal digits.
pub(super) fn has_bad_escape(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .any(|at| !path.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Token characters (RFC 9110 §5.6.2), at least one.
pub(super) fn is_token(text: &[u8]) -> bool {
    const ALLOWED: ByteSet = percent::set(b"!#$%&'*+-.^_`|~");
    !text.is_empty() && text.iter().all(|b| ALLOWED[usize::from(*b)])
}

/// Whether a byte is among them; looks at all of them, which is quicker for what is seldom found.
pub(super) fn any(text: &[u8], is: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(false, |found, b| found | is(*b))
}

/// Whether another codec may hand over this field; the identity of its name.
pub(super) fn check_field(name: &[u8], value: &[u8]) -> Result<HeaderId, HeadError> {
    if !is_token(name) {
        return Err(HeadError::BadHeaderName);
    }
    let is_blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if any(value, |b| matches!(b, b'\r' | b'\n' | 0)) || is_blank(value.first()) || is_blank(value.last()) {
        return Err(HeadError::BadHeaderValue);
    }
    match HeaderId::of(name) {
        HeaderId::Connection
        | HeaderId::Http2Settings
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::TransferEncoding
        | HeaderId::Upgrade => Err(HeadError::ConnectionHeader),
        HeaderId::Te if !value.eq_ignore_ascii_case(b"trailers") => Err(HeadError::ConnectionHeader),
        id => Ok(id),
    }
}
