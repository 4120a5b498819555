//! Decides whether a token's signature is genuine: picks the keys that may have made it and tries each.
//!
//! Keys of the configuration are tried whatever the token's `kid`; keys of a provider's set must have the token's
//! `kid` if it has one, and several keys may share it; without one the first [`MAX_TRIED`] that fit are tried. The algorithm is the token's word, but only keys of its kind
//! are tried, so no token can turn a public key into a shared secret.

use crate::algorithm::Algorithm;
use crate::error::VerifyError;
use crate::jwks::{Jwk, Jwks};
use crate::public_key::{KeyKind, PublicKey};
use crate::token::Token;

/// A token that names no key is tried with so many of a provider's, since anybody can send such tokens.
const MAX_TRIED: usize = 64;

/// Keys that are trusted together. Equal if they hold equal keys in equal order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Box<[Jwk]>,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Config,
    Jwks,
}

impl KeySet {
    /// Keys of the configuration; `kid` is ignored.
    pub fn from_keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().map(|key| Jwk { kid: None, algorithm: None, key }).collect();
        Self { keys, source: Source::Config }
    }

    /// Keys of a provider.
    pub fn from_jwks(jwks: Jwks) -> Self {
        Self { keys: jwks.keys.into(), source: Source::Jwks }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The kinds of the keys, in their order.
    pub fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.keys.iter().map(|key| key.key.kind())
    }

    /// Says whether there is no key, so that nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies the signature; nothing else is checked, neither times nor issuer nor audience.
    pub fn verify(&self, token: &Token) -> Result<(), VerifyError> {
        let algorithm = token.header().algorithm().ok_or(VerifyError::UnsupportedAlgorithm)?;
        let mut verdict = VerifyError::UnknownKey;
        for candidate in self.candidates(algorithm, token.header().kid()) {
            if candidate.key.verify(algorithm, token.signing_input(), token.signature()) {
                return Ok(());
            }
            verdict = VerifyError::BadSignature;
        }
        Err(verdict)
    }

    /// Says whether newer keys of the provider may verify a token that these refused with `error`.
    ///
    /// True for an unknown key, and for a bad signature of a token that names no key: a provider without key ids may
    /// have rotated. Anybody can send such tokens, so the caller must limit how often it asks the provider.
    pub fn refetch_may_help(&self, token: &Token, error: VerifyError) -> bool {
        self.source == Source::Jwks
            && match error {
                VerifyError::UnknownKey => true,
                VerifyError::BadSignature => token.header().kid().is_none(),
                VerifyError::UnsupportedAlgorithm => false,
            }
    }

    fn candidates<'a>(&'a self, algorithm: Algorithm, kid: Option<&'a str>) -> impl Iterator<Item = &'a Jwk> {
        let kid = match self.source {
            Source::Config => None,
            Source::Jwks => kid,
        };
        let tried = match (self.source, kid) {
            (Source::Jwks, None) => MAX_TRIED,
            (Source::Jwks, Some(_)) | (Source::Config, _) => usize::MAX,
        };
        let has_kid = move |key: &Jwk| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        self.keys.iter().filter(move |key| has_kid(key) && key.fits(algorithm)).take(tried)
    }
}
