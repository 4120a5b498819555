//! HTTP/2 towards clients: the rules of HTTP/1 hold for each stream, and a stream that fails leaves the others alone.

use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};
use testkit::certs::Authority;
use testkit::{Backend, Client, Gate, Metrics, Reply, Step, eventually};

use crate::frames::{FrameServer, that_take_no_body};
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

const H2C: &str = "-http2.h2c";

#[test]
fn both_protocols_are_served_on_one_port() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let answer = client.get("/a?b=c").expect(200);
    assert_eq!((&answer.body[..], answer.header("content-length")), ("ok", Some("2")));
    assert!(answer.header("date").is_some() && answer.header("connection").is_none());
    let seen = backend.wait_for(1);
    assert_eq!((&seen.method[..], &seen.target[..]), ("GET", "/a?b=c"));
    assert_eq!(seen.fields.get("Host"), Some(&backend.address().to_string()[..]));
    proxy.expect_access("/a?b=c", 200);
    let line = proxy.program.matching(0, "request_uri=\"/a?b=c\"").remove(0);
    assert!(
        line.contains("request_host=\"front\"") && line.contains(" username=\"u\" protocol=\"HTTP/2.0\" "),
        "{line}"
    );
    let line = proxy.program.matching(0, "request_uri=\"/sentinel\"").remove(0);
    assert!(!line.contains("protocol="), "{line}");
    client.ask(Request::get("http://front/x").body(()).expect("a request")).expect(401);
    proxy.client().get("/plain", &[AUTH]).expect(200);
}

#[test]
fn the_first_bytes_may_come_one_by_one() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = proxy.client();
    for byte in format!("PROPFIND / HTTP/1.1\r\nHost: a\r\n{AUTH}\r\n\r\n").bytes() {
        client.send([byte]);
    }
    client.reply().expect(200);
    assert_eq!(backend.wait_for(1).method, "PROPFIND");
    let mut client = proxy.client();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        client.send([*byte]);
    }
    // The server's SETTINGS: type 4, no flags, stream 0.
    assert_eq!(client.read_exactly(9)[3..], [4, 0, 0, 0, 0, 0]);
}

#[test]
fn plain_listeners_refuse_it_unless_they_are_told() {
    let backend = Backend::saying("ok");
    for flags in [&[][..], &[H2C, "-http2.disable"]] {
        let proxy = Vmauth::start(&one_user(&[&backend], ""), flags);
        let mut client = proxy.client();
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.reply().expect(505);
    }
}

#[test]
fn tls_listeners_negotiate_it() {
    let ca = Authority::new("listener");
    let identity = ca.issue(&["127.0.0.1"]);
    let files = ca.write("server", &identity);
    let backend = Backend::saying("ok");
    let cert = format!("-tlsCertFile={}", files.cert.display());
    let key = format!("-tlsKeyFile={}", files.key.display());
    let mut config = (*ca.client_config(None)).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-tls", &cert, &key]);
    let mut client = Http2::connect_tls(proxy.address, config.clone());
    assert_eq!(client.get("/").expect(200).body, "ok");
    let old = Client::try_connect_tls(proxy.address, ca.client_config(None), "127.0.0.1");
    old.expect("a handshake").get("/", &[AUTH]).expect(200);
    let without = Vmauth::start(&one_user(&[&backend], ""), &["-tls", &cert, &key, "-http2.disable"]);
    let client = Client::try_connect_tls(without.address, config, "127.0.0.1");
    client.expect("a handshake").get("/", &[AUTH]).expect(200);
}

