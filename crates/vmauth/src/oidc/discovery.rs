//! One fetch of a provider's keys: the discovery document (OpenID Connect Discovery 1.0 §4), then the key set.
//!
//! Decides which URLs are asked and what makes a reply unusable. The document must name the configured issuer byte
//! for byte, or anybody whom the provider delegates a path to could hand out keys in its name (§4.3). No state, no
//! retries: those are the refresher's.

use std::time::Duration;

use jwt::{Jwks, KeySet, MAX_JWKS_BYTES, SkippedKey};
use serde_json::Value;
use vmkit::go_text::quote;
use xxhash_rust::xxh64::xxh64;

use super::fetch::{FailureReason, FetchFailure, FetchKeys, Fetched};

/// Time for each request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer replies are failures.
pub const MAX_DOCUMENT_BYTES: usize = MAX_JWKS_BYTES;

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
        let (head, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        let (scheme, rest) = head.split_at(head.find("://").map_or(0, |at| at + 3));
        let authority = rest.find('/').unwrap_or(rest.len());
        let userinfo = rest.get(..authority).and_then(|authority| authority.rfind('@'));
        if query.is_empty() && userinfo.is_none() {
            return url.to_owned();
        }
        let rest = userinfo.and_then(|at| rest.get(at + 1..)).unwrap_or(rest);
        format!("{scheme}{rest}#{:04x}", xxh64(url.as_bytes(), 0) & 0xffff)
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

/// The keys a provider has now.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The usable keys.
    pub keys: KeySet,
    /// The others, with reasons.
    pub skipped: Vec<SkippedKey>,
    /// How long the set may be kept, in the provider's words.
    pub max_age: Option<Duration>,
}

/// Fetches the keys once.
///
/// # Errors
/// Anything that leaves the caller without a complete key set. A set without usable keys is no error.
pub async fn fetch_keys(fetcher: &dyn FetchKeys, location: &KeyLocation) -> Result<FetchedKeys, FetchFailure> {
    let (url, what) = match location {
        KeyLocation::Oidc { issuer } => (discover(fetcher, issuer).await?, "jwks keys"),
        KeyLocation::JwksUrl(url) => (url.clone(), "jwks keys"),
    };
    let reply = get(fetcher, url, what).await?;
    let jwks = Jwks::parse(&reply.body)
        .map_err(|error| FetchFailure::new(FailureReason::Body, format!("failed to parse {what}: {error}")))?;
    let skipped = jwks.skipped.clone();
    Ok(FetchedKeys { keys: KeySet::from_jwks(jwks), skipped, max_age: reply.max_age })
}

/// The URL of the key set in the discovery document of `issuer`.
async fn discover(fetcher: &dyn FetchKeys, issuer: &str) -> Result<String, FetchFailure> {
    let what = "openid configuration";
    let reply = get(fetcher, discovery_url(issuer), what).await?;
    let unusable = |text: &str| FetchFailure::new(FailureReason::Body, format!("failed to parse {what}: {text}"));
    // The parser's words may quote the document, which is foreign text.
    let document: Value = serde_json::from_slice(&reply.body).map_err(|_| unusable("it isn't json"))?;
    let found = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if found != issuer {
        let shown = |issuer: &str| quote(shortened(&KeyLocation::Oidc { issuer: issuer.to_owned() }.shown()));
        let (found, issuer) = (shown(found), shown(issuer));
        let text = format!("openid configuration issuer {found} doesn't match the configured issuer {issuer}");
        return Err(FetchFailure::new(FailureReason::IssuerMismatch, text));
    }
    let url = document.get("jwks_uri").and_then(Value::as_str).ok_or_else(|| unusable("it has no jwks_uri"))?;
    if !is_http(url) {
        return Err(unusable("jwks_uri isn't an http or https url"));
    }
    Ok(url.to_owned())
}

/// The issuer less one trailing slash, and the well-known path.
fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

async fn get(fetcher: &dyn FetchKeys, url: String, what: &str) -> Result<Fetched, FetchFailure> {
    let failed =
        |reason, text: &dyn std::fmt::Display| FetchFailure::new(reason, format!("failed to fetch {what}: {text}"));
    let reply = match tokio::time::timeout(REQUEST_TIMEOUT, fetcher.get(url)).await {
        Ok(reply) => reply.map_err(|error| failed(error.reason, &error.text))?,
        Err(_) => return Err(failed(FailureReason::Timeout, &format_args!("no reply within {REQUEST_TIMEOUT:?}"))),
    };
    if reply.status != 200 {
        let status = format_args!("unexpected status code: {}; want 200", reply.status);
        return Err(failed(FailureReason::Status, &status));
    }
    if reply.body.len() > MAX_DOCUMENT_BYTES {
        let size = format_args!("the reply exceeds {MAX_DOCUMENT_BYTES} bytes");
        return Err(failed(FailureReason::Body, &size));
    }
    Ok(reply)
}

fn is_http(url: &str) -> bool {
    let has_scheme = |scheme: &str| {
        url.split_at_checked(scheme.len())
            .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(scheme) && !rest.is_empty())
    };
    has_scheme("http://") || has_scheme("https://")
}

fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_slash_is_taken_off() {
        let f = |issuer: &str, want: &str| assert_eq!(discovery_url(issuer), want);
        f("https://idp", "https://idp/.well-known/openid-configuration");
        f("https://idp/", "https://idp/.well-known/openid-configuration");
        f("https://idp/realms/a/", "https://idp/realms/a/.well-known/openid-configuration");
        f("https://idp//", "https://idp//.well-known/openid-configuration");
    }

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
        let location = KeyLocation::Oidc { issuer: "https://u:secret@idp".to_owned() };
        assert!(!format!("{location:?}{}", location.described()).contains("secret"));
        let other = KeyLocation::JwksUrl("https://idp/keys?code=b".to_owned());
        assert_ne!(KeyLocation::JwksUrl("https://idp/keys?code=a".to_owned()).shown(), other.shown());
    }

    #[test]
    fn only_http_urls() {
        let f = |url: &str, want: bool| assert_eq!(is_http(url), want, "{url}");
        f("http://a", true);
        f("HTTPS://a/keys", true);
        f("https://", false);
        f("file:///etc/passwd", false);
        f("/keys", false);
        f("", false);
        f("httpé//x", false);
    }
}
