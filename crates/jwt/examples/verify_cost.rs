//! Prints what a token costs: parsing it, and verifying its signature by each algorithm, in microseconds.
//!
//! Run with `cargo run --release -p jwt --example verify_cost`. Each figure is the best of five rounds.
#![allow(clippy::print_stdout)] // the figures are its purpose

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jwt::{Algorithm, KeyKind, KeySet, PublicKey, Token};
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

const CLAIMS: &str = r#"{"iss":"https://issuer.example.com/realms/main","sub":"3f1c9a5e","aud":["vmauth","account"],
    "exp":1795284488,"nbf":1795284188,"iat":1795284188,"scope":"openid metrics","vm_access":{"metrics_account_id":7,
    "metrics_project_id":1,"metrics_extra_labels":["team=ops"],"metrics_extra_filters":["{team=\"ops\"}"]}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<12} {:>8} {:>10}", "algorithm", "parse µs", "verify µs");
    for (size, bits) in [(KeySize::Rsa2048, 2048), (KeySize::Rsa4096, 4096)] {
        let pair = RsaKeyPair::generate(size)?;
        let pem = STANDARD.encode(pair.public_key());
        let key = PublicKey::from_pem(&format!("-----BEGIN RSA PUBLIC KEY-----\n{pem}\n-----END RSA PUBLIC KEY-----"))?;
        let paddings: [(Algorithm, &RsaSignatureEncoding); 6] = [
            (Algorithm::Rs256, &RSA_PKCS1_SHA256),
            (Algorithm::Rs384, &RSA_PKCS1_SHA384),
            (Algorithm::Rs512, &RSA_PKCS1_SHA512),
            (Algorithm::Ps256, &RSA_PSS_SHA256),
            (Algorithm::Ps384, &RSA_PSS_SHA384),
            (Algorithm::Ps512, &RSA_PSS_SHA512),
        ];
        for (algorithm, padding) in paddings {
            let sign = |message: &[u8]| {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map(|()| signature)
            };
            measure(&format!("{algorithm}-{bits}"), algorithm, &key, sign)?;
        }
    }
    let curves: [(Algorithm, KeyKind, &'static EcdsaSigningAlgorithm); 3] = [
        (Algorithm::Es256, KeyKind::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::Es384, KeyKind::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        (Algorithm::Es512, KeyKind::P521, &ECDSA_P521_SHA512_FIXED_SIGNING),
    ];
    for (algorithm, kind, curve) in curves {
        let pair = EcdsaKeyPair::generate(curve)?;
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let key = PublicKey::from_coordinates(kind, x, y)?;
        let sign = |message: &[u8]| Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec());
        measure(algorithm.name(), algorithm, &key, sign)?;
    }
    let pair = Ed25519KeyPair::generate()?;
    let key = PublicKey::from_ed25519(pair.public_key().as_ref())?;
    measure("EdDSA", Algorithm::EdDsa, &key, |message| Ok(pair.sign(message).as_ref().to_vec()))
}

fn measure(
    title: &str,
    algorithm: Algorithm,
    key: &PublicKey,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, Unspecified>,
) -> Result<(), Box<dyn Error>> {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"2026-11-main"}}"#);
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS));
    let text = format!("{input}.{}", URL_SAFE_NO_PAD.encode(sign(input.as_bytes())?));
    let keys = KeySet::from_keys([key.clone()]);
    let token = Token::parse(&text)?;
    keys.verify(&token)?;
    let parse = best_of_five(|| {
        let _ = black_box(Token::parse(black_box(&text)));
    });
    let verify = best_of_five(|| {
        let _ = black_box(keys.verify(black_box(&token)));
    });
    println!("{title:<12} {parse:>8.2} {verify:>10.2}");
    Ok(())
}

/// Microseconds of one call.
fn best_of_five(mut call: impl FnMut()) -> f64 {
    let mut round = || {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(100) {
            for _ in 0..16 {
                call();
            }
            calls += 16;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}
