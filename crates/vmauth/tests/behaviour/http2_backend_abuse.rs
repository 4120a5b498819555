//! Backends that do too much of something legal: it ends the request that it is done to, costs bounded memory, and nobody
//! else pays.

use std::sync::mpsc;
use std::time::Duration;

use testkit::{Backend, Reply, Step, eventually};

use crate::frames::{DATA, END_HEADERS, END_STREAM, FrameServer, HEADERS, Peer};
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

const LIMIT: Duration = Duration::from_secs(60);

/// `:status: 103`, written out (RFC 7541 §6.2.2).
const STATUS_103: &[u8] = b"\x08\x03103";

fn interim(peer: &mut Peer, stream: u32, count: usize) {
    (0..count).for_each(|_| peer.send(HEADERS, END_HEADERS, stream, STATUS_103));
}

/// Two backends send a window of single bytes to each of two clients that take nothing: twice what all may cost together. The
/// connections, which hold what the codec has taken for them, end with their last reply.
#[test]
fn small_frames_that_nobody_takes_cost_bounded_memory_over_all_connections() {
    const SLOW: usize = 2;
    let window = 128 * 1024;
    let (told, sent) = mpsc::channel();
    let servers = [told.clone(), told].map(|told| {
        FrameServer::start(&[], move |number, peer| {
            for _ in 0..if number == 0 { SLOW } else { 0 } {
                let Some(slow) = peer.request() else { return };
                peer.head(slow);
                (1..window).for_each(|_| peer.send(DATA, 0, slow, b"x"));
                peer.send(DATA, END_STREAM, slow, b"x");
            }
            let _ = told.send(());
            peer.answer_all("quick");
        })
    });
    let [a, b] = &servers;
    let config = format!(
        "users:\n- username: u\n  password: p\n  access_log: {{}}\n  url_map:\n  - src_paths: [\"/a.*\"]\n    url_prefix: {}\n  \
         url_prefix: {}\n",
        a.url(),
        b.url()
    );
    let proxy = Vmauth::start(&config, &["-http2.h2c"]);
    let before = proxy.program.rss_bytes();
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(1000).data_frame_budget(1 << 30);
    let mut client = Http2::connect_with(proxy.address, &settings);
    let slow: Vec<_> = (0..2 * SLOW).map(|n| client.begin(request("GET", ["/a", "/b"][n % 2], &[]), true)).collect();
    servers.iter().for_each(|_| sent.recv_timeout(LIMIT).expect("all is at the proxy or on its way"));
    for path in ["/a", "/b"].repeat(10) {
        assert_eq!(proxy.client().get(path, &[AUTH]).expect(200).text(), "quick");
    }
    // Debug builds and the codec's own lists take more than what is counted.
    let grown = proxy.program.rss_bytes().saturating_sub(before);
    assert!(grown < 120 << 20, "{grown} bytes");
    assert!(servers.iter().all(|server| server.connections() == 1), "no connection has ended");
    // Whoever was given up learns it as soon as it takes what it was sent; all others get everything.
    let answers: Vec<_> = slow.into_iter().map(|begun| client.answer(begun)).collect();
    let whole = answers.iter().flatten().inspect(|answer| assert_eq!(answer.body.len(), window)).count();
    assert!((1..2 * SLOW).contains(&whole), "{whole} of {}", 2 * SLOW);
    eventually("the end of the connections", || {
        let open = servers.each_ref().map(FrameServer::open);
        if open == [0, 0] { Ok(()) } else { Err(open) }
    });
    assert_eq!(proxy.client().get("/a", &[AUTH]).expect(200).text(), "quick");
    let stalled = 2 * SLOW - whole;
    eventually("their lines of the log", || {
        let lines = proxy.program.matching(0, "reason=\"client_stalled\"").len();
        if lines == stalled { Ok(()) } else { Err(lines) }
    });
    proxy.expect_metrics(&[
        ("user.request_backend_errors_total", 0.0),
        ("user.request_errors_total", 0.0),
        ("vmauth_http_cut_responses_total{by=\"limit\"}", stalled as f64),
        ("vmauth_concurrent_requests_current", 0.0),
    ]);
}

#[test]
fn interim_replies_without_end_are_a_failure() {
    let http1 = Backend::replying(Reply::raw("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)).then(Step::AwaitPeer));
    let (told, is_held) = mpsc::channel();
    let http2 = FrameServer::start(&[], move |_, peer| {
        let Some(held) = peer.request() else { return };
        let _ = told.send(());
        let Some(flooded) = peer.request() else { return };
        interim(peer, flooded, 50_000);
        peer.reply(held, "held");
        peer.answer_all("next");
    });
    for (url, address) in [(http1.url(), http1.address()), (http2.url(), http2.address)] {
        let proxy = Vmauth::start(&user_of_urls(&format!("\"{url}\""), ""), &["-failTimeout=1h"]);
        let mut held = (url == http2.url()).then(|| {
            let mut held = proxy.client();
            held.request("GET", "/held", &[AUTH], None);
            // Before that there may be no connection yet to share.
            is_held.recv_timeout(LIMIT).expect("it is at the backend");
            held
        });
        proxy.client().get("/", &[AUTH]).expect(502);
        proxy.program.wait_log(0, "too many 1xx informational responses");
        if let Some(held) = &mut held {
            assert_eq!(held.reply().expect(200).text(), "held");
        }
        let malformed = format!("vmauth_backend_failures_total{{backend=\"{address}\", cause=\"malformed\"}}");
        // A connection that goes on shows that its backend lives.
        let (up, lives) = (format!("vmauth_backend_up{{backend=\"{address}\"}}"), f64::from(url == http2.url()));
        proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), (&malformed, 1.0), (&up, lives)]);
    }
    assert_eq!(http2.connections(), 1);
}

#[test]
fn some_interim_replies_pass() {
    let some = "HTTP/1.1 102 Processing\r\n\r\n".repeat(60);
    let http1 = Backend::replying(Reply::raw(format!("{some}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal")));
    let http2 = FrameServer::start(&[], |_, peer| {
        while let Some(stream) = peer.request() {
            interim(peer, stream, 60);
            peer.reply(stream, "final");
        }
    });
    for url in [http1.url(), http2.url()] {
        let proxy = Vmauth::start(&user_of_urls(&format!("\"{url}\""), ""), &[]);
        assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "final", "{url}");
    }
}
