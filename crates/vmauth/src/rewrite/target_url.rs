//! Stand-in: the URL of a backend.

/// A parsed backend URL.
#[derive(Clone, Debug)]
pub struct TargetUrl {
    scheme: String,
    host: String,
}

/// Why a text is no URL.
#[derive(Debug, thiserror::Error)]
#[error("parse {url:?}: {cause}")]
pub struct TargetUrlError {
    url: String,
    cause: String,
}

impl TargetUrl {
    /// Parses `text`.
    ///
    /// # Errors
    /// The text is no URL.
    pub fn parse(text: &str) -> Result<Self, TargetUrlError> {
        let fail = |cause: String| Err(TargetUrlError { url: text.to_owned(), cause });
        if text.chars().any(|c| c < ' ' || c == '\u{7f}') {
            return fail("net/url: invalid control character in URL".to_owned());
        }
        if text.starts_with(':') {
            return fail("missing protocol scheme".to_owned());
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if scheme.is_empty() {
            return Ok(Self { scheme: String::new(), host: String::new() });
        }
        if let Some(bad) = host.chars().find(|c| " {}<>\"".contains(*c)) {
            return fail(format!("invalid character {:?} in host name", bad.to_string()));
        }
        if host.starts_with('[') && !host.contains(']') {
            return fail("missing ']' in host".to_owned());
        }
        if let Some((_, port)) = host.split_once(':')
            && !host.starts_with('[')
            && !port.bytes().all(|b| b.is_ascii_digit())
        {
            return fail(format!("invalid port {:?} after host", format!(":{port}")));
        }
        if rest.split('?').next().unwrap_or_default().contains("%zz") {
            return fail("invalid URL escape \"%zz\"".to_owned());
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host: host.to_owned() })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port as written.
    pub fn host(&self) -> &str {
        &self.host
    }
}
