//! What is said of a failed login: one cause for the metric, one line for the log, never a secret.
//!
//! The line names the user, or the fingerprint of a token. What stands in place of a user name may be a token, when there
//! is no password beside it (docs/reference/auth.md): then it is a secret, too. Lines are few a second, whatever is tried.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base64::Engine;
use vmkit::exchange::RequestHead;
use vmkit::go_text::quote;
use vmkit::http_server::Client;
use vmkit::metrics::{Counter, Set};

use crate::authn::Directory;
use crate::authn::credentials::AuthHeaders;
use crate::authn::jwt_users::Refusal;

/// Longer foreign texts are cut, in letters.
const MAX_SHOWN: usize = 128;
/// Lines a second of the whole process.
const LINES_A_SECOND: u64 = 10;

/// Why credentials belong to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The user exists, its password is another one.
    WrongPassword,
    /// Nobody has this name.
    UnknownUser,
    /// Nobody has this bearer or raw token.
    UnknownToken,
    /// A JWT was refused; `vmauth_invalid_auth_tokens_total` says why.
    RefusedToken,
    /// Nobody has a client certificate with this subject.
    UnknownCertificate,
}

impl LoginFailure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::WrongPassword, Self::UnknownUser, Self::UnknownToken, Self::RefusedToken, Self::UnknownCertificate];

    /// Label of the metric, and word of the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::UnknownUser => "unknown_user",
            Self::UnknownToken => "unknown_token",
            Self::RefusedToken => "refused_token",
            Self::UnknownCertificate => "unknown_certificate",
        }
    }
}

/// `vmauth_failed_logins_total{cause="…"}`, all causes from the start.
#[derive(Debug)]
pub struct LoginFailureMetrics([Arc<Counter>; LoginFailure::ALL.len()]);

impl LoginFailureMetrics {
    /// Registers the series.
    pub fn register(set: &Set) -> Self {
        let name = |cause: LoginFailure| format!("vmauth_failed_logins_total{{cause=\"{}\"}}", cause.label());
        Self(LoginFailure::ALL.map(|cause| set.counter(&name(cause))))
    }

    /// Failed logins by cause.
    pub fn counts(&self) -> [(&'static str, u64); LoginFailure::ALL.len()] {
        let mut counters = self.0.iter();
        LoginFailure::ALL.map(|cause| (cause.label(), counters.next().map_or(0, |counter| counter.get())))
    }

    /// Counts a failed login; once a request.
    pub fn count(&self, cause: LoginFailure) {
        let known = LoginFailure::ALL.iter().zip(&self.0).find(|(known, _)| **known == cause);
        if let Some((_, counter)) = known {
            counter.inc();
        }
    }
}

/// Why the credentials of a request belong to nobody.
#[derive(Debug)]
pub struct Report {
    /// The cause that is counted.
    pub cause: LoginFailure,
    /// What is logged.
    pub text: String,
    /// The user that was meant, as far as is known.
    pub user: Option<String>,
}

/// Finds out why the credentials of a request belong to nobody.
pub fn explain(
    head: &RequestHead,
    client: &Client,
    headers: &AuthHeaders,
    directory: &Directory,
    refusals: &[Refusal],
) -> Report {
    if let Some(refusal) = refusals.first() {
        let (cause, user) = (LoginFailure::RefusedToken, refusal.user.clone());
        return Report { cause, text: refusal.log_text(), user };
    }
    if let Some(found) = headers.find(head, |value| Some(of_value(value, directory))) {
        return found;
    }
    let name = client.subject.as_ref().and_then(|subject| subject.common_name.as_deref()).unwrap_or_default();
    let text = format!("no user has this client certificate; cause=unknown_certificate common_name={}", shown(name));
    Report { cause: LoginFailure::UnknownCertificate, text, user: None }
}

fn of_value(value: &[u8], directory: &Directory) -> Report {
    let text = String::from_utf8_lossy(value);
    let (scheme, rest) = text.split_once(' ').unwrap_or(("", &text));
    let pair = match scheme.eq_ignore_ascii_case("Basic") {
        true => base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok(),
        false => None,
    };
    let pair = pair.map(|pair| String::from_utf8_lossy(&pair).into_owned());
    if let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
        if directory.tokens.has_name(name) {
            let text = format!("wrong password; cause=wrong_password user={}", shown(name));
            return Report { cause: LoginFailure::WrongPassword, text, user: Some(name.to_owned()) };
        }
        if !password.is_empty() {
            let text = format!("unknown user; cause=unknown_user user={}", shown(name));
            return Report { cause: LoginFailure::UnknownUser, text, user: Some(name.to_owned()) };
        }
        return unknown_token(scheme, name);
    }
    unknown_token(scheme, rest)
}

