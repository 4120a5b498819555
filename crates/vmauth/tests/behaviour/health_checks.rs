//! Health checks by HTTP: who is left out and comes back, what happens when nobody is left, what a reload keeps, and
//! that nobody is asked who is not used any more.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use testkit::backend::Request;
use testkit::certs::Authority;
use testkit::{Backend, Metrics, Reply, eventually};

use crate::frames::{END_HEADERS, END_STREAM, FrameServer, HEADERS};
use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

const LOADED: &str = "loaded information about 1 users from -auth.config=";
/// Quick, so that tests need not wait; nothing is expected within a time.
const CHECK: &str = "health_check: {path: \"/ping?authKey=hush\", interval: 100ms, timeout: 20s, rise: 2, fall: 2}";

/// A backend whose probes are answered with a status that can be changed; counts them.
struct Checked {
    backend: Backend,
    status: Arc<AtomicU16>,
    probes: Arc<Mutex<Vec<Request>>>,
}

impl Checked {
    fn new(name: &'static str, status: u16) -> Self {
        Self::of(Backend::saying(""), name, status)
    }

    fn of(backend: Backend, name: &'static str, status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let probes = Arc::new(Mutex::new(Vec::new()));
        let (now, seen) = (status.clone(), probes.clone());
        backend.set_handler(move |request| {
            if request.fields.get("User-Agent") == Some("vmauth-health-check") || request.target == "/probed" {
                seen.lock().expect("no panic before").push(request.clone());
                return Reply::message(now.load(Relaxed), &[], "probed");
            }
            Reply::ok(name)
        });
        Self { backend, status, probes }
    }

    fn probes(&self) -> usize {
        self.probes.lock().expect("no panic before").len()
    }

    /// Waits until it was asked so many times more.
    fn wait_probes(&self, more: usize) {
        let wanted = self.probes() + more;
        eventually("probes", || if self.probes() >= wanted { Ok(()) } else { Err(self.probes()) });
    }

    fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    fn down_line(&self) -> String {
        format!("the backend at {} is down by its health check", self.address())
    }

    fn up_line(&self) -> String {
        format!("the backend at {} is up again by its health check", self.address())
    }
}

fn ask(proxy: &Vmauth) -> String {
    proxy.client().get("/x", &[AUTH]).expect(200).text()
}

