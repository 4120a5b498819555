//! Limits of time that routes set for themselves: which one is in force, what follows from it, and what names it.

use std::time::Duration;

use testkit::client::End;
use testkit::{Backend, BlackHole, Gate, Reply, Step};

use crate::frames::that_take_no_body;
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

// Limits that something has to be ready for in time are of seconds: the machine may be busy.

/// Says nothing until the other side leaves.
fn stalled() -> Backend {
    Backend::replying(Reply::nothing().then(Step::AwaitPeer))
}

#[test]
fn a_route_waits_shorter_or_longer_for_a_head_than_its_user_and_the_flag() {
    let gate = Gate::new();
    let (silent, slow) = (stalled(), Backend::replying(Reply::ok("late").after(&gate)));
    let config = format!(
        "users:\n- username: u\n  password: p\n  response_timeout: 200ms\n  url_map:\n  - src_paths: [/patient]\n    \
         response_timeout: 0\n    url_prefix: \"{0}\"\n  - src_paths: [/hasty]\n    response_timeout: 100ms\n    url_prefix: \
         \"{1}\"\n  url_prefix: \"{1}\"\n",
        slow.url(),
        silent.url(),
    );
    let proxy = Vmauth::start(&config, &["-responseTimeout=50ms"]);
    let mut patient = proxy.client();
    patient.request("GET", "/patient", &[AUTH], None);
    slow.wait_for(1);
    for (path, limit) in [("/hasty", "100ms"), ("/other", "200ms")] {
        let mark = proxy.program.mark();
        proxy.client().get(path, &[AUTH]).expect(502);
        proxy.program.wait_log(mark, &format!("timeout awaiting response headers; response_timeout={limit}"));
    }
    // The flag's limit and the user's have passed by now.
    gate.open();
    assert_eq!(patient.reply().expect(200).text(), "late");
}

#[test]
fn a_head_that_is_late_sends_the_request_to_another_backend() {
    let (silent, works) = (stalled(), Backend::saying("works"));
    let config = one_user(&[&silent, &works], "load_balancing_policy: first_available\nresponse_timeout: 3s");
    let proxy = Vmauth::start(&config, &["-failTimeout=1h"]);
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "works");
    silent.wait_open(0);
    // Marked as broken, as by the flag's limit.
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "works");
    assert_eq!(silent.request_count(), 1);
    let timeouts = format!("vmauth_backend_failures_total{{backend=\"{}\", cause=\"timeout\"}}", silent.address());
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), (&timeouts, 1.0)]);
}

/// A body that is larger than what is read ahead, so that it cannot go to another backend.
#[test]
fn a_backend_that_takes_nothing_of_a_body_is_given_up() {
    let gate = Gate::new();
    let (http1, http2) = that_take_no_body(&gate);
    for (url, address) in [(http1.url(), http1.address()), (http2.url(), http2.address)] {
        let config = user_of_urls(&format!("\"{url}\""), "response_timeout: 200ms");
        let proxy = Vmauth::start(&config, &["-http2.h2c"]);
        let mut client = Http2::connect(proxy.address);
        let mut begun = client.begin(request("POST", "/", &[]), false);
        begun.body.send_data(vec![b'x'; 16 << 20].into(), true).expect("sent");
        client.answer(begun).expect("an answer").expect(503);
        proxy.program.wait_log(0, "the backend has taken nothing of the request for 200ms");
        let timeouts = format!("vmauth_backend_failures_total{{backend=\"{address}\", cause=\"timeout\"}}");
        proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), (&timeouts, 1.0)]);
    }
    gate.open();
}

#[test]
fn a_route_gives_up_connecting_before_the_flag_does() {
    let hole = BlackHole::new();
    let config = user_of_urls(&format!("\"{}\"", hole.url()), "connect_timeout: 150ms");
    let proxy = Vmauth::start(&config, &["-dialTimeout=1h"]);
    proxy.client().get("/", &[AUTH]).expect(502);
    proxy.program.wait_log(0, "i/o timeout; connect_timeout=150ms");
}

