//! Backends that speak HTTP/2: shared connections, limits, refusals, silence, and what happens when they end.

use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use testkit::{Backend, Client, Gate, Reply, eventually};

use crate::frames::{DATA, END_HEADERS, END_STREAM, FrameServer, HEADERS, Peer, RST_STREAM, STATUS_200};
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const LIMIT: Duration = Duration::from_secs(60);

/// `SETTINGS_MAX_CONCURRENT_STREAMS`
const MAX_STREAMS: u16 = 3;

fn start(servers: &[&FrameServer], flags: &[&str]) -> Vmauth {
    let urls: Vec<_> = servers.iter().map(|server| format!("\"{}\"", server.url())).collect();
    Vmauth::start(&user_of_urls(&urls.join(", "), ""), flags)
}

fn asking(proxy: &Vmauth, target: &str) -> Client {
    let mut client = proxy.client();
    client.request("GET", target, &[AUTH], None);
    client
}

/// Reads requests until there are so many, and answers them in the opposite order.
fn answer_together(peer: &mut Peer, count: usize) {
    let streams: Vec<_> = (0..count).map_while(|_| peer.request()).collect();
    for stream in streams.into_iter().rev() {
        peer.reply(stream, "together");
    }
}

#[test]
fn requests_share_one_connection() {
    let server = FrameServer::start(&[], |_, peer| {
        answer_together(peer, 20);
        peer.answer_all("alone");
    });
    let proxy = start(&[&server], &[]);
    let clients: Vec<_> = (0..20).map(|_| asking(&proxy, "/")).collect();
    for mut client in clients {
        assert_eq!(client.reply().expect(200).text(), "together");
    }
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "alone");
    assert_eq!(server.connections(), 1);
    proxy.expect_metrics(&[("user.request_backend_requests_total", 21.0), ("user.request_backend_errors_total", 0.0)]);
}

#[test]
fn another_connection_when_the_streams_are_used_up() {
    let all = Arc::new(Barrier::new(3));
    let server = FrameServer::start(&[(MAX_STREAMS, 2)], move |_, peer| {
        let streams = [peer.request(), peer.request()];
        all.wait();
        streams.into_iter().flatten().for_each(|stream| peer.reply(stream, "two each"));
        peer.answer_all("");
    });
    let proxy = start(&[&server], &[]);
    let clients: Vec<_> = (0..6).map(|_| asking(&proxy, "/")).collect();
    for mut client in clients {
        assert_eq!(client.reply().expect(200).text(), "two each");
    }
    assert_eq!(server.connections(), 3);
}

/// A backend that allows no streams is as good as none, says the log, and is not connected to twice for one request.
#[test]
fn a_backend_without_streams_is_left_for_another_one() {
    let none = FrameServer::start(&[(MAX_STREAMS, 0)], |_, peer| assert_eq!(peer.next(), None));
    let sound = FrameServer::start(&[], |_, peer| peer.answer_all("sound"));
    let proxy = start(&[&none, &sound], &["-loadBalancingPolicy=first_available", "-failTimeout=1h"]);
    for _ in 0..3 {
        assert_eq!(asking(&proxy, "/").reply().expect(200).text(), "sound");
    }
    proxy.program.wait_log(0, "the backend takes no requests on the connection that was just opened");
    assert_eq!(none.connections(), 1);
}

#[test]
fn cancelled_requests_do_not_end_the_connection() {
    let (told, seen) = mpsc::channel();
    let server = FrameServer::start(&[], move |_, peer| {
        while let Some(frame) = peer.next() {
            match frame.kind {
                HEADERS if told.send(frame.stream).is_err() => return,
                // The answer to a request that was given up comes too late.
                RST_STREAM => peer.reply(frame.stream, "late"),
                _ => {}
            }
            if frame.kind == HEADERS && frame.stream > 2 * 2000 {
                peer.reply(frame.stream, "fine");
            }
        }
    });
    let proxy = start(&[&server], &[]);
    for _ in 0..2000 {
        let client = asking(&proxy, "/");
        seen.recv_timeout(LIMIT).expect("the request is at the backend");
        client.abort();
    }
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "fine");
    assert_eq!(server.connections(), 1);
    proxy.expect_metrics(&[("reason.client_canceled", 2000.0), ("user.request_backend_errors_total", 0.0)]);
}

