//! Absolute http(s) URLs of the control plane: userinfo out, references resolved.
//!
//! Small on purpose: hyper checks what goes to the wire, this takes apart and joins. A URL that is held here carries
//! no credentials any more.

use crate::net::address::HostPort;
use hyper::Uri;

/// A URL without userinfo and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Host and port as written.
    pub(super) authority: String,
    /// Begins with a slash; with the query.
    pub(super) path_and_query: String,
}

/// Name and password of a URL, percent-decoded.
pub(super) type UserInfo = (String, String);

impl Url {
    pub(super) fn parse(text: &str) -> Result<(Self, Option<UserInfo>), &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("missing scheme")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err("unsupported scheme; want http or https"),
        };
        Self::with_scheme(scheme, rest)
    }

    /// `rest` is what follows `://`.
    fn with_scheme(scheme: &'static str, rest: &str) -> Result<(Self, Option<UserInfo>), &'static str> {
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => {
                let (name, password) = user_info.split_once(':').unwrap_or((user_info, ""));
                (Some((percent_decode(name)?, percent_decode(password)?)), authority)
            }
            None => (None, authority),
        };
        HostPort::parse(authority).map_err(|_| "bad host or port")?;
        let slash = if tail.starts_with('/') { "" } else { "/" };
        let url = Self {
            scheme,
            authority: authority.to_owned(),
            path_and_query: escape_forbidden(&format!("{slash}{tail}")),
        };
        url.to_uri()?;
        Ok((url, user_info))
    }

    /// `reference` of a `Location` header, seen from this URL (RFC 3986, section 5.2).
    pub(super) fn join(&self, reference: &str) -> Result<(Self, Option<UserInfo>), &'static str> {
        let reference = reference.trim();
        let before_path = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if before_path.contains(':') {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::with_scheme(self.scheme, rest);
        }
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let target = match reference.chars().next() {
            None | Some('#') => self.path_and_query.clone(),
            Some('/') => reference.to_owned(),
            Some('?') => format!("{path}{reference}"),
            Some(_) => {
                let folder = path.rfind('/').and_then(|slash| path.get(..=slash)).unwrap_or("/");
                format!("{folder}{reference}")
            }
        };
        Self::with_scheme(self.scheme, &format!("{}{}", self.authority, remove_dot_segments(&target)))
    }

    /// Whether both are served by the same host and port over the same scheme.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        let origin = |url: &Self| {
            let parsed = HostPort::parse(&url.authority).ok()?;
            Some((url.scheme, parsed.port_or_default(url.scheme), parsed.host.to_ascii_lowercase()))
        };
        origin(self).is_some() && origin(self) == origin(other)
    }

    pub(super) fn to_uri(&self) -> Result<Uri, &'static str> {
        Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.as_str())
            .path_and_query(self.path_and_query.as_str())
            .build()
            .map_err(|_| "bad characters")
    }
}

/// Spaces and bytes beyond ASCII are common in hand-written URLs.
fn escape_forbidden(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_graphic() && !matches!(letter, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}') {
            escaped.push(letter);
        } else {
            let mut buffer = [0; 4];
            letter.encode_utf8(&mut buffer).bytes().for_each(|byte| escaped.push_str(&format!("%{byte:02X}")));
        }
    }
    escaped
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err("bad escape in userinfo") };
        decoded.push(u8::try_from(high * 16 + low).map_err(|_| "bad escape in userinfo")?);
    }
    String::from_utf8(decoded).map_err(|_| "userinfo is not UTF-8")
}

/// RFC 3986, section 5.2.4, on the path; the query stays.
fn remove_dot_segments(path_and_query: &str) -> String {
    let end = path_and_query.find(['?', '#']).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(url: &Url) -> String {
        format!("{}://{}{}", url.scheme, url.authority, url.path_and_query)
    }

    #[test]
    fn parsing() {
        let f = |text: &str, url: &str, user: Option<(&str, &str)>| {
            let (got, user_info) = Url::parse(text).unwrap();
            assert_eq!(written(&got), url);
            assert_eq!(user_info, user.map(|(name, password)| (name.to_owned(), password.to_owned())));
        };
        f("http://foo", "http://foo/", None);
        f("HTTPS://foo:1/bar?x=y#z", "https://foo:1/bar?x=y", None);
        f("http://[::1]:8080?x", "http://[::1]:8080/?x", None);
        f("http://u%40x:p%3a%25@foo/b", "http://foo/b", Some(("u@x", "p:%")));
        f("http://user@foo/b@c", "http://foo/b@c", Some(("user", "")));
        f("http://foo/a b/ä%20", "http://foo/a%20b/%C3%A4%20", None);
    }

    #[test]
    fn bad_urls() {
        let f = |text: &str, want: &str| assert_eq!(Url::parse(text), Err(want), "{text}");
        f("", "missing scheme");
        f("/etc/passwd", "missing scheme");
        f("ftp://foo", "unsupported scheme; want http or https");
        f("http://", "bad host or port");
        f("http:///foo", "bad host or port");
        f("http://foo:x/", "bad host or port");
        f("http://f oo/", "bad host or port");
        f("http://u:%zz@foo", "bad escape in userinfo");
        f("http://u:%ff@foo", "userinfo is not UTF-8");
    }

    #[test]
    fn references() {
        let f = |reference: &str, want: &str| {
            let (base, _) = Url::parse("https://foo:1/a/b/c?x=y").unwrap();
            assert_eq!(base.join(reference).map(|(url, _)| written(&url)), Ok(want.to_owned()), "{reference}");
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
        let (base, _) = Url::parse("http://foo/").unwrap();
        assert_eq!(base.join("mailto:foo"), Err("missing scheme"));
        assert_eq!(base.join("http://u:p@bar/").unwrap().1, Some(("u".to_owned(), "p".to_owned())));
    }

    #[test]
    fn origins() {
        let f = |one: &str, other: &str, want: bool| {
            let parse = |text: &str| Url::parse(text).unwrap().0;
            assert_eq!(parse(one).same_origin(&parse(other)), want, "{one} {other}");
        };
        f("http://foo/a", "http://FOO:80/b", true);
        f("https://foo", "https://foo:443", true);
        f("http://foo", "https://foo", false);
        f("http://foo", "http://foo:81", false);
        f("http://foo", "http://bar", false);
    }
}
