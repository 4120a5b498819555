//! Guessing passwords: slower with every failure of an address, whether or not the guesser waits for the answer.

use std::time::{Duration, Instant};

use testkit::Backend;

use crate::vmauth::{AUTH, Vmauth, one_user};

const WRONG: &str = "Authorization: Basic dTp3cm9uZw==";
const OTHER: &str = "Authorization: Basic djpw";
const LIMITED: &str = "vmauth_failed_logins_limited_total";
/// Longer than any normal pause, shorter than any longer one.
const NORMAL: Duration = Duration::from_millis(3500);

fn start(backend: &Backend, flags: &[&str]) -> Vmauth {
    let second = format!("- username: v\n  password: p\n  url_prefix: \"{}\"\n", backend.url());
    Vmauth::start(&format!("{}{second}", one_user(&[backend], "")), flags)
}

/// Guesses without waiting for the answers.
fn guess(proxy: &Vmauth, times: u32, lines: &[&str]) {
    for _ in 0..times {
        let mut client = proxy.client();
        client.request("GET", "/", lines, None);
        drop(client);
    }
    // What was sent may not have been read yet.
    proxy.expect_metrics(&[("reason.invalid_auth_token", f64::from(times))]);
}

#[test]
fn who_hangs_up_early_has_failed_too_and_a_right_guess_is_not_told_by_its_speed() {
    let backend = Backend::saying("ok");
    let proxy = start(&backend, &["-maxFailedLoginsPerIP=2"]);
    proxy.client().get("/", &[AUTH]).expect(200);
    guess(&proxy, 2, &[WRONG]);
    proxy.expect_metrics(&[(LIMITED, 0.0)]);
    let asked = Instant::now();
    let (mut wrong, mut right, mut leaver) = (proxy.client(), proxy.client(), proxy.client());
    wrong.request("GET", "/", &[WRONG], None);
    right.request("GET", "/right", &[OTHER], None);
    leaver.request("GET", "/left", &[OTHER], None);
    proxy.expect_metrics(&[(LIMITED, 3.0)]);
    drop(leaver);
    // Known from before: not held up by others behind the same address.
    proxy.client().get("/known", &[AUTH]).expect(200);
    right.reply().expect(200);
    assert!(asked.elapsed() > NORMAL, "{:?}", asked.elapsed());
    wrong.reply().expect(401);
    assert!(asked.elapsed() > NORMAL, "{:?}", asked.elapsed());
    // Has waited, is known now.
    proxy.client().get("/again", &[OTHER]).expect(200);
    proxy.expect_metrics(&[(LIMITED, 3.0), ("reason.invalid_auth_token", 3.0)]);
    let targets: Vec<_> = backend.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/", "/known", "/right", "/again"]);
}

#[test]
fn behind_a_proxy_the_address_of_the_header_counts() {
    let backend = Backend::saying("ok");
    let flags = ["-maxFailedLoginsPerIP=1", "-httpRealIPHeader=X-Real-IP", "-http.trustedProxies=127.0.0.1"];
    let proxy = start(&backend, &flags);
    guess(&proxy, 2, &[WRONG, "X-Real-IP: 2001:db8::1"]);
    proxy.expect_metrics(&[(LIMITED, 1.0)]);
    let mut neighbour = proxy.client();
    neighbour.request("GET", "/", &[AUTH, "X-Real-IP: 2001:db8::2"], None);
    proxy.expect_metrics(&[(LIMITED, 2.0)]);
    // Neither the next network nor anybody else has to wait.
    proxy.client().get("/", &[AUTH, "X-Real-IP: 2001:db8:0:1::1"]).expect(200);
    proxy.client().get("/", &[AUTH, "X-Real-IP: 192.0.2.1"]).expect(200);
    proxy.expect_metrics(&[(LIMITED, 2.0)]);
    assert_eq!(backend.request_count(), 2);
}

#[test]
fn zero_means_no_limit() {
    let backend = Backend::saying("ok");
    let proxy = start(&backend, &["-maxFailedLoginsPerIP=0"]);
    guess(&proxy, 20, &[WRONG]);
    proxy.client().get("/", &[OTHER]).expect(200);
    proxy.expect_metrics(&[(LIMITED, 0.0)]);
}

#[test]
fn each_kind_is_logged_by_default_with_its_user_and_without_secrets() {
    let backend = Backend::saying("ok");
    let proxy = start(&backend, &[]);
    // u:wrong, nobody:wrong, an unknown bearer token, and nothing.
    let kinds = [
        (WRONG, "wrong_password", "user=\"u\""),
        ("Authorization: Basic bm9ib2R5Ondyb25n", "unknown_user", "user=\"nobody\""),
        ("Authorization: Bearer wrong", "unknown_token", "scheme=\"Bearer\" fingerprint="),
    ];
    for (line, cause, part) in kinds {
        let mut client = proxy.client();
        client.request("GET", "/x?authKey=wrong", &[line], None);
        proxy.program.wait_log(0, &format!("cause={cause} {part}"));
    }
    proxy.client().get("/", &[]).expect(401);
    proxy.expect_metrics(&[
        ("vmauth_failed_logins_total{cause=\"wrong_password\"}", 1.0),
        ("vmauth_failed_logins_total{cause=\"unknown_user\"}", 1.0),
        ("vmauth_failed_logins_total{cause=\"unknown_token\"}", 1.0),
        ("vmauth_missing_credentials_total", 1.0),
        ("vmauth_jwt_cache_misses_total", 0.0),
    ]);
    let lines = proxy.program.matching(0, "; login failed: ");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in lines {
        assert!(
            line.contains("remoteAddr: \"127.0.0.1:") && line.contains("requestURI: /x?authKey=secret; "),
            "{line}"
        );
        assert!(!line.contains("wrong\"") && !line.contains("Ondyb25n"), "{line}");
    }
}

#[test]
fn a_flood_of_failed_logins_is_a_trickle_of_lines() {
    let backend = Backend::saying("ok");
    let proxy = start(&backend, &[]);
    guess(&proxy, 100, &[WRONG]);
    let lines = proxy.program.matching(0, "; login failed: ").len();
    assert!((10..100).contains(&lines), "{lines}");
}
