//! Checks a token that somebody has pasted, step by step, in the words of the log.
//!
//! The verdict is that of authentication itself; the steps before it say what the token claims and what is known of its
//! issuer. The token is neither logged nor shown nor kept.

use std::fmt;

use serde::Serialize;

use jwt::{KeySet, Token, VerifyError};
use vmkit::go_text::quote;

use crate::authn::jwt_users::{JwtOutcome, JwtUsers};
use crate::authn::trace::{Belief, Trace};
use crate::generation::Generation;
use crate::oidc::IssuerKeys;

/// So many users are named that are passed over.
const MAX_PASSED_OVER: usize = 20;
/// Longer foreign texts are cut, in letters.
const MAX_SHOWN: usize = 256;

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong here.
    Ok,
    /// This is why it is refused, or would be.
    Failed,
    /// Worth knowing.
    Note,
}

/// One check.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at.
    pub check: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
}

/// All checks of a token.
#[derive(Debug, Serialize)]
pub struct TokenCheck {
    /// Whether its requests have a user.
    pub accepted: bool,
    /// That user, or the one that came closest.
    pub user: Option<String>,
    /// The cause as the metrics count it, when it is refused.
    pub cause: Option<&'static str>,
    /// The checks in their order.
    pub steps: Vec<Step>,
}

impl TokenCheck {
    fn step(&mut self, check: &'static str, outcome: Outcome, text: impl Into<String>) {
        self.steps.push(Step { check, outcome, text: text.into() });
    }
}

/// Checks what would stand behind `Authorization:`; `Bearer ` may be missing. `now` is in seconds since 1970.
pub fn check(generation: &Generation, pasted: &str, now: u64) -> TokenCheck {
    let mut found = TokenCheck { accepted: false, user: None, cause: None, steps: Vec::new() };
    let bare = pasted.trim();
    let value = if bare.contains(' ') { bare.to_owned() } else { format!("Bearer {bare}") };
    let directory = &generation.directory;
    let values = || [value.as_str(), bare].into_iter().map(str::as_bytes);
    let hashed = || values().find_map(|value| directory.hashed.as_ref()?.find_known(value));
    if let Some(user) = values().find_map(|value| directory.tokens.find(value)).or_else(hashed) {
        found.accepted = true;
        found.user = generation.user(user).map(|user| user.name().to_owned());
        found.step(
            "static credentials",
            Outcome::Ok,
            "it is the static credential of a user, compared as it stands or by its hash",
        );
        return found;
    }
    found.step("static credentials", Outcome::Note, "no user has it as bearer_token, auth_token or password");
    let Some(text) = jwt::bearer_jwt(&value) else {
        found.cause = Some("unknown_token");
        found.step("form", Outcome::Failed, "it is no JWT: that needs three parts separated by dots");
        return found;
    };
    let Some(users) = &generation.directory.jwt_users else {
        found.cause = Some("unknown_token");
        found.step("users", Outcome::Failed, "no user of the config has `jwt`, so JWTs are unknown tokens");
        return found;
    };
    match Token::parse(text) {
        Ok(token) => claims(&mut found, users, &token, now),
        Err(error) => found.step("form", Outcome::Failed, error.to_string()),
    }
    verdict(&mut found, generation, users, &value, now);
    found
}

