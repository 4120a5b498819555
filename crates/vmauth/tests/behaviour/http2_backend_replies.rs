//! Replies of HTTP/2 backends at the edges of the protocol: bodies that must not be, lengths that are wrong, resets behind or
//! before the end, settings that change under way.

use std::sync::mpsc;
use std::time::Duration;

use testkit::client::End;
use testkit::{Client, Gate};

use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameServer, HEADERS, PING, Peer, SETTINGS, STATUS_200,
    WINDOW_UPDATE,
};
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const LIMIT: Duration = Duration::from_secs(60);

/// Settings (RFC 9113 §6.5.2).
const MAX_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Statuses of the static table (RFC 7541 appendix A).
const STATUS_204: &[u8] = &[0x89];
const STATUS_304: &[u8] = &[0x8b];

/// A field, written out.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A head with this length.
fn announcing(status: &[u8], length: &str) -> Vec<u8> {
    [status, &field("content-length", length)].concat()
}

fn set(peer: &mut Peer, id: u16, value: u32) {
    peer.send(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
}

fn start(server: &FrameServer) -> Vmauth {
    // A backend that was marked as broken stays so.
    Vmauth::start(&user_of_urls(&format!("\"{}\"", server.url()), ""), &["-http2.h2c", "-failTimeout=1h"])
}

fn asking(proxy: &Vmauth, method: &str, target: &str) -> Client {
    let mut client = proxy.client();
    client.request(method, target, &[AUTH], None);
    client
}

/// Each request is answered by what `reply` does; then another one must work over the same connection.
#[track_caller]
fn replies(reply: impl Fn(&mut Peer, u32) + Send + Sync + 'static) -> (FrameServer, Vmauth) {
    let server = FrameServer::start(&[], move |_, peer| {
        while let Some(stream) = peer.request() {
            reply(peer, stream);
        }
    });
    let proxy = start(&server);
    (server, proxy)
}

#[test]
fn bodies_where_none_may_be_are_not_passed_on() {
    for (method, status, head) in [
        ("HEAD", 200, announcing(STATUS_200, "4")),
        ("GET", 204, STATUS_204.to_vec()),
        ("GET", 304, announcing(STATUS_304, "4")),
        ("GET", 304, STATUS_304.to_vec()),
    ] {
        let (server, proxy) = replies(move |peer, stream| {
            peer.send(HEADERS, END_HEADERS, stream, &head);
            peer.send(DATA, END_STREAM, stream, b"body");
        });
        let mut client = asking(&proxy, method, "/");
        for _ in 0..3 {
            let reply = client.reply().expect(status);
            assert_eq!(reply.body, b"", "{method} {status}");
            client.request(method, "/", &[AUTH], None);
        }
        client.reply().expect(status);
        let mut client = Http2::connect(proxy.address);
        for _ in 0..3 {
            let reply = client.ask(request(method, "/", &[])).expect(status);
            assert_eq!(reply.body, "", "{method} {status}");
        }
        assert_eq!(server.connections(), 1);
        proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);
    }
}

