//! Which keys are tried for a token.

use crate::mint::{Signer, header};
use jwt::{Algorithm, Jwks, KeySet, Token, VerifyError};

fn jwks(keys: &[String]) -> KeySet {
    KeySet::from_jwks(Jwks::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap())
}

fn parse(token: &str) -> Token {
    Token::parse(token).unwrap()
}

#[test]
fn every_algorithm_with_its_key() {
    let signers: Vec<_> = Algorithm::ALL.iter().map(|algorithm| Signer::generate(*algorithm)).collect();
    let keys = KeySet::from_keys(signers.iter().map(Signer::public_key));
    for (signer, algorithm) in signers.iter().zip(Algorithm::ALL) {
        let token = signer.token(algorithm, &header(algorithm), "{}");
        assert_eq!(keys.verify(&parse(&token)), Ok(()), "{algorithm}");
        let stranger = Signer::generate(algorithm).token(algorithm, &header(algorithm), "{}");
        assert_eq!(keys.verify(&parse(&stranger)), Err(VerifyError::BadSignature), "{algorithm}");
        assert_eq!(KeySet::from_keys([]).verify(&parse(&token)), Err(VerifyError::UnknownKey), "{algorithm}");
    }
}

#[test]
fn keys_of_the_configuration_ignore_kid() {
    let (one, two) = (Signer::generate(Algorithm::Es256), Signer::generate(Algorithm::Es256));
    let keys = KeySet::from_keys([one.public_key(), two.public_key()]);
    let token = parse(&two.token(Algorithm::Es256, r#"{"alg":"ES256","kid":"whatever"}"#, "{}"));
    assert_eq!(keys.verify(&token), Ok(()));
    let foreign = parse(&one.token(Algorithm::Es256, r#"{"alg":"EdDSA","kid":"whatever"}"#, "{}"));
    assert_eq!(keys.verify(&foreign), Err(VerifyError::UnknownKey));
    assert!(!keys.refetch_may_help(&foreign, VerifyError::UnknownKey));
}

#[test]
fn keys_of_a_provider_obey_kid() {
    let [one, two, three, bare] = [(); 4].map(|()| Signer::generate(Algorithm::Es256));
    let keys = jwks(&[one.jwk(r#","kid":"a""#), two.jwk(r#","kid":"a""#), three.jwk(r#","kid":"b""#), bare.jwk("")]);
    let f = |signer: &Signer, kid: &str, want: Result<(), VerifyError>| {
        let token = parse(&signer.token(Algorithm::Es256, &format!(r#"{{"alg":"ES256"{kid}}}"#), "{}"));
        assert_eq!(keys.verify(&token), want, "{kid}");
    };
    f(&one, r#","kid":"a""#, Ok(()));
    f(&two, r#","kid":"a""#, Ok(()));
    f(&three, r#","kid":"a""#, Err(VerifyError::BadSignature));
    f(&three, r#","kid":"b""#, Ok(()));
    f(&bare, r#","kid":"b""#, Err(VerifyError::BadSignature));
    f(&bare, r#","kid":"c""#, Err(VerifyError::UnknownKey));
    f(&one, r#","kid":"A""#, Err(VerifyError::UnknownKey));
    for signer in [&one, &two, &three, &bare] {
        f(signer, "", Ok(()));
        f(signer, r#","kid":"""#, Ok(()));
    }
    f(&Signer::generate(Algorithm::Es256), "", Err(VerifyError::BadSignature));
}

#[test]
fn alg_of_a_provider_key_limits_it() {
    let signer = Signer::generate(Algorithm::Rs256);
    let keys = jwks(&[signer.jwk(r#","alg":"RS256","kid":"a""#)]);
    let f = |algorithm: Algorithm, want: Result<(), VerifyError>| {
        let token = signer.token(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"a"}}"#), "{}");
        assert_eq!(keys.verify(&parse(&token)), want, "{algorithm}");
    };
    f(Algorithm::Rs256, Ok(()));
    f(Algorithm::Rs384, Err(VerifyError::UnknownKey));
    f(Algorithm::Ps256, Err(VerifyError::UnknownKey));
}

#[test]
fn new_keys_may_help_only_some_tokens() {
    let signer = Signer::generate(Algorithm::Es256);
    let keys = jwks(&[signer.jwk(r#","kid":"a""#)]);
    let f = |header: &str, error: VerifyError, want: bool| {
        let token = parse(&Signer::generate(Algorithm::Es256).token(Algorithm::Es256, header, "{}"));
        assert_eq!(keys.verify(&token), Err(error), "{header}");
        assert_eq!(keys.refetch_may_help(&token, error), want, "{header}");
    };
    f(r#"{"alg":"ES256","kid":"new"}"#, VerifyError::UnknownKey, true);
    f(r#"{"alg":"ES256","kid":"a"}"#, VerifyError::BadSignature, false);
    f(r#"{"alg":"ES256"}"#, VerifyError::BadSignature, true);
    f(r#"{"alg":"RS256"}"#, VerifyError::UnknownKey, true);
    f(r#"{"alg":"none"}"#, VerifyError::UnsupportedAlgorithm, false);
}

#[test]
fn sets_are_equal_by_content() {
    let (one, two) = (Signer::generate(Algorithm::Es256), Signer::generate(Algorithm::EdDsa));
    let set = |kid: &str| jwks(&[one.jwk(&format!(r#","kid":"{kid}""#)), two.jwk("")]);
    assert_eq!(set("a"), set("a"));
    assert_ne!(set("a"), set("b"));
    assert_ne!(jwks(&[one.jwk("")]), KeySet::from_keys([one.public_key()]));
    assert_eq!((set("a").len(), set("a").is_empty(), jwks(&[]).is_empty()), (2, false, true));
}
