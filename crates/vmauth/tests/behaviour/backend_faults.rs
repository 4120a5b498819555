//! Backends that refuse, reset, stall, talk garbage or hang up: what the client gets and how it is counted.

use std::time::{Duration, Instant};

use testkit::client::End;
use testkit::{Backend, BlackHole, Gate, Metrics, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

const ALL_DOWN: &str = "backends for the user \"u\" are unavailable for proxying the request - check previous WARN logs \
                        to see the exact error for each failed backend";

#[test]
fn a_refusing_backend_is_502() {
    let backend = Backend::refusing();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let reply = proxy.client().get("/x", &[AUTH]).expect(502);
    assert_eq!(reply.text(), format!("all the 1 {ALL_DOWN}"));
    proxy.program.wait_log(0, "connection refused");
    proxy.expect_metrics(&[
        ("user.requests_total", 1.0),
        ("user.request_backend_requests_total", 1.0),
        ("user.request_backend_errors_total", 1.0),
        ("user.request_errors_total", 1.0),
        ("user.concurrent_requests_current", 0.0),
        ("vmauth_backend_dials_total", 1.0),
        ("vmauth_backend_dial_errors_total", 1.0),
        ("vmauth_backend_conns", 0.0),
    ]);
    proxy.expect_access("/x", 502);
}

#[test]
fn a_refusing_backend_is_skipped_for_a_working_one() {
    let (down, up) = (Backend::refusing(), Backend::saying("up"));
    let proxy = Vmauth::start(&one_user(&[&down, &up], ""), &["-failTimeout=1h"]);
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "up");
    }
    assert_eq!(up.request_count(), 4);
    proxy.expect_metrics(&[
        ("user.requests_total", 4.0),
        ("user.request_backend_requests_total", 5.0),
        ("user.request_backend_errors_total", 1.0),
        ("user.request_errors_total", 0.0),
    ]);
}

#[test]
fn one_reset_before_the_head_is_repeated_silently() {
    let backend = Backend::script(vec![Reply::nothing().then(Step::Reset), Reply::ok("second")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("POST", "/", &[AUTH], Some(b"small body"));
    assert_eq!(client.reply().expect(200).text(), "second");
    let bodies: Vec<_> = backend.requests().into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, [b"small body", b"small body"], "both tries carry the body");
    assert!(proxy.program.matching(0, "remoteAddr").is_empty(), "{}", proxy.program.log_text());
    proxy.expect_metrics(&[
        ("user.request_backend_requests_total", 2.0),
        ("user.request_backend_errors_total", 0.0),
        ("user.request_errors_total", 0.0),
    ]);
}

#[test]
fn two_resets_before_the_head_are_502() {
    let backend = Backend::replying(Reply::nothing().then(Step::Reset));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    proxy.client().get("/", &[AUTH]).expect(502);
    assert_eq!(backend.request_count(), 2, "one silent repeat on the same backend");
    proxy.expect_metrics(&[
        ("user.request_backend_requests_total", 2.0),
        ("user.request_backend_errors_total", 1.0),
        ("user.request_errors_total", 1.0),
        ("user.concurrent_requests_current", 0.0),
    ]);
    backend.wait_open(0);
}

#[test]
fn a_new_connection_closed_before_the_head_is_not_repeated() {
    let backend = Backend::replying(Reply::nothing().then(Step::Close));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    proxy.client().get("/", &[AUTH]).expect(502);
    assert_eq!(backend.request_count(), 1);
    proxy.program.wait_log(0, "EOF");
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), ("user.request_errors_total", 1.0)]);
}

#[test]
fn a_break_in_the_middle_of_the_head_is_502() {
    let check = |last: Step, tries: std::ops::RangeInclusive<usize>| {
        let backend = Backend::replying(Reply::raw("HTTP/1.1 200 OK\r\nX-Part: 1\r\nContent-Le").then(last.clone()));
        let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
        let reply = proxy.client().get("/", &[AUTH]).expect(502);
        assert_eq!(reply.fields.get("X-Part"), None, "nothing of the broken head reaches the client");
        let seen = backend.request_count();
        assert!(tries.contains(&seen), "{last:?}: the backend saw {seen} requests");
        proxy.expect_metrics(&[
            ("user.request_backend_errors_total", 1.0),
            ("user.request_errors_total", 1.0),
            ("user.concurrent_requests_current", 0.0),
        ]);
        backend.wait_open(0);
    };
    check(Step::Close, 1..=1);
    check(Step::Reset, 1..=2);
}

