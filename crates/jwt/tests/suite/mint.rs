//! Signs tokens with throw-away keys of every kind.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jwt::{Algorithm, KeyKind, PublicKey, Token};
use x509_parser::asn1_rs::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// Encodes base64url without padding.
pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(KeyKind, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// A new key for signatures of `algorithm`.
    pub(crate) fn generate(algorithm: Algorithm) -> Self {
        let ec = |kind, curve| Self::Ec(kind, EcdsaKeyPair::generate(curve).unwrap());
        match algorithm {
            Algorithm::Es256 => ec(KeyKind::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ec(KeyKind::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => ec(KeyKind::P521, &ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDsa => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        }
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding(algorithm), &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::Ec(_, pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with the given header and claims.
    pub(crate) fn token(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(algorithm, input.as_bytes());
        format!("{input}.{}", b64(signature))
    }

    /// The public key, read from the numbers of its JWK.
    pub(crate) fn public_key(&self) -> PublicKey {
        match self {
            Self::Rsa(pair) => {
                let (_, key) = RSAPublicKey::from_der(pair.public_key().as_ref()).unwrap();
                PublicKey::from_rsa(key.modulus, key.exponent).unwrap()
            }
            Self::Ec(kind, pair) => {
                let (x, y) = coordinates(pair);
                PublicKey::from_coordinates(*kind, x, y).unwrap()
            }
            Self::Ed25519(pair) => PublicKey::from_ed25519(pair.public_key().as_ref()).unwrap(),
        }
    }

    /// The public key as JWK; `more` is inserted before the closing brace.
    pub(crate) fn jwk(&self, more: &str) -> String {
        match self {
            Self::Rsa(pair) => {
                let (_, key) = RSAPublicKey::from_der(pair.public_key().as_ref()).unwrap();
                format!(r#"{{"kty":"RSA","n":"{}","e":"{}"{more}}}"#, b64(key.modulus), b64(key.exponent))
            }
            Self::Ec(kind, pair) => {
                let (x, y) = coordinates(pair);
                format!(r#"{{"kty":"EC","crv":"{}","x":"{}","y":"{}"{more}}}"#, kind.name(), b64(x), b64(y))
            }
            Self::Ed25519(pair) => {
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{more}}}"#, b64(pair.public_key().as_ref()))
            }
        }
    }

    /// The public key of an RSA pair as PEM of PKCS#1.
    pub(crate) fn pkcs1_pem(&self) -> String {
        let Self::Rsa(pair) = self else { panic!("not RSA") };
        let text = STANDARD.encode(pair.public_key().as_ref());
        format!("-----BEGIN RSA PUBLIC KEY-----\n{text}\n-----END RSA PUBLIC KEY-----\n")
    }
}

fn coordinates(pair: &EcdsaKeyPair) -> (&[u8], &[u8]) {
    let point = &pair.public_key().as_ref()[1..];
    point.split_at(point.len() / 2)
}

fn padding(algorithm: Algorithm) -> &'static RsaSignatureEncoding {
    match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => panic!("not RSA"),
    }
}

/// A token's header.
pub(crate) fn header(algorithm: Algorithm) -> String {
    format!(r#"{{"alg":"{algorithm}"}}"#)
}

/// Puts another signature under a token.
pub(crate) fn with_signature(token: &str, signature: &[u8]) -> Token {
    let (input, _) = token.rsplit_once('.').unwrap();
    Token::parse(&format!("{input}.{}", b64(signature))).unwrap()
}
