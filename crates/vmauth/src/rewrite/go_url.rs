//! Splits a URL of the config into its parts and checks it as Go's `net/url` does, with the same error texts.
//!
//! Users search for these texts and reviewers compare them. Passwords in a URL never get into an error.

use std::net::Ipv6Addr;

use vmkit::go_text::quote;
use vmkit::redact;

use super::percent;

/// Parts of a URL. Path and query are as written; the host is unescaped and without userinfo.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GoUrl<'a> {
    /// Lower case; empty when the text has none.
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) path: &'a str,
    /// `Some("")` for a bare `?`.
    pub(super) query: Option<&'a str>,
}

/// Why a URL was refused, in Go's words, such as `parse "http://a:b/": invalid port ":b" after host`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse {url}: {reason}")]
pub struct TargetUrlError {
    /// Quoted, without credentials.
    url: String,
    reason: String,
}

impl TargetUrlError {
    /// A reason that is not Go's.
    pub(super) fn new(url: &str, reason: String) -> Self {
        Self { url: quote(&*redact::userinfo(url)), reason }
    }

    /// The text without `parse "…": `, for callers that quote the URL themselves.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Parses a URL.
pub(super) fn parse(text: &str) -> Result<GoUrl<'_>, TargetUrlError> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let error = |shown: &str, reason: String| {
        // A slash in a password ends the authority too early, and the reason would quote the rest of it.
        let reason = if has_late_at_sign(shown) { without_quoted(&reason) } else { reason };
        TargetUrlError { url: quote(&*redact::userinfo(shown)), reason }
    };
    let parsed = split(url).map_err(|reason| error(url, reason))?;
    check_escapes(fragment).map_err(|reason| error(text, reason))?;
    Ok(parsed)
}

fn split(url: &str) -> Result<GoUrl<'_>, String> {
    if url.bytes().any(|b| b < b' ' || b == 0x7F) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = scheme(url)?;
    let mut parts = GoUrl { scheme: scheme.to_ascii_lowercase(), ..GoUrl::default() };
    let rest = match rest.split_once('?') {
        Some((rest, query)) => {
            parts.query = Some(query);
            rest
        }
        None => rest,
    };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // Opaque, such as `mailto:x`: there is neither host nor path.
            return Ok(parts);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    parts.path = rest;
    if let Some(behind) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !behind.starts_with('/'))
    {
        let end = behind.find('/').unwrap_or(behind.len());
        let (authority, path) = behind.split_at(end);
        parts.host = self::authority(authority)?;
        parts.path = path;
    }
    check_escapes(parts.path)?;
    Ok(parts)
}

/// The scheme without its colon, empty if there is none, and the rest.
fn scheme(url: &str) -> Result<(&str, &str), String> {
    for (at, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((url.get(..at).unwrap_or_default(), url.get(at + 1..).unwrap_or_default())),
            _ => break,
        }
    }
    Ok(("", url))
}

fn authority(text: &str) -> Result<String, String> {
    let (userinfo, host) = match text.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, text),
    };
    let host = self::host(host)?;
    if let Some(userinfo) = userinfo {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !userinfo.chars().all(is_allowed) || check_escapes(userinfo).is_err() {
            return Err("net/url: invalid userinfo".to_owned());
        }
    }
    Ok(host)
}

/// Checks and unescapes `host`, `host:port` or `[address]:port`.
fn host(text: &str) -> Result<String, String> {
    let port_at = match text.rfind('[') {
        Some(0) => {
            let end = text.rfind(']').ok_or("missing ']' in host")?;
            check_address(text.get(1..end).unwrap_or_default())?;
            end + 1
        }
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => text.find(':').unwrap_or(text.len()),
    };
    let port = text.get(port_at..).unwrap_or_default();
    let digits = port.strip_prefix(':').unwrap_or(port);
    if (!port.is_empty() && !port.starts_with(':')) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    unescape_host(text)
}

fn check_address(text: &str) -> Result<(), String> {
    let address = text.split_once("%25").map_or(text, |(address, _)| address);
    if address.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    if address.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("invalid IP-literal".to_owned());
    }
    Err(format!("invalid host: ParseAddr({}): unable to parse IP", quote(address)))
}