/// What the token says of itself, and what is known of its issuer.
fn claims(found: &mut TokenCheck, users: &JwtUsers, token: &Token, now: u64) {
    let (header, claims) = (token.header(), token.claims());
    found.step("form", Outcome::Ok, "a JWT");
    match header.algorithm() {
        Some(algorithm) => found.step("algorithm", Outcome::Ok, algorithm.name()),
        None => found.step("algorithm", Outcome::Failed, VerifyError::UnsupportedAlgorithm.to_string()),
    }
    let shown = |text: Option<&str>| text.map_or_else(|| "none".to_owned(), |text| quote(cut(text)));
    let subject = format!("iss={} sub={} kid={}", shown(claims.iss()), shown(claims.sub()), shown(header.kid()));
    let audience: Vec<_> = claims.aud().take(8).map(|aud| quote(cut(aud))).collect();
    found.step("claims", Outcome::Note, format!("{subject} aud=[{}]", audience.join(", ")));
    match claims.check_time(now, 0) {
        Ok(()) => found.step("time", Outcome::Ok, times(claims, now)),
        Err(error) => found.step("time", Outcome::Failed, format!("{error}: {}", times(claims, now))),
    }
    let issuers = users.issuers();
    let named = |keys: &&std::sync::Arc<IssuerKeys>| {
        keys.location().issuer().is_some_and(|issuer| Some(issuer) == claims.iss())
    };
    match issuers.iter().find(named) {
        Some(keys) => provider(found, keys, token),
        None if issuers.is_empty() => {}
        None => {
            let known: Vec<_> = issuers.iter().take(8).map(|keys| quote(keys.location().shown())).collect();
            let text = format!("no provider of the config has this issuer; there are {}", known.join(", "));
            found.step("issuer", Outcome::Note, text);
        }
    }
}

fn provider(found: &mut TokenCheck, keys: &IssuerKeys, token: &Token) {
    let shown = quote(keys.location().shown());
    let Some(set) = keys.keys() else {
        let why = keys.last_error().map_or_else(|| "not fetched yet".to_owned(), |error| error.1.clone());
        return found.step("keys", Outcome::Failed, format!("there are no keys of {shown}: {why}"));
    };
    match KeySet::verify(&set, token) {
        Ok(()) => found.step("signature", Outcome::Ok, format!("made with a key of {shown}")),
        Err(error) => {
            let text = format!("{error}; {} keys of {shown} are known", set.len());
            found.step("signature", Outcome::Failed, text);
        }
    }
}

/// Hears whom authentication passes over, and why.
#[derive(Default)]
struct Heard {
    passed_over: Vec<(u32, String)>,
}

impl Trace for Heard {
    fn token_user(&mut self, user: u32, verdict: Result<Belief, &dyn fmt::Display>) {
        if let Err(why) = verdict
            && self.passed_over.len() < MAX_PASSED_OVER
        {
            self.passed_over.push((user, cut(&why.to_string())));
        }
    }
}

fn verdict(found: &mut TokenCheck, generation: &Generation, users: &JwtUsers, value: &str, now: u64) {
    let mut heard = Heard::default();
    let outcome = users.accept(value.as_bytes(), now, &mut heard);
    for (user, text) in heard.passed_over {
        let name = generation.user(user).map_or("", |user| user.name());
        found.step("passed over", Outcome::Note, format!("{}: {text}", quote(cut(name))));
    }
    match outcome {
        JwtOutcome::Accepted(token) => {
            found.accepted = true;
            found.user = generation.user(token.user).map(|user| user.name().to_owned());
            let access = &token.placeholders;
            let tenant = format!("{}:{}", access.metrics_account_id, access.metrics_project_id);
            found.step("user", Outcome::Ok, format!("accepted; metrics tenant {tenant}"));
        }
        JwtOutcome::Refused(refusal, newer) => {
            found.user = refusal.user.clone();
            found.cause = Some(refusal.cause.label());
            found.step("user", Outcome::Failed, refusal.log_text());
            if !newer.is_empty() {
                found.step("keys", Outcome::Note, "a request with it would make the provider be asked for newer keys");
            }
        }
        JwtOutcome::NotAToken => found.step("user", Outcome::Failed, "it is no JWT"),
    }
}

fn times(claims: &jwt::Claims, now: u64) -> String {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let exp = match claims.exp() {
        Some(exp) if exp >= now => format!("exp={exp}, in {} s", exp.saturating_sub(now)),
        Some(exp) => format!("exp={exp}, {} s ago", now.saturating_sub(exp)),
        None => "no exp".to_owned(),
    };
    let nbf = match claims.nbf() {
        Some(nbf) if nbf > now => format!("; nbf={nbf}, in {} s", nbf.saturating_sub(now)),
        Some(nbf) => format!("; nbf={nbf}"),
        None => String::new(),
    };
    format!("{exp}{nbf}; now={now}")
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}
