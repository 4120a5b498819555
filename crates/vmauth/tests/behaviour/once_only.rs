//! `-retryOnlyIdempotent` and `retry_only_idempotent`: what must not be done twice is not sent twice;
//! nor is what cannot be sent whole again.

use testkit::{Backend, Reply, Step};

use crate::vmauth::{AUTH, Vmauth, one_user};

const FLAG: &str = "-retryOnlyIdempotent";

fn send(proxy: &Vmauth, method: &str) -> testkit::client::Reply {
    let mut client = proxy.client();
    client.request(method, "/x", &[AUTH], Some(b"body"));
    client.reply()
}

/// Backends that read the request and do this, then answer.
fn two(first: fn() -> Reply) -> [Backend; 2] {
    [0, 1].map(|_| Backend::script(vec![first(), Reply::ok("again")]))
}

fn reset() -> Reply {
    Reply::nothing().then(Step::Reset)
}

fn close() -> Reply {
    Reply::nothing().then(Step::Close)
}

fn sent(backends: &[Backend; 2]) -> usize {
    backends.iter().map(Backend::request_count).sum()
}

#[test]
fn what_a_backend_has_read_is_not_sent_again() {
    for failure in [reset, close] {
        let backends = two(failure);
        let proxy = Vmauth::start(&one_user(&[&backends[0], &backends[1]], ""), &[FLAG]);
        let text = send(&proxy, "POST").expect(503).text();
        assert!(text.starts_with("cannot proxy the request to"), "{text}");
        assert_eq!(sent(&backends), 1);
        proxy.expect_metrics(&[
            ("user.request_backend_requests_total", 1.0),
            ("user.request_backend_errors_total", 1.0),
            ("user.request_errors_total", 1.0),
        ]);
        proxy.expect_access("/x", 503);
    }
}

#[test]
fn idempotent_methods_are_sent_again_and_all_are_by_default() {
    for (method, flags) in [("GET", &[FLAG][..]), ("PUT", &[FLAG]), ("DELETE", &[FLAG]), ("POST", &[]), ("PATCH", &[])]
    {
        let backends = two(reset);
        let proxy = Vmauth::start(&one_user(&[&backends[0], &backends[1]], ""), flags);
        assert_eq!(send(&proxy, method).expect(200).text(), "again", "{method}");
        assert_eq!(sent(&backends), 2, "{method}");
    }
}

#[test]
fn a_backend_that_cannot_be_reached_has_read_nothing() {
    let (down, up) = (Backend::refusing(), Backend::saying("up"));
    let proxy = Vmauth::start(&one_user(&[&down, &up], ""), &[FLAG, "-failTimeout=1h"]);
    for _ in 0..4 {
        assert_eq!(send(&proxy, "POST").expect(200).text(), "up");
    }
    assert_eq!(up.request_count(), 4);
}

#[test]
fn a_status_that_would_be_retried_is_passed_on() {
    let backends = two(|| Reply::message(503, &[], "busy"));
    let config = one_user(&[&backends[0], &backends[1]], "retry_status_codes: [503]");
    let proxy = Vmauth::start(&config, &[FLAG]);
    assert_eq!(send(&proxy, "POST").expect(503).text(), "busy");
    assert_eq!(sent(&backends), 1);
    assert_eq!(send(&proxy, "PUT").expect(200).text(), "again");
}

#[test]
fn a_kept_connection_that_is_gone_may_have_carried_the_request() {
    let backend = Backend::script(vec![Reply::ok("first"), reset(), Reply::ok("again")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[FLAG]);
    send(&proxy, "POST").expect(200);
    send(&proxy, "POST").expect(503);
    assert_eq!(backend.request_count(), 2);
}

#[test]
fn a_route_decides_for_itself_and_a_user_for_its_routes() {
    let f = |flags: &[&str], user: &str, route: &str, want: usize| {
        let backends = two(reset);
        let urls = format!("[\"{}\", \"{}\"]", backends[0].url(), backends[1].url());
        let config = format!(
            "users:\n- username: u\n  password: p\n{user}  url_map:\n  - src_paths: [/x]\n    url_prefix: {urls}\n{route}"
        );
        let proxy = Vmauth::start(&config, flags);
        send(&proxy, "POST");
        assert_eq!(sent(&backends), want, "{config}");
    };
    f(&[FLAG], "", "    retry_only_idempotent: false\n", 2);
    f(&[], "", "    retry_only_idempotent: true\n", 1);
    f(&[], "  retry_only_idempotent: true\n", "", 1);
    f(&[], "  retry_only_idempotent: true\n", "    retry_only_idempotent: false\n", 2);
}

/// A call is not read ahead, so how much of it can be sent again is known only when it has been sent.
#[test]
fn a_call_of_which_something_is_gone_is_not_sent_again() {
    let (busy, other) = (Backend::replying(Reply::message(503, &[], "busy")), Backend::saying("other"));
    let config = one_user(&[&busy, &other], "load_balancing_policy: first_available\nretry_status_codes: [503]");
    let proxy = Vmauth::start(&config, &["-maxRequestBodySizeToRetry=100"]);
    let mut client = proxy.client();
    let chunked = "Content-Type: application/grpc-web\r\nTransfer-Encoding: chunked";
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n{chunked}\r\n\r\n"));
    // Only once the head is there, so that the message is not part of what was read before.
    busy.wait_open(1);
    client.send(format!("c8\r\n{}\r\n0\r\n\r\n", "x".repeat(200)));
    let reply = client.reply();
    assert_eq!((busy.request_count(), other.request_count()), (1, 0), "{reply:?}");
    proxy.program.wait_log(0, "cannot retry the request at another backend, because the request body has been already");
}