/// The reply begins, the client reads what is there, then the backend breaks it off.
fn break_off(head_and_part: Reply, last: Step, counted: bool) {
    let gate = Gate::new();
    let backend = Backend::replying(head_and_part.then(Step::Wait(gate.clone())).then(last));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.disableResponseCompression"]);
    let mut client = proxy.client();
    client.request("GET", "/x", &[AUTH], None);
    let mut reply = client.reply_head();
    assert_eq!(reply.status, 200);
    gate.open();
    client.rest_of(&mut reply);
    assert!(
        matches!(reply.end, End::Eof | End::Reset),
        "the client must see that the reply is cut, got {:?} with body {:?}",
        reply.end,
        reply.text()
    );
    assert!("part".starts_with(&reply.text()), "a prefix of what the backend sent, got {:?}", reply.text());
    assert_eq!(backend.request_count(), 1, "a begun reply is never tried again");
    let errors = if counted { 1.0 } else { value_of_request_errors(&proxy) };
    proxy.expect_metrics(&[
        ("user.request_errors_total", errors),
        ("user.concurrent_requests_current", 0.0),
        ("vmauth_backend_conns", 0.0),
    ]);
    proxy.expect_access("/x", 200);
}

/// Upstream leaves resets in the body uncounted; counting them once is as good.
fn value_of_request_errors(proxy: &Vmauth) -> f64 {
    let errors = Metrics::fresh(proxy.address).sum("vmauth_user_request_errors_total");
    assert!(errors <= 1.0, "request errors: {errors}");
    errors
}

#[test]
fn a_body_with_a_length_closed_in_the_middle_is_cut() {
    break_off(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"), Step::Close, true);
}

#[test]
fn a_body_with_a_length_reset_in_the_middle_is_cut() {
    break_off(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"), Step::Reset, false);
}

#[test]
fn a_chunked_body_closed_in_the_middle_is_cut() {
    break_off(Reply::chunked_head(200, &[]).send("4\r\npart\r\n"), Step::Close, true);
}

#[test]
fn a_chunked_body_reset_in_the_middle_is_cut() {
    break_off(Reply::chunked_head(200, &[]).send("4\r\npart\r\n"), Step::Reset, false);
}

#[test]
fn a_chunked_body_with_garbage_is_cut() {
    break_off(
        Reply::chunked_head(200, &[]).send("4\r\npart\r\n"),
        Step::Send(b"no size\r\nrest\r\n0\r\n\r\n".to_vec()),
        true,
    );
}

#[test]
fn a_stalled_backend_is_502_after_the_response_timeout() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-responseTimeout=300ms"]);
    proxy.client().get("/x", &[AUTH]).expect(502);
    proxy.program.wait_log(0, "timeout awaiting response headers");
    // The stalled connection is given up, not put into the pool.
    backend.wait_for(1);
    backend.wait_open(0);
    assert_eq!(backend.request_count(), 1);
    proxy.expect_metrics(&[
        ("user.request_backend_errors_total", 1.0),
        ("user.request_errors_total", 1.0),
        ("user.concurrent_requests_current", 0.0),
        ("vmauth_backend_conns", 0.0),
    ]);
}

#[test]
fn garbage_instead_of_a_head_is_502() {
    let garbage: &[&[u8]] = &[
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ];
    let replies = garbage.iter().map(|g| Reply::raw(*g).then(Step::Close)).collect();
    let backend = Backend::script(replies);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    for (n, bytes) in garbage.iter().enumerate() {
        let reply = client.get("/", &[AUTH]);
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!((reply.status, &reply.end), (502, &End::Complete), "after {shown:?} the client got {reply:?}");
        assert_eq!(backend.request_count(), n + 1, "{shown:?} is not a reason to repeat");
    }
    let n = garbage.len() as f64;
    proxy.expect_metrics(&[("user.request_backend_errors_total", n), ("user.request_errors_total", n)]);
    backend.wait_open(0);
}

#[test]
fn a_head_without_end_is_502_in_bounded_memory() {
    let line = format!("X-Endless: {}\r\n", "a".repeat(8000));
    let backend = Backend::replying(Reply::raw("HTTP/1.1 200 OK\r\n").then(Step::Flood(line.into_bytes())));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let before = proxy.program.rss_bytes();
    proxy.client().get("/", &[AUTH]).expect(502);
    backend.wait_open(0);
    let grown = proxy.program.rss_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    proxy.expect_metrics(&[("user.request_errors_total", 1.0), ("user.concurrent_requests_current", 0.0)]);
}

/// The backend ends a pooled connection; the next request must not notice.
fn pooled_connection_ends(method: &str, body: Option<&[u8]>) {
    let backend = Backend::script(vec![Reply::ok("first").then(Step::Close), Reply::ok("next")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    backend.wait_open(0);
    client.request(method, "/", &[AUTH], body);
    assert_eq!(client.reply().expect(200).text(), "next");
    assert_eq!(backend.wait_for(2).body, body.unwrap_or_default());
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0), ("user.request_errors_total", 0.0)]);
    assert!(proxy.program.matching(0, "remoteAddr").is_empty(), "{}", proxy.program.log_text());
}

#[test]
fn an_idle_connection_closed_by_the_backend_is_replaced_for_get() {
    pooled_connection_ends("GET", None);
}

#[test]
fn an_idle_connection_closed_by_the_backend_is_replaced_for_post() {
    pooled_connection_ends("POST", Some(b"buffered"));
}

