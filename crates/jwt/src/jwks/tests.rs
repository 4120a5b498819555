use super::*;

/// The modulus of RFC 7517, appendix A.1.
const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjh\
Mstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91C\
bOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
/// The point of the same appendix.
const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
/// The key of RFC 8037, appendix A.2.
const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn parse(keys: &str) -> Jwks {
    Jwks::parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).unwrap()
}

fn rsa(more: &str) -> String {
    format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAB"{more}}}"#)
}

fn p256(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
}

#[test]
fn reads_the_example_of_rfc_7517() {
    let set = parse(&format!("{},{}", p256(r#","use":"enc","kid":"1""#), rsa(r#","alg":"RS256","kid":"2011-04-29""#)));
    let [key] = set.keys.as_slice() else { panic!("{set:?}") };
    assert_eq!(
        (key.kid.as_deref(), key.algorithm, key.key.kind()),
        (Some("2011-04-29"), Some(Algorithm::Rs256), KeyKind::Rsa)
    );
    assert_eq!(set.skipped, [SkippedKey { kid: Some("1".into()), reason: SkipReason::Use("enc".into()) }]);
    assert!(set.skipped[0].reason.is_expected());
}

#[test]
fn keeps_usable_keys() {
    let f = |json: &str, kind: KeyKind, algorithms: &[Algorithm]| {
        let set = parse(json);
        let [key] = set.keys.as_slice() else { panic!("{json}: {set:?}") };
        assert_eq!(key.key.kind(), kind, "{json}");
        let fitting: Vec<_> = Algorithm::ALL.into_iter().filter(|algorithm| key.fits(*algorithm)).collect();
        assert_eq!(fitting, algorithms, "{json}");
    };
    use Algorithm::{EdDsa, Es256, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    let all = [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];
    f(&rsa(""), KeyKind::Rsa, &all);
    f(&rsa(r#","alg":"""#), KeyKind::Rsa, &all);
    f(&rsa(r#","alg":"PS384","use":"sig""#), KeyKind::Rsa, &[Ps384]);
    f(&rsa(r#","key_ops":["sign","verify"],"x5c":[1],"ext":true"#), KeyKind::Rsa, &all);
    // Serializers write members that are not set.
    f(&rsa(r#","key_ops":[],"x5c":[]"#), KeyKind::Rsa, &all);
    f(&rsa(r#","key_ops":[null]"#), KeyKind::Rsa, &all);
    f(&rsa(r#","key_ops":"verify""#), KeyKind::Rsa, &all);
    f(&rsa(r#","key_ops":null,"alg":null,"use":null,"kid":null,"crv":null,"x":null,"d":null"#), KeyKind::Rsa, &all);
    f(&rsa(r#","use":"""#), KeyKind::Rsa, &all);
    f(&format!(r#"{{"kty":"RSA","n":"AAAA{N}","e":"AAABAAE"}}"#), KeyKind::Rsa, &all); // leading zeros
    f(&p256(""), KeyKind::P256, &[Es256]);
    f(&p256(r#","alg":"ES256","use":"sig""#), KeyKind::P256, &[Es256]);
    f(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED}"}}"#), KeyKind::Ed25519, &[EdDsa]);
    f(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED}","alg":"Ed25519"}}"#), KeyKind::Ed25519, &[EdDsa]);
    f(&format!(r#"{{"kty":"RSA","kty":"oct","n":"{N}","e":"AQAB"}}"#), KeyKind::Rsa, &all); // the first key wins
}

#[test]
fn skips_unusable_keys_one_by_one() {
    let f = |json: &str, want: &str| {
        let set = parse(&format!("{json},{}", rsa(r#","kid":"good""#)));
        assert_eq!(set.keys.len(), 1, "{json}");
        let [skipped] = set.skipped.as_slice() else { panic!("{json}: {set:?}") };
        assert_eq!(skipped.reason.to_string(), want, "{json}");
    };
    f("1", "it isn't a json object");
    f("null", "it isn't a json object");
    f("{}", "unsupported jwk.KTY: ; want RSA, EC or OKP");
    f(r#"{"kty":"oct","k":"c2VjcmV0"}"#, "unsupported jwk.KTY: oct; want RSA, EC or OKP");
    f(r#"{"kty":"rsa"}"#, "unsupported jwk.KTY: rsa; want RSA, EC or OKP");
    f(r#"{"kty":"R\nA"}"#, "unsupported jwk.KTY: R\\nA; want RSA, EC or OKP");
    f(r#"{"kty":7}"#, "jwk.kty has a wrong type");
    f(r#"{"kty":"RSA"}"#, "jwks key without e or n found");
    f(r#"{"kty":"RSA","n":"","e":"AQAB"}"#, "jwks key without e or n found");
    f(r#"{"kty":"RSA","n":"AQ==","e":"AQAB"}"#, "failed to decode jwks key n: not base64url without padding");
    f(&format!(r#"{{"kty":"RSA","n":"{N}","e":"A B"}}"#), "failed to decode jwks key e: not base64url without padding");
    for exponent in ["AA", "AQ", "Ag", "AQAA", "A_____8", "AgAAAAE", "AQAAAAAB", "AQAAAAAAAAAAAAAB"] {
        f(&format!(r#"{{"kty":"RSA","n":"{N}","e":"{exponent}"}}"#), "invalid RSA exponent");
    }
    f(
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        "RSA key of 17 bits is not supported; want at least 2048 and at most 8192 bits",
    );
    f(
        r#"{"kty":"RSA","n":"AAAA","e":"AQAB"}"#,
        "RSA key of 0 bits is not supported; want at least 2048 and at most 8192 bits",
    );
    let want = "jwks RSA key has unsupported alg=RSA-OAEP; supported [RS256 RS384 RS512], [PS256 PS384 PS512]";
    f(&rsa(r#","alg":"RSA-OAEP""#), want);
    let want = "jwks RSA key has unsupported alg=HS256; supported [RS256 RS384 RS512], [PS256 PS384 PS512]";
    f(&rsa(r#","alg":"HS256","use":"sig""#), want);
    f(&rsa(r#","kid":5"#), "jwk.kid has a wrong type");
    f(&rsa(r#","use":["sig"]"#), "jwk.use has a wrong type");
    f(&rsa(r#","use":"enc""#), "it has use=enc, so it isn't for signatures");
    f(&rsa(r#","key_ops":["encrypt"]"#), "its key_ops don't contain \"verify\"");
    f(&rsa(r#","key_ops":7"#), "jwk.key_ops has a wrong type");
    f(r#"{"kty":"EC","crv":"P-256"}"#, "jwks key without crv or x or y found");
    f(&format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{X}","y":"{Y}"}}"#), "jwk EC crv \"secp256k1\" unsupported");
    f(&p256(r#","alg":"ES384""#), "jwks key has alg=ES384 that does not match curve P-256");
    f(&p256(r#","alg":"RS256""#), "jwks key has alg=RS256 that does not match curve P-256");
    let off = "jwk EC key invalid; x,y are not on curve P-256";
    f(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{Y}","y":"{X}"}}"#), off);
    f(r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, off);
    f(
        &format!(r#"{{"kty":"EC","crv":"P-256","x":"AQ{X}","y":"{Y}"}}"#),
        "failed to decode jwks key x: not base64url without padding",
    );
    f(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{N}","y":"{Y}"}}"#), off);
    f(
        &format!(r#"{{"kty":"EC","crv":"P-384","x":"{X}","y":"{Y}"}}"#),
        "jwk EC key invalid; x,y are not on curve P-384",
    );
    f(r#"{"kty":"OKP","crv":"Ed25519"}"#, "jwks key without crv or x found");
    f(&format!(r#"{{"kty":"OKP","crv":"X25519","x":"{ED}"}}"#), "jwk OKP crv \"X25519\" unsupported");
    f(r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "invalid Ed25519 key");
    f(
        &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED}","alg":"ES256"}}"#),
        "jwks key has alg=ES256 that does not match curve Ed25519",
    );
}

#[test]
fn refuses_what_is_no_set() {
    let f = |text: &str| assert!(Jwks::parse(text.as_bytes()).is_err(), "{text}");
    for text in ["", "oops", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]} x"#] {
        f(text);
    }
    f(&" ".repeat(MAX_JWKS_BYTES + 1));
    assert!(parse("").keys.is_empty());
}

#[test]
fn bounds_the_number_of_keys() {
    let keys = vec![p256(""); MAX_JWKS_KEYS + 3].join(",");
    let set = parse(&keys);
    assert_eq!((set.keys.len(), set.skipped.len()), (MAX_JWKS_KEYS, 3));
    assert_eq!(set.skipped[0].reason, SkipReason::TooMany);
    let set = parse(&vec!["{}"; 10_000].join(","));
    assert_eq!((set.keys.len(), set.skipped.len()), (0, MAX_REASONS));
    let long = parse(&format!(r#"{{"kid":"{}"}}"#, "k".repeat(1000)));
    assert_eq!(long.skipped[0].kid.as_ref().map(String::len), Some(64));
}