#[test]
fn heads_that_end_a_reply_may_announce_what_another_method_would_get() {
    for (method, status, head) in [
        ("HEAD", 200, announcing(STATUS_200, "4")),
        ("GET", 304, announcing(STATUS_304, "4")),
        ("GET", 204, announcing(STATUS_204, "0")),
    ] {
        let (_server, proxy) = replies(move |peer, stream| peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        let mut client = asking(&proxy, method, "/");
        let reply = client.reply().expect(status);
        let length = reply.fields.get("content-length").map(str::to_owned);
        assert_eq!(length.as_deref(), (status != 204).then_some("4"), "{method} {status}");
        client.request(method, "/", &[AUTH], None);
        client.reply().expect(status);
    }
}

#[test]
fn lengths_that_are_wrong_break_the_reply_and_not_the_connection() {
    for (length, body, want) in [("4", "long body", "long"), ("40", "short", "short")] {
        let (server, proxy) = replies(move |peer, stream| {
            peer.send(HEADERS, END_HEADERS, stream, &announcing(STATUS_200, length));
            peer.send(DATA, END_STREAM, stream, body.as_bytes());
        });
        for _ in 0..3 {
            let reply = asking(&proxy, "GET", "/").reply();
            assert_ne!(reply.end, End::Complete, "{reply:?}");
            assert!(want.as_bytes().starts_with(&reply.body), "{reply:?}");
        }
        assert_eq!(server.connections(), 1);
    }
    // Two of them, and one that is none.
    for heads in [[announcing(STATUS_200, "4"), field("content-length", "5")].concat(), announcing(STATUS_200, "+4")] {
        let (server, proxy) = replies(move |peer, stream| {
            peer.send(HEADERS, END_HEADERS, stream, &heads);
            peer.send(DATA, END_STREAM, stream, b"body");
        });
        for _ in 0..3 {
            asking(&proxy, "GET", "/").reply().expect(502);
        }
        assert_eq!(server.connections(), 1);
    }
}

/// RFC 9113 §8.1: a server that does not need the rest of a request may say so after its whole reply.
#[test]
fn a_whole_reply_stands_whatever_reset_follows() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let (server, proxy) = replies(move |peer, stream| {
            peer.reply(stream, "early");
            peer.reset(stream, code);
        });
        for length in ["10", "1000000"] {
            let mut client = proxy.client();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{AUTH}\r\nContent-Length: {length}\r\n\r\n"));
            let _ = client.try_send(vec![b'x'; length.parse().expect("a number")]);
            assert_eq!(client.reply().expect(200).text(), "early", "{code} {length}");
        }
        let mut client = Http2::connect(proxy.address);
        let mut begun = client.begin(request("POST", "/", &[]), false);
        begun.body.send_data(vec![b'x'; 1 << 20].into(), false).expect("sent");
        assert_eq!(client.answer(begun).expect("an answer").expect(200).body, "early", "{code}");
        assert_eq!(server.connections(), 1);
        proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);
    }
}

#[test]
fn a_reset_behind_the_trailers_changes_nothing_and_one_before_them_breaks_the_reply() {
    let trailer = field("x-sum", "7");
    let (_server, proxy) = replies(move |peer, stream| {
        peer.head(stream);
        peer.send(DATA, 0, stream, b"body");
        peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &trailer);
        peer.reset(stream, NO_ERROR);
    });
    let mut client = Http2::connect(proxy.address);
    let reply = client.ask(request("GET", "/", &[("te", "trailers")])).expect(200);
    assert_eq!((reply.body.as_str(), reply.trailers.expect("trailers")["x-sum"].as_bytes()), ("body", &b"7"[..]));

    for code in [NO_ERROR, INTERNAL_ERROR] {
        let (server, proxy) = replies(move |peer, stream| {
            peer.head(stream);
            peer.send(DATA, 0, stream, b"body");
            peer.reset(stream, code);
        });
        let reply = asking(&proxy, "GET", "/").reply();
        assert!(
            reply.status == 200 && reply.end != End::Complete,
            "half a reply is not taken for the whole: {reply:?}"
        );
        let mut client = Http2::connect(proxy.address);
        let begun = client.begin(request("GET", "/", &[]), true);
        client.answer(begun).expect_err("a reset");
        assert_eq!(server.connections(), 1);
    }
}

/// The window of a stream becomes negative (RFC 9113 §6.9.2): nothing is sent until it is positive again.
#[test]
fn a_window_may_shrink_below_what_was_sent() {
    let server = FrameServer::start(&[], |_, peer| {
        let Some(stream) = peer.request() else { return };
        let mut received = 0;
        let mut take = |peer: &mut Peer, until: usize| {
            while received < until {
                let Some(frame) = peer.next() else { return true };
                received += frame.payload.len();
                if frame.flags & END_STREAM != 0 {
                    return true;
                }
            }
            false
        };
        assert!(!take(peer, 65_535));
        set(peer, INITIAL_WINDOW_SIZE, 1000);
        // The whole of the connection's window, and too little of the stream's: it is 1000 - 65535 now.
        peer.send(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes());
        peer.send(WINDOW_UPDATE, 0, stream, &64_000_u32.to_be_bytes());
        peer.send(PING, 0, 0, &[0; 8]);
        let answered = peer.next().expect("a frame");
        assert_eq!((answered.kind, answered.flags), (PING, ACK), "nothing is sent: {answered:?}");
        peer.send(WINDOW_UPDATE, 0, stream, &10_000_000_u32.to_be_bytes());
        assert!(take(peer, usize::MAX));
        peer.reply(stream, &received.to_string());
        peer.answer_all("");
    });
    let proxy = start(&server);
    let mut client = proxy.client();
    client.request("POST", "/", &[AUTH], Some(&vec![b'x'; 300_000]));
    assert_eq!(client.reply().expect(200).text(), "300000");
}

