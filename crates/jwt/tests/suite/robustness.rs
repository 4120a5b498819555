//! Foreign bytes never panic, and no change to a token keeps it genuine.

use crate::mint::{Signer, b64, header};
use jwt::{Algorithm, ClaimPath, Claims, Jwks, KeySet, PublicKey, Token};
use proptest::prelude::*;
use std::sync::LazyLock;

static TOKENS: LazyLock<Vec<(String, KeySet)>> = LazyLock::new(|| {
    [Algorithm::Rs256, Algorithm::Ps384, Algorithm::Es256, Algorithm::Es512, Algorithm::EdDsa].map(genuine).into()
});

static RSA: LazyLock<(String, PublicKey, Token)> = LazyLock::new(|| {
    let signer = Signer::generate(Algorithm::Rs256);
    let token = signer.token(Algorithm::Rs256, &header(Algorithm::Rs256), "{}");
    (signer.pkcs1_pem(), signer.public_key(), Token::parse(&token).unwrap())
});

fn genuine(algorithm: Algorithm) -> (String, KeySet) {
    let signer = Signer::generate(algorithm);
    let token = signer.token(algorithm, &header(algorithm), r#"{"exp":1,"vm_access":{"metrics_account_id":7}}"#);
    (token, KeySet::from_keys([signer.public_key()]))
}

/// JSON of the shapes that tokens and key sets have, with values that do not belong there.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        "[ -~]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[A-Za-z0-9_-]{0,90}".prop_map(|text| format!("\"{text}\"")),
    ];
    let name = prop::sample::select(vec![
        "alg",
        "kid",
        "typ",
        "crit",
        "exp",
        "nbf",
        "iat",
        "iss",
        "aud",
        "sub",
        "scope",
        "vm_access",
        "tenant_id",
        "keys",
        "metrics_account_id",
        "metrics_extra_labels",
        "extra_labels",
        "kty",
        "n",
        "e",
        "crv",
        "x",
        "y",
        "use",
        "key_ops",
    ]);
    scalar.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), bytes in any::<Vec<u8>>(), key in ".*") {
        let _ = Token::parse(&text);
        let _ = Token::parse(&format!("{}.{}.{}", b64(&bytes), b64(&bytes), b64(&bytes)));
        let _ = Jwks::parse(&bytes);
        let _ = PublicKey::from_pem(&text);
        let _ = jwt::bearer_jwt(&text);
        if let Ok(claims) = Claims::parse(&bytes) {
            ClaimPath::parse(&key).any_value(&claims, |_| true);
        }
        for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"] {
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
            let _ = PublicKey::from_pem(&format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"));
        }
    }

    #[test]
    fn arbitrary_json_never_panics(header in json(), claims in json(), key in "(vm_access|scope|aud|x)(\\.[a-z0-9]{1,3}){0,3}") {
        if let Ok(token) = Token::parse(&format!("{}.{}.AAAA", b64(header), b64(&claims))) {
            let _ = TOKENS[0].1.verify(&token);
            let _ = token.claims().check_time(1, 0);
            ClaimPath::parse(&key).any_value(token.claims(), |_| false);
        }
        let _ = Jwks::parse(claims.as_bytes());
        let _ = Jwks::parse(format!("{{\"keys\":[{claims}]}}").as_bytes());
    }

    #[test]
    fn a_changed_token_is_never_genuine(which in 0..5_usize, at in any::<prop::sample::Index>(), letter in "[ -~]") {
        let (token, keys) = &TOKENS[which];
        let at = at.index(token.len());
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        // Both alphabets of base64 spell the same signature.
        let same = changed.replace('+', "-").replace('/', "_") == *token && at > token.rfind('.').unwrap();
        if changed != *token && !same {
            prop_assert!(!Token::parse(&changed).is_ok_and(|parsed| keys.verify(&parsed).is_ok()));
        }
    }

    #[test]
    fn a_cut_or_extended_token_is_never_genuine(which in 0..5_usize, at in any::<prop::sample::Index>(), more in "[A-Za-z0-9._-]{1,8}") {
        let (token, keys) = &TOKENS[which];
        let at = at.index(token.len());
        let genuine = |text: &str| Token::parse(text).is_ok_and(|parsed| keys.verify(&parsed).is_ok());
        prop_assert!(genuine(token));
        prop_assert!(!genuine(&token[..at]));
        prop_assert!(!genuine(&token[at + 1..]));
        let (inserted, extended) = (format!("{}{more}{}", &token[..at], &token[at..]), format!("{token}{more}"));
        prop_assert!(!genuine(&inserted));
        prop_assert!(!genuine(&extended));
    }

    #[test]
    fn a_changed_key_verifies_nothing(at in any::<prop::sample::Index>(), bit in 0..7_u32) {
        let (pem, key, token) = &*RSA;
        let mut bytes = pem.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let changed = PublicKey::from_pem(&String::from_utf8(bytes).unwrap());
        if let Ok(changed) = changed {
            let same = changed == *key;
            prop_assert_eq!(KeySet::from_keys([changed]).verify(token).is_ok(), same);
        }
    }
}
