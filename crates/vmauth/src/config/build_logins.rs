//! Static credentials: user name and password, bearer token, raw header value, or a hash in place of a secret.
//!
//! One login is one kind of credential; what is written beside it by mistake is a problem, never ignored. A hash that is
//! there and cannot be used is a problem too: left out, the name alone would let in. Secrets and hashes never reach a
//! message.

use super::builder::{Builder, KEEP_ONE, UserContext};
use super::model::Credential;
use super::raw::{RawLogin, RawUser, text_of};
use crate::password_hash::{HashError, PasswordHash};
use vmkit::secret::Secret;
use vmkit::yaml::{Mark, Text};

/// Slow hashes of a user name: each is computed for a wrong password.
const MAX_HASHES: usize = 8;
const HASH_HINT: &str = "write $argon2id$…, $2b$… or sha256:…; `vmauth hash-password` makes one";
const TOKEN_HASH_HINT: &str = "write sha256: and 64 hex digits; `vmauth hash-password -sha256` makes one";

impl<'t> RawLogin<'t> {
    fn passwords(&self) -> [(&'static str, Option<Text<'t>>); 4] {
        [
            ("password", full(self.password)),
            ("password_file", self.password_file),
            ("password_hash", self.password_hash),
            ("password_hash_file", self.password_hash_file),
        ]
    }

    fn bearers(&self) -> [(&'static str, Option<Text<'t>>); 3] {
        [
            ("bearer_token", full(self.bearer_token)),
            ("bearer_token_file", self.bearer_token_file),
            ("bearer_token_hash", self.bearer_token_hash),
        ]
    }

    fn auth_tokens(&self) -> [(&'static str, Option<Text<'t>>); 2] {
        [("auth_token", full(self.auth_token)), ("auth_token_file", self.auth_token_file)]
    }

    /// What is written, by field. An empty text counts where leaving it out would let in more.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, Mark)> + use<'t> {
        let all = [("username", full(self.username))].into_iter();
        let all = all.chain(self.passwords()).chain(self.bearers()).chain(self.auth_tokens());
        all.filter_map(|(field, text)| Some((field, text?.mark)))
    }

    /// Whether there is any.
    pub(super) fn is_set(&self) -> bool {
        self.written().next().is_some()
    }

    /// Fields that exclude each other.
    fn complaints(&self) -> Vec<String> {
        let (passwords, bearers, auth_tokens) = (self.passwords(), self.bearers(), self.auth_tokens());
        let has_basic = full(self.username).is_some() || is_any(&passwords);
        let (has_bearer, has_auth_token) = (is_any(&bearers), is_any(&auth_tokens));
        let mut complaints = Vec::new();
        if has_auth_token && has_bearer {
            complaints.push("bearer_token cannot be specified if auth_token is set".to_owned());
        }
        if has_auth_token && has_basic {
            complaints.push("username and password cannot be specified if auth_token is set".to_owned());
        } else if has_bearer && has_basic {
            complaints.push("username and password cannot be specified if bearer_token is set".to_owned());
        }
        for group in [&passwords[..], &bearers, &auth_tokens] {
            let mut set = group.iter().filter(|(_, text)| text.is_some()).map(|(field, _)| field);
            if let (Some(one), Some(other)) = (set.next(), set.next()) {
                complaints.push(format!("{one} cannot be specified if {other} is set"));
            }
        }
        complaints
    }
}

