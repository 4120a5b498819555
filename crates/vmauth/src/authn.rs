//! Stage 1: whose request is this?
//!
//! Static credentials are looked up by one hash of the raw header value and compared in constant time; tokens are
//! tried after them, then the client certificate. The first candidate that fits decides (docs/reference/auth.md).

pub mod client_cert_users;
pub mod credentials;
pub mod jwt_users;
pub mod token_users;
pub mod verified_tokens;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;

use crate::generation::Generation;
use crate::oidc::refetch_all;
use crate::user::User;
use credentials::AuthHeaders;
use jwt::VmAccess;
use jwt_users::{AcceptedToken, JwtOutcome, Refusal};
use verified_tokens::VerifiedTokens;

/// Who sends a request.
pub struct Principal<'g> {
    /// The user of the config.
    pub user: &'g User,
    /// Whether the request has credentials, even if they belong to nobody.
    pub had_credentials: bool,
    /// The token that was accepted.
    pub token: Option<Arc<AcceptedToken>>,
}

impl Principal<'_> {
    /// Values of the token for placeholders.
    pub fn placeholders(&self) -> Option<&VmAccess> {
        self.token.as_deref().map(|token| &token.placeholders)
    }
}

/// What the credentials of a request amount to.
pub enum Verdict<'g> {
    /// They belong to a user, or nobody needs any.
    Principal(Principal<'g>),
    /// There are none.
    Missing,
    /// They belong to nobody. Why tokens among them were refused is told for the log.
    Invalid(Vec<Refusal>),
}

/// Finds the user of a request (docs/reference/auth.md).
pub async fn authenticate<'g>(
    generation: &'g Generation,
    headers: &AuthHeaders,
    tokens: &VerifiedTokens,
    head: &RequestHead,
    client: &Client,
) -> Verdict<'g> {
    let user_at = |index: u32| generation.users.get(index as usize).map(Arc::as_ref);
    let principal = |user, token| Verdict::Principal(Principal { user, had_credentials: true, token });
    if let Some(user) = headers.find(head, |value| generation.tokens.find(value)).and_then(user_at) {
        return principal(user, None);
    }
    let mut refusals = Vec::new();
    if let Some(jwt_users) = &generation.jwt_users {
        let (found, refused) = find_token(generation, jwt_users, headers, tokens, head).await;
        if let Some(token) = found
            && let Some(user) = user_at(token.user)
        {
            return principal(user, Some(token));
        }
        refusals = refused;
    }
    if let Some(subject) = &client.subject
        && let Some(user) = generation.client_cert_users.find(subject).and_then(user_at)
    {
        return principal(user, None);
    }
    let had_credentials = headers.has_any(head);
    match generation.unauthorized_user.as_deref().filter(|user| user.has_url_fields) {
        Some(user) => Verdict::Principal(Principal { user, had_credentials, token: None }),
        None if had_credentials || client.subject.is_some() => Verdict::Invalid(refusals),
        None => Verdict::Missing,
    }
}

/// Tries every candidate as a token; a key nobody knows is waited for once.
async fn find_token(
    generation: &Generation,
    users: &jwt_users::JwtUsers,
    headers: &AuthHeaders,
    tokens: &VerifiedTokens,
    head: &RequestHead,
) -> (Option<Arc<AcceptedToken>>, Vec<Refusal>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let try_all = |refused: &mut Vec<Refusal>| {
        let epoch = (generation.id, users.key_epoch());
        headers.find(head, |value| {
            if let Some(token) = tokens.get(value, epoch, now) {
                return Some(token);
            }
            match users.accept(value, now) {
                JwtOutcome::NotAToken => None,
                JwtOutcome::Accepted(token) => {
                    tokens.insert(value, epoch, &token);
                    Some(token)
                }
                JwtOutcome::Refused(refusal) => {
                    refused.push(refusal);
                    None
                }
            }
        })
    };
    let mut refused = Vec::new();
    if let Some(token) = try_all(&mut refused) {
        return (Some(token), Vec::new());
    }
    let unknown: Vec<_> = refused.iter().flat_map(|refusal| refusal.refetch.iter().cloned()).collect();
    if !unknown.is_empty() && refetch_all(&unknown).await {
        refused.clear();
        if let Some(token) = try_all(&mut refused) {
            return (Some(token), Vec::new());
        }
    }
    (None, refused)
}
