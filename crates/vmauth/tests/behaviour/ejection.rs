//! Backends that fail requests again and again are left out for a while, and never too many of a route.

use std::time::Duration;

use testkit::{Backend, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

fn failing() -> Backend {
    Backend::replying(Reply::message(503, &[], "overloaded"))
}

fn ask(proxy: &Vmauth) -> u16 {
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    client.reply().status
}

fn ejected_line(backend: &Backend) -> String {
    format!("the backend at {} is ejected for ", backend.address())
}

#[test]
fn failures_in_a_row_eject_and_time_brings_back() {
    let (bad, good) = (failing(), Backend::saying("ok"));
    let detection = "outlier_detection: {consecutive_errors: 3, ejection_time: 1h, max_ejection_time: 2h}";
    let proxy = Vmauth::start(&one_user(&[&bad, &good], detection), &[]);
    // In turn, so the third failure is that of the fifth request.
    let statuses: Vec<_> = (0..5).map(|_| ask(&proxy)).collect();
    assert_eq!(statuses, [503, 200, 503, 200, 503]);
    let (_, line) = proxy.program.wait_log(0, &ejected_line(&bad));
    assert!(line.contains("for 1h0m0s: 3 failures in a row"), "{line}");
    assert!((0..10).all(|_| ask(&proxy) == 200));
    assert_eq!(bad.request_count(), 3);
    let name = |family: &str| format!("{family}{{backend=\"{}\"}}", bad.address());
    proxy.expect_metrics(&[
        (&name("vmauth_backend_up"), 0.0),
        (&name("vmauth_backend_ejections_total"), 1.0),
        ("user.request_backend_errors_total", 0.0),
    ]);

    let short = detection.replace("1h", "100ms");
    let proxy = Vmauth::start(&one_user(&[&bad, &good], &short), &[]);
    for _ in 0..5 {
        ask(&proxy);
    }
    proxy.program.wait_log(0, &format!("the ejection of the backend at {} is over", bad.address()));
    bad.set_reply(Reply::ok("sound again"));
    let seen = bad.request_count();
    eventually("a request for the returned backend", || {
        ask(&proxy);
        if bad.request_count() > seen { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn a_share_of_failures_ejects() {
    let half = Backend::saying("");
    let count = std::sync::atomic::AtomicUsize::new(0);
    half.set_handler(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if number.is_multiple_of(2) { Reply::message(500, &[], "") } else { Reply::ok("") }
    });
    let good = Backend::saying("ok");
    let detection = "outlier_detection: {consecutive_errors: 0, error_percent: 50, min_requests: 6, interval: 1h, ejection_time: 1h}";
    let proxy = Vmauth::start(&one_user(&[&half, &good], detection), &[]);
    eventually("the ejection", || {
        ask(&proxy);
        if proxy.program.matching(0, &ejected_line(&half)).is_empty() { Err(half.request_count()) } else { Ok(()) }
    });
    let (_, line) = proxy.program.wait_log(0, &ejected_line(&half));
    assert!(line.contains("4 of 7 requests have failed"), "{line}");
}

#[test]
fn at_most_a_part_of_a_route_is_ejected() {
    let all = [failing(), failing(), failing(), failing()];
    let backends: Vec<_> = all.iter().collect();
    let detection = "outlier_detection: {consecutive_errors: 2, ejection_time: 1h, max_ejection_percent: 50}";
    let proxy = Vmauth::start(&one_user(&backends, detection), &[]);
    for _ in 0..40 {
        assert_eq!(ask(&proxy), 503, "replies of backends pass");
    }
    eventually("two ejections", || {
        ask(&proxy);
        let lines = proxy.program.matching(0, " is ejected for ").len();
        if lines == 2 { Ok(()) } else { Err(lines) }
    });
    for _ in 0..20 {
        ask(&proxy);
    }
    assert_eq!(proxy.program.matching(0, " is ejected for ").len(), 2);
    // One alone is never ejected.
    let proxy = Vmauth::start(&one_user(&backends[..1], detection), &[]);
    for _ in 0..20 {
        ask(&proxy);
    }
    assert!(proxy.program.matching(0, " is ejected for ").is_empty());
}

#[test]
fn replies_below_500_are_no_failures() {
    let picky = Backend::replying(Reply::message(422, &[], "no such function"));
    let good = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&picky, &good], "outlier_detection: {consecutive_errors: 1}"), &[]);
    for _ in 0..10 {
        ask(&proxy);
    }
    assert_eq!(picky.request_count(), 5);
}

#[test]
fn a_backend_that_lets_requests_run_out_of_time_is_ejected() {
    let silent = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let good = Backend::saying("ok");
    let fields = "outlier_detection: {consecutive_errors: 2, ejection_time: 1h}\nrequest_timeout: 2s\n\
                  load_balancing_policy: first_available";
    let proxy =
        Vmauth::start(&one_user(&[&silent, &good], fields), &["-requestBufferSize=0", "-maxRequestBodySizeToRetry=0"]);
    // Who sends no whole body, or sends its end late, has used up the time itself.
    for rest in ["", "cd"] {
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 4\r\n\r\nab"));
        silent.wait_open(1);
        std::thread::sleep(Duration::from_millis(1500));
        client.send(rest);
        client.reply().expect(504);
        silent.wait_open(0);
    }
    let timeouts = format!("vmauth_backend_failures_total{{backend=\"{}\", cause=\"timeout\"}}", silent.address());
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0), (&timeouts, 0.0)]);
    let after = silent.request_count();
    eventually("the ejection", || {
        let status = ask(&proxy);
        if proxy.program.matching(0, &ejected_line(&silent)).is_empty() { Err(status) } else { Ok(()) }
    });
    assert!(silent.request_count() >= after + 2, "the slow bodies have counted");
    eventually("a request for the other backend", || match ask(&proxy) {
        200 => Ok(()),
        status => Err(status),
    });
}

#[test]
fn a_backend_that_returns_gets_a_small_share_at_first() {
    let (bad, good) = (failing(), Backend::saying("ok"));
    let config = "outlier_detection: {consecutive_errors: 1, ejection_time: 100ms}\nslow_start: 1h";
    let proxy = Vmauth::start(&one_user(&[&bad, &good], config), &[]);
    ask(&proxy);
    bad.set_reply(Reply::ok("sound again"));
    proxy.program.wait_log(0, &format!("the ejection of the backend at {} is over", bad.address()));
    let before = bad.request_count();
    for _ in 0..400 {
        assert_eq!(ask(&proxy), 200);
    }
    // A tenth of its 200 is expected; neither none nor half of them comes by chance.
    let got = bad.request_count() - before;
    assert!((1..100).contains(&got), "{got}");
}
