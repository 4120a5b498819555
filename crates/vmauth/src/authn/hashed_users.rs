//! Users whose passwords and tokens the config holds as hashes only (docs/reference/auth.md).
//!
//! Stands behind [`super::token_users`], so that credentials in plain text pay nothing for it. Hashes of random secrets
//! (`sha256`) are compared at once. What needs a slow hash is looked up among what was checked before, and else becomes an
//! [`Unchecked`], which the pool of [`super::password_checks`] works off; nothing here ever computes a slow hash.
//!
//! A name that nobody has, or whose password is no hash, is checked against the hashes of some other name, always the same
//! one, and never lets in: how long an answer takes does not tell which names there are.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foldhash::quality::RandomState;
use vmkit::exchange::RequestHead;

use super::credentials::AuthHeaders;
use super::password_checks::{Check, Overloaded, PasswordChecks, Place, Slow};
use super::trace::Trace;
use crate::password_hash::{Digest, PasswordHash, sha256};

/// A request brings so many passwords that are checked at most; further ones count as wrong.
const MAX_CHECKS: usize = 2;

/// Users by name, and by the digests of their tokens.
#[derive(Debug)]
pub struct HashedUsers {
    state: RandomState,
    names: HashMap<String, Name>,
    tokens: HashMap<Digest, u32>,
    /// Of all names that have any; empty when names need not be hidden.
    slow: Vec<Arc<[Slow]>>,
    checks: Arc<PasswordChecks>,
}

/// The hashes of a name.
#[derive(Debug, Default)]
struct Name {
    fast: Vec<(Digest, u32)>,
    slow: Arc<[Slow]>,
}

/// Passwords that have to be checked before anything can be said about a request.
#[derive(Debug)]
pub struct Unchecked(Vec<Check>);

/// What a header value amounts to.
enum Found {
    User(u32),
    Unchecked(Check),
    Nobody,
}

#[derive(Debug, Default)]
struct Collected {
    fast: Vec<(Digest, u32)>,
    slow: Vec<Slow>,
}

/// Collects users; nothing comes of it when nobody has a hash.
#[derive(Debug, Default)]
pub struct HashedUsersBuilder {
    names: HashMap<String, Collected>,
    tokens: HashMap<Digest, u32>,
}

impl HashedUsersBuilder {
    /// Basic credentials that lead to this user.
    pub fn add_password(&mut self, name: &str, hash: PasswordHash, user: u32) {
        let Collected { fast, slow } = self.names.entry(name.to_owned()).or_default();
        match hash.as_sha256() {
            Some(digest) => fast.push((*digest, user)),
            None => slow.push(Slow { hash: Arc::new(hash), user }),
        }
    }

    /// The digest of a bearer token that leads to this user.
    pub fn add_token(&mut self, digest: Digest, user: u32) {
        self.tokens.insert(digest, user);
    }

    /// The users, if there are any. With `hides_names` unknown names take as long as known ones; where wrong credentials are
    /// served as well as right ones, this would let strangers pay nothing and us a lot.
    pub fn finish(self, checks: &Arc<PasswordChecks>, hides_names: bool) -> Option<HashedUsers> {
        if self.names.is_empty() && self.tokens.is_empty() {
            return None;
        }
        let finished = |Collected { fast, slow }| Name { fast, slow: slow.into() };
        let names: HashMap<_, _> = self.names.into_iter().map(|(name, own)| (name, finished(own))).collect();
        let mut slow: Vec<_> = names.values().map(|name| name.slow.clone()).filter(|slow| !slow.is_empty()).collect();
        if !slow.is_empty() {
            checks.prepare();
        }
        if !hides_names {
            slow.clear();
        }
        Some(HashedUsers { state: RandomState::default(), names, tokens: self.tokens, slow, checks: checks.clone() })
    }
}

impl HashedUsers {
    /// The user of the first value that is known already.
    ///
    /// # Errors
    /// There are passwords that have to be checked first, if no other credentials help.
    pub fn find(
        &self,
        headers: &AuthHeaders,
        head: &RequestHead,
        trace: &mut impl Trace,
    ) -> Result<Option<u32>, Unchecked> {
        let mut unchecked = Vec::new();
        let user = headers.find(head, |value| match self.find_value(value) {
            Found::User(user) => {
                trace.credential(value, Some(user));
                Some(user)
            }
            Found::Unchecked(check) => {
                if unchecked.len() < MAX_CHECKS {
                    unchecked.push(check);
                }
                None
            }
            Found::Nobody => None,
        });
        match user {
            None if !unchecked.is_empty() => Err(Unchecked(unchecked)),
            user => Ok(user),
        }
    }

    /// The user of a header value, unless a password has to be checked for that.
    pub fn find_known(&self, value: &[u8]) -> Option<u32> {
        match self.find_value(value) {
            Found::User(user) => Some(user),
            Found::Unchecked(_) | Found::Nobody => None,
        }
    }

    fn find_value(&self, value: &[u8]) -> Found {
        if let Some(token) = value.strip_prefix(b"Bearer ") {
            return self.token(token).map_or(Found::Nobody, Found::User);
        }
        let pair = value.strip_prefix(b"Basic ").and_then(|pair| STANDARD.decode(pair).ok());
        let colon = pair.as_deref().and_then(|pair| memchr::memchr(b':', pair));
        let (Some(mut pair), Some(colon)) = (pair, colon) else { return Found::Nobody };
        let password = pair.split_off(colon + 1);
        pair.truncate(colon);
        if password.is_empty()
            && let Some(user) = self.token(&pair)
        {
            return Found::User(user);
        }
        self.password(&pair, password)
    }

    fn token(&self, token: &[u8]) -> Option<u32> {
        if self.tokens.is_empty() {
            return None;
        }
        // Whoever can choose digests knows the tokens: finding one by its hash tells nothing.
        self.tokens.get(&sha256(token)).copied()
    }

    fn password(&self, name: &[u8], password: Vec<u8>) -> Found {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.names.get(name));
        if let Some(known) = known {
            if !known.fast.is_empty() {
                let own = sha256(&password);
                let fits = |(digest, _): &&(Digest, u32)| verify_slices_are_equal(digest, &own).is_ok();
                if let Some((_, user)) = known.fast.iter().find(fits) {
                    return Found::User(*user);
                }
            }
            if let Some(user) = self.checks.known(&known.slow, &password) {
                return Found::User(user);
            }
        }
        if let Some(known) = known.filter(|known| !known.slow.is_empty()) {
            return Found::Unchecked(Check { password, candidates: known.slow.clone(), counts: true });
        }
        let others = self.slow.len() as u64;
        match others.checked_sub(1).and_then(|_| self.slow.get((self.state.hash_one(name) % others) as usize)) {
            Some(others) => Found::Unchecked(Check { password, candidates: others.clone(), counts: false }),
            None => Found::Nobody,
        }
    }

    /// Checks the passwords of a request, one after the other, and waits its turn for that until `wait` is over.
    ///
    /// # Errors
    /// Too many others are being checked.
    pub async fn check(&self, unchecked: Unchecked, place: Place, wait: Duration) -> Result<Option<u32>, Overloaded> {
        let _waiting = self.checks.queue(place)?;
        for check in unchecked.0 {
            if let Some(user) = self.checks.run(check, wait).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}
