//! Concurrency permits: held to the last byte of a reply, freed on every way out.

use std::thread;
use std::time::Duration;

use testkit::wire::chunk;
use testkit::{Backend, Gate, Reply, Step};

use crate::vmauth::{AUTH, Vmauth, one_user};

fn streaming(gate: &Gate) -> Reply {
    Reply::chunked_head(200, &[])
        .then(Step::Send(chunk(b"head")))
        .then(Step::Wait(gate.clone()))
        .then(Step::Send(chunk(b"tail")))
        .send("0\r\n\r\n")
}

fn held_to_the_last_byte(extra: &str, flags: &[&str], gauge: &str) {
    let gate = Gate::new();
    let backend = Backend::script(vec![streaming(&gate), Reply::ok("second")]);
    let proxy = Vmauth::start(&one_user(&[&backend], extra), &[flags, &["-maxQueueDuration=30s"]].concat());
    let mut first = proxy.client();
    first.request("GET", "/first", &[AUTH], None);
    let mut reply = first.reply_head();
    assert_eq!(reply.status, 200);
    let mut second = proxy.client();
    second.request("GET", "/second", &[AUTH], None);
    proxy.wait_user_requests(2.0);
    proxy.expect_metrics(&[(gauge, 1.0)]);
    second.expect_silence(Duration::from_millis(200));
    assert_eq!(backend.request_count(), 1, "the first reply still streams, so the second request waits");
    gate.open();
    first.rest_of(&mut reply);
    assert_eq!(reply.text(), "headtail");
    assert_eq!(second.reply().expect(200).text(), "second");
    proxy.expect_metrics(&[
        (gauge, 0.0),
        ("user.concurrent_requests_current", 0.0),
        ("user.concurrent_requests_limit_reached_total", 0.0),
        ("vmauth_concurrent_requests_limit_reached_total", 0.0),
        ("user.request_errors_total", 0.0),
    ]);
}

#[test]
fn the_permit_of_a_user_is_held_to_the_last_byte() {
    held_to_the_last_byte("max_concurrent_requests: 1", &[], "user.concurrent_requests_current");
}

#[test]
fn a_global_permit_is_held_to_the_last_byte() {
    held_to_the_last_byte("", &["-maxConcurrentRequests=1"], "vmauth_concurrent_requests_current");
}

#[test]
fn the_queue_ends_with_429() {
    let gate = Gate::new();
    let backend = Backend::script(vec![streaming(&gate), Reply::ok("later")]);
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &["-maxQueueDuration=200ms"]);
    let mut first = proxy.client();
    first.request("GET", "/first", &[AUTH], None);
    let mut reply = first.reply_head();
    let mut second = proxy.client();
    let refused = second.get("/x", &[AUTH]).expect(429);
    assert_eq!(
        refused.text(),
        "cannot start executing the request during -maxQueueDuration=200ms because 1 concurrent requests from the \
         user u are executed"
    );
    assert_eq!(refused.fields.get("Retry-After"), Some("10"));
    gate.open();
    first.rest_of(&mut reply);
    assert_eq!(second.get("/later", &[AUTH]).expect(200).text(), "later", "the refused client's connection lives on");
    proxy.expect_metrics(&[
        ("user.requests_total", 3.0),
        ("user.concurrent_requests_limit_reached_total", 1.0),
        ("user.concurrent_requests_current", 0.0),
        ("user.request_errors_total", 0.0),
    ]);
    proxy.expect_access("/x", 429);
}

#[test]
fn a_refused_body_does_not_become_a_request() {
    // The body of a request refused before anything of it was read must not be served as the next request.
    let gate = Gate::new();
    let backend = Backend::script(vec![streaming(&gate), Reply::ok("later")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxConcurrentRequests=1", "-maxQueueDuration=200ms"]);
    let mut first = proxy.client();
    first.request("GET", "/first", &[AUTH], None);
    let mut reply = first.reply_head();
    let mut second = proxy.client();
    let inner = format!("GET /smuggled HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n\r\n");
    second.request("POST", "/x", &[AUTH], Some(inner.as_bytes()));
    second.reply().expect(429);
    gate.open();
    first.rest_of(&mut reply);
    let _ = second.try_send(format!("GET /next HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nConnection: close\r\n\r\n"));
    let _ = second.reply();
    let targets: Vec<_> = backend.requests().into_iter().map(|r| r.target).collect();
    assert!(!targets.contains(&String::from("/smuggled")), "{targets:?}");
}

#[test]
fn a_crowd_behind_few_permits_is_served_completely() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(
        &one_user(&[&backend], "max_concurrent_requests: 3"),
        &["-workers=2", "-maxQueueDuration=30s", "-maxConcurrentRequests=5"],
    );
    let address = proxy.address;
    let clients: Vec<_> = (0..40)
        .map(|_| {
            thread::spawn(move || {
                let mut client = testkit::Client::connect(address);
                for _ in 0..10 {
                    client.get("/", &[AUTH]).expect(200);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every request is served");
    }
    assert!(backend.connections() <= 6, "{} backend connections for three permits", backend.connections());
    proxy.expect_metrics(&[
        ("user.requests_total", 400.0),
        ("user.concurrent_requests_current", 0.0),
        ("vmauth_concurrent_requests_current", 0.0),
        ("user.concurrent_requests_limit_reached_total", 0.0),
        ("vmauth_concurrent_requests_limit_reached_total", 0.0),
    ]);
}

/// Two users; `u` as in [`one_user`], `v` with the password `p` too.
fn two_users(backend: &Backend, extra: &str) -> String {
    let second = format!("- username: v\n  password: p\n  url_prefix: \"{}\"\n", backend.url());
    format!("{}{second}", one_user(&[backend], extra))
}

const OTHER: &str = "Authorization: Basic djpw";

#[test]
fn a_user_with_slow_bodies_does_not_delay_others() {
    let backend = Backend::saying("ok");
    let config = two_users(&backend, "max_concurrent_requests: 1");
    let proxy = Vmauth::start(&config, &["-maxConcurrentRequests=2", "-maxQueueDuration=30s"]);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.client();
        client.send(format!("POST /slow HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 10\r\n\r\nabc"));
        slow.push(client);
    }
    proxy.expect_metrics(&[("user.requests_total", 4.0), ("vmauth_concurrent_requests_current", 0.0)]);
    assert_eq!(proxy.client().get("/fast", &[OTHER]).expect(200).text(), "ok");
    let seen: Vec<_> = backend.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(seen, ["/fast"]);
    drop(slow);
}

#[test]
fn a_share_of_the_global_slots_is_never_one_users() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(
        &two_users(&backend, "max_concurrent_requests: 100"),
        &["-maxConcurrentRequests=10", "-maxQueueDuration=30s"],
    );
    // More than is read ahead: the requests hold their slots until the rest has come.
    let begin = "x".repeat(50_000);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.client();
        client.send(format!("POST /slow HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 100000\r\n\r\n{begin}"));
        slow.push(client);
    }
    proxy.expect_metrics(&[("user.concurrent_requests_current", 9.0), ("vmauth_concurrent_requests_current", 9.0)]);
    assert_eq!(proxy.client().get("/fast", &[OTHER]).expect(200).text(), "ok");
    drop(slow);
}