/// The race proper: the request is on its way when the backend closes the pooled connection.
fn pooled_connection_dies_with_the_request(last: Step) {
    let backend = Backend::with(move |request| match request.target.as_str() {
        "/first" => Reply::ok("first"),
        _ if request.connection == 0 => Reply::nothing().then(last.clone()),
        _ => Reply::ok("next"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.get("/first", &[AUTH]).expect(200);
    client.request("POST", "/second", &[AUTH], Some(b"buffered"));
    assert_eq!(client.reply().expect(200).text(), "next");
    let last = backend.wait_for(3);
    assert_eq!((last.connection, &last.body[..]), (1, &b"buffered"[..]));
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0), ("user.request_errors_total", 0.0)]);
}

#[test]
fn a_pooled_connection_closed_under_a_request_is_repeated_once() {
    pooled_connection_dies_with_the_request(Step::Close);
}

#[test]
fn a_pooled_connection_reset_under_a_request_is_repeated_once() {
    pooled_connection_dies_with_the_request(Step::Reset);
}

#[test]
fn a_body_that_cannot_be_sent_again_is_503() {
    let (down, up) = (Backend::refusing(), Backend::saying("up"));
    let proxy = Vmauth::start(
        &one_user(&[&down, &up], "load_balancing_policy: first_available"),
        &["-requestBufferSize=10", "-maxRequestBodySizeToRetry=10", "-failTimeout=1h"],
    );
    let mut client = proxy.client();
    client.request("POST", "/", &[AUTH], Some(&[b'x'; 1000]));
    let reply = client.reply();
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.text().starts_with("cannot proxy the request to "), "{:?}", reply.text());
    assert_eq!(up.request_count(), 0);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), ("user.request_errors_total", 1.0)]);
    // The failed backend is marked, so the next request goes straight to the other one.
    proxy.client().get("/", &[AUTH]).expect(200);
    proxy.expect_metrics(&[("user.request_backend_requests_total", 2.0)]);
}

#[test]
fn all_backends_go_down_and_come_back() {
    let (first, second) = (Backend::saying("first"), Backend::saying("second"));
    let proxy = Vmauth::start(&one_user(&[&first, &second], ""), &["-failTimeout=1s"]);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    client.get("/", &[AUTH]).expect(200);
    assert_eq!((first.request_count(), second.request_count()), (1, 1));
    first.refuse();
    second.refuse();
    let reply = client.get("/", &[AUTH]).expect(502);
    assert_eq!(reply.text(), format!("all the 2 {ALL_DOWN}"));
    let (_, line) = proxy.program.wait_log(0, "ignoring the backend at");
    assert!(line.contains("/upstream/health_check.rs:"), "{line}");
    // Only the check of the background task can bring the second one back: while all are broken the first is tried.
    second.resume();
    eventually("the second backend serves again", || {
        let reply = client.get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    });
    assert!(second.request_count() > 1 && first.request_count() == 1);
    first.resume();
    eventually("the first backend serves again", || {
        client.get("/", &[AUTH]).expect(200);
        if first.request_count() > 1 { Ok(()) } else { Err("still skipped") }
    });
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn a_client_that_leaves_a_stalled_backend_does_not_mark_it_broken() {
    let (stalled, other) = (Backend::replying(Reply::nothing().then(Step::AwaitPeer)), Backend::saying("other"));
    let config = one_user(&[&stalled, &other], "load_balancing_policy: first_available");
    let proxy = Vmauth::start(&config, &["-failTimeout=1h"]);
    let mut client = proxy.client();
    client.request("GET", "/x", &[AUTH], None);
    stalled.wait_for(1);
    client.abort();
    stalled.wait_open(0);
    proxy.expect_metrics(&[
        ("reason.client_canceled", 1.0),
        ("user.request_backend_errors_total", 0.0),
        ("user.request_errors_total", 0.0),
        ("user.concurrent_requests_current", 0.0),
    ]);
    stalled.set_reply(Reply::ok("recovered"));
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "recovered");
    assert_eq!(other.request_count(), 0, "no second attempt for a client that has left");
}

#[test]
fn a_slow_dialogue_is_not_a_stall() {
    // -responseTimeout limits the wait for the head only; the body may take its time.
    let gate = Gate::new();
    let backend = Backend::replying(
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nbody").then(Step::Wait(gate.clone())).send("tail"),
    );
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-responseTimeout=3s"]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    assert_eq!(client.reply_head().status, 200);
    assert_eq!(client.read_exactly(4), b"body");
    client.expect_silence(Duration::from_millis(3500));
    gate.open();
    assert_eq!(client.read_exactly(4), b"tail");
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn a_backend_that_swallows_connections_is_left_before_the_client_leaves() {
    let (hole, works) = (BlackHole::new(), Backend::saying("works"));
    let urls = format!("\"{}\", \"{}\"", hole.url(), works.url());
    let config = user_of_urls(&urls, "load_balancing_policy: first_available");
    let proxy = Vmauth::start(&config, &["-dialTimeout=300ms", "-failTimeout=1h"]);
    let begin = Instant::now();
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "works");
    assert!(begin.elapsed() >= Duration::from_millis(300), "the first backend was tried");
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), ("user.request_errors_total", 0.0)]);
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "works");
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0)]);
}