fn full(text: Option<Text<'_>>) -> Option<Text<'_>> {
    text.filter(|text| !text.value.is_empty())
}

fn is_any(group: &[(&str, Option<Text<'_>>)]) -> bool {
    group.iter().any(|(_, text)| text.is_some())
}

impl<'t> Builder<'t, '_> {
    /// All static credentials of a user, its own before those of `credentials`. There a user name beside the list is that
    /// of its items and no login of its own.
    pub(super) fn logins(&mut self, raw: &RawUser<'t>, context: UserContext<'_>) -> Vec<Credential> {
        let Some(items) = &raw.credentials else {
            return self.login(&raw.login, raw.mark, raw.damaged, context).into_iter().collect();
        };
        let mut found = Vec::new();
        let has_own = raw.login.written().any(|(field, _)| field != "username");
        if has_own || items.is_empty() {
            let own = if has_own { raw.login } else { RawLogin::default() };
            found.extend(self.login(&own, raw.mark, raw.damaged, context));
        }
        let list = context.place.field("credentials");
        for (index, item) in items.iter().enumerate() {
            let place = list.index(index);
            let name = raw.login.username.filter(|_| is_any(&item.login.passwords()));
            let login = RawLogin { username: full(item.login.username).or(name), ..item.login };
            found.extend(self.login(&login, item.mark, item.damaged, UserContext { place: &place, ..context }));
        }
        found
    }

    /// The credential of a login; nothing when there is none or a problem was reported. `mark` is that of the object.
    pub(super) fn login(
        &mut self,
        raw: &RawLogin<'t>,
        mark: Mark,
        damaged: bool,
        context: UserContext<'_>,
    ) -> Option<Credential> {
        let complaints = raw.complaints();
        if !complaints.is_empty() {
            for complaint in complaints {
                self.problems.push(context.stage, context.place, mark, complaint, KEEP_ONE);
            }
            return None;
        }
        if let Some(file) = raw.auth_token_file {
            return Some(Credential::AuthToken(self.secret_file("auth_token_file", file, context)?.into()));
        }
        if let Some(token) = full(raw.auth_token) {
            return Some(Credential::AuthToken(token.value.into()));
        }
        if let Some(hash) = raw.bearer_token_hash {
            return self.bearer_hash(hash, context);
        }
        if let Some(file) = raw.bearer_token_file {
            return Some(Credential::Bearer(self.secret_file("bearer_token_file", file, context)?.into()));
        }
        if let Some(token) = full(raw.bearer_token) {
            return Some(Credential::Bearer(token.value.into()));
        }
        if full(raw.username).is_some() {
            return self.basic(raw, context);
        }
        if !damaged {
            let message = "missing authorization options; bearer_token or username must be set";
            let hint = "set one of `username`, `bearer_token`, `auth_token`, `jwt`, `mtls`";
            self.problems.push(context.stage, context.place, mark, message, hint);
        }
        None
    }

    fn basic(&mut self, raw: &RawLogin<'_>, context: UserContext<'_>) -> Option<Credential> {
        let username = text_of(raw.username).to_owned();
        if let Some(file) = raw.password_hash_file {
            let hash = self.secret_file("password_hash_file", file, context)?;
            return self.password_hash(username, "password_hash_file", Text { value: &hash, mark: file.mark }, context);
        }
        if let Some(hash) = raw.password_hash {
            return self.password_hash(username, "password_hash", hash, context);
        }
        let password = match raw.password_file {
            Some(file) => self.secret_file("password_file", file, context)?.into(),
            None => Secret::from(text_of(raw.password)),
        };
        Some(Credential::Basic { username, password })
    }

    fn password_hash(
        &mut self,
        username: String,
        field: &str,
        text: Text<'_>,
        context: UserContext<'_>,
    ) -> Option<Credential> {
        match PasswordHash::parse(text.value) {
            Ok(hash) => {
                let count = self.hashes.entry(username.clone()).or_insert(0);
                *count += usize::from(hash.is_slow());
                if *count == MAX_HASHES + 1 {
                    let message =
                        format!("more than {MAX_HASHES} hashes of one username: a wrong password costs all of them");
                    self.problems.push(context.stage, &context.place.field(field), text.mark, message, "remove some");
                }
                Some(Credential::PasswordHash { username, hash: Box::new(hash) })
            }
            Err(error) => {
                let is_costly = matches!(error, HashError::TooCostly(_));
                let hint = if is_costly { "make it again with a lower cost" } else { HASH_HINT };
                let message = format!("{field} is of no use: {error}");
                self.problems.push(context.stage, &context.place.field(field), text.mark, message, hint);
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
