//! Clients that leave at each stage, or dawdle: nothing may stay behind, and nobody else may pay.

use std::time::Duration;

use testkit::certs::Authority;
use testkit::{Backend, Client, Gate, Reply, Step, eventually};

use crate::frames::that_take_no_body;
use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

/// Two ways of leaving.
const LEAVE: [fn(Client); 2] = [drop::<Client>, Client::abort];

const NOTHING_LEFT: [(&str, f64); 2] =
    [("user.concurrent_requests_current", 0.0), ("vmauth_concurrent_requests_current", 0.0)];

#[track_caller]
fn expect_clean(proxy: &Vmauth, more: &[(&str, f64)]) {
    let mut want = NOTHING_LEFT.to_vec();
    want.extend_from_slice(more);
    proxy.expect_metrics(&want);
}

#[test]
fn while_queued_with_a_body_that_is_not_read_yet() {
    for leave in LEAVE {
        let gate = Gate::new();
        let backend = Backend::replying(Reply::ok("held").after(&gate));
        let config = one_user(&[&backend], "max_concurrent_requests: 1");
        let proxy = Vmauth::start(&config, &["-maxQueueDuration=1h", "-requestBufferSize=10"]);
        let mut holder = proxy.client();
        holder.request("GET", "/holder", &[AUTH], None);
        backend.wait_for(1);
        let mut queued = proxy.client();
        upload(&mut queued, 20_000);
        proxy.wait_user_requests(2.0);
        leave(queued);
        proxy.expect_metrics(&[("reason.client_canceled", 1.0), ("user.concurrent_requests_limit_reached_total", 0.0)]);
        gate.open();
        assert_eq!(holder.reply().expect(200).text(), "held");
        expect_clean(&proxy, &[("user.request_errors_total", 0.0)]);
    }
}

/// One request holds the only slot, a second one queues and leaves.
fn leaves_while_queued(extra: &str, flags: &[&str]) {
    for leave in LEAVE {
        let gate = Gate::new();
        let backend = Backend::script(vec![Reply::ok("held").after(&gate), Reply::ok("later")]);
        let proxy = Vmauth::start(&one_user(&[&backend], extra), &[flags, &["-maxQueueDuration=30s"]].concat());
        let mut holder = proxy.client();
        holder.request("GET", "/holder", &[AUTH], None);
        backend.wait_for(1);
        let mut queued = proxy.client();
        queued.request("GET", "/queued", &[AUTH], None);
        proxy.wait_user_requests(2.0);
        leave(queued);
        proxy.expect_metrics(&[("reason.client_canceled", 1.0), ("user.concurrent_requests_limit_reached_total", 0.0)]);
        gate.open();
        assert_eq!(holder.reply().expect(200).text(), "held");
        assert_eq!(holder.get("/after", &[AUTH]).expect(200).text(), "later");
        let targets: Vec<_> = backend.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(targets, ["/holder", "/after"], "the request of the client that left is not sent");
        expect_clean(&proxy, &[("user.request_errors_total", 0.0), ("reason.client_canceled", 1.0)]);
        proxy.expect_access("/queued", 0);
    }
}

#[test]
fn while_queued_for_a_slot_of_the_user() {
    leaves_while_queued("max_concurrent_requests: 1", &[]);
}

#[test]
fn while_queued_for_a_global_slot() {
    leaves_while_queued("", &["-maxConcurrentRequests=1"]);
}

#[test]
fn while_the_body_is_buffered() {
    for leave in LEAVE {
        let backend = Backend::saying("ok");
        let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxQueueDuration=30s"]);
        let mut client = proxy.client();
        client.send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 1000\r\n\r\npart"));
        proxy.wait_user_requests(1.0);
        leave(client);
        expect_clean(&proxy, &[("user.request_errors_total", 0.0), ("user.request_backend_requests_total", 0.0)]);
        assert_eq!((backend.request_count(), backend.connections()), (0, 0), "the backend is not bothered");
        let lines = || proxy.program.matching(0, "access_log").len();
        eventually("an access-log line", || if lines() > 0 { Ok(()) } else { Err(proxy.program.log_text()) });
        assert_eq!(lines(), 1);
    }
}

#[test]
fn while_a_big_body_is_streamed() {
    for leave in LEAVE {
        let backend = Backend::saying("ok");
        let proxy =
            Vmauth::start(&one_user(&[&backend], ""), &["-requestBufferSize=10", "-maxRequestBodySizeToRetry=10"]);
        let mut client = proxy.client();
        client.send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 1000\r\n\r\n"));
        client.send([b'x'; 100]);
        backend.wait_request(1, "the first 100 bytes", |r| r.body.len() == 100);
        leave(client);
        backend.wait_open(0);
        let seen = backend.wait_for(1);
        assert!(!seen.complete && seen.body.len() == 100, "the backend sees a cut body: {seen:?}");
        assert_eq!(backend.request_count(), 1);
        expect_clean(
            &proxy,
            &[
                ("reason.client_canceled", 1.0),
                ("user.request_errors_total", 0.0),
                ("user.request_backend_errors_total", 0.0),
                ("vmauth_backend_conns", 0.0),
            ],
        );
        proxy.expect_access("/x", 0);
    }
}

