//! The token request: a form, with the client's credentials in a header or in the form.

use super::OAuth2Options;
use crate::http_client::FetchRequest;
use base64::Engine;
use std::collections::BTreeMap;

/// Longest reply.
const MAX_REPLY: usize = 1 << 20;

/// Where the credentials of the client are. Providers want one or the other (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Basic,
    Body,
}

/// The request with the secret of this moment. It follows no redirect: the secret is for one place only.
pub(super) fn token_request(options: &OAuth2Options, secret: &str, style: Style) -> FetchRequest {
    let mut form: BTreeMap<&str, &str> = BTreeMap::new();
    form.insert("grant_type", "client_credentials");
    let scopes = options.scopes.join(" ");
    if !scopes.is_empty() {
        form.insert("scope", &scopes);
    }
    form.extend(options.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if style == Style::Body {
        form.insert("client_id", &options.client_id);
        form.insert("client_secret", secret);
    }
    let pairs = form.iter().map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)));
    let body = pairs.collect::<Vec<_>>().join("&").into_bytes();
    let mut request = FetchRequest::post(&options.token_url, "application/x-www-form-urlencoded", body);
    request.headers.extend(options.headers.iter().cloned());
    if style == Style::Basic {
        let pair = format!("{}:{}", form_encode(&options.client_id), form_encode(secret));
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        request.headers.push(("authorization".to_owned(), format!("Basic {encoded}")));
    }
    FetchRequest { timeout: options.timeout, max_body: MAX_REPLY, max_redirects: 0, ..request }
}

/// `application/x-www-form-urlencoded`.
fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            _ if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
