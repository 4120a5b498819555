//! Why a token is refused, as errors with texts for the log and as one cause with a stable label for the metric.
//!
//! Texts never hold a token, a signature or a claim's value.

use crate::base64url::Base64Error;
use crate::json::{Json, JsonError};
use std::fmt;

/// The cause of a refusal; its label is a metric's label value and stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCause {
    /// Not a token, or a field of a wrong type.
    Malformed,
    /// `exp` has passed or is absent.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// No key fits the token's `alg` and `kid`.
    UnknownKey,
    /// No fitting key verifies the signature.
    BadSignature,
    /// `alg` is absent or not supported, such as `none` and HS256.
    UnsupportedAlgorithm,
    /// `iss` is not the configured issuer.
    WrongIssuer,
    /// `aud` names none of the configured audiences.
    WrongAudience,
    /// The claims match no user.
    NoMatchingUser,
    /// Neither the token nor the user says what may be accessed.
    MissingVmAccess,
    /// The issuer's keys have never been fetched.
    KeysNotLoaded,
}

impl RefusalCause {
    /// All causes, in the order of the checks.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownKey,
        Self::BadSignature,
        Self::UnsupportedAlgorithm,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::NoMatchingUser,
        Self::MissingVmAccess,
        Self::KeysNotLoaded,
    ];

    /// The label in snake case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NoMatchingUser => "no_matching_user",
            Self::MissingVmAccess => "missing_vm_access",
            Self::KeysNotLoaded => "keys_not_loaded",
        }
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.label())
    }
}

/// A text is not a token in compact form; always [`RefusalCause::Malformed`].
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its length and the limit, in bytes.
    #[error("cannot parse jwt token: it has {0} bytes; at most {1} are allowed")]
    TooLong(usize, usize),
    /// Not exactly two dots.
    #[error("cannot parse jwt token: it must consist of 3 parts separated by dots")]
    Parts,
    /// The second part.
    #[error("cannot parse jwt token: cannot parse token body: {0}")]
    Body(PartError),
    /// The first part.
    #[error("cannot parse jwt token: cannot parse token header: {0}")]
    Header(PartError),
    /// The third part.
    #[error("cannot parse jwt token: cannot parse token signature: {0}")]
    Signature(Base64Error),
}

impl TokenError {
    /// Its cause for the metric.
    pub fn cause(&self) -> RefusalCause {
        RefusalCause::Malformed
    }
}

/// What is wrong with the header or the claims.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The part is empty.
    #[error("it is empty")]
    Empty,
    /// Not base64url.
    #[error(transparent)]
    Base64(#[from] Base64Error),
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but no object; holds the name of the type.
    #[error("value doesn't contain object; it contains {0}")]
    NotAnObject(&'static str),
    /// A field of a wrong type.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The header demands an extension (RFC 7515 §4.1.11), and none is supported.
    #[error("`crit` extensions aren't supported")]
    Critical,
}

/// A field has a value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot parse `{field}` field: {problem}")]
pub struct FieldError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another type is needed.
    #[error("value doesn't contain {want}; it contains {got}")]
    Type {
        /// The wanted type.
        want: &'static str,
        /// The type found.
        got: &'static str,
    },
    /// A number outside the field's range; holds the range in words.
    #[error("the number is not {0}")]
    Range(&'static str),
    /// A string that should hold JSON.
    #[error(transparent)]
    Json(JsonError),
    /// A field of this object.
    #[error(transparent)]
    Nested(Box<FieldError>),
}

impl FieldError {
    pub(crate) fn wrong_type(field: &'static str, want: &'static str, got: &Json) -> Self {
        Self { field, problem: Problem::Type { want, got: got.type_name() } }
    }

    pub(crate) fn out_of_range(field: &'static str, range: &'static str) -> Self {
        Self { field, problem: Problem::Range(range) }
    }

    pub(crate) fn nested(field: &'static str, inner: Self) -> Self {
        Self { field, problem: Problem::Nested(Box::new(inner)) }
    }
}

/// The token is not valid at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// `exp` has passed or is absent.
    #[error("jwt token is expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("jwt token is not valid yet")]
    NotYetValid,
}

impl TimeError {
    /// Its cause for the metric.
    pub fn cause(self) -> RefusalCause {
        match self {
            Self::Expired => RefusalCause::Expired,
            Self::NotYetValid => RefusalCause::NotYetValid,
        }
    }
}

/// The signature is not known to be genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// `alg` is absent or none of [`crate::Algorithm`].
    #[error(
        "cannot verify jwt token: signature algorithm verification not supported, \
         supported algorithms: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
    )]
    UnsupportedAlgorithm,
    /// No key of the set fits `alg` and `kid`: newer keys may.
    #[error("cannot verify jwt token: failed to verify token signature: no key fits its alg and kid")]
    UnknownKey,
    /// Fitting keys were tried and none verifies the signature.
    #[error("cannot verify jwt token: failed to verify token signature")]
    BadSignature,
}

impl VerifyError {
    /// Its cause for the metric.
    pub fn cause(self) -> RefusalCause {
        match self {
            Self::UnknownKey => RefusalCause::UnknownKey,
            Self::BadSignature => RefusalCause::BadSignature,
            Self::UnsupportedAlgorithm => RefusalCause::UnsupportedAlgorithm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stable_and_distinct() {
        let labels = RefusalCause::ALL.map(RefusalCause::label);
        let want = "malformed expired not_yet_valid unknown_key bad_signature unsupported_algorithm \
                    wrong_issuer wrong_audience no_matching_user missing_vm_access keys_not_loaded";
        assert_eq!(labels.join(" "), want);
    }
}