fn answers(proxy: &Vmauth, count: usize) -> Vec<String> {
    let mut all: Vec<_> = (0..count).map(|_| ask(proxy)).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_backend_that_fails_its_check_is_left_out_and_comes_back() {
    let (a, b) = (Checked::new("a", 200), Checked::new("b", 200));
    let proxy = Vmauth::start(&one_user(&[&a.backend, &b.backend], CHECK), &[]);
    a.wait_probes(1);
    assert_eq!(answers(&proxy, 8), ["a", "b"]);
    let probe = a.probes.lock().expect("no panic before")[0].clone();
    let field = |name: &str| probe.fields.get(name).map(str::to_owned);
    assert_eq!((probe.method.as_str(), probe.target.as_str()), ("GET", "/ping?authKey=hush"));
    assert_eq!((field("Host"), field("Connection")), (Some(a.address().to_string()), Some("close".to_owned())));

    a.status.store(503, Relaxed);
    let (_, line) = proxy.program.wait_log(0, &a.down_line());
    assert!(line.contains("status 503; expected 200-399") && !line.contains("hush"), "{line}");
    assert_eq!(answers(&proxy, 8), ["b"]);
    let series = format!("vmauth_backend_up{{backend=\"{}\"}}", a.address());
    proxy.expect_metrics(&[(&series, 0.0)]);
    let failures = format!("vmauth_backend_probe_failures_total{{backend=\"{}\", cause=\"status\"}}", a.address());
    assert!(Metrics::fresh(proxy.address).value(&failures) >= Some(2.0));

    a.status.store(204, Relaxed);
    proxy.program.wait_log(0, &a.up_line());
    assert_eq!(answers(&proxy, 8), ["a", "b"]);
    proxy.expect_metrics(&[(&series, 1.0), ("user.request_backend_errors_total", 0.0)]);
    assert_eq!(proxy.program.matching(0, "by its health check").len(), 2, "one line a change");
}

#[test]
fn a_dead_backend_is_found_at_the_start_by_its_first_probe() {
    let (dead, b) = (Backend::refusing(), Checked::new("b", 200));
    let check = "health_check: {path: /ping, interval: 100ms, timeout: 20s, fall: 100}";
    let proxy = Vmauth::start(&one_user(&[&dead, &b.backend], check), &[]);
    let (_, line) =
        proxy.program.wait_log(0, &format!("the backend at {} is down by its health check GET /ping", dead.address()));
    assert!(line.contains("connection refused"), "{line}");
    assert_eq!(answers(&proxy, 4), ["b"]);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}

#[test]
fn when_all_are_down_all_are_tried() {
    for policy in ["least_loaded", "first_available"] {
        let (a, b) = (Checked::new("a", 503), Checked::new("b", 503));
        let extra = format!("{CHECK}\nload_balancing_policy: {policy}");
        let proxy = Vmauth::start(&one_user(&[&a.backend, &b.backend], &extra), &[]);
        proxy.program.wait_log(0, &a.down_line());
        proxy.program.wait_log(0, &b.down_line());
        let wanted: &[&str] = if policy == "least_loaded" { &["a", "b"] } else { &["a"] };
        assert_eq!(answers(&proxy, 8), wanted);
        // One that cannot even be reached is left out again.
        a.backend.refuse();
        assert_eq!(answers(&proxy, 8), ["b"]);
    }
}

#[test]
fn a_reload_keeps_what_is_known_and_asks_nobody_twice() {
    let (a, b) = (Checked::new("a", 503), Checked::new("b", 200));
    let config = |extra: &str| one_user(&[&a.backend, &b.backend], &format!("{CHECK}\n{extra}"));
    let proxy = Vmauth::start(&config(""), &[]);
    proxy.program.wait_log(0, &a.down_line());
    let (files, mark) = (proxy.program.open_files(), proxy.program.mark());
    for n in 0..20 {
        proxy.reload(&config(&format!("headers: [\"X-Config: {n}\"]")), LOADED);
        assert_eq!(ask(&proxy), "b", "known to be down from the first request on");
    }
    // A backend that comes new is asked by one prober: those of before must not be asked more often.
    let fresh = Checked::new("fresh", 200);
    proxy.reload(&one_user(&[&a.backend, &b.backend, &fresh.backend], CHECK), LOADED);
    fresh.wait_probes(1);
    let before = (a.probes(), fresh.probes());
    fresh.wait_probes(15);
    let asked = (a.probes() - before.0, fresh.probes() - before.1);
    assert!(asked.0 <= asked.1 * 3, "{asked:?}");
    assert!(proxy.program.matching(mark, "by its health check").is_empty());
    eventually("no more open files", || {
        let now = proxy.program.open_files();
        if now <= files + 4 { Ok(()) } else { Err((files, now)) }
    });

    // Nobody is asked who is not used or checked any more.
    proxy.reload(&one_user(&[&a.backend, &b.backend], ""), LOADED);
    eventually("an end of the probes", || {
        let before = (a.probes(), b.probes());
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = (a.probes(), b.probes());
        if before == now { Ok(()) } else { Err((before, now)) }
    });
    assert_eq!(answers(&proxy, 8), ["a", "b"]);
}

#[test]
fn an_entry_has_its_own_check_or_none() {
    let (a, b, c) = (Checked::new("a", 200), Checked::new("b", 200), Checked::new("c", 200));
    let mut config = one_user(&[&a.backend], CHECK);
    let _ = write!(
        config,
        "  url_map:\n  - {{src_paths: [/b], url_prefix: \"{}\", health_check: {{path: /own, interval: 100ms}}}}\n  \
         - {{src_paths: [/c], url_prefix: \"{}\", health_check: {{path: \"\"}}}}\n",
        b.backend.url(),
        c.backend.url()
    );
    let _proxy = Vmauth::start(&config, &[]);
    a.wait_probes(3);
    b.wait_probes(3);
    assert_eq!(b.probes.lock().expect("no panic before")[0].target, "/own");
    assert_eq!(c.probes(), 0);
}

#[test]
fn probes_use_the_tls_settings_of_the_user_and_headers_of_the_check() {
    let authority = Authority::new("own");
    let server = authority.server_config(&authority.issue(&["localhost"]), None);
    let a = Checked::of(Backend::tls(server, Reply::ok("")), "a", 200);
    let url = format!("\"https://localhost:{}/\"", a.address().port());
    let check = "health_check: {path: /ping, interval: 100ms, headers: [\"X-Key: k\", \"Host: probe.example\"]}";
    let trusted = format!("{check}\ntls_ca_file: {}", authority.ca_file().display());
    let proxy = Vmauth::start(&user_of_urls(&url, &trusted), &[]);
    a.wait_probes(2);
    let probe = a.probes.lock().expect("no panic before")[0].clone();
    assert_eq!((probe.fields.get("Host"), probe.fields.get("X-Key")), (Some("probe.example"), Some("k")));
    assert!(proxy.program.matching(0, "by its health check").is_empty());
    proxy.reload(&user_of_urls(&url, check), LOADED);
    let (_, line) = proxy.program.wait_log(0, "is down by its health check GET /ping");
    assert!(line.contains("certificate"), "{line}");
}

/// A server that knows frames of HTTP/2 alone.
#[test]
fn backends_that_speak_http2_are_asked_by_http2() {
    let is_failing = Arc::new(AtomicBool::new(false));
    let fails = is_failing.clone();
    let a = FrameServer::start(&[], move |_, peer| {
        while let Some(stream) = peer.request() {
            if fails.load(Relaxed) {
                // `:status: 500` of HPACK's static table.
                peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &[0x8e]);
            } else {
                peer.reply(stream, "a");
            }
        }
    });
    let b = FrameServer::start(&[], |_, peer| peer.answer_all("b"));
    let check = "health_check: {path: /ping, interval: 100ms, rise: 2, fall: 2}";
    let proxy = Vmauth::start(&user_of_urls(&format!("\"{}\", \"{}\"", a.url(), b.url()), check), &[]);
    assert_eq!(answers(&proxy, 4), ["a", "b"]);
    is_failing.store(true, Relaxed);
    let (_, line) = proxy.program.wait_log(0, "is down by its health check GET /ping");
    assert!(line.contains("status 500"), "{line}");
    assert_eq!(answers(&proxy, 4), ["b"]);
    is_failing.store(false, Relaxed);
    proxy.program.wait_log(0, "is up again by its health check");
    eventually("both are used", || {
        let all = answers(&proxy, 4);
        if all == ["a", "b"] { Ok(()) } else { Err(all) }
    });
    assert_eq!(proxy.program.matching(0, "is down by its health check").len(), 1);
}