#[test]
fn a_request_that_takes_too_long_is_504_and_goes_nowhere_else() {
    let (silent, other) = (stalled(), Backend::saying("other"));
    let config = one_user(&[&silent, &other], "load_balancing_policy: first_available\nrequest_timeout: 3s");
    let proxy = Vmauth::start(&config, &[]);
    let reply = proxy.client().get("/x", &[AUTH]).expect(504);
    assert_eq!(reply.text(), "the request took longer than request_timeout=3s of its route");
    silent.wait_open(0);
    assert_eq!((silent.request_count(), other.request_count()), (1, 0));
    let (_, line) = proxy.program.wait_log(0, "request_timeout=3s of its route; ");
    assert!(line.contains(&format!("{} has not answered", silent.address())), "{line}");
    let (_, line) = proxy.program.wait_log(0, "access_log request_host=\"test\" request_uri=\"/x\"");
    assert!(line.contains("status_code=504") && line.contains("reason=\"request_timeout\""), "{line}");
    assert!(line.contains("ended=\"limit\"") && line.contains("no reply within request_timeout=3s"), "{line}");
    let timeouts = format!("vmauth_backend_failures_total{{backend=\"{}\", cause=\"timeout\"}}", silent.address());
    proxy.expect_metrics(&[
        ("user.request_errors_total", 1.0),
        ("user.request_backend_errors_total", 1.0),
        ("user.concurrent_requests_current", 0.0),
        (&timeouts, 1.0),
        // The client got all of its 504.
        ("vmauth_http_cut_responses_total{by=\"limit\"}", 0.0),
    ]);
    // The backend is not blamed beyond that.
    silent.set_reply(Reply::ok("well"));
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "well");
}

#[test]
fn a_reply_that_takes_too_long_is_cut() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
    let backend = Backend::replying(Reply::raw(part).then(Step::AwaitPeer));
    let proxy = Vmauth::start(&one_user(&[&backend], "request_timeout: 3s"), &[]);
    let mut client = proxy.client();
    client.request("GET", "/x", &[AUTH], None);
    assert_eq!(client.reply_head().status, 200);
    assert_eq!(client.read_to_end(), (b"half".to_vec(), End::Eof));
    backend.wait_open(0);
    let (_, line) = proxy.program.wait_log(0, "access_log request_host=\"test\" request_uri=\"/x\"");
    assert!(line.contains("ended=\"limit\"") && line.contains("reason=\"request_timeout\""), "{line}");
    proxy.expect_metrics(&[
        ("user.request_errors_total", 1.0),
        ("user.request_backend_errors_total", 0.0),
        ("vmauth_http_cut_responses_total{by=\"limit\"}", 1.0),
    ]);
}

#[test]
fn a_call_ends_with_a_status_of_grpc() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n";
    let backend = Backend::with(move |request| match request.target.as_str() {
        "/begun" => Reply::raw(head).then(Step::AwaitPeer),
        _ => Reply::nothing().then(Step::AwaitPeer),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], "request_timeout: 3s"), &["-http2.h2c"]);
    let mut client = Http2::connect(proxy.address);
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1H")];
    let silent = client.ask(request("POST", "/silent", &headers)).expect(200);
    assert_eq!(silent.header("grpc-status"), Some("4"), "DEADLINE_EXCEEDED in {silent:?}");
    let begun = client.ask(request("POST", "/begun", &headers)).expect(200);
    assert_eq!(begun.body, "piece");
    let trailers = begun.trailers.expect("the end of a call");
    assert_eq!(trailers["grpc-status"], "4");
    assert_eq!(trailers["grpc-message"], "the call took longer than request_timeout=3s");
    let told = backend.requests().iter().filter_map(|seen| seen.fields.get("grpc-timeout").map(str::to_owned)).next();
    assert_eq!(told.as_deref(), Some("1H"), "the client's own deadline passes");
    backend.wait_open(0);
}

#[test]
fn a_tunnel_has_limits_of_its_own() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let backend = Backend::replying(Reply::raw(switch).then(Step::Echo(Vec::new())));
    let proxy = Vmauth::start(&one_user(&[&backend], "request_timeout: 3s"), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH, "Connection: Upgrade", "Upgrade: websocket"], None);
    assert_eq!(client.reply_head().status, 101);
    client.expect_silence(Duration::from_millis(3500));
    client.send("ping");
    assert_eq!(client.read_exactly(4), b"ping");
}
