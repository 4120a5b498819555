//! Why a token was refused: one cause for the metric, one line for the log.
//!
//! The line names what an operator needs to find the token at its issuer: `iss`, `kid`, `sub`, `exp` and a
//! fingerprint. It never holds the token, and foreign text in it is quoted and short.

use std::fmt::{self, Write};

use jwt::{RefusalCause, TimeError, Token, TokenError, VerifyError};
use vmkit::go_text::quote;

use super::JwtUser;
use crate::oidc::KeyLocation;

/// Longer foreign texts are cut, in letters.
const MAX_SHOWN: usize = 128;

/// Why a user is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    Claims,
    NoIssuer,
    OtherIssuer,
    Audience,
    Time(TimeError),
    KeysNotLoaded,
    Signature {
        error: VerifyError,
        /// Whether the keys are of the issuer that the token names.
        is_provider: bool,
    },
    VmAccess,
}

impl Miss {
    /// How close the user came; the closest is reported.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Claims => 0,
            Self::NoIssuer | Self::OtherIssuer => 1,
            Self::Audience => 2,
            Self::Time(_) => 3,
            Self::Signature { error: VerifyError::UnknownKey, is_provider: false } => 4,
            Self::Signature { is_provider: false, .. } => 5,
            Self::KeysNotLoaded => 6,
            Self::Signature { error: VerifyError::UnknownKey, is_provider: true } => 7,
            Self::Signature { is_provider: true, .. } => 8,
            Self::VmAccess => 9,
        }
    }

    fn cause(self) -> RefusalCause {
        match self {
            Self::Claims => RefusalCause::NoMatchingUser,
            Self::NoIssuer | Self::OtherIssuer => RefusalCause::WrongIssuer,
            Self::Audience => RefusalCause::WrongAudience,
            Self::Time(error) => error.cause(),
            Self::KeysNotLoaded => RefusalCause::KeysNotLoaded,
            Self::Signature { error, .. } => error.cause(),
            Self::VmAccess => RefusalCause::MissingVmAccess,
        }
    }

    /// In the words of the original product where it has any.
    fn text(self, token: &Token, user: Option<&JwtUser>) -> String {
        match self {
            Self::Claims => "no user match jwt token".to_owned(),
            Self::NoIssuer => "jwt token must have issuer filed".to_owned(),
            Self::OtherIssuer => {
                let issuer = user.and_then(JwtUser::location).map(KeyLocation::shown).unwrap_or_default();
                let iss = quote(cut(token.claims().iss().unwrap_or_default()));
                format!("jwt token issuer: {iss} does not match oidc issuer: {}", quote(cut(&issuer)))
            }
            Self::Audience => "jwt token is for another audience".to_owned(),
            Self::Time(error) => error.to_string(),
            Self::KeysNotLoaded => "jwt verifier not initialed".to_owned(),
            Self::Signature { error, .. } => error.to_string(),
            Self::VmAccess => "jwt token has no vm_access claim and the user has no default_vm_access_claim".to_owned(),
        }
    }
}

/// A user that a token does not stand for, and why: the text has the words of [`Refusal`].
pub(super) struct PassedOver<'a> {
    pub(super) miss: Miss,
    pub(super) user: &'a JwtUser,
    pub(super) token: &'a Token,
    pub(super) now: u64,
}

impl fmt::Display for PassedOver<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.token.claims();
        let shown = |date: Option<i64>| date.map_or_else(|| "none".to_owned(), |date| date.to_string());
        match self.miss {
            Miss::Claims => match self.user.claims.iter().find(|claim| !claim.matches(claims)) {
                Some(claim) => write!(out, "match_claims: {} does not match", quote(cut(&claim.path().to_string()))),
                None => out.write_str("match_claims do not match"),
            },
            Miss::Audience => {
                write!(out, "{}; aud must name one of {:?}", self.miss.text(self.token, None), self.user.audience)
            }
            Miss::Time(_) => {
                let (exp, nbf, skew) = (shown(claims.exp()), shown(claims.nbf()), self.user.skew);
                let text = self.miss.text(self.token, None);
                write!(out, "{text}: exp={exp}, nbf={nbf}, now={}, clock_skew={skew}s", self.now)
            }
            miss => out.write_str(&miss.text(self.token, Some(self.user))),
        }
    }
}

/// A refused token, without the token.
#[derive(Debug)]
pub struct Refusal {
    /// The cause for the metric.
    pub cause: RefusalCause,
    /// `iss`, cut to what a log line bears, as are the others.
    pub iss: Option<String>,
    /// `kid` of the header.
    pub kid: Option<String>,
    /// `sub`, if it is a string.
    pub sub: Option<String>,
    /// `exp` in seconds since 1970.
    pub exp: Option<i64>,
    /// `nbf` in seconds since 1970.
    pub nbf: Option<i64>,
    /// When it was judged, in seconds since 1970.
    pub now: u64,
    /// Claims that fit no user: a few users, each with the first path that does not match.
    pub failed_claims: Option<String>,
    /// A short hash of the token.
    pub fingerprint: String,
    /// The display name of the user that came closest.
    pub user: Option<String>,
    text: String,
}

impl Refusal {
    pub(super) fn malformed(text: &str, error: &TokenError, now: u64) -> Self {
        Self {
            cause: error.cause(),
            iss: None,
            kid: None,
            sub: None,
            exp: None,
            nbf: None,
            now,
            failed_claims: None,
            fingerprint: jwt::fingerprint(text),
            user: None,
            text: error.to_string(),
        }
    }

    pub(super) fn new(text: &str, token: &Token, miss: Miss, user: Option<&JwtUser>, now: u64) -> Self {
        let claims = token.claims();
        Self {
            cause: miss.cause(),
            iss: claims.iss().map(cut),
            kid: token.header().kid().map(cut),
            sub: claims.sub().map(cut),
            exp: claims.exp(),
            nbf: claims.nbf(),
            now,
            failed_claims: None,
            fingerprint: jwt::fingerprint(text),
            user: user.map(|user| cut(&user.name)),
            text: miss.text(token, user),
        }
    }

    /// What is wrong, without what the token says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line for the log.
    pub fn log_text(&self) -> String {
        let mut line = format!("{}; cause={}", self.text, self.cause);
        let texts = [
            ("iss", &self.iss),
            ("kid", &self.kid),
            ("sub", &self.sub),
            ("user", &self.user),
            ("failed_claims", &self.failed_claims),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(line, " {name}={}", quote(value));
            }
        }
        for (name, value) in [("exp", self.exp), ("nbf", self.nbf)] {
            if let Some(value) = value {
                let _ = write!(line, " {name}={value}");
            }
        }
        let _ = write!(line, " now={} fingerprint={}", self.now, self.fingerprint);
        line
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}
