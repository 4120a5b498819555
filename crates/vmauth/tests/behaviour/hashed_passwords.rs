//! Passwords and tokens of which the config holds hashes only: who gets in, what a check costs whom, and what reloads change.

use std::time::Duration;

use testkit::{Backend, Client, Metrics, eventually};

use crate::vmauth::{Vmauth, basic, binary};

/// `wonder` and `mirror`, made to be checked quickly.
const WONDER: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQwMDAx$fDj5b1rNaysLztZt/TpcKXwfL5f94xjxvICVgeYvxdU";
const MIRROR: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQwMDAy$3Yh/L1yVku3HqcwU7nCJfY02VFDD9kGBJ6QS42C2d9M";
/// `patience`: much more work than many requests together.
const SLOW: &str = "$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHQwMDAz$najj00hHWl4Dv9d1dqTTyiJLpR+f1eu/AYL0gccZOqI";
/// `builder`.
const BUILDER: &str = "$2b$04$y9Lo7uQvnd6mJTc9IGvlJOiDvJxCNeHTIcaVEBorN2WDnu9aKVZPS";

/// Checks go behind everything else that the machine does.
const LONG: Duration = Duration::from_secs(300);

const CHECKS: &str = "vmauth_password_checks_total";
const HITS: &str = "vmauth_password_cache_hits_total";
const REFUSED: &str = "vmauth_password_checks_refused_total";
const WAITING: &str = "vmauth_password_checks_waiting";
const LOADED: &str = "loaded information about";

/// A line of Basic credentials.
fn config(backend: &Backend, alice: &str) -> String {
    let url = backend.url();
    format!(
        "users:\n\
         - {{username: alice, password_hash: '{alice}', url_prefix: '{url}'}}\n\
         - {{username: bob, password_hash: '{BUILDER}', url_prefix: '{url}'}}\n\
         - {{username: carol, password_hash: 'sha256:a441b15fe9a3cf56661190a0b93b9dec7d04127288cc87250967cf3b52894d11', url_prefix: '{url}'}}\n\
         - {{bearer_token_hash: 'sha256:18d63be10ad544a04a22c944dee01d6d864ec69b797a58edae92e6a44ad8fdbf', url_prefix: '{url}'}}\n\
         - {{username: u, password: p, url_prefix: '{url}'}}\n"
    )
}

/// Waits until a request with these credentials is refused as far as it shows: it has failed, its answer is late.
fn fails(proxy: &Vmauth, line: &str, cause: &str) {
    let mark = proxy.program.mark();
    let mut client = proxy.client();
    client.request("GET", "/", &[line], None);
    proxy.program.wait_log(mark, &format!("cause={cause}"));
}

#[test]
fn hashes_of_all_kinds_let_in_and_nothing_else_does() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, WONDER), &[]);
    let mut client = proxy.client();
    for pair in ["alice:wonder", "bob:builder", "carol:random", "u:p", "robot:"] {
        client.get("/", &[&basic(pair)]).expect(200);
    }
    client.get("/", &["Authorization: Bearer robot"]).expect(200);
    client.get("/", &["Authorization: Token robot"]).expect(200);
    assert_eq!(backend.request_count(), 7);
    fails(&proxy, &basic("alice:builder"), "wrong_password");
    fails(&proxy, &basic("alice:"), "wrong_password");
    fails(&proxy, &basic(&format!("alice:{WONDER}")), "wrong_password");
    fails(&proxy, &basic("carol:a441b15fe9a3cf56661190a0b93b9dec7d04127288cc87250967cf3b52894d11"), "wrong_password");
    fails(
        &proxy,
        "Authorization: Bearer sha256:18d63be10ad544a04a22c944dee01d6d864ec69b797a58edae92e6a44ad8fdbf",
        "unknown_token",
    );
    fails(&proxy, "Authorization: Bearer builder", "unknown_token");
    assert_eq!(backend.request_count(), 7);
}

