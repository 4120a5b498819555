//! The kit against itself: what a client sends is what a backend saw, and each kind of break shows as that kind.

use std::net::UdpSocket;
use std::time::Duration;

use testkit::backend::Greeting;
use testkit::certs::Authority;
use testkit::client::End;
use testkit::dns_server::{Answer, DnsServer};
use testkit::wire::chunk;
use testkit::{Backend, Client, Gate, Launch, PATIENCE, Reply, Signal, Step, eventually};

#[test]
fn requests_are_recorded_as_sent() {
    let backend = Backend::saying("hello");
    let mut client = Client::connect(backend.address());
    let reply = client.get("/a%2Fb?x=y", &["X-Case: One", "x-case: two"]).expect(200);
    assert_eq!(reply.text(), "hello");
    client.request("POST", "/p", &[], Some(b"body"));
    client.reply().expect(200);
    let seen = backend.requests();
    assert_eq!(seen[0].target, "/a%2Fb?x=y");
    assert_eq!(seen[0].fields.all("X-Case"), ["One", "two"]);
    assert_eq!((seen[1].method.as_str(), &seen[1].body[..], seen[1].complete), ("POST", &b"body"[..], true));
    assert_eq!((seen[0].connection, seen[1].connection, backend.connections()), (0, 0, 1));
    drop(client);
    backend.wait_open(0);
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let backend = Backend::replying(Reply::chunked(200, &[("Trailer", "X-T")], &["ab", "cde"], &[("X-T", "1")]));
    let mut client = Client::connect(backend.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunk(b"one"));
    backend.wait_request(1, "the first chunk", |r| r.body == b"one");
    client.send("0\r\nX-Sum: 3\r\n\r\n");
    let reply = client.reply().expect(200);
    assert_eq!((reply.text().as_str(), reply.trailers.get("x-t")), ("abcde", Some("1")));
    assert_eq!(backend.wait_request(1, "the end", |r| r.complete).trailers.get("X-Sum"), Some("3"));
}

#[test]
fn breaks_are_told_apart() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
    let check = |reply: Reply, status: u16, end: End| {
        let backend = Backend::replying(reply);
        let got = Client::connect(backend.address()).get("/", &[]);
        assert_eq!((got.status, got.end), (status, end));
    };
    check(Reply::nothing().then(Step::Close), 0, End::Eof);
    check(Reply::nothing().then(Step::Reset), 0, End::Reset);
    check(Reply::raw("HTTP/1.1 200 OK\r\nCont").then(Step::Close), 0, End::Eof);
    check(Reply::raw(cut).then(Step::Close), 200, End::Eof);
    check(Reply::raw("garbage\r\n\r\n"), 0, End::Malformed(String::from("garbage")));
    check(Reply::chunked_head(200, &[]).send("zz\r\n"), 200, End::Malformed(String::from("chunk size \"zz\"")));
}

#[test]
fn a_reset_in_the_middle_shows_as_one() {
    let gate = Gate::new();
    let reply = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").then(Step::Wait(gate.clone()));
    let backend = Backend::replying(reply.then(Step::Reset));
    let mut client = Client::connect(backend.address());
    client.request("GET", "/", &[], None);
    let mut reply = client.reply_head();
    gate.open();
    client.rest_of(&mut reply);
    assert_eq!(reply.end, End::Reset);
}

#[test]
fn a_backend_refuses_resumes_and_greets_rudely() {
    let backend = Backend::refusing();
    assert!(Client::try_connect(backend.address()).is_err(), "it listens");
    backend.resume();
    Client::connect(backend.address()).get("/", &[]).expect(200);
    backend.set_greeting(Greeting::Reset);
    // The reset may come as early as the end of the connect.
    match Client::try_connect(backend.address()) {
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        Ok(mut client) => {
            let _ = client.try_send("GET / HTTP/1.1\r\n\r\n");
            assert_ne!(client.reply().end, End::Complete);
        }
    }
}

