//! One fetch of a provider's keys: the discovery document (OpenID Connect Discovery 1.0 §4), then the key set.
//!
//! Decides which URLs are asked and what makes a reply unusable. The document must name the configured issuer byte
//! for byte, or anybody whom the provider delegates a path to could hand out keys in its name (§4.3). No state, no
//! retries: those are the refresher's.

use std::time::Duration;

use jwt::{Jwks, KeySet, SkippedKey};
use serde_json::Value;
use vmkit::go_text::quote;

use super::failure::{FailureReason, FetchFailure};
use super::location::KeyLocation;
use super::transport::{FetchKeys, Fetched, MAX_DOCUMENT_BYTES, REQUEST_TIMEOUT};

/// The keys a provider has now.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    /// The usable keys.
    pub(super) keys: KeySet,
    /// The others, with reasons.
    pub(super) skipped: Vec<SkippedKey>,
    /// How long the set may be kept, in the provider's words.
    pub(super) max_age: Option<Duration>,
}

/// Fetches the keys once.
///
/// # Errors
/// Anything that leaves the caller without a complete key set. A set without usable keys is no error.
pub(super) async fn fetch_keys(fetcher: &dyn FetchKeys, location: &KeyLocation) -> Result<FetchedKeys, FetchFailure> {
    let what = "jwks keys";
    let url = match location {
        KeyLocation::Oidc { issuer } => discover(fetcher, location, issuer).await?,
        KeyLocation::JwksUrl(url) => url.clone(),
    };
    let reply = get(fetcher, location, url, what).await?;
    let jwks = Jwks::parse(&reply.body)
        .map_err(|error| FetchFailure::new(FailureReason::Body, format!("failed to parse {what}: {error}")))?;
    let skipped = jwks.skipped.clone();
    Ok(FetchedKeys { keys: KeySet::from_jwks(jwks), skipped, max_age: reply.max_age })
}

/// The URL of the key set in the discovery document of `issuer`.
async fn discover(fetcher: &dyn FetchKeys, location: &KeyLocation, issuer: &str) -> Result<String, FetchFailure> {
    let what = "openid configuration";
    let reply = get(fetcher, location, discovery_url(issuer), what).await?;
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
    if !has_scheme(url, "http") && !has_scheme(url, "https") {
        return Err(unusable("jwks_uri isn't an http or https url"));
    }
    // Another host may serve the keys, but not a way that anybody between could write on.
    if has_scheme(issuer, "https") && !has_scheme(url, "https") {
        return Err(unusable("jwks_uri of an https issuer isn't an https url"));
    }
    Ok(url.to_owned())
}

/// The issuer less one trailing slash, and the well-known path.
fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

async fn get(
    fetcher: &dyn FetchKeys,
    location: &KeyLocation,
    url: String,
    what: &str,
) -> Result<Fetched, FetchFailure> {
    let failed =
        |reason, text: &dyn std::fmt::Display| FetchFailure::new(reason, format!("failed to fetch {what}: {text}"));
    let reply = match tokio::time::timeout(REQUEST_TIMEOUT, fetcher.get(url, location)).await {
        Ok(reply) => reply.map_err(|error| failed(error.reason, &error.text))?,
        Err(_) => return Err(failed(FailureReason::Timeout, &format_args!("no reply within {REQUEST_TIMEOUT:?}"))),
    };
    if reply.status != 200 {
        let hint = match reply.status {
            401 | 403 => {
                "; the provider wants a token: name a file with it by -oidc.bearerTokenFile (in Kubernetes that of a \
                          service account with the role system:service-account-issuer-discovery)"
            }
            _ => "",
        };
        let status = format_args!("unexpected status code: {}; want 200{hint}", reply.status);
        return Err(failed(FailureReason::Status, &status));
    }
    if reply.body.len() > MAX_DOCUMENT_BYTES {
        let size = format_args!("the reply exceeds {MAX_DOCUMENT_BYTES} bytes");
        return Err(failed(FailureReason::Body, &size));
    }
    Ok(reply)
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    let rest = |url: &str| Some(url.split_at_checked(scheme.len())?.1.strip_prefix("://")?.len());
    let is_scheme = url.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    is_scheme && rest(url).is_some_and(|length| length > 0)
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
    fn schemes() {
        let f = |url: &str, want: bool| {
            assert_eq!(has_scheme(url, "http") || has_scheme(url, "https"), want, "{url}");
        };
        f("http://a", true);
        f("HTTPS://a/keys", true);
        f("https://", false);
        f("file:///etc/passwd", false);
        f("/keys", false);
        f("", false);
        f("httpé//x", false);
        assert!(has_scheme("hTTps://a", "https") && !has_scheme("https://a", "http"));
    }
}