/// Sends the head of an upload and so much of it; or, if that is more, what is taken until nothing goes any more.
fn upload(client: &mut Client, most: usize) {
    client.send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 1000000000\r\n\r\n"));
    client.set_deadline(Duration::from_millis(500));
    let piece = vec![b'x'; 10_000];
    let _ = (0..most / piece.len()).try_for_each(|_| client.try_send(&piece));
}

/// Nobody reads what the client sends, so only the system knows that it has left.
#[test]
fn while_the_backend_takes_nothing_of_a_body() {
    let gate = Gate::new();
    let (http1, http2) = that_take_no_body(&gate);
    let ca = Authority::new("listener");
    let files = ca.write("server", &ca.issue(&["127.0.0.1"]));
    let tls =
        ["-tls", &format!("-tlsCertFile={}", files.cert.display()), &format!("-tlsKeyFile={}", files.key.display())];
    // An end is seen behind the bytes before it, as far as they fit into the socket; a reset always.
    let (little, all) = (200_000, usize::MAX);
    let ways = [(http2.url(), LEAVE[0], little), (http2.url(), LEAVE[1], all), (http1.url(), LEAVE[1], all)];
    for (url, leave, length) in ways {
        for flags in [&[][..], &tls] {
            let config = user_of_urls(&format!("\"{url}\""), "");
            let proxy = Vmauth::start(&config, &[&["-responseTimeout=1h", "-requestBufferSize=10"], flags].concat());
            let mut client = match flags {
                [] => proxy.client(),
                _ => Client::try_connect_tls(proxy.address, ca.client_config(None), "127.0.0.1").expect("a handshake"),
            };
            upload(&mut client, length);
            leave(client);
            let (_, line) = proxy.program.wait_log(0, "request_uri=\"/x\"");
            assert!(line.contains("status_code=0 ") && line.contains("ended=\"client\""), "{url} {flags:?}: {line}");
            if flags.is_empty() {
                expect_clean(
                    &proxy,
                    &[
                        ("reason.client_canceled", 1.0),
                        ("user.request_errors_total", 0.0),
                        ("user.request_backend_errors_total", 0.0),
                        ("vmauth_backend_http2_streams", 0.0),
                    ],
                );
            }
        }
    }
    gate.open();
}

/// The backend has answered without a look at the body, and pauses.
#[test]
fn in_a_reply_that_does_not_wait_for_the_body() {
    let reply = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").before_body();
    let gate = Gate::new();
    let backend = Backend::replying(reply.then(Step::Wait(gate.clone())));
    for leave in LEAVE {
        let proxy =
            Vmauth::start(&one_user(&[&backend], ""), &["-requestBufferSize=10", "-maxRequestBodySizeToRetry=10"]);
        let mut client = proxy.client();
        client
            .send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 1000000\r\n\r\nthe first part"));
        client.reply_head().expect(200);
        client.read_exactly(4);
        client.send("more");
        leave(client);
        proxy.expect_metrics(&[("reason.client_canceled", 1.0), ("user.concurrent_requests_current", 0.0)]);
    }
    gate.open();
}

#[test]
fn while_waiting_for_the_head() {
    for leave in LEAVE {
        let backend = Backend::with(|request| match request.target.as_str() {
            "/x" => Reply::nothing().then(Step::AwaitPeer),
            _ => Reply::ok("next"),
        });
        let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &[]);
        let mut client = proxy.client();
        client.request("GET", "/x", &[AUTH], None);
        backend.wait_for(1);
        leave(client);
        backend.wait_open(0);
        expect_clean(
            &proxy,
            &[
                ("reason.client_canceled", 1.0),
                ("user.request_errors_total", 0.0),
                ("user.request_backend_errors_total", 0.0),
                ("vmauth_backend_conns", 0.0),
            ],
        );
        // The only slot is free, and the next request gets a connection of its own.
        assert_eq!(proxy.client().get("/next", &[AUTH]).expect(200).text(), "next");
        let seen = backend.requests();
        assert_eq!(seen.iter().map(|r| r.connection).collect::<Vec<_>>(), [0, 1]);
        proxy.expect_access("/x", 0);
    }
}

