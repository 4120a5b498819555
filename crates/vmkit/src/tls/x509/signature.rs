//! Signatures of certificates and of handshakes.
//!
//! The algorithms are those of the TLS provider; its RSA ones begin at 2048 bits. Go's begin at 1024, so PKCS #1 v1.5
//! signatures by smaller keys are checked with aws-lc's algorithms for old keys. PSS has none for them: such a
//! signature is [`SignatureFault::SmallKey`], which `docs/parity.md` names. MD5 and SHA-1 are never accepted.

use super::certificate::Certificate;
use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters,
    UnparsedPublicKey,
};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{SignatureVerificationAlgorithm, alg_id};

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum SignatureFault {
    /// It was not made over these bytes with that key.
    Invalid,
    /// MD5 or SHA-1.
    Insecure,
    /// The algorithm, or its use with that kind of key, is not known.
    Unsupported,
    /// An RSA key too small for this padding.
    SmallKey,
}

/// OIDs (content of AlgorithmIdentifier begins with them) of signatures that were broken long ago: RSA with MD5 or
/// SHA-1, ECDSA with SHA-1.
const INSECURE: [&[u8]; 3] = [
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
];

/// Whether `issuer`'s key signed `certificate`.
pub(super) fn verify_certificate(
    algorithms: &WebPkiSupportedAlgorithms,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<(), SignatureFault> {
    let wanted = certificate.signature_algorithm();
    if INSECURE.iter().any(|oid| wanted.starts_with(oid)) {
        return Err(SignatureFault::Insecure);
    }
    let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| algorithm.signature_alg_id().as_ref() == wanted;
    let candidates: Vec<_> = algorithms.all.iter().filter(fits).copied().collect();
    verify(&candidates, issuer, certificate.to_be_signed(), certificate.signature())
}

/// Whether the owner of `certificate`'s key signed `message` in a handshake (RFC 8446, section 4.4.3).
pub(in crate::tls) fn verify_handshake(
    algorithms: &WebPkiSupportedAlgorithms,
    certificate: &Certificate,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
    is_tls13: bool,
) -> Result<(), SignatureFault> {
    let (_, candidates) =
        algorithms.mapping.iter().find(|(known, _)| *known == scheme).ok_or(SignatureFault::Unsupported)?;
    let is_pkcs1 = matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA384 | SignatureScheme::RSA_PKCS1_SHA512
    );
    if is_tls13 && is_pkcs1 {
        return Err(SignatureFault::Unsupported);
    }
    // TLS 1.3 binds the curve to the scheme: only the first algorithm counts.
    let count = if is_tls13 { 1 } else { candidates.len() };
    verify(candidates.get(..count).unwrap_or_default(), certificate, message, signature)
}

fn verify(
    candidates: &[&dyn SignatureVerificationAlgorithm],
    signer: &Certificate,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let (key_algorithm, key) = (signer.key_algorithm(), signer.key_bits());
    let fits =
        |algorithm: &&&dyn SignatureVerificationAlgorithm| algorithm.public_key_alg_id().as_ref() == key_algorithm;
    let algorithm = candidates.iter().find(fits).ok_or(SignatureFault::Unsupported)?;
    if key_algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        match RsaParameters::public_modulus_len(key) {
            Ok(1024..2048) => return verify_small_rsa(*algorithm, key, message, signature),
            Ok(2048..) => {}
            Ok(_) | Err(_) => return Err(SignatureFault::Unsupported),
        }
    }
    algorithm.verify_signature(key, message, signature).map_err(|_| SignatureFault::Invalid)
}

fn verify_small_rsa(
    algorithm: &dyn SignatureVerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let id = algorithm.signature_alg_id();
    let parameters = if id == alg_id::RSA_PKCS1_SHA256 {
        &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
    } else if id == alg_id::RSA_PKCS1_SHA512 {
        &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
    } else {
        return Err(SignatureFault::SmallKey);
    };
    UnparsedPublicKey::new(parameters, key).verify(message, signature).map_err(|_| SignatureFault::Invalid)
}
