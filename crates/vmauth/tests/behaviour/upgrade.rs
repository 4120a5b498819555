//! Tunnels: after `101` bytes pass both ways until either side ends, and the permit is held as long.

use std::time::{Duration, SystemTime};

use testkit::client::End;
use testkit::{Backend, Client, Reply, Step};

use crate::bypasses::with_tokens;
use crate::minted::Signer;
use crate::vmauth::{AUTH, Vmauth, one_user};

const UPGRADE: [&str; 3] = [AUTH, "Connection: keep-alive, Upgrade", "Upgrade: websocket"];
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn tunnel(proxy: &Vmauth) -> Client {
    let mut client = proxy.client();
    client.request("GET", "/chat", &UPGRADE, None);
    let reply = client.reply_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    assert!(reply.fields.has_token("Connection", "Upgrade") && reply.fields.has_token("Upgrade", "websocket"));
    client
}

#[test]
fn bytes_pass_both_ways_and_a_half_close_is_passed_on() {
    let backend = Backend::replying(Reply::raw(SWITCH).then(Step::Echo(b"last words".to_vec())));
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &[]);
    let mut client = tunnel(&proxy);
    let seen = backend.wait_for(1);
    assert!(seen.fields.has_token("Connection", "Upgrade") && seen.fields.has_token("Upgrade", "websocket"));
    client.send("ping");
    assert_eq!(client.read_exactly(4), b"ping");
    let big = vec![b'z'; 1_000_000];
    let mut echoed = 0;
    for piece in big.chunks(50_000) {
        client.send(piece);
        echoed += client.read_exactly(piece.len()).len();
    }
    assert_eq!(echoed, big.len());
    proxy.expect_metrics(&[("user.concurrent_requests_current", 1.0)]);
    client.half_close();
    let (rest, end) = client.read_to_end();
    assert_eq!((&rest[..], end), (&b"last words"[..], End::Eof), "what the backend says after the half close arrives");
    backend.wait_open(0);
    proxy.expect_metrics(&[
        ("user.concurrent_requests_current", 0.0),
        ("user.request_errors_total", 0.0),
        ("user.request_backend_errors_total", 0.0),
        ("vmauth_backend_conns", 0.0),
    ]);
    proxy.expect_access("/chat", 101);
}

#[test]
fn the_backend_may_speak_first_and_end_first() {
    let backend = Backend::replying(Reply::raw(format!("{SWITCH}hello")).then(Step::Close));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = tunnel(&proxy);
    assert_eq!(client.read_to_end(), (b"hello".to_vec(), End::Eof));
    drop(client);
    backend.wait_open(0);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_backend_conns", 0.0)]);
}

#[test]
fn a_client_that_vanishes_ends_the_tunnel() {
    let backend = Backend::replying(Reply::raw(SWITCH).then(Step::AwaitPeer));
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &[]);
    tunnel(&proxy).abort();
    backend.wait_open(0);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_backend_conns", 0.0)]);
}

#[test]
fn a_declined_upgrade_is_a_usual_reply() {
    let backend = Backend::saying("no tunnel");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/chat", &UPGRADE, None);
    assert_eq!(client.reply().expect(200).text(), "no tunnel");
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "no tunnel");
}

#[test]
fn bytes_behind_an_upgrade_are_no_request_of_the_proxy() {
    // Early bytes belong to the tunnel if there is one; they must reach the backend only after its 101.
    let backend = Backend::replying(Reply::raw(SWITCH).then(Step::Echo(Vec::new())));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let early = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(format!("GET /chat HTTP/1.1\r\nHost: test\r\n{}\r\n\r\n{early}", UPGRADE.join("\r\n")));
    assert_eq!(client.reply_head().status, 101);
    assert_eq!(client.read_exactly(early.len()), early.as_bytes());
    assert_eq!(backend.request_count(), 1);
}

#[test]
fn h2c_is_never_tunnelled() {
    let backend = Backend::saying("plain");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let headers = [AUTH, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"];
    client.request("GET", "/", &headers, None);
    client.reply().expect(200);
    let seen = backend.wait_for(1);
    assert_eq!((seen.fields.get("Upgrade"), seen.fields.get("HTTP2-Settings")), (None, None));
}

#[test]
fn a_tunnel_ends_when_it_is_silent_or_old() {
    for flag in ["-tunnelIdleTimeout=1s", "-tunnelMaxDuration=1s"] {
        let backend = Backend::replying(Reply::raw(SWITCH).then(Step::AwaitPeer));
        let proxy = Vmauth::start(&one_user(&[&backend], ""), &[flag]);
        let mut client = tunnel(&proxy);
        client.expect_closed();
        backend.wait_open(0);
    }
}

#[test]
fn a_tunnel_ends_with_its_user() {
    let backend = Backend::replying(Reply::raw(SWITCH).then(Step::AwaitPeer));
    let both =
        format!("{}- username: other\n  password: p\n  url_prefix: {}\n", one_user(&[&backend], ""), backend.url());
    let proxy = Vmauth::start(&both, &[]);
    let mut client = tunnel(&proxy);
    let stays = format!("{both}- username: third\n  password: p\n  url_prefix: {}\n", backend.url());
    proxy.reload(&stays, "loaded information about 3 users");
    client.send("still here");
    let gone = both.replace("username: u\n", "username: v\n");
    proxy.reload(&gone, "loaded information about 2 users");
    client.expect_closed();
    backend.wait_open(0);
}

#[test]
fn a_tunnel_ends_with_its_token() {
    let (backend, signer) = (Backend::replying(Reply::raw(SWITCH).then(Step::AwaitPeer)), Signer::new("k"));
    let users = "- jwt: {KEYS, default_vm_access_claim: {}}\n  url_prefix: URL\n";
    let (proxy, _provider) = with_tokens(&signer, &backend, users);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let open = |expires| {
        let token = signer.authorization_until(expires, "");
        let mut client = proxy.client();
        client.request("GET", "/chat", &[&token, UPGRADE[1], UPGRADE[2]], None);
        assert_eq!(client.reply_head().status, 101);
        client
    };
    let (mut short, mut long) = (open(now + 6), open(now + 3600));
    short.expect_closed();
    assert!(SystemTime::now() >= SystemTime::UNIX_EPOCH + Duration::from_secs(now + 6), "not before its time");
    long.send("still here");
    long.expect_silence(Duration::from_millis(1500));
    backend.wait_open(1);
}
