//! Why there is no certificate: the cause decides how soon it is tried again and which counter grows.

use std::fmt;

use instant_acme::{ChallengeType, Error, Problem};

/// What stands in the way; the label `cause` of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The authority cannot be reached, or its answer is none of ACME.
    Unreachable,
    /// The authority has a fault of its own.
    Server,
    /// Too many requests.
    RateLimited,
    /// The authority could not see its answer at the host: address, port or firewall.
    Validation,
    /// The authority offers no way of validation that is possible here.
    NoChallenge,
    /// The account is unknown or refused.
    Account,
    /// Anything else that the authority will not do.
    Refused,
    /// It takes too long.
    Timeout,
    /// What was issued is of no use.
    BadCertificate,
    /// It could not be written to the folder; it serves all the same.
    Cache,
}

impl Cause {
    pub(super) const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Server,
        Self::RateLimited,
        Self::Validation,
        Self::NoChallenge,
        Self::Account,
        Self::Refused,
        Self::Timeout,
        Self::BadCertificate,
        Self::Cache,
    ];

    /// As metrics show it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Server => "server",
            Self::RateLimited => "rate_limited",
            Self::Validation => "validation",
            Self::NoChallenge => "no_challenge",
            Self::Account => "account",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::BadCertificate => "bad_certificate",
            Self::Cache => "cache",
        }
    }

    /// Whether the authority had no part in it, so that trying again soon costs none of what it allows.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Unreachable | Self::Server | Self::Account | Self::Timeout)
    }
}

/// A failed try.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    text: String,
}

impl Failure {
    pub(super) fn new(cause: Cause, text: String) -> Self {
        Self { cause, text }
    }

    /// What the authority says when it is told to look. One that looks at once says what it has found.
    pub(super) fn of_answer(kind: &ChallengeType, error: Error) -> Self {
        match Self::from(error) {
            Self { cause: Cause::Validation, text } => Self::new(Cause::Validation, format!("{kind:?} failed: {text}")),
            other => other,
        }
    }

    /// What the authority says about a validation.
    pub(super) fn of_problem(problem: &Problem) -> Self {
        Self::new(cause_of(problem), problem.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Api(problem) => Self::of_problem(problem),
            Error::Timeout(_) => Self::new(Cause::Timeout, error.to_string()),
            Error::Unsupported(_) => Self::new(Cause::Refused, error.to_string()),
            _ => Self::new(Cause::Unreachable, error.to_string()),
        }
    }
}

/// By the types of RFC 8555 §6.7.
fn cause_of(problem: &Problem) -> Cause {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    match kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default() {
        "rateLimited" => Cause::RateLimited,
        // The library has tried several nonces by then.
        "serverInternal" | "badNonce" => Cause::Server,
        "accountDoesNotExist"
        | "externalAccountRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "userActionRequired" => Cause::Account,
        "caa" | "connection" | "dns" | "incorrectResponse" | "tls" | "unauthorized" => Cause::Validation,
        _ if problem.status.is_some_and(|status| status >= 500) => Cause::Server,
        _ => Cause::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, status: u16) -> Error {
        let text = format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\",\"status\":{status},\"detail\":\"x\"}}");
        Error::Api(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_validation_that_has_failed_at_once_is_told_as_one() {
        let f = |kind: &str, status| Failure::of_answer(&ChallengeType::TlsAlpn01, problem(kind, status)).to_string();
        assert!(f("connection", 400).starts_with("TlsAlpn01 failed: "), "{}", f("connection", 400));
        assert!(!f("serverInternal", 500).contains("failed"), "{}", f("serverInternal", 500));
    }

    #[test]
    fn causes_follow_from_the_types_of_the_rfc() {
        let f = |kind: &str, status: u16, want: Cause| {
            assert_eq!(Failure::from(problem(kind, status)).cause, want, "{kind}");
        };
        f("rateLimited", 429, Cause::RateLimited);
        f("connection", 400, Cause::Validation);
        f("accountDoesNotExist", 400, Cause::Account);
        f("rejectedIdentifier", 400, Cause::Refused);
        f("somethingNew", 503, Cause::Server);
        assert_eq!(Failure::from(Error::Timeout(None)).cause, Cause::Timeout);
        assert_eq!(Failure::from(Error::Str("no nonce")).cause, Cause::Unreachable);
    }
}
