//! A key that signs tokens, as JWK and in compact tokens.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A private Ed25519 key with its key id.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    kid: &'static str,
}

impl Signer {
    /// A new key.
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { pair: Ed25519KeyPair::generate().expect("a key"), kid }
    }

    /// A key set with this key alone.
    pub(crate) fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{}","x":"{x}"}}]}}"#, self.kid)
    }

    /// The header line of a request with a token of these claims, without their outer braces; it never expires.
    pub(crate) fn authorization(&self, claims: &str) -> String {
        self.authorization_until(99_999_999_999, claims)
    }

    /// The same with the time of its end, in seconds since 1970.
    pub(crate) fn authorization_until(&self, expires: u64, claims: &str) -> String {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.kid);
        self.line(&header, &format!(r#"{{"exp":{expires}{claims}}}"#))
    }

    /// The same with this header and these claims.
    pub(crate) fn line(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(input.as_bytes()));
        format!("Authorization: Bearer {input}.{signature}")
    }
}