/// Two requests are at the backend; what it did not take goes to a new connection, whatever its method.
#[test]
fn what_was_not_taken_before_goaway_is_sent_again() {
    let server = FrameServer::start(&[], |number, peer| {
        if number > 0 {
            return peer.answer_all("second");
        }
        let (Some(first), Some(_)) = (peer.request(), peer.request()) else { return };
        peer.go_away(first);
        peer.reply(first, "first");
        assert_eq!(peer.request(), None, "no request follows on a connection that ends");
    });
    let proxy = start(&[&server], &["-retryOnlyIdempotent"]);
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.request("POST", "/", &[AUTH], Some(b"body"));
    }
    let mut texts = clients.map(|mut client| client.reply().expect(200).text());
    texts.sort();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(server.connections(), 2);
    eventually("the end of the first connection", || if server.open() == 1 { Ok(()) } else { Err(server.open()) });
    proxy.expect_metrics(&[
        ("user.request_backend_requests_total", 3.0),
        ("user.request_backend_errors_total", 0.0),
        ("vmauth_backend_http2_refused_requests_total", 1.0),
        ("vmauth_backend_http2_conns", 1.0),
        ("vmauth_backend_http2_streams", 0.0),
    ]);
}

/// A backend that ends each connection after a few requests, as nginx does after `keepalive_requests`: those that were not
/// among the few go on to the next connection, more than once.
#[test]
fn backends_may_end_connections_after_a_few_requests() {
    let server = FrameServer::start(&[], |_, peer| {
        let taken: Vec<_> = (0..4).map_while(|_| peer.request()).collect();
        peer.go_away(taken.last().copied().unwrap_or_default());
        taken.into_iter().for_each(|stream| peer.reply(stream, "taken"));
        // What was on its way already is not taken.
        while peer.request().is_some() {}
    });
    let proxy = start(&[&server], &["-retryOnlyIdempotent"]);
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.request("POST", "/", &[AUTH], Some(b"body"));
    }
    for mut client in clients {
        assert_eq!(client.reply().expect(200).text(), "taken");
    }
    assert_eq!(server.connections(), 5);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}

/// The same while new requests come all the time, far more than a connection takes: none of them is always too late.
#[test]
fn no_request_is_always_too_late_for_connections_that_end_early() {
    let server = FrameServer::start(&[], |_, peer| {
        let Some(taken) = peer.request() else { return };
        peer.go_away(taken);
        peer.reply(taken, "taken");
        while peer.request().is_some() {}
    });
    let proxy = start(&[&server], &["-retryOnlyIdempotent"]);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let mut client = proxy.client();
            scope.spawn(move || {
                for _ in 0..10 {
                    client.request("POST", "/", &[AUTH], Some(b"body"));
                    assert_eq!(client.reply().expect(200).text(), "taken");
                }
            });
        }
    });
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}

#[test]
fn refused_streams_are_sent_again() {
    let server = FrameServer::start(&[], |number, peer| {
        if number > 0 {
            return peer.answer_all("second");
        }
        while let Some(stream) = peer.request() {
            peer.reset(stream, REFUSED_STREAM);
        }
    });
    let proxy = start(&[&server], &["-retryOnlyIdempotent"]);
    let mut client = proxy.client();
    client.request("POST", "/", &[AUTH], Some(b"body"));
    assert_eq!(client.reply().expect(200).text(), "second");
    proxy.expect_metrics(&[("user.request_backend_requests_total", 2.0), ("user.request_backend_errors_total", 0.0)]);
}

