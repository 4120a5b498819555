//! The URL of a request as it is shown in error texts and given to a `default_url` (docs/reference/routing.md).
//!
//! The normalised path with the client's encoding if nothing had to be cleaned, and the raw query; for an
//! absolute-form target the whole URL. Credentials of such a target are never part of it.

use vmkit::exchange::RequestHead;

use super::normal_path::NormalPath;
use super::percent;

/// Appends the URL of a request: `/path?query`, or `http://host/path?query` for an absolute-form target.
///
/// The root path is empty. The query is copied byte by byte, so quote the result before showing it.
pub fn push(out: &mut Vec<u8>, head: &RequestHead, path: &NormalPath<'_>) {
    if head.is_absolute() {
        let scheme = head.target().split(|b| *b == b':').next().unwrap_or_default();
        out.extend(scheme.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b"://");
        out.extend_from_slice(head.host());
    }
    if !path.decoded().is_empty() {
        path.push_from(out, 0, &percent::SHOWN_PATH);
    }
    if let Some(query) = head.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let f = |target: &str, want: &str| {
            let mut head = RequestHead::default();
            head.parse(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            let mut out = Vec::new();
            push(&mut out, &head, &NormalPath::of(head.path()));
            assert_eq!(String::from_utf8(out).unwrap(), want, "{target}");
        };
        f("/foo/bar?baz=qwe", "/foo/bar?baz=qwe");
        f("/", "");
        f("/?a=1", "?a=1");
        f("/foo%2Fbar", "/foo%2Fbar");
        f("/foo//a%2Fbar", "/foo/a/bar");
        f("/a/../b", "/b");
        f("/a?q=%zz", "/a?q=%zz");
        f("/x?", "/x?");
        f("http://u:p@h/abs?x", "http://h/abs?x");
        f("HTTP://h:81", "http://h:81");
    }
}
