//! Where a provider's keys come from, and what of it may be shown.

use vmkit::go_text::quote;
use vmkit::redact;
use xxhash_rust::xxh64::xxh64;

/// Where the keys of a provider come from; what providers are told apart by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum KeyLocation {
    /// Discovery from an issuer, which tokens must name byte for byte.
    Oidc {
        /// `http` or `https` URL as configured.
        issuer: String,
    },
    /// The URL of a key set; tokens may name any issuer.
    JwksUrl(String),
}

impl std::fmt::Debug for KeyLocation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.shown())
    }
}

impl KeyLocation {
    /// The issuer that tokens must name.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Oidc { issuer } => Some(issuer),
            Self::JwksUrl(_) => None,
        }
    }

    /// The URL without userinfo and query, for logs and metrics. Where something is left out, four hex digits of the
    /// URL's hash tell two such URLs apart.
    pub fn shown(&self) -> String {
        let url = self.url();
        let bare = redact::bare_url(url);
        if bare == url {
            return url.to_owned();
        }
        format!("{bare}#{:04x}", xxh64(url.as_bytes(), 0) & 0xffff)
    }

    /// The name of the setting with the URL, for log lines.
    pub(super) fn described(&self) -> String {
        let setting = match self {
            Self::Oidc { .. } => "issuer",
            Self::JwksUrl(_) => "jwks_url",
        };
        format!("{setting} {}", quote(self.shown()))
    }

    fn url(&self) -> &str {
        match self {
            Self::Oidc { issuer } => issuer,
            Self::JwksUrl(url) => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_credentials() {
        let f = |url: &str, want: &str| {
            let shown = KeyLocation::JwksUrl(url.to_owned()).shown();
            let (head, hash) = shown.split_at(want.len().min(shown.len()));
            assert_eq!(head, want, "{url}");
            assert_eq!(hash.len(), if url == want { 0 } else { 5 }, "{url}: {shown}");
        };
        f("https://idp/keys", "https://idp/keys");
        f("https://u:secret@idp/keys", "https://idp/keys");
        f("https://u:se@cret@idp:8443", "https://idp:8443");
        f("https://idp/keys?code=secret", "https://idp/keys");
        f("https://idp/a@b", "https://idp/a@b");
        f("https://idp?a@b", "https://idp");
        f("https://u:se/cret@idp/keys", "https://idp/keys");
        let location = KeyLocation::Oidc { issuer: "https://u:secret@idp".to_owned() };
        assert!(!format!("{location:?}{}", location.described()).contains("secret"));
        let other = KeyLocation::JwksUrl("https://idp/keys?code=b".to_owned());
        assert_ne!(KeyLocation::JwksUrl("https://idp/keys?code=a".to_owned()).shown(), other.shown());
    }
}
