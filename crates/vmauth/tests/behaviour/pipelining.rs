//! Requests that come before the reply to the one in front: served in order, never mixed up.

use testkit::{Backend, Gate, Reply};

use crate::vmauth::{AUTH, Vmauth, one_user};

fn pipelined(n: usize) -> String {
    (0..n).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n\r\n")).collect()
}

fn echo_target() -> Backend {
    Backend::with(|request| Reply::ok(&request.target))
}

#[test]
fn ten_requests_in_one_write_are_answered_in_order() {
    let backend = echo_target();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(pipelined(10));
    for i in 0..10 {
        assert_eq!(client.reply().expect(200).text(), format!("/{i}"));
    }
    assert_eq!((backend.request_count(), backend.connections()), (10, 1));
    proxy.expect_metrics(&[("user.requests_total", 10.0), ("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn they_are_served_one_at_a_time() {
    let gate = Gate::new();
    let held = gate.clone();
    let backend = Backend::with(move |request| match request.target.as_str() {
        "/0" => Reply::ok("/0").after(&held),
        _ => Reply::ok(&request.target),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(pipelined(3));
    backend.wait_for(1);
    client.expect_silence(std::time::Duration::from_millis(200));
    assert_eq!(backend.request_count(), 1, "the second waits for the reply to the first");
    gate.open();
    for i in 0..3 {
        assert_eq!(client.reply().expect(200).text(), format!("/{i}"));
    }
}

#[test]
fn bodies_between_them_are_told_apart() {
    let backend = Backend::with(|request| Reply::ok(&request.target));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let head = |i: usize, framing: &str| format!("POST /{i} HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n{framing}\r\n\r\n");
    let mut all = String::new();
    for i in (0..10).step_by(2) {
        all += &format!("{}GET /{i} ", head(i, "Content-Length: 7"));
        all += &format!("{}6\r\nGET /{}\r\n0\r\n\r\n", head(i + 1, "Transfer-Encoding: chunked"), i + 1);
    }
    client.send(all);
    for i in 0..10 {
        assert_eq!(client.reply().expect(200).text(), format!("/{i}"));
        let seen = backend.wait_request(i + 1, "the whole request", |r| r.complete);
        assert!(seen.body.starts_with(format!("GET /{i}").as_bytes()), "body {i}: {:?}", seen.body);
    }
}

#[test]
fn a_bad_one_ends_the_line_after_the_good_ones() {
    let backend = echo_target();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(format!("{}GET /bad HTTP/1.1\r\nX A: b\r\n\r\n{}", pipelined(2), pipelined(1)));
    client.reply().expect(200);
    client.reply().expect(200);
    client.reply().expect(400);
    client.expect_closed();
    assert_eq!(backend.request_count(), 2);
}

#[test]
fn close_ends_the_line() {
    let backend = echo_target();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(format!("GET /a HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nConnection: close\r\n\r\n{}", pipelined(2)));
    let reply = client.reply().expect(200);
    assert!(reply.fields.has_token("Connection", "close"), "{:?}", reply.fields);
    client.expect_closed();
    assert_eq!(backend.request_count(), 1, "what follows a closing request is not served");
}
