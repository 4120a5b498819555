//! Absolute http(s) URLs of the control plane: userinfo out, references resolved.
//!
//! Parsing and joining are the `url` crate's. It follows browsers where Go is stricter, so what browsers silently turn
//! into another URL (control characters, backslashes, a missing `//`) is refused or escaped here first. A target that
//! is held carries no credentials any more.

use hyper::Uri;
use url::{Position, Url};

use crate::percent::decode_strict;

/// A URL without userinfo and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target(Url);

/// Name and password of a URL, percent-decoded.
pub(super) type UserInfo = (String, String);

impl Target {
    pub(super) fn parse(text: &str) -> Result<(Self, Option<UserInfo>), &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("missing scheme")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err("unsupported scheme; want http or https");
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') || authority.contains('\\') {
            return Err("bad host or port");
        }
        Self::checked(Url::parse(&plain(text)?))
    }

    /// `reference` of a `Location` header, seen from this URL (RFC 3986, section 5.2).
    pub(super) fn join(&self, reference: &str) -> Result<(Self, Option<UserInfo>), &'static str> {
        Self::checked(self.0.join(&plain(reference.trim())?))
    }

    fn checked(parsed: Result<Url, url::ParseError>) -> Result<(Self, Option<UserInfo>), &'static str> {
        let mut url = parsed.map_err(|_| "bad host or port")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("unsupported scheme; want http or https");
        }
        let user_info = match (url.username(), url.password()) {
            ("", None) => None,
            (name, password) => Some((decoded(name)?, decoded(password.unwrap_or_default())?)),
        };
        // Both work on every http(s) URL.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_fragment(None);
        let target = Self(url);
        target.to_uri()?;
        Ok((target, user_info))
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether both are served by the same host and port over the same scheme.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Whether a request may be passed on from here to `next` without leaving the host or losing encryption. On the
    /// same scheme the port counts too.
    pub(super) fn stays_with(&self, next: &Self) -> bool {
        let upgraded = !self.is_https() && next.is_https();
        self.0.host_str() == next.0.host_str() && (self.same_origin(next) || upgraded)
    }

    pub(super) fn to_uri(&self) -> Result<Uri, &'static str> {
        self.0[..Position::AfterQuery].parse().map_err(|_| "bad characters")
    }
}

/// Browsers drop tabs and line ends and take `\` for `/`: with them a path could become another host.
fn plain(text: &str) -> Result<String, &'static str> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("control character");
    }
    Ok(text.replace('\\', "%5C"))
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let bytes = decode_strict(text.as_bytes(), false).ok_or("bad escape in userinfo")?;
    String::from_utf8(bytes.into_owned()).map_err(|_| "userinfo is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let f = |text: &str, url: &str, user: Option<(&str, &str)>| {
            let (got, user_info) = Target::parse(text).unwrap();
            assert_eq!(got.to_uri().unwrap().to_string(), url);
            assert_eq!(user_info, user.map(|(name, password)| (name.to_owned(), password.to_owned())));
        };
        f("http://foo", "http://foo/", None);
        f("HTTPS://foo:1/bar?x=y#z", "https://foo:1/bar?x=y", None);
        f("http://[::1]:8080?x", "http://[::1]:8080/?x", None);
        f("http://u%40x:p%3a%25@foo/b", "http://foo/b", Some(("u@x", "p:%")));
        f("http://user@foo/b@c", "http://foo/b@c", Some(("user", "")));
        f("http://foo/a b/ä%20?q=a b&m[]={x}", "http://foo/a%20b/%C3%A4%20?q=a%20b&m[]={x}", None);
        f("http://foo/a%2Fb/%zz", "http://foo/a%2Fb/%zz", None);
        f("http://foo/a\\b", "http://foo/a%5Cb", None);
    }

    #[test]
    fn bad_urls() {
        let f = |text: &str, want: &str| assert_eq!(Target::parse(text), Err(want), "{text}");
        f("", "missing scheme");
        f("/etc/passwd", "missing scheme");
        f("http:foo", "missing scheme");
        f("ftp://foo", "unsupported scheme; want http or https");
        f(" http://foo", "unsupported scheme; want http or https");
        f("http://", "bad host or port");
        f("http:///foo", "bad host or port");
        f("http://:80/", "bad host or port");
        f("http://foo:x/", "bad host or port");
        f("http://foo:65536/", "bad host or port");
        f("http://f oo/", "bad host or port");
        f("http://foo\\@bar/", "bad host or port");
        f("http://foo/\tx", "control character");
        f("http://u:%zz@foo", "bad escape in userinfo");
        f("http://u:%ff@foo", "userinfo is not UTF-8");
    }

    #[test]
    fn references() {
        let f = |reference: &str, want: &str| {
            let (base, _) = Target::parse("https://foo:1/a/b/c?x=y").unwrap();
            let joined = base.join(reference).map(|(url, _)| url.to_uri().unwrap().to_string());
            assert_eq!(joined, Ok(want.to_owned()), "{reference}");
        };
        f("http://bar/x", "http://bar/x");
        f("//bar/x", "https://bar/x");
        f("/x?q", "https://foo:1/x?q");
        f("x", "https://foo:1/a/b/x");
        f("../x/./y/..", "https://foo:1/a/x/");
        f("../../../x", "https://foo:1/x");
        f("?z=/../1", "https://foo:1/a/b/c?z=/../1");
        f("#frag", "https://foo:1/a/b/c?x=y");
        f("", "https://foo:1/a/b/c?x=y");
        f("/\\evil", "https://foo:1/%5Cevil");
        let (base, _) = Target::parse("http://foo/").unwrap();
        assert_eq!(base.join("mailto:foo"), Err("unsupported scheme; want http or https"));
        assert_eq!(base.join("/\t/evil"), Err("control character"));
        assert_eq!(base.join("http://u:p@bar/").unwrap().1, Some(("u".to_owned(), "p".to_owned())));
    }

    #[test]
    fn origins() {
        let f = |one: &str, other: &str, same: bool, stays: bool| {
            let parse = |text: &str| Target::parse(text).unwrap().0;
            let (one, other) = (parse(one), parse(other));
            assert_eq!((one.same_origin(&other), one.stays_with(&other)), (same, stays), "{one:?} {other:?}");
        };
        f("http://foo/a", "http://FOO:80/b", true, true);
        f("https://foo", "https://foo:443", true, true);
        f("http://foo", "https://foo", false, true);
        f("https://foo", "http://foo", false, false);
        f("http://foo", "http://foo:81", false, false);
        f("http://foo", "http://bar", false, false);
    }
}
