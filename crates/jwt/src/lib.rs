//! Pure token logic: bytes in, claims out; no I/O and no clock of its own.
//!
//! A credential becomes a [`Token`] (limits, base64url, JSON, types), a [`KeySet`] says whether its signature is
//! genuine, [`Claims`] say when it is valid, for whom, and what it grants ([`VmAccess`]), and a [`ClaimPath`] reads
//! single claims for `match_claims`. Nothing here may panic on foreign bytes, nothing may print a token or trust
//! what an unverified header says about keys (`jwk`, `jku`, `x5c` and `x5u` are never read).
//!
//! Standards: RFC 7515 (JWS), 7517 (JWK), 7518 (algorithms), 7519 (claims), 8037 and 9864 (Ed25519).

mod algorithm;
mod base64url;
mod claim_match;
mod claims;
mod error;
mod fields;
mod header;
mod json;
mod jwks;
mod pem;
mod public_key;
mod token;
mod verifier;
mod vm_access;

pub use algorithm::Algorithm;
pub use base64url::Base64Error;
pub use claim_match::{ClaimMatcher, ClaimPath};
pub use claims::{Claims, NBF_LEEWAY};
pub use error::{FieldError, PartError, Problem, RefusalCause, TimeError, TokenError, VerifyError};
pub use header::Header;
pub use json::{JsonError, MAX_DEPTH};
pub use jwks::{Jwk, Jwks, JwksError, MAX_JWKS_BYTES, MAX_JWKS_KEYS, SkipReason, SkippedKey};
pub use public_key::{KeyError, KeyKind, PublicKey};
pub use token::{MAX_TOKEN_BYTES, Token, bearer_jwt, fingerprint};
pub use verifier::KeySet;
pub use vm_access::VmAccess;
