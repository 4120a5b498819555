//! HTTP/2 towards clients: what is refused, what is bounded, and how connections end.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use http::Request;
use testkit::{Backend, Gate, Reply, Signal};

use crate::http2_client::{Http2, request};
use crate::vmauth::{Vmauth, one_user};

const H2C: &str = "-http2.h2c";

#[test]
fn ambiguous_requests_are_refused_and_seen_by_no_backend() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    for (header, status) in [(("host", "other"), 400), (("expect", "the worst"), 417), (("http2-settings", "A"), 400)] {
        client.ask(request("GET", "/refused", &[header])).expect(status);
    }
    let answer = client.ask(Request::get("http://user@front/refused").body(()).expect("a request")).expect(400);
    assert_eq!(answer.body, "400 Bad Request: malformed Host header");
    client.ask(request("CONNECT", "", &[])).expect(400);
    client.get("/fine").expect(200);
    assert_eq!(backend.requests().iter().filter(|seen| seen.target == "/refused").count(), 0);
    proxy.expect_metrics(&[
        ("vm_http_malformed_requests_total{reason=\"bad_host\"}", 2.0),
        ("vm_http_malformed_requests_total{reason=\"expect\"}", 1.0),
        ("vm_http_malformed_requests_total{reason=\"connection_header\"}", 1.0),
        ("vm_http_malformed_requests_total{reason=\"bad_target\"}", 1.0),
    ]);
}

#[test]
fn heads_are_bounded() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let large = "x".repeat(70_000);
    client.ask(request("GET", "/", &[("x-large", &large)])).expect(431);
    let crumbs = vec![("cookie", "a"); 1100];
    client.ask(request("GET", "/", &crumbs)).expect(431);
    let few = vec![("cookie", "a=b"); 3];
    client.ask(request("GET", "/cookies", &few)).expect(200);
    let seen = backend.wait_for(1);
    assert_eq!((&seen.target[..], seen.fields.all("Cookie")), ("/cookies", vec!["a=b; a=b; a=b"]));
}

#[test]
fn streams_of_a_connection_are_bounded() {
    let gate = Gate::new();
    let backend = Backend::replying(Reply::ok("ok").after(&gate));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C, "-http2.maxConcurrentStreams=3"]);
    let mut client = Http2::connect(proxy.address);
    let begun: Vec<_> = (0..3).map(|_| client.begin(request("GET", "/", &[]), true)).collect();
    backend.wait_for(3);
    let late = client.begin(request("GET", "/", &[]), true);
    gate.open();
    for begun in begun {
        client.answer(begun).expect("an answer").expect(200);
    }
    client.answer(late).expect("an answer").expect(200);
}

#[test]
fn a_stream_that_takes_nothing_is_given_up_and_the_others_go_on() {
    let backend = Backend::with(|request| match &request.target[..] {
        "/large" => Reply::ok(&"x".repeat(1_000_000)),
        _ => Reply::ok("small"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 2"), &[H2C, "-http.writeTimeout=1s"]);
    let mut settings = Builder::new();
    settings.initial_window_size(1000).initial_connection_window_size(1_000_000);
    let mut client = Http2::connect_with(proxy.address, &settings);
    let begun = client.begin(request("GET", "/large", &[]), true);
    let response = client.wait(begun.response).expect("a head");
    assert_eq!(client.get("/small").expect(200).body, "small");
    let mut body = response.into_body();
    let mut taken = 0;
    let error = client.wait(async {
        loop {
            match body.data().await.expect("no end") {
                Ok(piece) => taken += piece.len(),
                Err(error) => return error,
            }
        }
    });
    assert_eq!((error.reason(), taken), (Some(Reason::INTERNAL_ERROR), 1000));
    proxy.expect_metrics(&[
        ("user.concurrent_requests_current", 0.0),
        ("vm_tcplistener_write_timeouts_total{name=\"http\", addr=\"127.0.0.1:0\"}", 1.0),
    ]);
    assert_eq!(client.get("/small").expect(200).body, "small");
}

#[test]
fn windows_of_a_byte_are_no_progress() {
    let backend = Backend::saying(&"x".repeat(1_000_000));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C, "-http.writeTimeout=1s"]);
    let mut settings = Builder::new();
    settings.initial_window_size(1);
    let mut client = Http2::connect_with(proxy.address, &settings);
    let begun = client.begin(request("GET", "/", &[]), true);
    let ended = client.wait(async {
        let mut body = begun.response.await.expect("a head").into_body();
        loop {
            match body.data().await.expect("no end") {
                Ok(piece) => {
                    assert!(piece.len() <= 1);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    body.flow_control().release_capacity(piece.len()).expect("released");
                }
                Err(error) => return error,
            }
        }
    });
    assert_eq!(ended.reason(), Some(Reason::INTERNAL_ERROR));
    backend.wait_open(0);
}

#[test]
fn the_end_is_said_and_what_was_begun_is_served() {
    let gate = Gate::new();
    let backend = Backend::replying(Reply::ok("late").after(&gate));
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let idle = Http2::connect(proxy.address);
    let begun = client.begin(request("GET", "/", &[]), true);
    backend.wait_for(1);
    proxy.program.signal(Signal::Int);
    assert_eq!(idle.ended(), None, "an idle connection ends in peace, and at once");
    gate.open();
    assert_eq!(client.answer(begun).expect("an answer").expect(200).body, "late");
    assert_eq!(client.ended(), None);
    assert_eq!(proxy.program.wait_exit(Duration::from_secs(60)), Some(0));
}

#[test]
fn old_and_idle_connections_are_ended() {
    let gate = Gate::new();
    let backend = Backend::script(vec![Reply::ok("ok").after(&gate)]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C, "-http.connTimeout=3s"]);
    let mut client = Http2::connect(proxy.address);
    let begun = client.begin(request("GET", "/", &[]), true);
    proxy.expect_metrics(&[("vm_http_conn_timeout_closed_conns_total", 1.0)]);
    gate.open();
    client.answer(begun).expect("an answer").expect(200);
    assert_eq!(client.ended(), None);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C, "-http.idleConnTimeout=1s"]);
    assert_eq!(Http2::connect(proxy.address).ended(), None);
}

#[test]
fn without_keep_alive_a_connection_serves_one_request() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C, "-http.disableKeepAlive"]);
    let mut client = Http2::connect(proxy.address);
    client.get("/").expect(200);
    assert_eq!(client.ended(), None);
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_no_request() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let mut begun = client.begin(request("POST", "/short", &[("content-length", "10")]), false);
    begun.body.send_data(Bytes::from("short"), true).expect("sent");
    assert_eq!(client.answer(begun).expect_err("no answer"), Reason::PROTOCOL_ERROR);
    client.get("/").expect(200);
    assert_eq!(backend.requests().iter().filter(|seen| seen.target == "/short").count(), 0);
}