#[test]
fn scripts_run_in_order_and_head_has_no_body() {
    let backend = Backend::script(vec![Reply::message(503, &[], "no"), Reply::message(204, &[], ""), Reply::ok("yes")]);
    let mut client = Client::connect(backend.address());
    client.get("/", &[]).expect(503);
    client.get("/", &[]).expect(204);
    client.get("/", &[]).expect(200);
    backend.set_reply(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    client.request("HEAD", "/", &[], None);
    assert_eq!(client.reply().expect(200).fields.get("content-length"), Some("5"));
}

#[test]
fn a_leaving_client_is_noticed() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let mut client = Client::connect(backend.address());
    client.request("GET", "/", &[], None);
    backend.wait_for(1);
    assert_eq!(backend.open_connections(), 1);
    client.expect_silence(Duration::from_millis(50));
    client.abort();
    backend.wait_open(0);
}

#[test]
fn a_tunnel_echoes_and_half_closes() {
    let backend = Backend::replying(
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .then(Step::Echo(b"bye".to_vec())),
    );
    let mut client = Client::connect(backend.address());
    client.request("GET", "/", &["Connection: upgrade", "Upgrade: x"], None);
    assert_eq!(client.reply_head().status, 101);
    client.send("ping");
    assert_eq!(client.read_exactly(4), b"ping");
    client.half_close();
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::Eof));
}

#[test]
fn tls_shows_the_certificate_in_use() {
    let ca = Authority::new("kit");
    let identity = ca.issue(&["localhost", "127.0.0.1"]);
    let backend = Backend::tls(ca.server_config(&identity, Some(&ca)), Reply::ok("secret"));
    let config = ca.client_config(Some(&identity));
    let mut client = Client::try_connect_tls(backend.address(), config, "127.0.0.1").unwrap();
    assert_eq!(client.get("/", &[]).expect(200).text(), "secret");
    assert_eq!(client.server_certificate().unwrap(), identity.der().as_ref());
    let stranger = Authority::new("other").client_config(None);
    assert!(Client::try_connect_tls(backend.address(), stranger, "localhost").is_err());
    let files = ca.write("server", &identity);
    assert_eq!(std::fs::read_to_string(files.key).unwrap(), identity.key_pem);
}

#[test]
fn names_resolve_as_the_table_says_now() {
    let server = DnsServer::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |kind: u8| {
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'A', 4];
        query.extend_from_slice(b"test\0\0");
        query.extend_from_slice(&[kind, 0, 1]);
        socket.send_to(&query, server.address()).unwrap();
        let mut buf = [0; 512];
        let n = socket.recv(&mut buf).unwrap();
        (buf[3] & 15, buf[7], buf[..n].to_vec())
    };
    let (code, count, _) = ask(1);
    assert_eq!((code, count), (3, 0));
    server.set("a.test.", Answer::Addresses(vec!["127.0.0.7".parse().unwrap(), "::1".parse().unwrap()]));
    let (code, count, message) = ask(1);
    assert_eq!((code, count, &message[message.len() - 4..]), (0, 1, &[127, 0, 0, 7][..]));
    server.set("a.test", Answer::Services(vec![(8080, String::from("b.test"))]));
    let (code, count, message) = ask(33);
    assert_eq!((code, count, &message[message.len() - 10..]), (0, 1, &b"\x1f\x90\x01b\x04test\x00"[..]));
    server.set("a.test", Answer::Empty);
    let (code, count, _) = ask(1);
    assert_eq!((code, count), (0, 0));
    assert_eq!(server.queries("A.TEST"), 4);
}

#[test]
fn a_program_is_watched_and_signalled() {
    let script = "ulimit -n; echo 'started server at http://127.0.0.1:81/' >&2; echo 'started it in 0 seconds' >&2; \
                  trap 'echo hup' HUP; trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    // A shell cannot trap what was ignored when it began, as below `nohup`.
    let mut program =
        Launch::new("env").arg("--default-signal=HUP").arg("sh").arg("-c").arg(script).open_files(48).start();
    assert_eq!(program.wait_listening().port(), 81);
    program.wait_log(0, "48");
    program.wait_log(0, "ready");
    eventually("some processor time", || if program.cpu_time() > Duration::ZERO { Ok(()) } else { Err("none") });
    let mark = program.mark();
    program.signal(Signal::Hup);
    let (_, line) = program.wait_log(mark, "hup");
    assert_eq!(line, "hup");
    assert!(program.is_running());
    assert!(program.rss_bytes() > 100_000 && program.threads() == 1 && program.open_files() >= 3);
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(PATIENCE), Some(7));
    assert_eq!(program.matching(0, "hup").len(), 1);
}