#[test]
fn a_password_is_checked_once_for_all_workers_and_reloads() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, WONDER), &["-workers=2"]);
    for _ in 0..4 {
        let mut client = proxy.client();
        client.get("/", &[&basic("alice:wonder")]).expect(200);
        client.get("/", &[&basic("alice:wonder")]).expect(200);
    }
    proxy.expect_metrics(&[(CHECKS, 1.0), (HITS, 7.0)]);
    proxy.client().get("/", &[&basic("bob:builder")]).expect(200);
    proxy.expect_metrics(&[(CHECKS, 2.0)]);
    // Another hash: what was checked for the old one is worth nothing, and others are not asked again.
    proxy.reload(&config(&backend, MIRROR), LOADED);
    fails(&proxy, &basic("alice:wonder"), "wrong_password");
    proxy.client().get("/", &[&basic("alice:mirror")]).expect(200);
    proxy.expect_metrics(&[(CHECKS, 4.0)]);
    proxy.client().get("/", &[&basic("bob:builder")]).expect(200);
    proxy.expect_metrics(&[(CHECKS, 4.0)]);
    proxy.reload(&config(&backend, WONDER).replace("alice", "anna"), LOADED);
    fails(&proxy, &basic("alice:wonder"), "unknown_user");
    proxy.client().get("/", &[&basic("anna:wonder")]).expect(200);
}

#[test]
fn a_name_that_nobody_has_costs_what_a_wrong_password_costs() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, WONDER), &[]);
    fails(&proxy, &basic("nobody:x"), "unknown_user");
    proxy.expect_metrics(&[(CHECKS, 1.0)]);
    // A password of somebody else lets nobody in, however the check of it ends.
    fails(&proxy, &basic("nobody:wonder"), "unknown_user");
    fails(&proxy, &basic("nobody:builder"), "unknown_user");
    fails(&proxy, &basic("u:wonder"), "wrong_password");
    fails(&proxy, &basic("carol:builder"), "wrong_password");
    proxy.expect_metrics(&[(CHECKS, 5.0), (HITS, 0.0)]);
    // Tokens are looked up by their hash.
    fails(&proxy, "Authorization: Bearer x", "unknown_token");
    proxy.expect_metrics(&[(CHECKS, 5.0)]);
    assert_eq!(backend.request_count(), 0);
}

#[test]
fn where_wrong_credentials_are_served_too_unknown_names_cost_nothing() {
    let backend = Backend::saying("ok");
    let open = format!("{}unauthorized_user: {{url_prefix: '{}'}}\n", config(&backend, WONDER), backend.url());
    let proxy = Vmauth::start(&open, &[]);
    proxy.client().get("/", &[&basic("nobody:x")]).expect(200);
    proxy.expect_metrics(&[(CHECKS, 0.0), ("vmauth_unauthorized_user_requests_total", 1.0)]);
    proxy.client().get("/", &[&basic("alice:x")]).expect(200);
    proxy.expect_metrics(&[(CHECKS, 1.0), ("vmauth_unauthorized_user_requests_total", 2.0)]);
}

fn value(proxy: &Vmauth, name: &str) -> f64 {
    Metrics::scrape(proxy.address).value(name).unwrap_or_default()
}

fn ask(proxy: &Vmauth, pair: &str, times: usize) -> Vec<Client> {
    let line = basic(pair);
    let clients = std::iter::repeat_with(|| {
        let mut client = proxy.client();
        client.request("GET", "/slow", &[&line], None);
        client
    });
    clients.take(times).collect()
}

