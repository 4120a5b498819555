//! What of a URL, a query or a header may be shown: in logs, on pages, in metrics, in replies.
//!
//! The one place that decides it; every text from a flag, a config or a client that may hold credentials and is shown
//! to anybody passes here. When in doubt more is hidden than needed. Pure and linear; any text is accepted.

use std::borrow::Cow;

use crate::percent;

/// What stands in place of hidden parts of a URL.
const MASK: &str = "xxxxx";

/// Parts of names of flags and config keys whose values are secrets.
const TELLING_PARTS: [&str; 4] = ["pass", "key", "secret", "token"];

/// Parts of names of query args and form fields whose values are secrets, in lower case without `-` and `_`.
const TELLING_ARGS: [&str; 8] =
    ["authkey", "apikey", "accesskey", "token", "passw", "secret", "signature", "credential"];
/// Whole names of that kind.
const TELLING_ARG_NAMES: [&str; 7] = ["auth", "jwt", "key", "pass", "pwd", "sig", "assertion"];

/// A URL taken apart by what may be shown of it.
struct Parts<'a> {
    scheme: &'a str,
    has_userinfo: bool,
    host: &'a str,
    /// With the fragment of a URL that has no query.
    path: &'a str,
    has_query: bool,
}

/// `None` for a text without `://`.
fn parts(text: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    // An unescaped `/` in a password ends the authority early; the `@` behind it gives the mistake away.
    let (has_userinfo, host, tail) = match (authority.rsplit_once('@'), tail.rsplit_once('@')) {
        (_, Some((_, tail))) if !authority.contains('@') && authority.contains(':') => (true, "", tail),
        (Some((_, host)), _) => (true, host, tail),
        (None, _) => (false, authority, tail),
    };
    let (path, has_query) = match tail.split_once('?') {
        Some((path, _)) => (path, true),
        None => (tail, false),
    };
    Some(Parts { scheme, has_userinfo, host, path, has_query })
}

/// `text` as it may be shown: userinfo and query of a URL become `xxxxx`, anything else stays.
///
/// Passwords sit in the userinfo, tokens of pre-signed links in the query. The text need not be a valid URL.
pub fn url(text: &str) -> Cow<'_, str> {
    let Some(Parts { scheme, has_userinfo, host, path, has_query }) = parts(text) else { return Cow::Borrowed(text) };
    if !has_userinfo && !has_query {
        return Cow::Borrowed(text);
    }
    let mut shown = format!("{scheme}://");
    if has_userinfo {
        shown.extend([MASK, "@"]);
    }
    shown.extend([host, path]);
    if has_query {
        shown.extend(["?", MASK]);
    }
    Cow::Owned(shown)
}

/// `text` without userinfo, query and fragment, for names of what is at a URL.
pub fn bare_url(text: &str) -> Cow<'_, str> {
    let bare = |text: &'_ str| text.find(['?', '#']).unwrap_or(text.len());
    match parts(text) {
        Some(Parts { scheme, has_userinfo: true, host, path, .. }) => {
            let (path, _) = path.split_at(bare(path));
            Cow::Owned(format!("{scheme}://{host}{path}"))
        }
        _ => Cow::Borrowed(text.split_at(bare(text)).0),
    }
}

/// A URL without userinfo, for messages about its other parts. Also hides it when a `/` in a password moves it out of
/// the authority.
pub fn userinfo(text: &str) -> Cow<'_, str> {
    let Some(at) = text.rfind('@') else { return Cow::Borrowed(text) };
    let start = text.find("//").map_or(0, |slashes| slashes + 2);
    let (before, _) = text.split_at(if start <= at { start } else { 0 });
    let (_, after) = text.split_at(at);
    Cow::Owned([before, MASK, after].concat())
}

/// Whether a flag or config key of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a query arg or form field of this (decoded) name holds a secret.
pub fn is_secret_arg(name: &[u8]) -> bool {
    let plain = |b: &u8| !matches!(b, b'-' | b'_' | b'.');
    let name: Vec<u8> = name.iter().filter(|b| plain(b)).map(u8::to_ascii_lowercase).collect();
    TELLING_ARG_NAMES.iter().any(|whole| name == whole.as_bytes())
        || TELLING_ARGS.iter().any(|part| memchr::memmem::find(&name, part.as_bytes()).is_some())
}