/// Nothing is lost of a large body as long as no more was read than its buffered beginning.
#[test]
fn a_large_body_that_was_refused_is_sent_again() {
    let server = FrameServer::start(&[], |number, peer| {
        let Some(stream) = peer.request() else { return };
        if number == 0 {
            peer.reset(stream, REFUSED_STREAM);
            return peer.answer_all("");
        }
        let mut length = 0;
        while let Some(frame) = peer.next() {
            length += frame.payload.len();
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        peer.reply(stream, &length.to_string());
        peer.answer_all("");
    });
    let proxy = start(&[&server], &["-requestBufferSize=16384"]);
    let mut client = proxy.client();
    // The first part is what is read before a backend is asked.
    let (first, second) = (vec![b'x'; 16_384], vec![b'y'; 40_000 - 16_384]);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{AUTH}\r\nContent-Length: 40000\r\n\r\n"));
    client.send(&first);
    eventually("the second connection", || if server.connections() == 2 { Ok(()) } else { Err(()) });
    client.send(&second);
    assert_eq!(client.reply().expect(200).text(), "40000");
}

/// A reply that ends with its head is whole, also for clients of HTTP/1.
#[test]
fn replies_without_a_body() {
    let server = FrameServer::start(&[], |_, peer| {
        while let Some(stream) = peer.request() {
            peer.send(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200);
        }
    });
    let proxy = start(&[&server], &[]);
    let mut client = proxy.client();
    for method in ["GET", "HEAD", "POST"] {
        client.request(method, "/", &[AUTH], None);
        let reply = client.reply().expect(200);
        let length = reply.fields.get("content-length");
        assert_eq!((reply.text(), length), (String::new(), (method != "HEAD").then_some("0")), "{method}");
    }
}

/// What was sent of a call goes to another connection together with what follows, as long as no reply has begun.
#[test]
fn a_call_is_sent_again_from_its_beginning() {
    let server = FrameServer::start(&[], |number, peer| {
        let Some(stream) = peer.request() else { return };
        let mut body = Vec::new();
        while let Some(frame) = peer.next() {
            body.extend_from_slice(&frame.payload);
            if number == 0 && body == b"one" {
                // The first message was seen, but not taken.
                return peer.go_away(0);
            }
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        peer.reply(stream, &String::from_utf8_lossy(&body));
        peer.answer_all("");
    });
    let proxy = start(&[&server], &[]);
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{AUTH}\r\nContent-Type: application/grpc-web\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    // Only once the head is there, so that the message is not part of what was read before.
    eventually("the first connection", || if server.connections() == 1 { Ok(()) } else { Err(()) });
    client.send("3\r\none\r\n");
    eventually("the second connection", || if server.connections() == 2 { Ok(()) } else { Err(()) });
    client.send("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(client.reply().expect(200).text(), "onetwo");
    proxy.expect_metrics(&[("user.request_backend_requests_total", 2.0), ("user.request_backend_errors_total", 0.0)]);
}

/// A failure of one stream is no failure of the backend: the others go on, and it is not left out.
#[test]
fn a_reset_ends_one_request() {
    let (told, is_held) = mpsc::channel();
    let server = FrameServer::start(&[], move |_, peer| {
        let Some(held) = peer.request() else { return };
        let _ = told.send(());
        let Some(failed) = peer.request() else { return };
        peer.reset(failed, INTERNAL_ERROR);
        let Some(next) = peer.request() else { return };
        peer.reply(next, "next");
        peer.reply(held, "held");
        peer.answer_all("");
    });
    let proxy = start(&[&server], &[]);
    let mut held = asking(&proxy, "/held");
    is_held.recv_timeout(LIMIT).expect("it is at the backend");
    let mut failed = asking(&proxy, "/failed");
    failed.reply().expect(502);
    proxy.program.wait_log(0, "stream error: INTERNAL_ERROR; received from peer");
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "next");
    assert_eq!(held.reply().expect(200).text(), "held");
    assert_eq!(server.connections(), 1);
}

/// A request that fails without a mark on its backend is next tried at another one, whatever the policy prefers.
#[test]
fn the_next_try_goes_to_another_backend() {
    let refusing = FrameServer::start(&[], |_, peer| {
        while let Some(stream) = peer.request() {
            peer.reset(stream, REFUSED_STREAM);
        }
    });
    let failing = FrameServer::start(&[], |_, peer| {
        while let Some(stream) = peer.request() {
            peer.reset(stream, INTERNAL_ERROR);
        }
    });
    let sound = FrameServer::start(&[], |_, peer| peer.answer_all("sound"));
    for policy in ["first_available", "hash_query", "least_loaded"] {
        let flag = format!("-loadBalancingPolicy={policy}");
        let proxy = start(&[&refusing, &failing, &sound], &[&flag]);
        // Many queries, so that each backend is the preferred one of some.
        for query in 0..20 {
            assert_eq!(asking(&proxy, &format!("/?query={query}")).reply().expect(200).text(), "sound", "{policy}");
        }
    }
}

/// A backend that is silent and answers no ping is dead; what it was asked goes to another one.
#[test]
fn pings_find_a_dead_backend() {
    let gate = Gate::new();
    let until = gate.clone();
    let dead = FrameServer::start(&[], move |_, peer| {
        peer.request();
        until.wait(LIMIT);
    });
    let alive = FrameServer::start(&[], |_, peer| peer.answer_all("alive"));
    let proxy = start(&[&dead, &alive], &["-backend.http2.pingInterval=2s", "-loadBalancingPolicy=first_available"]);
    let mark = proxy.program.mark();
    assert_eq!(asking(&proxy, "/").reply().expect(200).text(), "alive");
    proxy.program.wait_log(mark, "the backend is silent and has not answered a ping for 2s");
    proxy.expect_metrics(&[
        ("user.request_backend_errors_total", 1.0),
        ("vmauth_backend_http2_dead_conns_total", 1.0),
        ("vmauth_backend_http2_conns", 1.0),
    ]);
    gate.open();
}

/// A backend that is silent and answers pings may take its time.
#[test]
fn pings_leave_a_slow_backend_alone() {
    let server = FrameServer::start(&[], |_, peer| {
        let Some(stream) = peer.request() else { return };
        let mut pings = 0;
        while let Some(frame) = peer.next() {
            if frame.kind == crate::frames::PING && frame.flags == 0 {
                peer.send(frame.kind, 1, 0, &frame.payload);
                pings += 1;
            }
            if pings == 2 {
                break;
            }
        }
        peer.reply(stream, "slow");
        peer.answer_all("");
    });
    let proxy = start(&[&server], &["-backend.http2.pingInterval=2s"]);
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "slow");
}

#[test]
fn a_backend_that_speaks_http1_only() {
    let backend = Backend::script(vec![Reply::ok("in HTTP/1"), Reply::ok("in HTTP/1")]);
    let url = format!("\"h2c://{}\"", backend.address());
    let proxy = Vmauth::start(&user_of_urls(&url, ""), &[]);
    asking(&proxy, "/").reply().expect(502);
    proxy.program.wait_log(0, "the backend does not speak HTTP/2");
}

/// Trailers come through, and both directions go on at the same time: each piece is echoed before the next one is sent.
#[test]
fn both_directions_at_once() {
    let server = FrameServer::start(&[], |_, peer| {
        let Some(stream) = peer.request() else { return };
        peer.head(stream);
        while let Some(frame) = peer.next() {
            if frame.kind == DATA && !frame.payload.is_empty() {
                peer.send(DATA, 0, stream, &frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        let trailer = [&[0, 5][..], b"x-sum", &[1], b"7"].concat();
        peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &trailer);
        peer.answer_all("");
    });
    let proxy = start(&[&server], &[]);
    let mut client = proxy.client();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{AUTH}\r\nContent-Type: application/grpc-web\r\nTE: trailers\r\nConnection: TE\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    client.send(&head);
    let mut reply = client.reply_head().expect(200);
    for piece in ["one", "three"] {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        let want = format!("{:x}\r\n{piece}\r\n", piece.len());
        assert_eq!(String::from_utf8_lossy(&client.read_exactly(want.len())), want);
    }
    client.send("0\r\n\r\n");
    client.rest_of(&mut reply);
    assert_eq!(reply.trailers.get("x-sum"), Some("7"));
}

/// A client that does not read stops its own stream and no other.
#[test]
fn a_slow_client_holds_up_nobody() {
    let piece = Arc::new(vec![b'x'; 16 * 1024]);
    let server = FrameServer::start(&[], move |_, peer| {
        let Some(slow) = peer.request() else { return };
        peer.head(slow);
        // As much as the proxy takes without its client taking any of it.
        for _ in 0..8 {
            peer.send(DATA, 0, slow, &piece);
        }
        peer.answer_all("quick");
    });
    let proxy = start(&[&server], &[]);
    let mut slow = asking(&proxy, "/slow");
    slow.reply_head().expect(200);
    for _ in 0..50 {
        assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "quick");
    }
    assert_eq!(server.connections(), 1);
}

/// What clients do not take may come in frames of a few bytes: the connection lives on, and everybody else's requests.
#[test]
fn slow_clients_of_small_messages_hold_up_nobody() {
    const SLOW: usize = 6;
    let window = 128 * 1024;
    let (told, sent) = mpsc::channel();
    let server = FrameServer::start(&[], move |_, peer| {
        for _ in 0..SLOW {
            let Some(slow) = peer.request() else { return };
            peer.head(slow);
            for _ in 0..window / 8 {
                peer.send(DATA, 0, slow, b"message\n");
            }
        }
        let _ = told.send(());
        peer.answer_all("quick");
    });
    let proxy = start(&[&server], &["-http2.h2c"]);
    // By a window of nothing: sockets take more than these messages are.
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(0);
    let mut client = Http2::connect_with(proxy.address, &settings);
    let _slow: Vec<_> = (0..SLOW).map(|_| client.begin(request("GET", "/slow", &[]), true)).collect();
    sent.recv_timeout(LIMIT).expect("all are at the backend");
    for _ in 0..20 {
        assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "quick");
    }
    assert_eq!(server.connections(), 1);
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("reason.client_canceled", 0.0)]);
}
