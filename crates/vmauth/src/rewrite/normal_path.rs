//! The path as routes see it: decoded once, without dots and repeated slashes (docs/reference/routing.md).
//!
//! It remembers the client's bytes too, because they are forwarded as they came when nothing had to be cleaned.

use std::borrow::Cow;

use super::percent;

/// A normalised path next to the bytes it came from. Usual paths are borrowed, not copied.
#[derive(Clone, Debug)]
pub struct NormalPath<'a> {
    raw: &'a [u8],
    decoded: Cow<'a, [u8]>,
    changed: bool,
}

impl<'a> NormalPath<'a> {
    /// Decodes and normalises the path of a request target.
    pub fn of(raw: &'a [u8]) -> Self {
        let (changed, decoded) = match percent::decode_path(raw) {
            Cow::Borrowed(text) => match normalize(text) {
                clean @ Cow::Borrowed(_) => (false, clean),
                clean @ Cow::Owned(_) => (true, clean),
            },
            Cow::Owned(text) => match normalize(&text) {
                // The root is the only path that is borrowed and yet another text.
                Cow::Borrowed([]) => (false, Cow::Borrowed(&[][..])),
                Cow::Borrowed(_) => (false, Cow::Owned(text)),
                Cow::Owned(clean) => (true, Cow::Owned(clean)),
            },
        };
        Self { raw, decoded, changed }
    }

    /// Decoded and normalised: empty for the root, else with a leading `/`.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// Whether normalisation did anything beyond decoding.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The path as the client sent it.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where the path begins in [`NormalPath::decoded`] after its first `parts` segments are dropped.
    pub(super) fn offset_without(&self, parts: usize) -> usize {
        let mut from = 0;
        for _ in 0..parts {
            let rest = self.decoded.get(from..).unwrap_or_default();
            let inner = rest.strip_prefix(b"/").unwrap_or(rest);
            match memchr::memchr(b'/', inner) {
                Some(at) => from += rest.len() - inner.len() + at,
                None => return self.decoded.len(),
            }
        }
        from
    }

    /// Appends the encoded path from `offset` in the decoded one; the client's own bytes if nothing was changed.
    pub(super) fn push_from(&self, out: &mut Vec<u8>, offset: usize, keep: &percent::ByteSet) {
        if self.changed {
            let rest = self.decoded.get(offset..).unwrap_or_default();
            return percent::push_escaped(out, rest, &percent::DECODED_PATH);
        }
        let mut rest = self.raw;
        for _ in 0..offset {
            let width = if percent::escape_at(rest).is_some() { 3 } else { 1 };
            rest = rest.get(width..).unwrap_or_default();
        }
        // A path begins with a real slash, also behind dropped parts.
        if percent::escape_at(rest) == Some(b'/') {
            out.push(b'/');
            rest = rest.get(3..).unwrap_or_default();
        }
        percent::push_escaped(out, rest, keep);
    }
}

/// Normalises a decoded path; borrowed when there was nothing to do. The root is the empty text.
pub(super) fn normalize(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_empty() || path == b"/" {
        return Cow::Borrowed(&[]);
    }
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let mut clean = Vec::with_capacity(path.len() + 1);
    for segment in path.split(|b| *b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => clean.truncate(memchr::memrchr(b'/', &clean).unwrap_or(0)),
            _ => {
                clean.push(b'/');
                clean.extend_from_slice(segment);
            }
        }
    }
    if !clean.is_empty() && path.ends_with(b"/") {
        clean.push(b'/');
    }
    Cow::Owned(clean)
}

/// A leading slash, no empty segment but the last, and neither `.` nor `..`.
fn is_normal(path: &[u8]) -> bool {
    // Nearly every path is told by this alone.
    let is_suspect = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if !path.windows(2).any(is_suspect) {
        return path.first() == Some(&b'/');
    }
    path.first() == Some(&b'/')
        && memchr::memchr_iter(b'/', path).all(|at| {
            !matches!(
                path.get(at + 1..).unwrap_or_default(),
                [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
            )
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        let f = |raw: &str, want: &str, changed: bool| {
            let path = NormalPath::of(raw.as_bytes());
            assert_eq!(String::from_utf8_lossy(path.decoded()), want, "{raw}");
            assert_eq!(path.is_changed(), changed, "{raw}");
        };
        f("", "", false);
        f("/", "", false);
        f("//", "", true);
        f("/%2F", "", true);
        f("%2F", "", false);
        f("/..", "", true);
        f("/a//b", "/a/b", true);
        f("/a/../b", "/b", true);
        f("/%2e%2e/b", "/b", true);
        f("/a/./b/", "/a/b/", true);
        f("/a/..", "", true);
        f("/a/../", "", true);
        f("/foo%2fbar/..", "/foo", true);
        f("/a/.", "/a", true);
        f("/a/..%2f..%2fb", "/b", true);
        f("/../../a//.///bar/", "/a/bar/", true);
        f("/.../x", "/.../x", false);
        f("/.well-known/x", "/.well-known/x", false);
        f("/a%2Fb", "/a/b", false);
        f("/a%20b/", "/a b/", false);
        f("/a..", "/a..", false);
        f("*", "/*", true);
        f("/%252e%252e/x", "/%2e%2e/x", false);
    }

    #[test]
    fn dropped_parts() {
        let f = |raw: &str, parts: usize, want: &str| {
            let path = NormalPath::of(raw.as_bytes());
            let (mut out, offset) = (Vec::new(), path.offset_without(parts));
            path.push_from(&mut out, offset, &percent::CLIENT_PATH);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{raw} {parts}");
        };
        f("/a", 1, "");
        f("/a", 2, "");
        f("/a/", 1, "/");
        f("/a/", 2, "");
        f("/a/b", 1, "/b");
        f("/a/b", 2, "");
        f("/a/b/c", 1, "/b/c");
        f("/a/b/c", 2, "/c");
        f("/a/b/c", 0, "/a/b/c");
        f("/a%2Fb%2fc", 1, "/b%2fc");
        f("%2fa%2fb", 0, "/a%2fb");
        f("/%61%2Fb/c%20", 2, "/c%20");
        f("/a/../b//c", 1, "/c");
        f("/a", usize::MAX, "");
    }

    proptest! {
        #[test]
        fn idempotent(path in r"[/.a%2Fé]{0,12}") {
            let once = NormalPath::of(path.as_bytes());
            let twice = normalize(once.decoded());
            prop_assert_eq!(&*twice, once.decoded());
            prop_assert!(once.decoded().is_empty() || once.decoded()[0] == b'/');
        }
    }
}
