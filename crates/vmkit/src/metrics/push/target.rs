//! The URL metrics are pushed to, split into what is sent and what may be shown.
//!
//! User information becomes a Basic header; the shown form has neither user information nor query.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PushError;
use crate::percent::decode_path;
use crate::redact;

/// A checked push URL.
pub(super) struct Target {
    url: String,
    shown: String,
    authorization: Option<String>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, PushError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(authority_end);
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let shown = redact::url(text).into_owned();
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(PushError::InvalidUrl { url: shown, reason: "space or control character" });
        }
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(PushError::UnsupportedScheme { url: shown });
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(PushError::MissingHost { url: shown });
        }
        let authorization = user_info.map(basic);
        let tail = tail.split_once('#').map_or(tail, |(before, _)| before);
        let slash = if tail.starts_with('/') { "" } else { "/" };
        let url = format!("{}://{host}{slash}{tail}", scheme.to_ascii_lowercase());
        Ok(Self { url, shown, authorization })
    }

    /// The URL to request; has a path and no user information.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The URL as it may be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Value of the `Authorization` header, if the URL has user information.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

fn basic(user_info: &str) -> String {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut pair = decode_path(user.as_bytes()).into_owned();
    pair.push(b':');
    pair.extend_from_slice(&decode_path(password.as_bytes()));
    format!("Basic {}", STANDARD.encode(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        let f = |text: &str, url: &str, shown: &str, authorization: Option<&str>| {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.url(), target.shown(), target.authorization()), (url, shown, authorization), "{text}");
        };
        f("http://h/p?q=1", "http://h/p?q=1", "http://h/p?xxxxx", None);
        f("HTTPS://h:1#x", "https://h:1/", "HTTPS://h:1#x", None);
        f("http://h?a=b", "http://h/?a=b", "http://h?xxxxx", None);
        f("http://[::1]:80/x", "http://[::1]:80/x", "http://[::1]:80/x", None);
        f("http://u:p@h/", "http://h/", "http://xxxxx@h/", Some("Basic dTpw"));
        f("http://u@h/", "http://h/", "http://xxxxx@h/", Some("Basic dTo="));
        f("http://u:p%40%zz@h/", "http://h/", "http://xxxxx@h/", Some("Basic dTpwQCV6eg=="));
        f("http://h/a@b:c", "http://h/a@b:c", "http://h/a@b:c", None);
    }

    #[test]
    fn refused() {
        let f = |text: &str, want: &str| {
            assert_eq!(Target::parse(text).err().map(|err| err.to_string()).as_deref(), Some(want));
        };
        f("foo", "unsupported scheme in pushURL=\"foo\"; expecting 'http' or 'https'");
        f("", "unsupported scheme in pushURL=\"\"; expecting 'http' or 'https'");
        f("ftp://h/", "unsupported scheme in pushURL=\"ftp://h/\"; expecting 'http' or 'https'");
        f("ftp://u:topsecret@h/", "unsupported scheme in pushURL=\"ftp://xxxxx@h/\"; expecting 'http' or 'https'");
        f("http:///x", "missing host in pushURL=\"http:///x\"");
        f("http://u:topsecret@/x", "missing host in pushURL=\"http://xxxxx@/x\"");
        f("http://:80/x", "missing host in pushURL=\"http://:80/x\"");
        f("http://h/ x", "cannot parse pushURL=\"http://h/ x\": space or control character");
    }
}
