//! Keys as they stand in a configuration.

use crate::mint::{Signer, header};
use jwt::{Algorithm, KeyError, KeyKind, KeySet, PublicKey, Token};

const RSA: &str = include_str!("keys/rsa.pub");
const RSA_PKCS1: &str = include_str!("keys/rsa-pkcs1.pub");
const RSA_CERTIFICATE: &str = include_str!("keys/rsa.crt");

#[test]
fn reads_every_form() {
    let f = |text: &str, want: KeyKind| assert_eq!(PublicKey::from_pem(text).unwrap().kind(), want, "{text}");
    f(RSA, KeyKind::Rsa);
    f(RSA_PKCS1, KeyKind::Rsa);
    f(RSA_CERTIFICATE, KeyKind::Rsa);
    f(include_str!("keys/p256.pub"), KeyKind::P256);
    f(include_str!("keys/p384.pub"), KeyKind::P384);
    f(include_str!("keys/p521.pub"), KeyKind::P521);
    f(include_str!("keys/ed25519.pub"), KeyKind::Ed25519);
    f(&RSA.replace('\n', "\r\n"), KeyKind::Rsa);
    f(&format!("a comment\n{RSA}"), KeyKind::Rsa);
    // Labels of other tools.
    f(&RSA.replace("PUBLIC KEY", "RSA PUBLIC KEY"), KeyKind::Rsa);
    f(&RSA_PKCS1.replace("RSA PUBLIC KEY", "PUBLIC KEY"), KeyKind::Rsa);
    f(&RSA.replace("PUBLIC KEY", "CERTIFICATE"), KeyKind::Rsa);
    f(&RSA_CERTIFICATE.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), KeyKind::Rsa);
    f(&include_str!("keys/p256.pub").replace("PUBLIC KEY", "EC PUBLIC KEY"), KeyKind::P256);
    // Headers, blanks and a single long line.
    f(&RSA.replacen("-----\n", "-----\nComment: key of 2026\n\n", 1), KeyKind::Rsa);
    f(&RSA.replace('\n', " \n"), KeyKind::Rsa);
    let long: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
    f(&format!("-----BEGIN PUBLIC KEY-----\n{long}\n-----END PUBLIC KEY-----"), KeyKind::Rsa);
    // Only the first block counts.
    f(&format!("{}{RSA}", include_str!("keys/p256.pub")), KeyKind::P256);
    f(&format!("{RSA}-----BEGIN PUBLIC KEY-----\n!"), KeyKind::Rsa);
}

#[test]
fn forms_of_one_key_are_equal() {
    let [key, pkcs1, certificate] = [RSA, RSA_PKCS1, RSA_CERTIFICATE].map(|text| PublicKey::from_pem(text).unwrap());
    assert_eq!(key, pkcs1);
    assert_eq!(key, certificate);
    assert_ne!(key, PublicKey::from_pem(include_str!("keys/ed25519.pub")).unwrap());
    assert_eq!(format!("{key:?}"), "PublicKey(Rsa)");
}

#[test]
fn reads_what_verifies() {
    let signer = Signer::generate(Algorithm::Rs256);
    let keys = KeySet::from_keys([PublicKey::from_pem(&signer.pkcs1_pem()).unwrap()]);
    let token = signer.token(Algorithm::Ps512, &header(Algorithm::Ps512), "{}");
    assert_eq!(keys.verify(&Token::parse(&token).unwrap()), Ok(()));
}

#[test]
fn refuses_unusable_keys() {
    let f = |text: &str, want: KeyError| assert_eq!(PublicKey::from_pem(text).unwrap_err(), want, "{text}");
    let block = |label: &str, text: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
    f("", KeyError::NotPem);
    f("invalid", KeyError::NotPem);
    f(&format!("-----BEGIN PUBLIC KEY-----\n{}", "A".repeat(100_000)), KeyError::NotPem);
    f(include_str!("keys/rsa1024.pub"), KeyError::RsaSize(1024));
    f(include_str!("keys/p224.pub"), KeyError::Curve);
    f(include_str!("keys/secp256k1.pub"), KeyError::Curve);
    f(include_str!("keys/x25519.pub"), KeyError::KeyType("1.3.101.110".into()));
    f(include_str!("keys/rsa-pss.pub"), KeyError::KeyType("1.2.840.113549.1.1.10".into()));
    f(&RSA.replace("-----END PUBLIC KEY-----", ""), KeyError::NotPem);
    f(&RSA.replace("MIIB", "!!!!"), KeyError::NotPem);
    f(&block("PUBLIC KEY", "AAAA"), KeyError::Der("public key"));
    f(&block("PUBLIC KEY", ""), KeyError::Der("public key"));
    f(&block("RSA PUBLIC KEY", "AAAA"), KeyError::Der("RSA public key"));
    f(&block("CERTIFICATE", "AAAA"), KeyError::Der("certificate"));
    f(&block("CERTIFICATE REQUEST", "AAAA"), KeyError::Label("CERTIFICATE REQUEST".into()));
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        f(&block(label, "c2VjcmV0"), KeyError::PrivateKey);
    }
}

#[test]
fn reads_numbers_within_bounds() {
    let odd = |length: usize| vec![0xff; length];
    let f = |n: &[u8], e: &[u8], want: Result<KeyKind, KeyError>| {
        assert_eq!(PublicKey::from_rsa(n, e).map(|key| key.kind()), want, "{} bytes, e={e:?}", n.len());
    };
    f(&odd(256), &[1, 0, 1], Ok(KeyKind::Rsa));
    f(&odd(256), &[3], Ok(KeyKind::Rsa));
    f(&odd(1024), &[0, 1, 0, 1], Ok(KeyKind::Rsa));
    f(&odd(255), &[1, 0, 1], Err(KeyError::RsaSize(2040)));
    f(&[&[0x7f], &odd(255)[..]].concat(), &[1, 0, 1], Err(KeyError::RsaSize(2047)));
    f(&odd(1025), &[1, 0, 1], Err(KeyError::RsaSize(8200)));
    f(&[], &[1, 0, 1], Err(KeyError::RsaSize(0)));
    f(&[&odd(255)[..], &[0xfe]].concat(), &[1, 0, 1], Err(KeyError::RsaModulus));
    f(&odd(256), &[], Err(KeyError::RsaExponent));
    f(&odd(256), &[1], Err(KeyError::RsaExponent));
    f(&odd(256), &[1, 0, 0], Err(KeyError::RsaExponent));
    f(&odd(256), &[2, 0, 0, 0, 1], Err(KeyError::RsaExponent));
    f(&odd(256), &odd(256), Err(KeyError::RsaExponent));
    assert_eq!(PublicKey::from_coordinates(KeyKind::Rsa, &[1], &[1]).unwrap_err(), KeyError::Curve);
    assert_eq!(PublicKey::from_coordinates(KeyKind::P256, &[], &[]).unwrap_err(), KeyError::Point("P-256"));
    assert_eq!(PublicKey::from_ed25519(&[0; 33]).unwrap_err(), KeyError::Ed25519);
}
