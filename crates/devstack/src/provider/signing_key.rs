//! RSA keys that sign tokens (RS256), and how they are published.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

/// A private key of 2048 bits with its id.
pub(super) struct SigningKey {
    pub(super) id: String,
    pair: KeyPair,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    /// A new key; takes tens of milliseconds to seconds of a processor.
    ///
    /// # Errors
    /// The library cannot make one.
    pub(super) fn generate() -> Result<Self, String> {
        let fault = |what: &str| format!("cannot make an RSA key: {what}");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| fault("the library refuses"))?;
        let der: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| fault("its public half is unreadable"))?;
        let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).map_err(|error| fault(&error.to_string()))?;
        let (modulus, exponent) = match info.parsed() {
            Ok(PublicKey::RSA(key)) => (text(key.modulus), text(key.exponent)),
            _ => return Err(fault("its public half is no RSA key")),
        };
        Ok(Self { id: super::random_id(), pair, modulus, exponent })
    }

    /// As it stands in a key set; `usage` is `sig` or `enc`.
    pub(super) fn jwk(&self, usage: &str) -> Value {
        let algorithm = if usage == "sig" { "RS256" } else { "RSA-OAEP" };
        json!({"kty": "RSA", "use": usage, "alg": algorithm, "kid": self.id, "n": self.modulus, "e": self.exponent})
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// The library cannot sign.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, String> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature);
        signed.map_err(|_| "cannot sign the token".to_owned())?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A DER integer without the zero that marks it as positive.
fn text(integer: &[u8]) -> String {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    URL_SAFE_NO_PAD.encode(integer.get(zeros..).unwrap_or_default())
}