/// Streams that are open stay; no new ones come on that connection until there is room.
#[test]
fn the_limit_of_streams_may_fall_below_what_is_open() {
    let gate = Gate::new();
    let until = gate.clone();
    let (told, seen) = mpsc::channel();
    let server = FrameServer::start(&[], move |number, peer| {
        if number > 0 {
            return peer.answer_all("second");
        }
        let streams: Vec<_> = (0..4).map_while(|_| peer.request()).collect();
        let _ = told.send(());
        set(peer, MAX_STREAMS, 2);
        until.wait(LIMIT);
        streams.into_iter().for_each(|stream| peer.reply(stream, "first"));
        peer.answer_all("again");
    });
    let proxy = start(&server);
    let clients: Vec<_> = (0..4).map(|_| asking(&proxy, "GET", "/")).collect();
    seen.recv_timeout(LIMIT).expect("four requests");
    // Only once the new limit was seen is it clear where the next request goes; either way it is answered.
    let mut next = asking(&proxy, "GET", "/next");
    proxy.wait_user_requests(5.0);
    gate.open();
    for mut client in clients {
        assert_eq!(client.reply().expect(200).text(), "first");
    }
    let text = next.reply().expect(200).text();
    assert!(matches!(text.as_str(), "second" | "again"), "{text}");
    for _ in 0..5 {
        asking(&proxy, "GET", "/").reply().expect(200);
    }
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);
}

/// HTTP/2 has no `Connection` (RFC 9113 §8.2.2).
#[test]
fn fields_of_one_connection_make_a_reply_malformed() {
    for name in ["connection", "transfer-encoding", "upgrade"] {
        let (server, proxy) = replies(move |peer, stream| {
            let head = [STATUS_200, &field(name, "chunked")].concat();
            peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        });
        for _ in 0..3 {
            asking(&proxy, "GET", "/").reply().expect(502);
        }
        assert_eq!(server.connections(), 1, "{name}");
    }
}

/// The codec ends a connection after a hundred of them; before that it takes no new requests.
#[test]
fn empty_frames_wear_a_connection_out_and_fail_nobody() {
    let (server, proxy) = replies(|peer, stream| {
        peer.head(stream);
        peer.send(DATA, 0, stream, b"");
        peer.send(DATA, 0, stream, b"fine");
        peer.send(DATA, 0, stream, b"");
        peer.send(DATA, END_STREAM, stream, b"");
    });
    let mut client = proxy.client();
    for _ in 0..150 {
        assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "fine");
    }
    assert!((2..=8).contains(&server.connections()), "{}", server.connections());
    proxy.expect_metrics(&[("user.request_backend_requests_total", 150.0), ("user.request_backend_errors_total", 0.0)]);
}

/// The backend has done what was asked, so it is not asked again at once, and it lives.
#[test]
fn a_malformed_reply_is_named_and_its_request_not_repeated() {
    let large = field("x-large", &"x".repeat(120)).repeat(2500);
    let codec = "http2: the reply is malformed, or its head is too large: stream error: PROTOCOL_ERROR";
    for (what, field, want) in [
        ("a field of HTTP/1", field("connection", "close"), codec),
        ("a large head", large, codec),
        ("many fields", field("x-a", "").repeat(1025), "failed: http2: the reply is malformed: too many headers"),
    ] {
        let (server, proxy) = replies(move |peer, stream| {
            let head = [STATUS_200, &field].concat();
            let (first, rest) = head.split_at(head.len().min(16_000));
            peer.send(HEADERS, if rest.is_empty() { END_HEADERS | END_STREAM } else { END_STREAM }, stream, first);
            let mut pieces = rest.chunks(16_000).peekable();
            while let Some(piece) = pieces.next() {
                peer.send(CONTINUATION, if pieces.peek().is_none() { END_HEADERS } else { 0 }, stream, piece);
            }
        });
        for n in 1..=3 {
            let mut client = proxy.client();
            client.request("POST", "/", &[AUTH], Some(b"once"));
            client.reply().expect(502);
            proxy.expect_metrics(&[("user.request_backend_requests_total", f64::from(n))]);
        }
        proxy.program.wait_log(0, want);
        let malformed = format!("vmauth_backend_failures_total{{backend=\"{}\", cause=\"malformed\"}}", server.address);
        let up = format!("vmauth_backend_up{{backend=\"{}\"}}", server.address);
        proxy.expect_metrics(&[(&malformed, 3.0), (&up, 1.0)]);
        assert_eq!(server.connections(), 1, "{what}");
    }
}
