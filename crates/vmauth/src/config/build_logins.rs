//! Static credentials: user name and password, bearer token, raw header value, or a hash in place of a secret.
//!
//! One login is one kind of credential; what is written beside it by mistake is a problem, never ignored. A hash that is
//! there and cannot be used is a problem too: left out, the name alone would let in. Secrets and hashes never reach a
//! message.

use super::builder::{Builder, KEEP_ONE, UserContext};
use super::model::Credential;
use super::raw::{RawLogin, text_of};
use crate::password_hash::{HashError, PasswordHash};
use vmkit::secret::Secret;
use vmkit::yaml::{Mark, Text};

const HASH_HINT: &str = "write $argon2id$…, $2b$… or sha256:…; `vmauth hash-password` makes one";
const TOKEN_HASH_HINT: &str = "write sha256: and 64 hex digits; `vmauth hash-password -sha256` makes one";

impl RawLogin<'_> {
    pub(super) fn has_basic(&self) -> bool {
        !text_of(self.username).is_empty() || !text_of(self.password).is_empty() || self.password_hash.is_some()
    }

    pub(super) fn has_bearer(&self) -> bool {
        !text_of(self.bearer_token).is_empty() || self.bearer_token_hash.is_some()
    }

    pub(super) fn has_auth_token(&self) -> bool {
        !text_of(self.auth_token).is_empty()
    }

    /// Whether there is any.
    pub(super) fn is_set(&self) -> bool {
        self.has_basic() || self.has_bearer() || self.has_auth_token()
    }

    /// What is written, by field.
    pub(super) fn written(&self) -> [(&'static str, Option<Mark>); 6] {
        let mark = |text: Option<Text<'_>>| text.map(|text| text.mark);
        let full = |text: Option<Text<'_>>| mark(text.filter(|text| !text.value.is_empty()));
        [
            ("username", full(self.username)),
            ("password", full(self.password)),
            ("password_hash", mark(self.password_hash)),
            ("bearer_token", full(self.bearer_token)),
            ("bearer_token_hash", mark(self.bearer_token_hash)),
            ("auth_token", full(self.auth_token)),
        ]
    }

    /// Fields that exclude each other.
    fn complaints(&self) -> Vec<&'static str> {
        let mut complaints = Vec::new();
        if self.has_auth_token() && self.has_bearer() {
            complaints.push("bearer_token cannot be specified if auth_token is set");
        }
        if self.has_auth_token() && self.has_basic() {
            complaints.push("username and password cannot be specified if auth_token is set");
        } else if self.has_bearer() && self.has_basic() {
            complaints.push("username and password cannot be specified if bearer_token is set");
        }
        if !text_of(self.password).is_empty() && self.password_hash.is_some() {
            complaints.push("password cannot be specified if password_hash is set");
        }
        if !text_of(self.bearer_token).is_empty() && self.bearer_token_hash.is_some() {
            complaints.push("bearer_token cannot be specified if bearer_token_hash is set");
        }
        complaints
    }
}

impl<'t> Builder<'t, '_> {
    /// The credential of a login; nothing when there is none or a problem was reported. `mark` is that of the object.
    pub(super) fn login(
        &mut self,
        raw: &RawLogin<'t>,
        mark: Mark,
        damaged: bool,
        context: UserContext<'_>,
    ) -> Option<Credential> {
        let complaints = raw.complaints();
        for complaint in &complaints {
            self.problems.push(context.stage, context.place, mark, *complaint, KEEP_ONE);
        }
        if !complaints.is_empty() {
            return None;
        }
        let username = text_of(raw.username);
        if raw.has_auth_token() {
            return Some(Credential::AuthToken(Secret::from(text_of(raw.auth_token))));
        }
        if let Some(hash) = raw.bearer_token_hash {
            return self.bearer_hash(hash, context);
        }
        if raw.has_bearer() {
            return Some(Credential::Bearer(Secret::from(text_of(raw.bearer_token))));
        }
        if username.is_empty() {
            if !damaged {
                let message = "missing authorization options; bearer_token or username must be set";
                let hint = "set one of `username`, `bearer_token`, `auth_token`, `jwt`, `mtls`";
                self.problems.push(context.stage, context.place, mark, message, hint);
            }
            return None;
        }
        match raw.password_hash {
            Some(hash) => self.password_hash(username, hash, context),
            None => {
                Some(Credential::Basic { username: username.to_owned(), password: Secret::from(text_of(raw.password)) })
            }
        }
    }

    fn password_hash(&mut self, username: &str, text: Text<'_>, context: UserContext<'_>) -> Option<Credential> {
        match PasswordHash::parse(text.value) {
            Ok(hash) => Some(Credential::PasswordHash { username: username.to_owned(), hash }),
            Err(error) => {
                let hint = if matches!(error, HashError::TooCostly(_)) {
                    "make it again with a lower cost"
                } else {
                    HASH_HINT
                };
                let place = context.place.field("password_hash");
                self.problems.push(
                    context.stage,
                    &place,
                    text.mark,
                    format!("password_hash is of no use: {error}"),
                    hint,
                );
                None
            }
        }
    }

    /// Tokens are looked up by their hash, so it must be one without a salt.
    fn bearer_hash(&mut self, text: Text<'_>, context: UserContext<'_>) -> Option<Credential> {
        let digest = PasswordHash::parse(text.value).ok().and_then(|hash| hash.as_sha256().copied());
        if digest.is_none() {
            let place = context.place.field("bearer_token_hash");
            let message = "bearer_token_hash is no SHA-256 of a token";
            self.problems.push(context.stage, &place, text.mark, message, TOKEN_HASH_HINT);
        }
        digest.map(Credential::BearerHash)
    }
}