#[test]
fn client_certificates_and_proxy_headers_say_who_it_is() {
    let (ca, clients) = (Authority::new("listener"), Authority::new("clients"));
    let files = ca.write("server", &ca.issue(&["127.0.0.1"]));
    let backend = Backend::saying("ok");
    let user = clients.issue_for_unit(&["client"], Some("team"));
    let config = format!("users:\n- mtls: {{organizational_unit: team}}\n  url_prefix: \"{}\"\n", backend.url());
    let flags = [
        "-tls".to_owned(),
        format!("-tlsCertFile={}", files.cert.display()),
        format!("-tlsKeyFile={}", files.key.display()),
        "-mtls".to_owned(),
        format!("-mtlsCAFile={}", clients.ca_file().display()),
    ];
    let proxy = Vmauth::start(&config, &flags.each_ref().map(|flag| &flag[..]));
    let mut tls = (*ca.client_config(Some(&user))).clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = Http2::connect_tls(proxy.address, Arc::new(tls));
    client.ask(Request::get("http://front/").body(()).expect("a request")).expect(200);

    let config = one_user(&[&backend], "ip_filters:\n  allow_list: [9.8.7.6]");
    let proxy = Vmauth::start(&config, &[H2C, "-httpListenAddr.useProxyProtocol"]);
    Http2::connect_after(proxy.address, b"PROXY TCP4 9.8.7.6 1.1.1.1 1234 80\r\n").get("/in").expect(200);
    Http2::connect_after(proxy.address, b"PROXY TCP4 9.8.7.7 1.1.1.1 1234 80\r\n").get("/out").expect(403);
    let (_, line) = proxy.program.wait_log(0, "request_uri=\"/in\"");
    assert!(line.contains("remote_addr=\"9.8.7.6:1234\""), "{line}");
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let backend = Backend::with(move |request| match &request.target[..] {
        "/held" => Reply::ok("held").after(&held),
        target => Reply::ok(target),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let first = client.begin(request("GET", "/held", &[]), true);
    let more: Vec<_> = (0..50).map(|n| client.begin(request("GET", &format!("/{n}"), &[]), true)).collect();
    for (n, begun) in more.into_iter().enumerate() {
        assert_eq!(client.answer(begun).expect("an answer").expect(200).body, format!("/{n}"));
    }
    gate.open();
    assert_eq!(client.answer(first).expect("an answer").body, "held");
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let backend = Backend::replying(Reply::chunked(200, &[("Trailer", "X-Sum")], &["one", "two"], &[("X-Sum", "9")]));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let mut begun = client.begin(request("POST", "/", &[("trailer", "x-client")]), false);
    for piece in ["a", "bc"] {
        begun.body.send_data(Bytes::from(piece), false).expect("sent");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-client", "t".parse().expect("a value"));
    begun.body.send_trailers(trailers).expect("sent");
    let answer = client.answer(begun).expect("an answer").expect(200);
    assert_eq!(answer.body, "onetwo");
    assert_eq!(answer.trailers.expect("trailers").get("x-sum").map(|sum| sum.as_bytes()), Some(&b"9"[..]));
    let seen = backend.wait_request(1, "whole", |request| request.complete);
    assert_eq!((&seen.body[..], seen.fields.get("Transfer-Encoding")), (&b"abc"[..], Some("chunked")));
    assert_eq!(seen.trailers.get("X-Client"), Some("t"));
}

#[test]
fn large_bodies_pass_the_windows() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let mut begun = client.begin(request("PUT", "/", &[("content-length", "3000000")]), false);
    begun.body.send_data(vec![b'x'; 3_000_000].into(), true).expect("sent");
    client.answer(begun).expect("an answer").expect(200);
    let seen = backend.wait_request(1, "whole", |request| request.complete);
    assert_eq!((seen.body.len(), seen.fields.get("Content-Length")), (3_000_000, Some("3000000")));
    backend.set_reply(Reply::ok(&"y".repeat(3_000_000)));
    assert_eq!(client.get("/").expect(200).body.len(), 3_000_000);
}

/// Many small messages at once, as a gRPC client sends them: the first ones come with the head of their request. The
/// connection and its other streams live on, whether the backend keeps up or not.
#[test]
fn bursts_of_small_messages_pass() {
    let backend = Backend::saying("ok");
    let server = FrameServer::start(&[], |_, peer| peer.answer_whole());
    for url in [backend.url(), server.url()] {
        let proxy = Vmauth::start(&user_of_urls(&format!("\"{url}\""), ""), &[H2C]);
        let mut client = Http2::connect(proxy.address);
        for count in [200, 20_000] {
            let mut begun = client.begin(request("POST", "/", &[("content-type", "application/grpc")]), false);
            for _ in 0..count {
                begun.body.send_data(Bytes::from_static(b"\0\0\0\0\x05hello"), false).expect("sent");
            }
            begun.body.send_data(Bytes::new(), true).expect("sent");
            client.answer(begun).expect("an answer").expect(200);
        }
        proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("reason.client_canceled", 0.0)]);
    }
}

/// The codec bears a hundred frames without a byte in the life of a connection: before that its client is told to open
/// another one.
#[test]
fn empty_frames_end_a_connection_in_time_and_fail_nobody() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let flush = |client: &mut Http2| {
        let mut begun = client.begin(request("POST", "/", &[]), false);
        (0..40).for_each(|_| begun.body.send_data(Bytes::new(), false).expect("sent"));
        begun.body.send_data(Bytes::from_static(b"end"), true).expect("sent");
        client.answer(begun).expect("an answer").expect(200);
    };
    let mut client = Http2::connect(proxy.address);
    flush(&mut client);
    assert!(client.takes_requests());
    flush(&mut client);
    eventually("GOAWAY", || if client.takes_requests() { Err("none") } else { Ok(()) });
    assert_eq!(client.ended(), None);
    flush(&mut Http2::connect(proxy.address));
}