/// Appends a query or form with the values of secret args replaced by `secret`. Everything else stays byte for byte.
pub fn push_args(out: &mut Vec<u8>, args: &[u8]) {
    for (i, piece) in args.split(|b| *b == b'&').enumerate() {
        if i > 0 {
            out.push(b'&');
        }
        let (name, _) = percent::split_arg(piece);
        if piece.len() > name.len() && is_secret_arg(&percent::decode_arg_leniently(name)) {
            out.extend_from_slice(name);
            out.extend_from_slice(b"=secret");
        } else {
            out.extend_from_slice(piece);
        }
    }
}

/// A URL, or the target of a request, with the values of secret args masked. Userinfo stays.
pub fn url_args(url: &[u8]) -> Cow<'_, [u8]> {
    let Some(at) = memchr::memchr(b'?', url) else { return Cow::Borrowed(url) };
    let (before, args) = url.split_at(at + 1);
    let mut shown = before.to_vec();
    push_args(&mut shown, args);
    Cow::Owned(shown)
}

/// Whether the value of a header of this name is a secret: credentials, cookies and whatever is called a key or token.
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie"].iter().any(|part| name.contains(part)) || is_secret_name(&name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn args_of_urls_are_shown_without_secrets() {
        let f = |text: &str, want: &str| assert_eq!(&*url_args(text.as_bytes()), want.as_bytes());
        f("/a", "/a");
        f("/a?authKey=x&b=c", "/a?authKey=secret&b=c");
        f("http://a?api_key=x?y&b", "http://a?api_key=secret&b");
        f("?", "?");
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        let f = |text: &str, want: &str| assert_eq!(url(text), want);
        f("/etc/ca.crt", "/etc/ca.crt");
        f("http://foo/bar", "http://foo/bar");
        f("http://foo/user@bar", "http://foo/user@bar");
        f("http://user:secret@foo/bar", "http://xxxxx@foo/bar");
        f("http://user:se@cret@foo", "http://xxxxx@foo");
        f("https://foo/bar?sig=secret", "https://foo/bar?xxxxx");
        f("https://u:p@foo?sig=secret#x", "https://xxxxx@foo?xxxxx");
        f("http://user:se/cret@foo/bar", "http://xxxxx@foo/bar");
    }

    #[test]
    fn bare_urls_have_neither_credentials_nor_args() {
        let f = |text: &str, want: &str| assert_eq!(bare_url(text), want);
        f("http://foo/bar", "http://foo/bar");
        f("http://u:p@foo:8/bar?a=b#c", "http://foo:8/bar");
        f("http://u:p@foo/bar#c?a", "http://foo/bar");
        f("http://foo?a@b", "http://foo");
        f("http://foo#c", "http://foo");
        f("http://user:se/cret@foo/bar", "http://foo/bar");
        f("foo?token=x", "foo");
    }

    #[test]
    fn urls_lose_their_userinfo() {
        let f = |text, want| assert_eq!(userinfo(text), want);
        f("http://foo/x", "http://foo/x");
        f("http://u:p@foo/x", "http://xxxxx@foo/x");
        f("http://u:p/w@foo/x", "http://xxxxx@foo/x");
        f("u:p@foo", "xxxxx@foo");
        f("u:p@b//c", "xxxxx@b//c");
        f("", "");
    }

    #[test]
    fn args_lose_secret_values() {
        let f = |args: &str, want: &str| {
            let mut out = Vec::new();
            push_args(&mut out, args.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        f("", "");
        f("query=up{key=\"a\"}&start=1&match[]=x&extra_label=a", "query=up{key=\"a\"}&start=1&match[]=x&extra_label=a");
        f("authKey=k&z", "authKey=secret&z");
        f("auth%4bey=1&b=", "auth%4bey=secret&b=");
        f(
            "X-Amz-Signature=a&api_key=b&access_token=c&sig=d&key",
            "X-Amz-Signature=secret&api_key=secret&access_token=secret&sig=secret&key",
        );
        f("password=&monkey=1&keyword=2", "password=secret&monkey=1&keyword=2");
    }

    #[test]
    fn telling_names() {
        assert!(is_secret_name("backend.TLSKeyFile") && !is_secret_name("auth.config"));
        assert!(["Authorization", "X-Auth-Token", "X-API-Key", "Set-Cookie"].iter().all(|name| is_secret_header(name)));
        assert!(!is_secret_header("AccountID"));
    }

    proptest! {
        #[test]
        fn no_text_panics_or_keeps_a_password(text in "[a-z0-9:/@?#%&=é]{0,20}", host in "[a-z]{1,5}") {
            let _ = (url(&text), userinfo(&text));
            let whole = format!("http://u:hunter@{host}/{text}");
            prop_assert!(!url(&whole).contains("hunter") && !bare_url(&whole).contains("hunter"));
        }
    }
}