#[test]
fn slow_checks_leave_other_requests_alone_and_end_with_their_clients() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, SLOW), &["-maxQueueDuration=10m"]);
    let guesses = ask(&proxy, "alice:guess", 30);
    eventually("all guesses wait", || match value(&proxy, WAITING) {
        30.0 => Ok(()),
        other => Err(other),
    });
    // One worker: had it checked a password itself, all others would have been checked before it came to this.
    for _ in 0..20 {
        proxy.client().get("/", &[&basic("u:p")]).expect(200);
    }
    proxy.client().get("/", &[&basic("carol:random")]).expect(200);
    let (checks, waiting) = (value(&proxy, CHECKS), value(&proxy, WAITING));
    assert!(waiting > 0.0, "the guesses were checked before the requests behind them: {checks}");
    // Who has left is not waited for: the queue is empty though most were never checked.
    drop(guesses);
    eventually("the queue is empty", || match value(&proxy, WAITING) {
        0.0 => Ok(()),
        other => Err(other),
    });
    let checks = value(&proxy, CHECKS);
    assert!(checks < 30.0, "{checks} checks for clients that had left");
    let mut client = proxy.client();
    client.set_deadline(LONG);
    client.get("/", &[&basic("alice:patience")]).expect(200);
    assert_eq!(backend.requests().iter().filter(|request| request.target == "/slow").count(), 0);
}

#[test]
fn one_address_fills_only_a_part_of_the_queue() {
    let backend = Backend::saying("ok");
    let flags = ["-maxQueueDuration=10m", "-httpRealIPHeader=X-Real-IP", "-http.trustedProxies=127.0.0.1"];
    let proxy = Vmauth::start(&config(&backend, SLOW), &flags);
    let mut guesses = ask(&proxy, "alice:guess", 40);
    eventually("the queue is full for them", || match value(&proxy, REFUSED) {
        refused if refused > 0.0 => Ok(()),
        other => Err(other),
    });
    assert!(value(&proxy, WAITING) <= 32.0);
    // The last one found no place; it is told at once, while others still wait.
    let reply = guesses.pop().expect("a client").reply().expect(503);
    assert_eq!(reply.fields.get("Retry-After"), Some("10"));
    assert_eq!(reply.text().trim_end(), "too many passwords are being checked");
    let mut other = proxy.client();
    other.set_deadline(LONG);
    other.request("GET", "/", &[&basic("alice:patience"), "X-Real-IP: 192.0.2.1"], None);
    drop(guesses);
    other.reply().expect(200);
}

#[test]
fn a_check_that_does_not_come_in_time_is_no_failed_login() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, SLOW), &["-maxQueueDuration=1ms"]);
    let guesses = ask(&proxy, "alice:guess", 10);
    eventually("some are refused", || match value(&proxy, REFUSED) {
        refused if refused > 0.0 => Ok(()),
        other => Err(other),
    });
    drop(guesses);
    proxy.client().get("/", &[&basic("u:p")]).expect(200);
}

#[test]
fn explain_checks_hashes_and_hash_password_makes_them() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, WONDER), &[]);
    let run = |args: &[&str], stdin: &str| {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut command = Command::new(binary());
        let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("vmauth can be started");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("stdin is read");
        let output = child.wait_with_output().expect("an end");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let auth = format!("-auth.config={}", proxy.config().display());
    let explain = |user: &str| run(&["explain", &auth, "-u", user, "/"], "");
    let (code, text) = explain("alice:wonder");
    assert!(code == Some(0) && text.starts_with("allowed: user \"alice\""), "{text}");
    let (code, text) = explain("alice:wander");
    assert!(code == Some(1) && text.starts_with("denied 401"), "{text}");
    assert!(text.contains("the name fits, the password does not"), "{text}");

    let (code, hash) = run(&["hash-password"], "new password\n");
    assert!(code == Some(0) && hash.starts_with("$argon2id$v=19$"), "{hash}");
    proxy.reload(&config(&backend, hash.trim()), LOADED);
    proxy.client().get("/", &[&basic("alice:new password")]).expect(200);
    assert_ne!(run(&["hash-password"], "new password\n").1, hash, "the salt is random");
    assert_eq!(
        run(&["hash-password", "-sha256"], "robot").1,
        "sha256:18d63be10ad544a04a22c944dee01d6d864ec69b797a58edae92e6a44ad8fdbf\n"
    );
    let (_, random) = run(&["hash-password", "-random"], "");
    let (token, hash) = random.trim().split_once('\n').expect("two lines");
    assert_eq!(run(&["hash-password", "-sha256"], token).1.trim(), hash);
    assert_eq!(run(&["hash-password"], "\n").0, Some(2));
}
