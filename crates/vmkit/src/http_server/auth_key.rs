//! Who may use an internal route: the key of the route, or Basic credentials when `-httpAuth.*` is set.

use std::time::Duration;

use base64::Engine;

use super::{BasicGate, Request, Shared};
use crate::exchange::{HeaderId, RequestHead};
use crate::flags::Password;
use crate::percent::arg;

/// Largest form that is read for its `authKey`.
const MAX_FORM: usize = 64 * 1024;
/// Time for reading it.
const FORM_LIMIT: Duration = Duration::from_secs(5);

/// Checks a route with a key of its own; answers and returns false when the request may not pass.
pub(super) async fn pass_key(request: &mut Request<'_>, shared: &Shared, key: &Password, flag: &str) -> bool {
    if !key.is_set() {
        return pass_gate(request, shared).await;
    }
    let given = match form_key(request).await {
        Some(value) => value,
        None => request.exchange.head.query().and_then(|query| arg(query, "authKey")).unwrap_or_default().into_owned(),
    };
    let message = if given.is_empty() {
        format!("Expected to receive non-empty authKey when {flag} is set")
    } else if key.secret().matches(&given) {
        return true;
    } else {
        format!("The provided authKey doesn't match {flag}")
    };
    shared.metrics.wrong_auth_key.inc();
    request.plain_error(401, &message, &[]).await;
    false
}

/// `authKey` of a POST form; the form wins over the query.
async fn form_key(request: &mut Request<'_>) -> Option<Vec<u8>> {
    if request.exchange.head.method() != "POST" {
        return None;
    }
    let content_type = request.exchange.head.first(HeaderId::ContentType)?;
    if !content_type.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded") {
        return None;
    }
    // A client that announces a form and sends none must not hold its connection for ever.
    let form = tokio::time::timeout(FORM_LIMIT, request.read_body(MAX_FORM)).await.ok()?.ok()?;
    arg(&form, "authKey").map(std::borrow::Cow::into_owned)
}

/// Checks `-httpAuth.*`; answers and returns false when the request may not pass.
pub(super) async fn pass_gate(request: &mut Request<'_>, shared: &Shared) -> bool {
    let Some(gate) = &shared.options.gate else { return true };
    match gate.opens_for(request.exchange.head) {
        Some(true) => return true,
        Some(false) => shared.metrics.wrong_basic_auth.inc(),
        None => {}
    }
    request.plain_error(401, "", &[("WWW-Authenticate", "Basic realm=\"VictoriaMetrics\"")]).await;
    false
}

impl BasicGate {
    /// Whether the credentials of a request are those of the gate; `None` if it has none.
    pub fn opens_for(&self, head: &RequestHead) -> Option<bool> {
        let (user, password) = head.first(HeaderId::Authorization).and_then(basic_credentials)?;
        // Both halves are always compared, so that the time does not tell which one was wrong.
        let user_fits = self.username.matches(&user);
        let password_fits = self.password.secret().matches(&password);
        Some(user_fits & password_fits)
    }
}

/// User and password of a `Basic` header (RFC 7617); the scheme is compared without case.
fn basic_credentials(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}