/// The reply has begun when the client leaves; `reply` never ends by itself.
fn leaves_mid_response(reply: &Reply) {
    for leave in LEAVE {
        let reply = reply.clone();
        let backend = Backend::with(move |request| match request.target.as_str() {
            "/x" => reply.clone(),
            _ => Reply::ok("next"),
        });
        let config = one_user(&[&backend], "max_concurrent_requests: 1");
        let proxy = Vmauth::start(&config, &["-http.disableResponseCompression"]);
        let mut client = proxy.client();
        client.request("GET", "/x", &[AUTH], None);
        assert_eq!(client.reply_head().status, 200);
        client.read_exactly(4);
        leave(client);
        backend.wait_open(0);
        expect_clean(
            &proxy,
            &[
                ("reason.client_canceled", 1.0),
                ("user.request_errors_total", 0.0),
                ("user.request_backend_errors_total", 0.0),
                ("vmauth_backend_conns", 0.0),
            ],
        );
        assert_eq!(proxy.client().get("/next", &[AUTH]).expect(200).text(), "next");
        assert_eq!(backend.requests()[1].connection, 1, "a cut exchange is never reused");
        proxy.expect_access("/x", 200);
    }
}

#[test]
fn in_a_reply_that_floods() {
    let head = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
    leaves_mid_response(&head.then(Step::Flood(vec![b'x'; 65536])));
}

#[test]
fn in_a_chunked_reply_that_pauses() {
    // Nothing is being written, so only watching the client's side shows that it has left.
    leaves_mid_response(&Reply::chunked_head(200, &[]).send("4\r\npart\r\n").then(Step::AwaitPeer));
}

#[test]
fn in_a_reply_with_a_length_that_pauses() {
    leaves_mid_response(&Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").then(Step::AwaitPeer));
}

#[test]
fn a_reader_that_dawdles_stops_the_backend_not_the_memory() {
    let flood = Step::Flood(vec![b'x'; 65536]);
    let backend = Backend::replying(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n").then(flood));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.disableResponseCompression"]);
    let before = proxy.program.rss_bytes();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = proxy.client();
            client.request("GET", "/", &[AUTH], None);
            assert_eq!(client.reply_head().status, 200);
            client
        })
        .collect();
    backend.wait_for(10);
    let read = || testkit::Metrics::scrape(proxy.address).sum("vmauth_backend_conn_bytes_read_total");
    let mut last = read();
    // Back-pressure has reached the backend when two different scrapes show the same number.
    eventually("the flood is held back", || {
        let _ = testkit::Metrics::fresh(proxy.address);
        let now = read();
        let same = now == last;
        last = now;
        if same { Ok(()) } else { Err(now) }
    });
    let grown = proxy.program.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "ten idle readers cost {grown} bytes");
    drop(clients);
    backend.wait_open(0);
    expect_clean(&proxy, &[("reason.client_canceled", 10.0)]);
}

#[test]
fn a_body_that_trickles_is_408_at_the_deadline() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxQueueDuration=1s"]);
    let mut client = proxy.client();
    client.send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 1000\r\n\r\n"));
    // Each byte comes in time; the budget is for all of them together.
    while !client.is_readable(Duration::from_millis(100)) {
        let _ = client.try_send("x");
    }
    let reply = client.reply();
    assert_eq!(reply.status, 408, "{reply:?}");
    let text = reply.text();
    let (begin, seconds) = text.rsplit_once(" bytes in ").expect("how much came, and in which time");
    let beginning =
        "reject request from the user u because the request body couldn't be read in -maxQueueDuration=1s; read ";
    assert!(begin.starts_with(beginning) && begin[beginning.len()..].parse::<u32>().is_ok(), "{text:?}");
    // More on a machine that stalls.
    assert!(seconds.strip_suffix('s').and_then(|seconds| seconds.parse::<u32>().ok()) >= Some(1), "{text:?}");
    assert!(reply.fields.has_token("Connection", "close"), "{:?}", reply.fields);
    assert_eq!(backend.connections(), 0);
    expect_clean(&proxy, &[("reason.reject_slow_client", 1.0), ("user.request_errors_total", 0.0)]);
    proxy.expect_access("/x", 408);
}

#[test]
fn a_thousand_clients_that_leave_leak_nothing() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-workers=2"]);
    let mut sent = 0;
    let mut crowds = |n: usize| {
        for _ in 0..n {
            let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
            clients.iter_mut().for_each(|client| client.request("GET", "/", &[AUTH], None));
            sent += clients.len();
            backend.wait_for(sent);
            clients.into_iter().enumerate().for_each(|(i, client)| LEAVE[i % 2](client));
            backend.wait_open(0);
        }
        expect_clean(&proxy, &[("user.requests_total", sent as f64)]);
        (proxy.program.open_files(), proxy.program.threads())
    };
    let (files, threads) = crowds(2);
    let (files_after, threads_after) = crowds(18);
    assert!(files_after <= files + 3 && threads_after <= threads + 1, "{files_after} files, {threads_after} threads");
    proxy.expect_metrics(&[
        ("reason.client_canceled", 1000.0),
        ("user.request_errors_total", 0.0),
        ("vmauth_backend_conns", 0.0),
    ]);
}
