//! The life of a provider's keys, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::discovery::fetch_keys;
use super::test_provider::{ISSUER, Provider, Signer, location};
use super::transport::MAX_DOCUMENT_BYTES;
use super::{FailureReason, IssuerKeys, Issuers, KeyLocation, refetch_all};

const SECOND: Duration = Duration::from_secs(1);

/// What a request does whose token names an unknown key.
async fn refetch(keys: &Arc<IssuerKeys>) -> bool {
    refetch_all(std::slice::from_ref(keys)).await
}

fn jwks(kids: &[&str]) -> Vec<String> {
    kids.iter().map(|kid| Signer::new().jwk(kid)).collect()
}

#[tokio::test(start_paused = true)]
async fn keys_are_there_when_start_returns() {
    let provider = Provider::new();
    provider.serve(&jwks(&["a", "b"]));
    provider.take(SECOND);
    let issuers = Issuers::new(provider.clone());
    let keys = issuers.get_or_create(location());
    assert_eq!((keys.version(), keys.keys(), provider.requests()), (0, None, 0), "creation starts nothing");
    issuers.start(vec![keys.clone()]).await;
    assert_eq!((keys.version(), keys.keys().unwrap().len()), (1, 2));
    let facts = keys.facts();
    assert_eq!((facts.keys, facts.last_success.is_some(), facts.failures), (2, true, [0; 5]));
    assert_eq!(provider.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn providers_are_asked_in_parallel_and_not_for_long() {
    let provider = Provider::new();
    provider.take(4 * SECOND);
    provider.reply("http://a", 200, r#"{"keys":[]}"#);
    provider.reply("http://b", 200, r#"{"keys":[]}"#);
    let issuers = Issuers::new(provider.clone());
    let keys = ["http://a", "http://b"].map(|url| issuers.get_or_create(KeyLocation::JwksUrl(url.to_owned())));
    let began = Instant::now();
    issuers.start(keys.to_vec()).await;
    assert_eq!(keys.each_ref().map(|keys| keys.version()), [1, 1]);
    assert!(began.elapsed() < 5 * SECOND);

    provider.take(Duration::from_secs(1_000_000));
    let slow = issuers.get_or_create(location());
    let began = Instant::now();
    issuers.start(vec![slow.clone()]).await;
    assert!(began.elapsed() <= 10 * SECOND, "{:?}", began.elapsed());
    assert_eq!((slow.version(), slow.facts().failures[FailureReason::Timeout as usize]), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn unusable_replies() {
    let discovery = format!("{ISSUER}/.well-known/openid-configuration");
    let good = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"http://idp/keys"}}"#);
    let f = async |discovery_reply: (u16, &str), keys_reply: (u16, &str), reason: FailureReason, want: &str| {
        let provider = Provider::new();
        provider.reply(&discovery, discovery_reply.0, discovery_reply.1);
        provider.reply("http://idp/keys", keys_reply.0, keys_reply.1);
        let failure = fetch_keys(&*provider, &location()).await.unwrap_err();
        assert_eq!((failure.reason, failure.text.as_str()), (reason, want));
    };
    let keys = (200, r#"{"keys":[]}"#);
    let status = "failed to fetch openid configuration: unexpected status code: 404; want 200";
    f((404, &good), keys, FailureReason::Status, status).await;
    f((200, "oops"), keys, FailureReason::Body, "failed to parse openid configuration: it isn't json").await;
    let no_uri = format!(r#"{{"issuer":"{ISSUER}"}}"#);
    f((200, &no_uri), keys, FailureReason::Body, "failed to parse openid configuration: it has no jwks_uri").await;
    let file = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"file:///keys"}}"#);
    let want = "failed to parse openid configuration: jwks_uri isn't an http or https url";
    f((200, &file), keys, FailureReason::Body, want).await;
    let slash = format!(r#"{{"issuer":"{ISSUER}/","jwks_uri":"http://idp/keys"}}"#);
    let want =
        "openid configuration issuer \"http://idp/realm/\" doesn't match the configured issuer \"http://idp/realm\"";
    f((200, &slash), keys, FailureReason::IssuerMismatch, want).await;
    let want = "openid configuration issuer \"\" doesn't match the configured issuer \"http://idp/realm\"";
    f((200, "{}"), keys, FailureReason::IssuerMismatch, want).await;
    let want = "failed to fetch jwks keys: unexpected status code: 500; want 200";
    f((200, &good), (500, ""), FailureReason::Status, want).await;
    let want = "failed to parse jwks keys: cannot parse jwks: it has no list of keys";
    f((200, &good), (200, "[]"), FailureReason::Body, want).await;
    let long = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    let want = "failed to fetch jwks keys: the reply exceeds 16777216 bytes";
    f((200, &good), (200, &long), FailureReason::Body, want).await;

    let provider = Provider::new();
    let failure = fetch_keys(&*provider, &location()).await.unwrap_err();
    assert_eq!(failure.text, "failed to fetch openid configuration: connection refused");
    provider.serve(&[]);
    provider.take(6 * SECOND);
    let failure = fetch_keys(&*provider, &location()).await.unwrap_err();
    assert_eq!(failure.text, "failed to fetch openid configuration: no reply within 5s");
    assert_eq!(failure.reason, FailureReason::Timeout);
}

#[tokio::test(start_paused = true)]
async fn refreshes_as_often_as_the_provider_says() {
    let f = async |max_age: Option<u64>, quiet: u32, busy: u32| {
        let provider = Provider::new();
        provider.serve_with_age(&jwks(&["a"]), max_age);
        let (_issuers, keys) = provider.start().await;
        provider.requests();
        sleep(quiet * SECOND).await;
        assert_eq!(provider.requests(), 0, "{max_age:?}");
        sleep((busy - quiet) * SECOND).await;
        assert_eq!(provider.requests(), 2, "{max_age:?}");
        assert_eq!(keys.version(), 1, "equal keys are no change");
    };
    f(None, 299, 311).await;
    f(Some(1), 59, 67).await;
    f(Some(600), 599, 611).await;
    f(Some(86_400), 3599, 3611).await;
}

#[tokio::test(start_paused = true)]
async fn failures_keep_the_keys_and_are_retried() {
    let provider = Provider::new();
    let (_issuers, keys) = provider.start().await;
    assert_eq!((keys.version(), keys.facts().failures[0]), (0, 1));
    sleep(60 * SECOND).await;
    // After 1, 2, 4, 8 and then every 10 seconds, each less a quarter at most.
    let retries = provider.requests() - 1;
    assert!((8..=11).contains(&retries), "{retries}");
    provider.serve(&jwks(&["a"]));
    sleep(10 * SECOND).await;
    assert_eq!(keys.version(), 1);

    provider.go_down();
    sleep(1000 * SECOND).await;
    assert!(keys.facts().failures[0] > 20);
    assert_eq!((keys.version(), keys.keys().unwrap().len(), keys.facts().keys), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_unknown_keys_makes_one_fetch() {
    let provider = Provider::new();
    provider.serve(&jwks(&["old"]));
    let (_issuers, keys) = provider.start().await;
    provider.requests();
    provider.serve(&jwks(&["new"]));
    provider.take(Duration::from_millis(100));
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let keys = keys.clone();
        crowd.spawn(async move { refetch(&keys).await });
    }
    assert!(crowd.join_all().await.into_iter().all(|changed| changed));
    assert_eq!((provider.requests(), keys.version()), (2, 2));

    // The next crowd waits for the end of the cooldown and learns that there is nothing new.
    let began = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let keys = keys.clone();
        crowd.spawn(async move { refetch_all(&[keys.clone(), keys]).await });
    }
    assert!(crowd.join_all().await.into_iter().all(|changed| !changed));
    assert!((SECOND..2 * SECOND).contains(&(began.elapsed() + Duration::from_millis(200))), "{:?}", began.elapsed());
    assert_eq!(provider.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn forged_key_ids_make_the_provider_be_asked_ever_less() {
    let provider = Provider::new();
    provider.serve(&jwks(&["a"]));
    let (_issuers, keys) = provider.start().await;
    provider.requests();
    let attack = async {
        loop {
            refetch(&keys).await;
        }
    };
    assert!(timeout(600 * SECOND, attack).await.is_err());
    // Pauses of 1, 2, 4, 8, 16, 32 and then 60 seconds, beside the usual refreshes.
    let fetches = provider.requests() / 2;
    assert!((14..=19).contains(&fetches), "{fetches}");
    // A rotation in the midst of it is heard after one pause.
    provider.serve(&jwks(&["b"]));
    let began = Instant::now();
    while !refetch(&keys).await {
        assert!(began.elapsed() < 61 * SECOND);
    }
    provider.serve(&jwks(&["c"]));
    let began = Instant::now();
    assert!(refetch(&keys).await, "after a change the provider is asked soon");
    assert!(began.elapsed() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_set_does_not_take_good_keys_away() {
    let provider = Provider::new();
    provider.serve(&jwks(&["a"]));
    let (_issuers, keys) = provider.start().await;
    provider.serve(&[]);
    assert!(!refetch(&keys).await);
    assert_eq!((keys.version(), keys.keys().unwrap().len()), (1, 1));
    assert_eq!(keys.facts().failures[FailureReason::Body as usize], 1, "it is counted");
    provider.serve(&jwks(&["b"]));
    sleep(2 * SECOND).await;
    assert_eq!(keys.version(), 2, "and asked for again soon");
}

#[tokio::test(start_paused = true)]
async fn keys_of_an_https_issuer_come_over_https() {
    let issuer = "https://idp/realm";
    let location = KeyLocation::Oidc { issuer: issuer.to_owned() };
    let provider = Provider::new();
    let document = |keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    provider.reply(&discovery, 200, &document("http://idp/keys"));
    provider.reply("http://idp/keys", 200, r#"{"keys":[]}"#);
    let failure = fetch_keys(&*provider, &location).await.unwrap_err();
    assert_eq!(failure.text, "failed to parse openid configuration: jwks_uri of an https issuer isn't an https url");
    provider.reply(&discovery, 200, &document("https://192.0.2.1:6443/openid/v1/jwks"));
    provider.reply("https://192.0.2.1:6443/openid/v1/jwks", 200, r#"{"keys":[]}"#);
    assert!(fetch_keys(&*provider, &location).await.is_ok(), "another host that the document names is fine");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_a_token_is_explained() {
    let provider = Provider::new();
    provider.reply(&format!("{ISSUER}/.well-known/openid-configuration"), 403, "");
    let failure = fetch_keys(&*provider, &location()).await.unwrap_err();
    assert!(failure.text.contains("unexpected status code: 403; want 200; the provider wants a token"), "{failure}");
    assert!(failure.text.contains("-oidc.bearerTokenFile"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_newer_keys() {
    let provider = Provider::new();
    let (_issuers, missing) = provider.start().await;
    let began = Instant::now();
    assert!(!refetch(&missing).await);
    assert_eq!(began.elapsed(), Duration::ZERO, "there were never keys");
    provider.serve(&jwks(&["a"]));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(missing.version(), 1, "but they are asked for at once");

    provider.take(Duration::from_secs(60));
    let began = Instant::now();
    assert!(!refetch(&missing).await);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn rotation_replaces_the_set() {
    let (old, new) = (Signer::new(), Signer::new());
    let provider = Provider::new();
    let f = |signer: &Signer, kid: &str, keys: &jwt::KeySet| {
        keys.verify(&jwt::Token::parse(&signer.token(kid, "{}")).unwrap()).is_ok()
    };
    provider.serve(&[old.jwk("old")]);
    let (_issuers, keys) = provider.start().await;
    let steps = [
        (vec![old.jwk("old"), new.jwk("new")], (true, true)),
        (vec![new.jwk("new")], (false, true)),
        (vec![old.jwk("old")], (true, false)),
    ];
    for (step, (set, want)) in steps.into_iter().enumerate() {
        provider.serve(&set);
        assert!(refetch(&keys).await, "{step}");
        let set = keys.keys().unwrap();
        assert_eq!((f(&old, "old", &set), f(&new, "new", &set)), want, "{step}");
        assert_eq!(keys.version(), 2 + step as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn reloads_keep_keys_and_ask_for_news() {
    let provider = Provider::new();
    provider.serve(&jwks(&["a"]));
    let (issuers, before) = provider.start().await;
    provider.requests();
    provider.go_down();
    let after = issuers.get_or_create(location());
    assert!(Arc::ptr_eq(&before, &after));
    drop(before);
    let began = Instant::now();
    issuers.start(vec![after.clone()]).await;
    assert_eq!((began.elapsed(), after.version()), (Duration::ZERO, 1), "nobody waits for known keys");
    sleep(Duration::from_millis(1)).await;
    assert_eq!((provider.requests(), after.facts().failures[0]), (1, 1));

    // A provider without keys is waited for again.
    let missing = issuers.get_or_create(KeyLocation::JwksUrl("http://late".to_owned()));
    issuers.start(vec![missing.clone()]).await;
    assert_eq!(missing.version(), 0);
    provider.reply("http://late", 200, r#"{"keys":[]}"#);
    issuers.start(vec![missing.clone()]).await;
    assert_eq!(missing.version(), 1);
}

#[tokio::test(start_paused = true)]
async fn unused_issuers_end() {
    let provider = Provider::new();
    provider.serve(&jwks(&["a"]));
    let (issuers, keys) = provider.start().await;
    let handles = Arc::strong_count(&provider);
    drop(keys);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&provider), handles - 1, "the task has ended");
    let again = issuers.get_or_create(location());
    assert_eq!(again.version(), 0);

    // Also in the middle of a fetch.
    provider.take(3 * SECOND);
    assert!(timeout(SECOND, issuers.start(vec![again.clone()])).await.is_err());
    drop(again);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&provider), handles - 1);
    provider.requests();
    sleep(1000 * SECOND).await;
    assert_eq!(provider.requests(), 0);
}
