//! Headers that belong to one connection and are never forwarded (RFC 9110 §7.6.1).
//!
//! Some are known by name, further ones are nominated by the sender in `Connection`. Headers about framing are left
//! out here as well: whoever writes the head writes them anew.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use smallvec::SmallVec;
use vmkit::exchange::{HeaderId, HeaderLine};

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
        | HeaderId::XForwardedFor => false,
    }
}

/// Names that the sender nominated in `Connection`.
pub(super) enum Nominated<'a> {
    Few(SmallVec<[&'a str; FEW]>),
    Many(HashSet<String, RandomState>),
}

impl<'a> Nominated<'a> {
    /// Reads all `Connection` lines of a head.
    pub(super) fn of(lines: impl Iterator<Item = HeaderLine<'a>>) -> Self {
        let mut few: SmallVec<[&str; FEW]> = SmallVec::new();
        let mut many: HashSet<String, RandomState> = HashSet::default();
        for line in lines.filter(|line| line.id == HeaderId::Connection) {
            let tokens = line.value.split(|b| *b == b',').filter_map(|token| str::from_utf8(token.trim_ascii()).ok());
            // `close` and `keep-alive` are options, and names that end here anyway need no second reason.
            for name in tokens.filter(|name| !name.is_empty() && !is_option(name)) {
                if few.len() < FEW {
                    few.push(name);
                } else {
                    many.insert(name.to_ascii_lowercase());
                }
            }
        }
        if many.is_empty() {
            return Self::Few(few);
        }
        many.extend(few.iter().map(|name| name.to_ascii_lowercase()));
        Self::Many(many)
    }

    /// Whether a header of this name was nominated.
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Few(names) => names.iter().any(|nominated| nominated.eq_ignore_ascii_case(name)),
            Self::Many(names) => names.contains(&name.to_ascii_lowercase()),
        }
    }
}

fn is_option(token: &str) -> bool {
    token.eq_ignore_ascii_case("close") || ends_here(HeaderId::of(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominations() {
        let line =
            |value: &'static str| HeaderLine { id: HeaderId::Connection, name: "connection", value: value.as_bytes() };
        let few = Nominated::of([line("close, X-A ,,upgrade"), line("x-b")].into_iter());
        for (name, want) in [("x-a", true), ("X-B", true), ("close", false), ("x-c", false), ("", false)] {
            assert_eq!(few.contains(name), want, "{name}");
        }
        let many: &'static str = (0..100).map(|n| format!("X-{n},")).collect::<String>().leak();
        let many = Nominated::of([line(many)].into_iter());
        assert!(matches!(many, Nominated::Many(_)));
        assert!(many.contains("x-0") && many.contains("X-99") && !many.contains("x-100"));
    }
}
