//! Which user gets a token, and why nobody does.

use std::time::Duration;

use super::*;
use crate::authn::trace::Silent;
use crate::metrics::TokenRefusalMetrics;
use crate::oidc::refetch_all;
use crate::oidc::test_provider::{ISSUER, Provider, Signer};
use jwt::RefusalCause;
use vmkit::metrics::Set;

const NOW: u64 = 1000;

fn keys(signers: &[&Signer]) -> KeyInput {
    KeyInput::Static(Arc::new(KeySet::from_keys(signers.iter().map(|signer| signer.public_key()))))
}

fn user(user: u32, keys: KeyInput, claims: &[(&str, &'static str)]) -> JwtUserInput {
    let pattern = |want: &'static str| -> ClaimPattern { Box::new(move |value| value == want.as_bytes()) };
    JwtUserInput {
        user,
        name: format!("user-{user}"),
        keys,
        audience: Vec::new(),
        clock_skew: Duration::ZERO,
        match_claims: claims.iter().map(|(path, want)| ((*path).to_owned(), pattern(want))).collect(),
        default_claim: None,
    }
}

/// A refusal, and whose newer keys may change it.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    refetch: Vec<Arc<IssuerKeys>>,
}

impl std::ops::Deref for Refused {
    type Target = Refusal;

    fn deref(&self) -> &Refusal {
        &self.refusal
    }
}

fn outcome(users: &JwtUsers, token: &str) -> Result<Arc<AcceptedToken>, Box<Refused>> {
    match users.accept(format!("Bearer {token}").as_bytes(), NOW, &mut Silent) {
        JwtOutcome::Accepted(accepted) => Ok(accepted),
        JwtOutcome::Refused(refusal, refetch) => Err(Box::new(Refused { refusal: *refusal, refetch })),
        JwtOutcome::NotAToken => panic!("not a token: {token}"),
    }
}

fn verdict(users: &JwtUsers, token: &str) -> Result<u32, RefusalCause> {
    outcome(users, token).map(|accepted| accepted.user).map_err(|refusal| refusal.cause)
}

#[test]
fn other_credentials_are_left_alone() {
    let users = JwtUsers::build(vec![user(1, KeyInput::SkipVerify, &[])]);
    let token = Signer::new().token("", r#"{"exp":2000,"vm_access":{}}"#);
    let f = |value: &[u8], is_token: bool| {
        assert_eq!(!matches!(users.accept(value, NOW, &mut Silent), JwtOutcome::NotAToken), is_token, "{value:?}");
    };
    f(format!("Bearer {token}").as_bytes(), true);
    f(format!("bEaReR {token}").as_bytes(), true);
    f(b"Bearer ..", true);
    f(token.as_bytes(), false);
    f(format!("Basic {token}").as_bytes(), false);
    f(b"Bearer a.b", false);
    f(b"Bearer a.b.c.d", false);
    f(b"Bearer \xff.b.c", false);
    f(b"", false);
    let nobody = JwtUsers::build(Vec::new());
    assert!(matches!(nobody.accept(format!("Bearer {token}").as_bytes(), NOW, &mut Silent), JwtOutcome::NotAToken));
}

#[test]
fn more_claims_come_first_then_the_order_of_the_file() {
    let signer = Signer::new();
    let users = JwtUsers::build(vec![
        user(1, keys(&[&signer]), &[]),
        user(2, keys(&[&signer]), &[("role", "admin")]),
        user(3, keys(&[&signer]), &[("role", "admin"), ("team.0", "a")]),
        user(4, keys(&[&signer]), &[("team", "a")]),
    ]);
    let f = |claims: &str, want: u32| {
        let token = signer.token("", &format!(r#"{{"exp":2000,"vm_access":{{}}{claims}}}"#));
        assert_eq!(verdict(&users, &token), Ok(want), "{claims}");
    };
    f("", 1);
    f(r#","role":"admin""#, 2);
    f(r#","role":"admin","team":["a"]"#, 3);
    f(r#","role":"admin","team":["b","a"]"#, 2);
    f(r#","team":["b","a"]"#, 4);
    f(r#","role":"superadmin""#, 1);
}

#[test]
fn users_that_do_not_fit_are_passed_over() {
    let (a, b, c) = (Signer::new(), Signer::new(), Signer::new());
    let users = JwtUsers::build(vec![
        user(1, keys(&[&a]), &[("role", "admin")]),
        JwtUserInput { audience: vec!["x".to_owned()], ..user(2, keys(&[&b]), &[("role", "admin")]) },
        user(3, keys(&[&b]), &[]),
    ]);
    let f = |signer: &Signer, claims: &str, want: Result<u32, RefusalCause>| {
        let token = signer.token("whatever", &format!(r#"{{"exp":2000,"vm_access":{{}}{claims}}}"#));
        assert_eq!(verdict(&users, &token), want, "{claims}");
    };
    f(&a, r#","role":"admin""#, Ok(1));
    f(&b, r#","role":"admin","aud":["y","x"]"#, Ok(2));
    f(&b, r#","role":"admin","aud":"y""#, Ok(3));
    f(&c, r#","role":"admin""#, Err(RefusalCause::BadSignature));
    f(&a, "", Err(RefusalCause::BadSignature));
}

#[test]
fn causes() {
    let (a, b) = (Signer::new(), Signer::new());
    let strict = || JwtUserInput { audience: vec!["x".to_owned()], ..user(1, keys(&[&a]), &[("role", "admin")]) };
    let users = JwtUsers::build(vec![strict()]);
    let f = |signer: &Signer, claims: &str, want: Result<u32, RefusalCause>, text: &str| {
        let result = outcome(&users, &signer.token("", claims));
        assert_eq!(result.as_ref().map(|accepted| accepted.user).map_err(|refusal| refusal.cause), want, "{claims}");
        if let Err(refusal) = result {
            assert!(refusal.log_text().starts_with(&format!("{text}; cause={}", refusal.cause)), "{refusal:?}");
        }
    };
    use RefusalCause::*;
    let good = r#"{"exp":1000,"nbf":1060,"role":"admin","aud":"x","vm_access":{}}"#;
    f(&a, good, Ok(1), "");
    let bad = "cannot verify jwt token: failed to verify token signature";
    f(&b, good, Err(BadSignature), bad);
    f(&a, r#"{"exp":999,"role":"admin","aud":"x","vm_access":{}}"#, Err(Expired), "jwt token is expired");
    f(&a, r#"{"role":"admin","aud":"x","vm_access":{}}"#, Err(Expired), "jwt token is expired");
    let early = r#"{"exp":2000,"nbf":1061,"role":"admin","aud":"x","vm_access":{}}"#;
    f(&a, early, Err(NotYetValid), "jwt token is not valid yet");
    f(&a, r#"{"exp":2000,"aud":"x","vm_access":{}}"#, Err(NoMatchingUser), "no user match jwt token");
    let other = r#"{"exp":2000,"role":"admin","aud":["y"],"vm_access":{}}"#;
    f(&a, other, Err(WrongAudience), "jwt token is for another audience");
    let none = r#"{"exp":2000,"role":"admin","vm_access":{}}"#;
    f(&a, none, Err(WrongAudience), "jwt token is for another audience");
    let no_access = r#"{"exp":2000,"role":"admin","aud":"x"}"#;
    let text = "jwt token has no vm_access claim and the user has no default_vm_access_claim";
    f(&a, no_access, Err(MissingVmAccess), text);
    f(&b, no_access, Err(BadSignature), bad);
    let text = "cannot parse jwt token: cannot parse token body: cannot parse `exp` field: \
                value doesn't contain number; it contains string";
    f(&a, r#"{"exp":"2000"}"#, Err(Malformed), text);
}

#[test]
fn the_clock_skew_is_the_users_own() {
    let signer = Signer::new();
    let skewed = JwtUserInput { clock_skew: Duration::from_secs(90), ..user(2, keys(&[&signer]), &[]) };
    let users = JwtUsers::build(vec![user(1, keys(&[&signer]), &[("role", "admin")]), skewed]);
    let f = |claims: &str, want: Result<u32, RefusalCause>| {
        let token = signer.token("", &format!("{{{claims},\"vm_access\":{{}}}}"));
        assert_eq!(verdict(&users, &token), want, "{claims}");
    };
    f(r#""exp":1000,"role":"admin""#, Ok(1));
    f(r#""exp":910,"role":"admin""#, Ok(2));
    f(r#""exp":909"#, Err(RefusalCause::Expired));
    f(r#""exp":2000,"nbf":1060,"role":"admin""#, Ok(1));
    f(r#""exp":2000,"nbf":1061,"role":"admin""#, Ok(2));
    f(r#""exp":2000,"nbf":1090"#, Ok(2));
    f(r#""exp":2000,"nbf":1091"#, Err(RefusalCause::NotYetValid));

    let accepted = outcome(&users, &signer.token("", r#"{"exp":2000,"nbf":1010,"vm_access":{}}"#)).unwrap();
    assert_eq!((accepted.nbf, accepted.exp), (920, 2090));
    assert!(accepted.is_valid_at(920) && accepted.is_valid_at(2090));
    assert!(!accepted.is_valid_at(919) && !accepted.is_valid_at(2091));
    let accepted = outcome(&users, &signer.token("", r#"{"exp":1e300,"vm_access":{}}"#)).unwrap();
    assert_eq!((accepted.nbf, accepted.exp), (0, i64::MAX as u64));
}

#[test]
fn what_a_token_grants() {
    let default = VmAccess { metrics_account_id: 7, ..Default::default() };
    let users = JwtUsers::build(vec![
        user(1, KeyInput::SkipVerify, &[]),
        JwtUserInput { default_claim: Some(default.clone()), ..user(2, KeyInput::SkipVerify, &[]) },
    ]);
    let f = |claims: &str, want: (u32, VmAccess)| {
        let accepted = outcome(&users, &Signer::new().token("", &format!("{{\"exp\":2000{claims}}}"))).unwrap();
        assert_eq!((accepted.user, accepted.placeholders.clone()), want, "{claims}");
    };
    f("", (2, default.clone()));
    f(r#","vm_access":null"#, (2, default));
    f(r#","vm_access":{}"#, (1, VmAccess::default()));
    let all = VmAccess {
        metrics_account_id: 1,
        metrics_project_id: 2,
        metrics_extra_labels: vec!["a=b".to_owned()],
        metrics_extra_filters: vec!["c".to_owned(), "d".to_owned()],
        logs_account_id: 3,
        logs_project_id: 4,
        logs_extra_filters: vec!["e".to_owned()],
        logs_extra_stream_filters: vec!["f".to_owned()],
    };
    let claim = r#"{"metrics_account_id":1,"metrics_project_id":2,"logs_account_id":3,"logs_project_id":4,
        "metrics_extra_labels":["a=b"],"metrics_extra_filters":["c","d"],"logs_extra_filters":["e"],
        "logs_extra_stream_filters":["f"]}"#;
    f(&format!(",\"vm_access\":{claim}"), (1, all));
}

#[test]
fn unsigned_tokens_need_skip_verify() {
    let signer = Signer::new();
    let token = "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDAsInZtX2FjY2VzcyI6e319.";
    assert_eq!(verdict(&JwtUsers::build(vec![user(1, KeyInput::SkipVerify, &[])]), token), Ok(1));
    let users = JwtUsers::build(vec![user(1, keys(&[&signer]), &[])]);
    assert_eq!(verdict(&users, token), Err(RefusalCause::UnsupportedAlgorithm));
}

#[test]
fn log_lines_hold_no_token_and_stay_short() {
    let signer = Signer::new();
    let users = JwtUsers::build(vec![user(1, keys(&[&Signer::new()]), &[])]);
    let token = signer.token("k\\n", r#"{"exp":2000,"iss":"a\"b\n","sub":"s","vm_access":{}}"#);
    let refusal = outcome(&users, &token).unwrap_err();
    let want = format!(
        "cannot verify jwt token: failed to verify token signature; cause=bad_signature iss=\"a\\\"b\\n\" \
         kid=\"k\\n\" sub=\"s\" user=\"user-1\" exp=2000 now={NOW} fingerprint={}",
        jwt::fingerprint(&token)
    );
    assert_eq!(refusal.log_text(), want);
    let long = "x".repeat(2000);
    let token = signer.token(&long, &format!(r#"{{"exp":2000,"iss":"{long}","sub":"{long}"}}"#));
    let line = outcome(&users, &token).unwrap_err().log_text();
    assert!(line.len() < 700 && !line.contains(&token[..40]), "{line}");
}

#[test]
fn refusals_are_counted_by_cause() {
    let set = Set::new();
    let metrics = TokenRefusalMetrics::register(&set);
    let users = JwtUsers::build(vec![user(1, keys(&[&Signer::new()]), &[])]);
    for claims in [r#"{"exp":1}"#, "{}", r#"{"exp":2000}"#] {
        metrics.count(outcome(&users, &Signer::new().token("", claims)).unwrap_err().cause);
    }
    let f = |cause: &str| set.counter(&format!("vmauth_invalid_auth_tokens_total{{cause=\"{cause}\"}}")).get();
    assert_eq!((f("expired"), f("bad_signature"), f("malformed"), set.len()), (2, 1, 0, 11));
}

/// `users` over one started provider, whose keys are `kid` of `signer`.
async fn with_provider(signer: &Signer) -> (Arc<Provider>, Arc<IssuerKeys>, crate::oidc::Issuers) {
    let provider = Provider::new();
    provider.serve(&[signer.jwk("old")]);
    let (issuers, keys) = provider.start().await;
    provider.requests();
    (provider, keys, issuers)
}

#[tokio::test(start_paused = true)]
async fn issuers_live_side_by_side() {
    let (a, b) = (Signer::new(), Signer::new());
    let (provider, keys_a, issuers) = with_provider(&a).await;
    provider.reply("http://b", 200, &format!(r#"{{"keys":[{}]}}"#, b.jwk("b")));
    let keys_b = issuers.get_or_create(KeyLocation::JwksUrl("http://b".to_owned()));
    let missing = issuers.get_or_create(KeyLocation::Oidc { issuer: "http://c".to_owned() });
    issuers.start(vec![keys_b.clone(), missing.clone()]).await;
    let users = JwtUsers::build(vec![
        user(1, KeyInput::Provider(keys_a), &[]),
        user(2, KeyInput::Provider(keys_b), &[]),
        user(3, KeyInput::Provider(missing), &[]),
    ]);
    let f = |signer: &Signer, kid: &str, iss: &str, want: Result<u32, RefusalCause>, refetch: usize| {
        let result = outcome(&users, &signer.token(kid, &format!(r#"{{"exp":2000,"vm_access":{{}}{iss}}}"#)));
        assert_eq!(result.as_ref().map(|accepted| accepted.user).map_err(|refusal| refusal.cause), want, "{iss} {kid}");
        assert_eq!(result.err().map_or(0, |refusal| refusal.refetch.len()), refetch, "{iss} {kid}");
    };
    let iss = |issuer: &str| format!(r#","iss":"{issuer}""#);
    f(&a, "old", &iss(ISSUER), Ok(1), 0);
    f(&a, "", &iss(ISSUER), Ok(1), 0);
    f(&b, "b", &iss("http://anybody"), Ok(2), 0);
    f(&b, "b", "", Ok(2), 0);
    f(&a, "old", &iss(&format!("{ISSUER}/")), Err(RefusalCause::UnknownKey), 1);
    f(&b, "old", &iss(ISSUER), Err(RefusalCause::BadSignature), 1);
    f(&Signer::new(), "", &iss(ISSUER), Err(RefusalCause::BadSignature), 0);
    f(&a, "new", &iss(ISSUER), Err(RefusalCause::UnknownKey), 2);
    f(&a, "old", &iss("http://c"), Err(RefusalCause::KeysNotLoaded), 2);
}

#[tokio::test(start_paused = true)]
async fn the_issuer_must_be_named() {
    let signer = Signer::new();
    let (_provider, keys, _issuers) = with_provider(&signer).await;
    let users = JwtUsers::build(vec![user(1, KeyInput::Provider(keys), &[])]);
    let f = |claims: &str, want: &str| {
        let refusal = outcome(&users, &signer.token("old", &format!(r#"{{"exp":2000{claims}}}"#))).unwrap_err();
        assert_eq!(refusal.cause, RefusalCause::WrongIssuer);
        assert!(refusal.log_text().starts_with(want) && refusal.refetch.is_empty(), "{refusal:?}");
    };
    f("", "jwt token must have issuer filed; ");
    f(r#","iss":"""#, "jwt token must have issuer filed; ");
    let want = "jwt token issuer: \"http://evil\" does not match oidc issuer: \"http://idp/realm\"; ";
    f(r#","iss":"http://evil""#, want);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_are_fetched() {
    let (old, new) = (Signer::new(), Signer::new());
    let (provider, keys, _issuers) = with_provider(&old).await;
    let users = JwtUsers::build(vec![
        user(1, KeyInput::Provider(keys.clone()), &[("role", "admin")]),
        user(2, KeyInput::Provider(keys), &[]),
    ]);
    let claims = format!(r#"{{"exp":2000,"iss":"{ISSUER}","vm_access":{{}},"role":"admin"}}"#);
    let (old_token, new_token) = (old.token("old", &claims), new.token("new", &claims));
    let f = async |token: &str| match outcome(&users, token) {
        Err(refusal) if refetch_all(&refusal.refetch).await => verdict(&users, token),
        other => other.map(|accepted| accepted.user).map_err(|refusal| refusal.cause),
    };
    assert_eq!((users.issuers().len(), users.key_epoch()), (1, 1));
    assert_eq!((f(&old_token).await, provider.requests()), (Ok(1), 0));
    assert_eq!((f(&new_token).await, provider.requests()), (Err(RefusalCause::UnknownKey), 2));
    provider.serve(&[old.jwk("old"), new.jwk("new")]);
    assert_eq!((f(&new_token).await, f(&old_token).await, provider.requests()), (Ok(1), Ok(1), 2));
    provider.serve(&[new.jwk("new")]);
    assert_eq!(f(&new.token("newer", &claims)).await, Err(RefusalCause::UnknownKey));
    provider.requests();
    assert_eq!((f(&old_token).await, f(&new_token).await), (Err(RefusalCause::UnknownKey), Ok(1)));
    assert_eq!(users.key_epoch(), 3);
}
