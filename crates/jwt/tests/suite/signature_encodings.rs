//! Malformed and confused signatures, in the manner of the Wycheproof project: none may verify.

use crate::mint::{Signer, b64, header, with_signature};
use aws_lc_rs::hmac;
use jwt::{Algorithm, KeySet, Token, VerifyError};

const EC: [(Algorithm, &str); 3] = [
    // The orders of the curves (FIPS 186-4, appendix D).
    (Algorithm::Es256, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    (
        Algorithm::Es384,
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    (
        Algorithm::Es512,
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c4\
         7aebb6fb71e91386409",
    ),
];

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// `left + right`, big-endian, in the length of `left`; `None` on overflow.
fn sum(left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0;
    let mut digits: Vec<u8> = left
        .iter()
        .zip(right)
        .rev()
        .map(|(left, right)| {
            let digit = u16::from(*left) + u16::from(*right) + carry;
            carry = digit >> 8;
            digit as u8
        })
        .collect();
    digits.reverse();
    (carry == 0).then_some(digits)
}

/// The signature as the ASN.1 structure that other protocols use.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut digits = number[zeros..].to_vec();
        if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
            digits.insert(0, 0);
        }
        [&[0x02, digits.len() as u8], digits.as_slice()].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let head = if body.len() < 128 { vec![0x30, body.len() as u8] } else { vec![0x30, 0x81, body.len() as u8] };
    [head, body].concat()
}

#[test]
fn ecdsa_numbers_out_of_range() {
    for (algorithm, order) in EC {
        let order = unhex(order);
        let signer = Signer::generate(algorithm);
        let keys = KeySet::from_keys([signer.public_key()]);
        let token = signer.token(algorithm, &header(algorithm), "{}");
        let genuine = Token::parse(&token).unwrap();
        assert_eq!(keys.verify(&genuine), Ok(()));
        let (r, s) = genuine.signature().split_at(order.len());
        let zero = vec![0; order.len()];
        let one = [&zero[1..], &[1]].concat();
        let ones = vec![0xff; order.len()];
        let numbers = [zero.as_slice(), &one, &order, &ones];
        let mut forged = Vec::new();
        for number in numbers {
            forged.extend(numbers.map(|other| [number, other].concat()));
            forged.push([number, s].concat());
            forged.push([r, number].concat());
        }
        forged.push([s, r].concat());
        // The same number modulo the order, where it fits the length.
        forged.extend(sum(r, &order).map(|r| [r.as_slice(), s].concat()));
        forged.extend(sum(s, &order).map(|s| [r, s.as_slice()].concat()));
        assert!(algorithm != Algorithm::Es512 || forged.len() == numbers.len() * (numbers.len() + 2) + 3);
        for signature in forged {
            assert_eq!(
                keys.verify(&with_signature(&token, &signature)),
                Err(VerifyError::BadSignature),
                "{algorithm} {signature:02x?}"
            );
        }
    }
}

#[test]
fn ecdsa_lengths_and_forms() {
    for (algorithm, order) in EC {
        let half = unhex(order).len();
        let signer = Signer::generate(algorithm);
        let keys = KeySet::from_keys([signer.public_key()]);
        let token = signer.token(algorithm, &header(algorithm), "{}");
        let genuine = Token::parse(&token).unwrap();
        let (r, s) = genuine.signature().split_at(half);
        let forged = [
            Vec::new(),
            r.to_vec(),
            s.to_vec(),
            der(r, s),
            [r, &s[..half - 1]].concat(),
            [&r[1..], s].concat(),
            [r, s, &[0]].concat(),
            [&[0], r, s].concat(),
            [&[0], r, &[0], s].concat(),
            [r, s, r, s].concat(),
            vec![0; 2 * half],
            vec![0; 2 * half + 1],
        ];
        for signature in forged {
            assert_eq!(
                keys.verify(&with_signature(&token, &signature)),
                Err(VerifyError::BadSignature),
                "{algorithm} {signature:02x?}"
            );
        }
    }
}

#[test]
fn ecdsa_leading_zeros_belong_to_the_signature() {
    let signer = Signer::generate(Algorithm::Es256);
    let keys = KeySet::from_keys([signer.public_key()]);
    // One signature of 256 has such an r.
    let (token, genuine) = (0..)
        .map(|id| signer.token(Algorithm::Es256, &header(Algorithm::Es256), &format!("{{\"id\":{id}}}")))
        .map(|token| (Token::parse(&token).unwrap(), token))
        .find(|(parsed, _)| parsed.signature()[0] == 0)
        .map(|(parsed, token)| (token, parsed))
        .unwrap();
    assert_eq!(keys.verify(&genuine), Ok(()));
    let stripped = with_signature(&token, &genuine.signature()[1..]);
    assert_eq!(keys.verify(&stripped), Err(VerifyError::BadSignature));
}

#[test]
fn rsa_lengths_and_leading_zeros() {
    let signer = Signer::generate(Algorithm::Rs256);
    let keys = KeySet::from_keys([signer.public_key()]);
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let (token, genuine) = (0..)
            .map(|id| signer.token(algorithm, &header(algorithm), &format!("{{\"id\":{id}}}")))
            .map(|token| (Token::parse(&token).unwrap(), token))
            .find(|(parsed, _)| parsed.signature()[0] == 0)
            .map(|(parsed, token)| (token, parsed))
            .unwrap();
        assert_eq!(keys.verify(&genuine), Ok(()));
        let signature = genuine.signature();
        let forged = [
            Vec::new(),
            vec![0; 256],
            vec![0xff; 256],
            [&[0; 255][..], &[1]].concat(),
            signature[1..].to_vec(),
            signature[..255].to_vec(),
            [&[0], signature].concat(),
            [signature, &[0]].concat(),
            [signature, signature].concat(),
        ];
        for signature in forged {
            assert_eq!(keys.verify(&with_signature(&token, &signature)), Err(VerifyError::BadSignature), "{algorithm}");
        }
    }
}

