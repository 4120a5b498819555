//! Retries beyond the budget of a route are not made: what the client gets instead, and what is counted.

use testkit::{Backend, Reply};

use crate::vmauth::{AUTH, Vmauth, one_user};

const NONE: &str = "retry_budget: {percent: 0, min_per_second: 0}";
const OVER: &str = "vmauth_user_retries_over_budget_total{username=\"u\"}";

#[test]
fn a_status_that_would_be_retried_is_passed_on() {
    let backends = [503, 503].map(|status| Backend::replying(Reply::message(status, &[], "busy")));
    let all: Vec<_> = backends.iter().collect();
    let config = |budget: &str| one_user(&all, &format!("retry_status_codes: [503]\n{budget}"));
    let proxy = Vmauth::start(&config(NONE), &[]);
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.get("/", &[AUTH]).expect(503).text(), "busy");
    }
    assert_eq!(all.iter().map(|backend| backend.request_count()).sum::<usize>(), 5);
    proxy.expect_metrics(&[
        (OVER, 5.0),
        ("user.request_backend_requests_total", 5.0),
        ("user.request_backend_errors_total", 0.0),
        ("user.request_errors_total", 0.0),
    ]);

    let proxy = Vmauth::start(&config("retry_budget: {percent: 1000}"), &[]);
    proxy.client().get("/", &[AUTH]).expect(502);
    proxy.expect_metrics(&[(OVER, 0.0), ("user.request_backend_requests_total", 2.0)]);
}

#[test]
fn a_failed_attempt_is_the_last_one() {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let config = one_user(&[&dead, &good], NONE);
    let proxy = Vmauth::start(&config, &["-failTimeout=1h"]);
    let mut client = proxy.client();
    let text = client.get("/", &[AUTH]).expect(503).text();
    assert_eq!(
        text,
        "cannot proxy the request to the backend: it has failed, and too many requests are retried already"
    );
    let (_, line) = proxy.program.wait_log(0, "no retry, because `retry_budget` is used up");
    assert!(line.contains("connection refused"), "{line}");
    // It is marked all the same, so the next request goes elsewhere at once.
    client.get("/", &[AUTH]).expect(200);
    proxy.expect_metrics(&[
        (OVER, 1.0),
        ("user.request_backend_errors_total", 1.0),
        ("user.request_errors_total", 1.0),
    ]);
    proxy.program.wait_log(0, "reason=\"retry_budget\"");
}