fn unknown_token(scheme: &str, secret: &str) -> Report {
    let is_scheme = scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = if is_scheme { scheme } else { "" };
    let text =
        format!("unknown token; cause=unknown_token scheme={} fingerprint={}", quote(scheme), jwt::fingerprint(secret));
    Report { cause: LoginFailure::UnknownToken, text, user: None }
}

fn shown(name: &str) -> String {
    quote(name.chars().take(MAX_SHOWN).collect::<String>())
}

/// Lets few lines a second pass, over all workers.
#[derive(Debug, Default)]
pub struct LineLimit {
    /// Second in the upper half, its lines in the lower one.
    window: AtomicU64,
    dropped: AtomicU64,
}

impl LineLimit {
    /// Whether another line may be written in this second, and how many were not since the last one.
    pub fn admit(&self, second: u64) -> Option<u64> {
        let next = |window: u64| {
            let lines = if window >> 32 == second & 0xffff_ffff { window & 0xffff_ffff } else { 0 };
            (lines < LINES_A_SECOND).then_some((second << 32) | (lines + 1))
        };
        if self.window.fetch_update(Relaxed, Relaxed, next).is_err() {
            self.dropped.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.dropped.swap(0, Relaxed))
    }
}

/// The message of the log.
pub fn message(text: &str, dropped: u64) -> String {
    let mut message = format!("login failed: {text}");
    if dropped > 0 {
        // Writing to a string cannot fail.
        let _ = write!(message, " ({dropped} more failed logins were not logged)");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmkit::secret::Secret;

    #[test]
    fn names_users_and_never_secrets() {
        let mut directory = Directory::default();
        directory.tokens.add(vec![Secret::from("Basic YWxpY2U6cA==")], 0);
        directory.tokens.add_name("alice");
        let f = |value: &str, want: LoginFailure, part: &str| {
            let mut head = RequestHead::default();
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {value}\r\n\r\n");
            head.parse(text.as_bytes()).unwrap().unwrap();
            let client = Client::new("1.2.3.4:5".parse().unwrap());
            let Report { cause, text, .. } = explain(&head, &client, &AuthHeaders::new(Vec::new()), &directory, &[]);
            assert_eq!(cause, want, "{value}: {text}");
            assert!(text.contains(part) && !text.contains("hunter2"), "{value}: {text}");
        };
        let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        f(&basic("alice:hunter2"), LoginFailure::WrongPassword, "user=\"alice\"");
        f(&basic("alice:"), LoginFailure::WrongPassword, "user=\"alice\"");
        f(&basic("bob\n:hunter2"), LoginFailure::UnknownUser, "user=\"bob\\n\"");
        f(&basic("hunter2:"), LoginFailure::UnknownToken, "fingerprint=");
        f(&basic("hunter2"), LoginFailure::UnknownToken, "fingerprint=");
        f("Basic hunter2", LoginFailure::UnknownToken, "scheme=\"Basic\"");
        f("Bearer hunter2", LoginFailure::UnknownToken, "scheme=\"Bearer\"");
        f("hunter2", LoginFailure::UnknownToken, "scheme=\"\"");
        f("hunter2hunter2hunter2 x", LoginFailure::UnknownToken, "scheme=\"\"");
    }

    #[test]
    fn few_lines_a_second() {
        let limit = LineLimit::default();
        let passed = (0..25).filter(|_| limit.admit(7).is_some()).count();
        assert_eq!((passed, limit.admit(8), limit.admit(8)), (10, Some(15), Some(0)));
        assert_eq!(message("x", 15), "login failed: x (15 more failed logins were not logged)");
    }
}
