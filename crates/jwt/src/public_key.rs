//! Public keys that verify tokens, from PEM text or from the numbers of a JWK, parsed once.
//!
//! Accepts RSA of 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519. A key fits only the algorithms of its kind,
//! whatever a token claims. Private keys are refused and never shown, not even in errors.
//! PSS signatures must have a salt as long as the digest (RFC 7518 §3.5).

use crate::algorithm::Algorithm;
use crate::pem;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use std::fmt;
use std::sync::{Arc, OnceLock};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

const MAX_PEM_BYTES: usize = 64 * 1024;
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// What kind of key it is, which decides the algorithms it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA, for RS* and PS*.
    Rsa,
    /// P-256, for ES256.
    P256,
    /// P-384, for ES384.
    P384,
    /// P-521, for ES512.
    P521,
    /// Ed25519, for EdDSA.
    Ed25519,
}

impl KeyKind {
    /// Says whether keys of this kind verify signatures of `algorithm`.
    pub fn fits(self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let kind = match algorithm {
            Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => Self::Rsa,
            Es256 => Self::P256,
            Es384 => Self::P384,
            Es512 => Self::P521,
            EdDsa => Self::Ed25519,
        };
        self == kind
    }

    /// The name of the kind; of curves the `crv` of RFC 7518 §6.2.1.1 and RFC 8037 §2.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The curve's verification algorithm and the length of its coordinates in bytes.
    fn curve(self) -> Option<(&'static EcdsaVerificationAlgorithm, usize)> {
        match self {
            Self::P256 => Some((&ECDSA_P256_SHA256_FIXED, 32)),
            Self::P384 => Some((&ECDSA_P384_SHA384_FIXED, 48)),
            Self::P521 => Some((&ECDSA_P521_SHA512_FIXED, 66)),
            Self::Rsa | Self::Ed25519 => None,
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no PEM block, or it is damaged or too long.
    #[error("failed to decode PEM block containing public key")]
    NotPem,
    /// The block holds a private key.
    #[error("it is a private key; put the public key here, as printed by `openssl pkey -pubout`")]
    PrivateKey,
    /// The block has another label; holds it.
    #[error("unexpected PEM block {0:?}; want \"PUBLIC KEY\", \"RSA PUBLIC KEY\" or \"CERTIFICATE\"")]
    Label(String),
    /// The content is not what the label says; names the structure.
    #[error("x509: failed to parse {0}")]
    Der(&'static str),
    /// A key of another type; holds its object identifier.
    #[error("unknown key type: {0}; want RSA, ECDSA or Ed25519")]
    KeyType(String),
    /// A curve other than P-256, P-384 and P-521.
    #[error("failed to create ECDSA verifier: unsupported key; want P-256, P-384 or P-521")]
    Curve,
    /// The point is not on the curve, or not uncompressed.
    #[error("the point of the key is not on curve {0}")]
    Point(&'static str),
    /// The size of the modulus in bits.
    #[error("RSA key of {0} bits is not supported; want at least {MIN_RSA_BITS} and at most {MAX_RSA_BITS} bits")]
    RsaSize(usize),
    /// The public exponent is even, 1 or longer than 33 bits.
    #[error("invalid RSA exponent")]
    RsaExponent,
    /// The modulus is even.
    #[error("invalid RSA modulus")]
    RsaModulus,
    /// An Ed25519 key is not 32 bytes long.
    #[error("invalid Ed25519 key")]
    Ed25519,
}

/// A parsed public key; cheap to clone, equal if the keys are equal.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyKind,
    /// The canonical bytes of the key, for comparing.
    bytes: Box<[u8]>,
    material: Material,
}

enum Material {
    Rsa(Box<RsaKey>),
    Other(ParsedPublicKey),
}

/// The library parses a key for one algorithm; most RSA keys are used with one of six, so others wait until needed.
struct RsaKey {
    components: RsaPublicKeyComponents<Box<[u8]>>,
    parsed: [OnceLock<Option<ParsedPublicKey>>; 6],
}

impl PublicKey {
    /// Reads the first PEM block of `text`: a public key (RFC 5280, `PUBLIC KEY`), an RSA key (PKCS#1) or a certificate,
    /// of which only the key counts: neither its dates nor its issuer are checked. Labels other than those of private
    /// keys decide nothing.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(KeyError::NotPem);
        }
        let pem::Block { label, der } = pem::first_block(text).ok_or(KeyError::NotPem)?;
        if label.ends_with("PRIVATE KEY") {
            return Err(KeyError::PrivateKey);
        }
        // Tools label keys as they like, so the content decides.
        if let Ok((&[], info)) = SubjectPublicKeyInfo::from_der(&der) {
            return Self::from_spki(&info);
        }
        if let Ok((_, certificate)) = X509Certificate::from_der(&der) {
            return Self::from_spki(certificate.public_key());
        }
        match Self::from_pkcs1(&der) {
            Err(KeyError::Der(_)) => Err(match label {
                "PUBLIC KEY" => KeyError::Der("public key"),
                "RSA PUBLIC KEY" => KeyError::Der("RSA public key"),
                "CERTIFICATE" => KeyError::Der("certificate"),
                label => KeyError::Label(label.chars().take(40).collect()),
            }),
            result => result,
        }
    }

    fn from_spki(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        let oid = &info.algorithm.algorithm;
        let bytes = info.subject_public_key.data.as_ref();
        if *oid == OID_PKCS1_RSAENCRYPTION {
            return Self::from_pkcs1(bytes);
        }
        if *oid == OID_SIG_ED25519 {
            return Self::from_ed25519(bytes);
        }
        if *oid != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Err(KeyError::KeyType(oid.to_id_string()));
        }
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).ok_or(KeyError::Curve)?;
        let kind = match curve {
            oid if oid == OID_EC_P256 => KeyKind::P256,
            oid if oid == OID_NIST_EC_P384 => KeyKind::P384,
            oid if oid == OID_NIST_EC_P521 => KeyKind::P521,
            _ => return Err(KeyError::Curve),
        };
        Self::from_point(kind, bytes)
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let Ok((&[], key)) = RSAPublicKey::from_der(der) else {
            return Err(KeyError::Der("RSA public key"));
        };
        // The numbers are signed: the top bit of the first byte is the sign.
        let negative = |number: &[u8]| number.first().is_none_or(|byte| byte & 0x80 != 0);
        if negative(key.modulus) || negative(key.exponent) {
            return Err(KeyError::Der("RSA public key"));
        }
        Self::from_rsa(key.modulus, key.exponent)
    }

    /// An RSA key from big-endian numbers; leading zeros are allowed.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let bits = n.first().map_or(0, |first| n.len().saturating_mul(8) - first.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaSize(bits));
        }
        if n.last().is_none_or(|last| last & 1 == 0) {
            return Err(KeyError::RsaModulus);
        }
        let value = e.iter().take(8).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        if e.len() > 5 || value < 3 || value & 1 == 0 || value >> 33 != 0 {
            return Err(KeyError::RsaExponent);
        }
        let bytes = [&[e.len() as u8], e, n].concat().into();
        let key =
            RsaKey { components: RsaPublicKeyComponents { n: n.into(), e: e.into() }, parsed: Default::default() };
        if key.parsed(Algorithm::Rs256).is_none() {
            return Err(KeyError::Der("RSA public key"));
        }
        Ok(Self::new(KeyKind::Rsa, bytes, Material::Rsa(Box::new(key))))
    }

    /// An elliptic curve key from the big-endian coordinates of its point; short ones are padded.
    ///
    /// `kind` must be one of the curves, else [`KeyError::Curve`].
    pub fn from_coordinates(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let (_, length) = kind.curve().ok_or(KeyError::Curve)?;
        let mut point = Vec::with_capacity(1 + 2 * length);
        point.push(0x04);
        for coordinate in [x, y] {
            let digits = without_leading_zeros(coordinate);
            let padding = length.checked_sub(digits.len()).ok_or_else(|| KeyError::Point(kind.name()))?;
            point.extend(std::iter::repeat_n(0, padding));
            point.extend_from_slice(digits);
        }
        Self::from_point(kind, &point)
    }

    fn from_point(kind: KeyKind, point: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, length) = kind.curve().ok_or(KeyError::Curve)?;
        if point.first() != Some(&0x04) || point.len() != 1 + 2 * length {
            return Err(KeyError::Point(kind.name()));
        }
        let key = ParsedPublicKey::new(algorithm, point).map_err(|_| KeyError::Point(kind.name()))?;
        Ok(Self::new(kind, point.into(), Material::Other(key)))
    }

    /// An Ed25519 key from its 32 bytes.
    pub fn from_ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != 32 {
            return Err(KeyError::Ed25519);
        }
        let key = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| KeyError::Ed25519)?;
        Ok(Self::new(KeyKind::Ed25519, bytes.into(), Material::Other(key)))
    }

    fn new(kind: KeyKind, bytes: Box<[u8]>, material: Material) -> Self {
        Self(Arc::new(Inner { kind, bytes, material }))
    }

    /// The kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// Says whether `signature` is a genuine signature of `message`; never if the key does not fit the algorithm.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.0.kind.fits(algorithm) {
            return false;
        }
        let key = match &self.0.material {
            Material::Rsa(key) => key.parsed(algorithm),
            Material::Other(key) => Some(key),
        };
        key.is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl RsaKey {
    fn parsed(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let (index, parameters): (usize, &'static RsaParameters) = match algorithm {
            Algorithm::Rs256 => (0, &RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => (1, &RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => (2, &RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => (3, &RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => (4, &RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => (5, &RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => return None,
        };
        let slot = self.parsed.get(index)?;
        slot.get_or_init(|| self.components.to_parsed_public_key(parameters).ok()).as_ref()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind == other.0.kind && self.0.bytes == other.0.bytes
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("PublicKey").field(&self.0.kind).finish()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