#[test]
fn backends_at_unix_sockets_are_asked_there() {
    let (a, b) = (Checked::new("a", 200), Checked::new("b", 200));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("backend.sock").display().to_string();
    // What listens at the socket is another proxy: it passes on what it is asked, under its own User-Agent, except for /ping.
    let behind = one_user(&[&a.backend], "");
    let _behind = Vmauth::start(&behind, &[&format!("-httpListenAddr=unix:{socket}")]);
    let urls = format!("\"http+unix://{}/\", \"http://{}/\"", socket.replace('/', "%2F"), b.address());
    let fields = "headers: [\"Authorization: Basic dTpw\"]\nhealth_check: {path: /probed, interval: 100ms, rise: 2, fall: 2, headers: [\"Authorization: Basic dTpw\"]}";
    let proxy = Vmauth::start(&user_of_urls(&urls, fields), &[]);
    a.wait_probes(2);
    assert_eq!(a.probes.lock().expect("no panic before")[0].target, "/probed");
    assert_eq!(answers(&proxy, 4), ["a", "b"]);
    a.status.store(503, Relaxed);
    let (_, line) = proxy.program.wait_log(0, "is down by its health check GET /probed");
    assert!(line.contains("backend.sock") && line.contains("status 503"), "{line}");
    assert_eq!(answers(&proxy, 4), ["b"]);
    a.status.store(200, Relaxed);
    let (_, line) = proxy.program.wait_log(0, "is up again by its health check");
    assert!(line.contains("backend.sock"), "{line}");
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_down() {
    let (a, b) = (Checked::new("a", 200), Checked::new("b", 200));
    let check = "health_check: {path: /ping, interval: 100ms, timeout: 5s, fall: 1}";
    let proxy = Vmauth::start(&one_user(&[&a.backend, &b.backend], check), &[]);
    a.wait_probes(2);
    a.backend.set_reply(Reply::nothing().then(testkit::Step::AwaitPeer));
    let (_, line) = proxy.program.wait_log(0, &a.down_line());
    assert!(line.contains("no reply within 5s"), "{line}");
    assert_eq!(answers(&proxy, 4), ["b"]);
}

#[test]
fn discovered_backends_are_checked_and_remembered() {
    let a = Checked::new("a", 503);
    let url = format!("\"http://localhost:{}/\"", a.address().port());
    let config = |extra: &str| user_of_urls(&url, &format!("{CHECK}\ndiscover_backend_ips: true\n{extra}"));
    let proxy = Vmauth::start(&config(""), &["-discoverBackendIPsInterval=1h"]);
    // The only one, so it is used although it is down.
    assert_eq!(ask(&proxy), "a");
    let line = "the backend at 127.0.0.1:";
    proxy.program.wait_log(0, line);
    let mark = proxy.program.mark();
    proxy.reload(&config("headers: [\"X-Config: 1\"]"), LOADED);
    let series = format!("vmauth_backend_up{{backend=\"{}\"}}", a.address());
    proxy.expect_metrics(&[(&series, 0.0)]);
    a.wait_probes(5);
    assert!(proxy.program.matching(mark, line).is_empty(), "{}", proxy.program.log_text());
}