#[test]
fn eddsa_lengths_and_range() {
    let signer = Signer::generate(Algorithm::EdDsa);
    let keys = KeySet::from_keys([signer.public_key()]);
    let token = signer.token(Algorithm::EdDsa, &header(Algorithm::EdDsa), "{}");
    let genuine = Token::parse(&token).unwrap();
    assert_eq!(keys.verify(&genuine), Ok(()));
    let (r, s) = genuine.signature().split_at(32);
    // The order of the group, little-endian (RFC 8032, section 5.1): s must be below it.
    let mut order = unhex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed");
    let mut big_endian = s.to_vec();
    big_endian.reverse();
    let mut above = sum(&big_endian, &order).unwrap();
    above.reverse();
    order.reverse();
    let forged = [
        Vec::new(),
        vec![0; 64],
        vec![0xff; 64],
        r.to_vec(),
        [r, &s[..31]].concat(),
        [r, s, &[0]].concat(),
        [r, &[0; 32]].concat(),
        [r, &order].concat(),
        [r, &above].concat(),
        [s, r].concat(),
    ];
    for signature in forged {
        assert_eq!(
            keys.verify(&with_signature(&token, &signature)),
            Err(VerifyError::BadSignature),
            "{signature:02x?}"
        );
    }
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let rsa = Signer::generate(Algorithm::Rs256);
    let ec = Signer::generate(Algorithm::Es256);
    let keys = KeySet::from_keys([rsa.public_key(), ec.public_key()]);
    for secret in [rsa.pkcs1_pem(), rsa.jwk(""), ec.jwk(""), String::new()] {
        for (name, hash) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
            let f = |alg: &str, want: VerifyError| {
                let input = format!("{}.{}", b64(format!(r#"{{"alg":"{alg}"}}"#)), b64("{}"));
                let tag = hmac::sign(&hmac::Key::new(hash, secret.as_bytes()), input.as_bytes());
                let token = Token::parse(&format!("{input}.{}", b64(tag))).unwrap();
                assert_eq!(keys.verify(&token), Err(want), "{alg} {name}");
            };
            f(name, VerifyError::UnsupportedAlgorithm);
            f("RS256", VerifyError::BadSignature);
            f("ES256", VerifyError::BadSignature);
        }
    }
}

#[test]
fn algorithms_are_not_interchangeable() {
    let signers = Algorithm::ALL.map(Signer::generate);
    for (signer, made) in signers.iter().zip(Algorithm::ALL) {
        let keys = KeySet::from_keys([signer.public_key()]);
        for claimed in Algorithm::ALL {
            let token = Token::parse(&signer.token(made, &header(claimed), "{}")).unwrap();
            assert_eq!(keys.verify(&token).is_ok(), made == claimed, "{made} presented as {claimed}");
        }
        for claimed in
            ["none", "None", "NONE", "nOnE", "", "HS256", &made.name().to_lowercase(), "ES256K", "Ed448", "RSA"]
        {
            let token = Token::parse(&signer.token(made, &format!(r#"{{"alg":"{claimed}"}}"#), "{}")).unwrap();
            assert_eq!(keys.verify(&token), Err(VerifyError::UnsupportedAlgorithm), "{made} presented as {claimed}");
        }
        let token = Token::parse(&signer.token(made, "{}", "{}")).unwrap();
        assert_eq!(keys.verify(&token), Err(VerifyError::UnsupportedAlgorithm), "{made} without alg");
    }
}

#[test]
fn the_pss_salt_is_as_long_as_the_digest() {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaPssSaltLength, RsaSignatureEncoding};
    use std::sync::LazyLock;

    static EMPTY: LazyLock<RsaSignatureEncoding> =
        LazyLock::new(|| RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(0)));
    let signer = Signer::generate(Algorithm::Ps256);
    let keys = KeySet::from_keys([signer.public_key()]);
    let Signer::Rsa(pair) = &signer else { panic!("not RSA") };
    let token = signer.token(Algorithm::Ps256, &header(Algorithm::Ps256), "{}");
    let input = Token::parse(&token).unwrap().signing_input().to_vec();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&*EMPTY, &SystemRandom::new(), &input, &mut signature).unwrap();
    assert_eq!(keys.verify(&with_signature(&token, &signature)), Err(VerifyError::BadSignature));
}

#[test]
fn keys_in_the_header_are_ignored() {
    let (trusted, attacker) = (Signer::generate(Algorithm::Es256), Signer::generate(Algorithm::Es256));
    let keys = KeySet::from_keys([trusted.public_key()]);
    let jwk = attacker.jwk("");
    for more in [
        format!(r#""jwk":{jwk}"#),
        r#""jku":"https://attacker.example/keys""#.to_owned(),
        r#""x5u":"https://attacker.example/certificate""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"ES256",{more}}}"#);
        let forged = Token::parse(&attacker.token(Algorithm::Es256, &header, "{}")).unwrap();
        assert_eq!(keys.verify(&forged), Err(VerifyError::BadSignature), "{header}");
        let genuine = Token::parse(&trusted.token(Algorithm::Es256, &header, "{}")).unwrap();
        assert_eq!(keys.verify(&genuine), Ok(()), "{header}");
    }
    let critical = trusted.token(Algorithm::Es256, r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}");
    assert!(Token::parse(&critical).is_err());
}