#[test]
fn replies_without_a_body() {
    let backend = Backend::with(|request| match &request.target[..] {
        "/204" => Reply::message(204, &[], ""),
        "/304" => Reply::message(304, &[("ETag", "\"e\"")], ""),
        _ => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let head = client.ask(request("HEAD", "/", &[])).expect(200);
    assert_eq!((head.header("content-length"), &head.body[..]), (Some("77"), ""));
    assert_eq!(client.get("/204").expect(204).header("content-length"), None);
    assert_eq!(client.get("/304").expect(304).header("etag"), Some("\"e\""));
}

#[test]
fn a_reset_stream_is_a_client_that_has_left() {
    let backend = Backend::script(vec![Reply::nothing().then(Step::AwaitPeer), Reply::ok("next")]);
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let mut begun = client.begin(request("GET", "/left", &[]), true);
    backend.wait_for(1);
    begun.body.send_reset(Reason::CANCEL);
    backend.wait_open(0);
    proxy.expect_metrics(&[("reason.client_canceled", 1.0), ("user.concurrent_requests_current", 0.0)]);
    assert_eq!(client.get("/next").expect(200).body, "next");
    proxy.expect_access("/left", 0);
}

/// Nobody reads what the client goes on sending: that it has left must be seen all the same.
#[test]
fn a_client_leaves_while_its_backend_takes_nothing() {
    let gate = Gate::new();
    let (http1, http2) = that_take_no_body(&gate);
    for url in [http1.url(), http2.url()] {
        let config = user_of_urls(&format!("\"{url}\""), "max_concurrent_requests: 1");
        let proxy = Vmauth::start(&config, &[H2C, "-responseTimeout=1h"]);
        let mut client = Http2::connect(proxy.address);
        let mut begun = client.begin(request("POST", "/left", &[]), false);
        begun.body.send_data(vec![b'x'; 16 << 20].into(), false).expect("sent");
        wait_until_nothing_is_read(&proxy);
        begun.body.send_reset(Reason::CANCEL);
        proxy.expect_metrics(&[
            ("reason.client_canceled", 1.0),
            ("user.concurrent_requests_current", 0.0),
            ("user.request_backend_errors_total", 0.0),
        ]);
    }
    gate.open();
}

/// Until the listener reads no more than the scrapes themselves.
fn wait_until_nothing_is_read(proxy: &Vmauth) {
    let mut before = 0.0;
    eventually("a body that gets stuck", || {
        let lines = Metrics::scrape(proxy.address).containing("vm_tcplistener_read_bytes_total");
        let read: f64 = lines.iter().map(|(_, value)| value).sum();
        let grown = read - std::mem::replace(&mut before, read);
        if read > 65_536.0 && grown < 4096.0 { Ok(()) } else { Err((read, grown)) }
    });
}

#[test]
fn a_lost_connection_ends_all_its_streams() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let _begun: Vec<_> = (0..5).map(|_| client.begin(request("GET", "/", &[]), true)).collect();
    backend.wait_for(5);
    client.abort();
    backend.wait_open(0);
    proxy.expect_metrics(&[("reason.client_canceled", 5.0), ("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn half_a_reply_is_reset() {
    let half = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").then(Step::Close);
    let backend = Backend::script(vec![half, Reply::ok("whole")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let begun = client.begin(request("GET", "/", &[]), true);
    assert_eq!(client.answer(begun).expect_err("no whole answer"), Reason::INTERNAL_ERROR);
    assert_eq!(client.get("/").expect(200).body, "whole");
}

#[test]
fn a_client_that_waits_to_go_on_is_told_to() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let mut begun = client.begin(request("POST", "/", &[("expect", "100-continue")]), false);
    let interim = client.wait(std::future::poll_fn(|cx| begun.response.poll_informational(cx)));
    assert_eq!(interim.expect("an interim reply").expect("whole").status(), 100);
    begun.body.send_data(Bytes::from("body"), true).expect("sent");
    client.answer(begun).expect("an answer").expect(200);
    assert_eq!(backend.wait_request(1, "whole", |request| request.complete).body, b"body");
    // Who may not come in is told so instead.
    let refused = Request::post("http://front/").header("expect", "100-continue").body(()).expect("a request");
    let begun = client.begin(refused, false);
    client.answer(begun).expect("an answer").expect(401);
}

#[test]
fn an_answer_without_the_body_is_whole() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    let request = Request::post("http://front/").body(()).expect("a request");
    let mut begun = client.begin(request, false);
    begun.body.send_data(vec![b'x'; 60_000].into(), true).expect("sent");
    let answer = client.answer(begun).expect("an answer").expect(401);
    assert!(answer.header("www-authenticate").is_some());
    client.get("/").expect(200);
}

fn connect(path: &str, protocol: &'static str) -> Request<()> {
    let mut asked = request("CONNECT", path, &[("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")]);
    asked.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    asked
}

/// The backend has not switched yet: its client may leave, has a limit like others, and may speak before the answer.
#[test]
fn a_websocket_whose_backend_takes_its_time() {
    let gate = Gate::new();
    let until = gate.clone();
    let backend = Backend::with(move |request| match &request.target[..] {
        "/silent" => Reply::nothing().then(Step::AwaitPeer),
        "/slow" => {
            let accept = accept_of(request.fields.get("Sec-WebSocket-Key").unwrap_or_default());
            Reply::raw(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ))
            .then(Step::Echo(Vec::new()))
            .after(&until)
        }
        _ => Reply::ok("here"),
    });
    let config = one_user(&[&backend], "max_concurrent_requests: 2");
    let proxy = Vmauth::start(&config, &[H2C]);
    let mut client = Http2::connect(proxy.address);
    client.get("/warm").expect(200);
    let mut left = client.begin(connect("/silent", "websocket"), false);
    backend.wait_for(2);
    left.body.send_reset(Reason::CANCEL);
    drop(left.response);
    proxy.expect_metrics(&[("reason.client_canceled", 1.0), ("user.concurrent_requests_current", 0.0)]);

    let mut slow = client.begin(connect("/slow", "websocket"), false);
    slow.body.send_data(Bytes::from("early"), false).expect("sent");
    backend.wait_for(3);
    assert_eq!(client.get("/meanwhile").expect(200).body, "here");
    gate.open();
    let response = client.wait(slow.response).expect("a reply");
    assert_eq!(response.status(), 200);
    let mut echo = response.into_body();
    assert_eq!(client.wait(echo.data()).expect("a piece").expect("whole"), "early");
    drop((slow.body, echo));

    let hasty = Vmauth::start(&config, &[H2C, "-responseTimeout=3s"]);
    let mut client = Http2::connect(hasty.address);
    client.get("/warm").expect(200);
    let begun = client.begin(connect("/silent", "websocket"), false);
    client.answer(begun).expect("an answer").expect(502);
}

#[test]
fn websockets_are_extended_connects() {
    let backend = Backend::with(|request| {
        let key = request.fields.get("Sec-WebSocket-Key").unwrap_or_default();
        let accept = accept_of(key);
        match &request.target[..] {
            "/chat" => Reply::raw(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ))
            .then(Step::Echo(b"last words".to_vec())),
            "/wrong" => Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"),
            _ => Reply::ok("not here"),
        }
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[H2C]);
    let mut client = Http2::connect(proxy.address);
    client.get("/warm").expect(200);
    let mut begun = client.begin(connect("/chat", "websocket"), false);
    let response = client.wait(begun.response).expect("a reply");
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("sec-websocket-accept"));
    let seen = backend.wait_for(2);
    assert_eq!((&seen.method[..], seen.fields.get("Upgrade")), ("GET", Some("websocket")));
    assert_eq!(seen.fields.all("Sec-WebSocket-Key").len(), 1);
    let mut echo = response.into_body();
    begun.body.send_data(Bytes::from("ping"), false).expect("sent");
    assert_eq!(client.wait(echo.data()).expect("a piece").expect("whole"), "ping");
    begun.body.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(client.wait(echo.data()).expect("a piece").expect("whole"), "last words");
    assert!(client.wait(echo.data()).is_none_or(|end| end.expect("the end").is_empty()));
    proxy.expect_access("/chat", 101);

    let begun = client.begin(connect("/wrong", "websocket"), false);
    assert_eq!(client.answer(begun).expect_err("no tunnel"), Reason::INTERNAL_ERROR);
    let begun = client.begin(connect("/none", "websocket"), false);
    client.answer(begun).expect("an answer").expect(502);
    let begun = client.begin(connect("/chat", "connect-udp"), false);
    client.answer(begun).expect("an answer").expect(501);
    client.get("/after").expect(200);
}

fn accept_of(key: &str) -> String {
    use base64::Engine;
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}
