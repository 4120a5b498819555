//! Stage 5: whose request is this?
//!
//! Static credentials are looked up by one hash of the raw header value and compared in constant time; tokens are
//! tried after them, then the client certificate. The first candidate that fits decides (`docs/reference/auth.md`).

pub mod client_cert_users;
pub mod credentials;
pub mod hashed_users;
pub mod jwt_users;
pub mod password_checks;
pub mod token_users;
pub mod trace;
pub mod verified_tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;

use crate::oidc::{IssuerKeys, refetch_all};
use client_cert_users::ClientCertUsers;
use credentials::AuthHeaders;
use hashed_users::{HashedUsers, Unchecked};
use jwt_users::{AcceptedToken, JwtOutcome, JwtUsers, Refusal};
use password_checks::{Overloaded, Place};
use token_users::TokenUsers;
use trace::Trace;
use verified_tokens::VerifiedTokens;

/// Whom credentials belong to: all that this stage knows of a config. Users are numbers here.
#[derive(Debug, Default)]
pub struct Directory {
    /// Grows with every config of the process.
    pub id: u64,
    /// Static credentials.
    pub tokens: TokenUsers,
    /// Static credentials that are known as hashes only.
    pub hashed: Option<HashedUsers>,
    /// Users of tokens.
    pub jwt_users: Option<JwtUsers>,
    /// Users of client certificates.
    pub client_cert_users: ClientCertUsers,
    /// Whether requests that belong to nobody are served.
    pub serves_anybody: bool,
}

/// What the credentials of a request amount to.
#[derive(Debug)]
pub enum Verdict {
    /// They belong to a user.
    User {
        /// Its number.
        user: u32,
        /// The token that was accepted.
        token: Option<Arc<AcceptedToken>>,
    },
    /// They belong to nobody, and nobody needs any.
    Anybody {
        /// Whether there are any.
        had_credentials: bool,
    },
    /// There are none.
    Missing,
    /// They belong to nobody. Why tokens among them were refused is told for the log.
    Invalid(Vec<Refusal>),
}

impl Directory {
    /// Checks passwords that [`Login::authenticate`] could not say anything about; waits for its turn until `wait` is over.
    ///
    /// # Errors
    /// Too many others are being checked.
    pub async fn check(&self, unchecked: Unchecked, place: Place, wait: Duration) -> Result<Option<u32>, Overloaded> {
        match &self.hashed {
            Some(hashed) => hashed.check(unchecked, place, wait).await,
            None => Ok(None),
        }
    }
}

/// A request that asks to be let in, and what it is judged by.
pub struct Login<'a> {
    /// The users.
    pub directory: &'a Directory,
    /// Where credentials are looked for.
    pub headers: &'a AuthHeaders,
    /// Tokens that were accepted before.
    pub tokens: &'a VerifiedTokens,
    /// Head of the request.
    pub head: &'a RequestHead,
    /// Who sent it.
    pub client: &'a Client,
}

impl Login<'_> {
    /// Finds the user of the request (`docs/reference/auth.md`), and tells `trace` what it looks at.
    ///
    /// # Errors
    /// Passwords have to be checked first, which takes long: [`Directory::check`], then
    /// [`authenticate_checked`](Self::authenticate_checked).
    pub async fn authenticate(&self, trace: &mut impl Trace) -> Result<Verdict, Unchecked> {
        let Self { directory, headers, head, .. } = *self;
        let look_up = |value: &[u8]| {
            let user = directory.tokens.find(value);
            trace.credential(value, user);
            user
        };
        if let Some(user) = headers.find(head, look_up) {
            return Ok(Verdict::User { user, token: None });
        }
        if let Some(hashed) = &directory.hashed
            && let Some(user) = hashed.find(headers, head, trace)?
        {
            return Ok(Verdict::User { user, token: None });
        }
        Ok(self.without_static(trace).await)
    }

    /// The same when passwords were checked; `found` is whose they are.
    pub async fn authenticate_checked(&self, found: Option<u32>, trace: &mut impl Trace) -> Verdict {
        match found {
            Some(user) => Verdict::User { user, token: None },
            None => self.without_static(trace).await,
        }
    }

    /// What is left when no static credentials fit: tokens, certificates, and whether anybody is served.
    async fn without_static(&self, trace: &mut impl Trace) -> Verdict {
        let Self { directory, headers, head, client, .. } = *self;
        let mut refusals = Vec::new();
        if let Some(jwt_users) = &directory.jwt_users {
            let (found, refused) = self.find_token(jwt_users, trace).await;
            if let Some(token) = found {
                return Verdict::User { user: token.user, token: Some(token) };
            }
            refusals = refused;
        }
        if let Some(subject) = &client.subject
            && let Some(user) = directory.client_cert_users.find(subject, trace)
        {
            return Verdict::User { user, token: None };
        }
        let had_credentials = headers.has_any(head);
        match directory.serves_anybody {
            true => Verdict::Anybody { had_credentials },
            false if had_credentials || client.subject.is_some() => Verdict::Invalid(refusals),
            false => Verdict::Missing,
        }
    }

    /// Tries every candidate as a token; a key nobody knows is waited for once.
    async fn find_token(&self, users: &JwtUsers, trace: &mut impl Trace) -> (Option<Arc<AcceptedToken>>, Vec<Refusal>) {
        let Self { directory, headers, tokens, head, .. } = *self;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut try_all = |refused: &mut Vec<Refusal>, unknown: &mut Vec<Arc<IssuerKeys>>| {
            let epoch = (directory.id, users.key_epoch());
            headers.find(head, |value| {
                if let Some(token) = tokens.get(value, epoch, now) {
                    return Some(token);
                }
                match users.accept(value, now, trace) {
                    JwtOutcome::NotAToken => None,
                    JwtOutcome::Accepted(token) => {
                        tokens.count_miss();
                        tokens.insert(value, epoch, &token);
                        Some(token)
                    }
                    JwtOutcome::Refused(refusal, refetch) => {
                        tokens.count_miss();
                        refused.push(*refusal);
                        unknown.extend(refetch);
                        None
                    }
                }
            })
        };
        let (mut refused, mut unknown) = (Vec::new(), Vec::new());
        if let Some(token) = try_all(&mut refused, &mut unknown) {
            return (Some(token), Vec::new());
        }
        if !unknown.is_empty() && refetch_all(&unknown).await {
            refused.clear();
            if let Some(token) = try_all(&mut refused, &mut Vec::new()) {
                return (Some(token), Vec::new());
            }
        }
        (None, refused)
    }
}
