//! Tokens in compact form, and claims without the base64 around them: no panic, and nothing is ever verified.
#![no_main]

use jwt::{ClaimPath, Claims, KeySet, PublicKey, Token};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const KEY: &str = include_str!("../../crates/jwt/tests/suite/keys/rsa.pub");

static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::from_keys(PublicKey::from_pem(KEY)));

fn read(claims: &Claims) {
    let _ = claims.check_time(1_700_000_000, 60);
    for key in ["vm_access.metrics_account_id", "scope", "aud", "a\\.b.0.c"] {
        ClaimPath::parse(key).any_value(claims, |value| value.is_empty());
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(claims) = Claims::parse(bytes) {
        read(&claims);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = jwt::bearer_jwt(text);
    ClaimPath::parse(text);
    if let Ok(token) = Token::parse(text) {
        read(token.claims());
        assert!(KEYS.verify(&token).is_err(), "nobody has the private key");
    }
});