fn unescape_host(text: &str) -> Result<String, String> {
    let mut host = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        match (byte, percent::escape_at(rest)) {
            (b'%', Some(decoded)) if decoded >= 0x80 || decoded == b'%' => {
                host.push(decoded);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'%', _) => return Err(bad_escape(rest)),
            _ => {}
        }
        let allowed = !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(byte);
        if !allowed {
            return Err(format!("invalid character {} in host name", quote([*byte])));
        }
        host.push(*byte);
        rest = after;
    }
    String::from_utf8(host).map_err(|_| "invalid character in host name".to_owned())
}

fn check_escapes(text: &str) -> Result<(), String> {
    for at in memchr::memchr_iter(b'%', text.as_bytes()) {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        if percent::escape_at(rest).is_none() {
            return Err(bad_escape(rest));
        }
    }
    Ok(())
}

fn bad_escape(rest: &[u8]) -> String {
    let shown = rest.get(..3).unwrap_or(rest);
    format!("invalid URL escape {}", quote(shown))
}

/// Whether an `@` stands behind the authority.
fn has_late_at_sign(url: &str) -> bool {
    let (_, rest) = url.split_at(url.find("//").map_or(0, |at| at + 2));
    rest.find(['/', '?', '#']).and_then(|end| rest.get(end..)).is_some_and(|path| path.contains('@'))
}

fn without_quoted(reason: &str) -> String {
    match (reason.split_once('"'), reason.rsplit_once('"')) {
        (Some((front, _)), Some((_, back))) => format!("{front}\"...\"{back}"),
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let f = |text: &str, scheme: &str, host: &str, path: &str, query: Option<&str>| {
            let want = GoUrl { scheme: scheme.to_owned(), host: host.to_owned(), path, query };
            assert_eq!(parse(text), Ok(want), "{text}");
        };
        f("http://h", "http", "h", "", None);
        f("HTTPS://User:Pw@H.x:8/a%2Fb?c=d?e#f", "https", "H.x:8", "/a%2Fb", Some("c=d?e"));
        f("http://h?x#y", "http", "h", "", Some("x"));
        f("http://[::1]:80/", "http", "[::1]:80", "/", None);
        f("http://[fe80::1%25en0]/", "http", "[fe80::1%en0]", "/", None);
        f("http://h:/p?", "http", "h:", "/p", Some(""));
        f("http://h:99999/", "http", "h:99999", "/", None);
        f("srv", "", "", "srv", None);
        f("", "", "", "", None);
        f("//h/p", "", "h", "/p", None);
        f("mailto:x", "mailto", "", "", None);
        f("http://srv+name/", "http", "srv+name", "/", None);
    }

    #[test]
    fn refused() {
        let f = |text: &str, want: &str| assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        f("http://foo:bar:baz/", r#"parse "http://foo:bar:baz/": invalid port ":bar:baz" after host"#);
        f("http://a b/", r#"parse "http://a b/": invalid character " " in host name"#);
        f("http://{{x}}/", r#"parse "http://{{x}}/": invalid character "{" in host name"#);
        f("http://[::1", r#"parse "http://[::1": missing ']' in host"#);
        f("http://[::1]x/", r#"parse "http://[::1]x/": invalid port "x" after host"#);
        f("http://a/%zz", r#"parse "http://a/%zz": invalid URL escape "%zz""#);
        f("http://a/%4", r#"parse "http://a/%4": invalid URL escape "%4""#);
        f("http://a%20b/", r#"parse "http://a%20b/": invalid URL escape "%20""#);
        f("http://a/\n", r#"parse "http://a/\n": net/url: invalid control character in URL"#);
        f("http://a/\u{7f}", r#"parse "http://a/\x7f": net/url: invalid control character in URL"#);
        f(":foo", r#"parse ":foo": missing protocol scheme"#);
        f("1a:b", r#"parse "1a:b": first path segment in URL cannot contain colon"#);
        f("http://u:secret@a:b/", r#"parse "http://xxxxx@a:b/": invalid port ":b" after host"#);
        f("http://user:pa/ss@host/", r#"parse "http://xxxxx@host/": invalid port "..." after host"#);
        f("http://a b/\u{200b}é", "parse \"http://a b/\\u200bé\": invalid character \" \" in host name");
        f("http://a/%é", "parse \"http://a/%é\": invalid URL escape \"%é\"");
        f("http://a/#%zz", r#"parse "http://a/#%zz": invalid URL escape "%zz""#);
        f("http://u s@a/", r#"parse "http://xxxxx@a/": net/url: invalid userinfo"#);
    }
}
