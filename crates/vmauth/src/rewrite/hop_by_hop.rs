//! Headers that belong to one connection and are never forwarded (RFC 9110 §7.6.1).
//!
//! Some are known by name, further ones are nominated by the sender in `Connection`. Headers about framing are left
//! out here as well: whoever writes the head writes them anew.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use smallvec::SmallVec;
use vmkit::exchange::{HeaderId, HeaderLine, tokens};

/// Nominations beyond this count are looked up by hash, so that long lists cannot make a request slow.
const FEW: usize = 8;

/// Whether a header ends at this hop or is written by the codec.
pub(super) fn ends_here(id: HeaderId) -> bool {
    is_framing(id) || matches!(id, HeaderId::ProxyAuthenticate | HeaderId::ProxyAuthorization)
}

/// Whether a header is about the connection or the framing of the message, which no rule of the config may touch.
pub(super) fn is_framing(id: HeaderId) -> bool {
    match id {
        HeaderId::Connection
        | HeaderId::ContentLength
        | HeaderId::Expect
        | HeaderId::Http2Settings
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::Te
        | HeaderId::Trailer
        | HeaderId::TransferEncoding
        | HeaderId::Upgrade => true,
        HeaderId::Other
        | HeaderId::AcceptEncoding
        | HeaderId::Authorization
        | HeaderId::ContentEncoding
        | HeaderId::ContentType
        | HeaderId::Date
        | HeaderId::Host
        | HeaderId::ProxyAuthenticate
        | HeaderId::ProxyAuthorization
        | HeaderId::Referer
        | HeaderId::UserAgent
        | HeaderId::WwwAuthenticate
        | HeaderId::XForwardedFor => false,
    }
}

/// Names that the sender nominated in `Connection`.
pub(super) enum Nominated<'a> {
    Few(SmallVec<[&'a [u8]; FEW]>),
    Many(HashSet<Vec<u8>, RandomState>),
}

impl<'a> Nominated<'a> {
    /// Reads all `Connection` lines of a head; `None` when nothing is nominated, as nearly always.
    pub(super) fn of(lines: impl Iterator<Item = HeaderLine<'a>>) -> Option<Self> {
        let mut lines = lines.filter(|line| line.id == HeaderId::Connection && !is_option(line.value));
        let first = lines.next()?;
        let mut few: SmallVec<[&[u8]; FEW]> = SmallVec::new();
        let mut many: HashSet<Vec<u8>, RandomState> = HashSet::default();
        for line in std::iter::once(first).chain(lines) {
            // `close` and `keep-alive` are options, and names that end here anyway need no second reason.
            for name in tokens(line.value).filter(|name| !is_option(name)) {
                if few.len() < FEW {
                    few.push(name);
                } else {
                    many.insert(name.to_ascii_lowercase());
                }
            }
        }
        if few.is_empty() {
            return None;
        }
        if many.is_empty() {
            return Some(Self::Few(few));
        }
        many.extend(few.iter().map(|name| name.to_ascii_lowercase()));
        Some(Self::Many(many))
    }

    /// Whether a header of this name was nominated.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        match self {
            Self::Few(names) => names.iter().any(|nominated| nominated.eq_ignore_ascii_case(name)),
            Self::Many(names) => names.contains(&name.to_ascii_lowercase()),
        }
    }
}

fn is_option(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"close") || ends_here(HeaderId::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominations() {
        let line = |value: &'static str| HeaderLine::new(b"connection", value.as_bytes());
        let few = Nominated::of([line("close, X-A ,,upgrade"), line("x-b")].into_iter()).unwrap();
        for (name, want) in [("x-a", true), ("X-B", true), ("close", false), ("x-c", false), ("", false)] {
            assert_eq!(few.contains(name.as_bytes()), want, "{name}");
        }
        let many: &'static str = (0..100).map(|n| format!("X-{n},")).collect::<String>().leak();
        let many = Nominated::of([line(many)].into_iter());
        let many = many.unwrap();
        assert!(matches!(many, Nominated::Many(_)));
        assert!(many.contains(b"x-0") && many.contains(b"X-99") && !many.contains(b"x-100"));
    }
}
