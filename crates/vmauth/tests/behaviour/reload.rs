//! Reloads under traffic: no request fails, nothing leaks, a bad file changes nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use testkit::{Backend, Client, Gate, PATIENCE, Reply, Signal, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

const LOADED: &str = "loaded information about 1 users from -auth.config=";
const FAILED: &str = "failed to load auth config; using the last successfully loaded config; error: ";

/// Clients that ask without pause until they are told to stop; each says how many replies it got.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(proxy: &Vmauth, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = proxy.address;
        let clients = (0..clients)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    let mut served = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut client = Client::connect(address);
                        for _ in 0..50 {
                            client.request("POST", "/load", &[AUTH], Some(b"body"));
                            client.reply().expect(200);
                            served += 1;
                        }
                    }
                    served
                })
            })
            .collect();
        Self { stop, clients }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|c| c.join().expect("no request fails during reloads")).sum()
    }
}

#[test]
fn a_thousand_reloads_under_load_leak_nothing() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-workers=2"]);
    // A user that stays, with routes that change: another header, another retry list, a route table more.
    let extra = [
        "headers: [\"X-Config: a\"]\nretry_status_codes: [503]",
        "headers: [\"X-Config: b\"]\ndefault_url: \"http://127.0.0.1:1/\"\nmax_concurrent_requests: 50",
    ];
    let configs = extra.map(|e| one_user(&[&backend], e));
    let load = Load::start(&proxy, 3);
    let mut early = (0, 0, 0);
    for n in 1..=1000 {
        proxy.reload(&configs[n % 2], LOADED);
        if n == 200 {
            early = (proxy.program.rss_bytes(), proxy.program.open_files(), proxy.program.threads());
        }
    }
    let late = (proxy.program.rss_bytes(), proxy.program.open_files(), proxy.program.threads());
    let served = load.finish();
    assert!(served > 0, "no request was served meanwhile");
    assert!(
        late.0 <= early.0 + (4 << 20),
        "resident memory grew from {} to {} bytes between reload 200 and 1000",
        early.0,
        late.0
    );
    // Some connections may be between two clients at the moment of counting.
    assert!(late.1 <= early.1 + 8, "open files: {} after 200 reloads, {} after 1000", early.1, late.1);
    assert!(late.2 <= early.2 + 1, "threads: {} after 200 reloads, {} after 1000", early.2, late.2);
    proxy.expect_metrics(&[
        ("vmauth_config_last_reload_total", 1000.0),
        ("vmauth_config_last_reload_errors_total", 0.0),
        ("vmauth_config_last_reload_successful", 1.0),
        ("user.request_errors_total", 0.0),
        ("user.concurrent_requests_current", 0.0),
        ("reason.client_canceled", 0.0),
    ]);
    // Pools outlive reloads, so a few connections carried everything.
    assert!(backend.connections() <= 20, "{} backend connections in 1000 reloads", backend.connections());
}

#[test]
fn a_request_in_flight_ends_with_the_config_it_began_with() {
    let gate = Gate::new();
    let held = gate.clone();
    let old = Backend::with(move |_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nold").then(Step::Wait(held.clone())).send(" end")
    });
    let new = Backend::saying("new");
    let proxy = Vmauth::start(&one_user(&[&old], "response_headers: [\"X-Config: old\"]"), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    let mut reply = client.reply_head();
    proxy.reload(&one_user(&[&new], "response_headers: [\"X-Config: new\"]"), LOADED);
    assert_eq!(proxy.client().get("/", &[AUTH]).expect(200).text(), "new");
    gate.open();
    client.rest_of(&mut reply);
    assert_eq!((reply.text().as_str(), reply.fields.get("X-Config")), ("old end", Some("old")));
    // The client's connection outlives the reload and sees the new config.
    let reply = client.get("/", &[AUTH]).expect(200);
    assert_eq!((reply.text().as_str(), reply.fields.get("X-Config")), ("new", Some("new")));
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_concurrent_requests_current", 0.0)]);
}

#[test]
fn a_queued_request_survives_a_reload() {
    let gate = Gate::new();
    let backend = Backend::script(vec![Reply::ok("held").after(&gate), Reply::ok("queued")]);
    let limits = "max_concurrent_requests: 1";
    let proxy = Vmauth::start(&one_user(&[&backend], limits), &["-maxQueueDuration=30s"]);
    let mut holder = proxy.client();
    holder.request("GET", "/holder", &[AUTH], None);
    backend.wait_for(1);
    let mut queued = proxy.client();
    queued.request("GET", "/queued", &[AUTH], None);
    proxy.wait_user_requests(2.0);
    proxy.reload(&one_user(&[&backend], &format!("{limits}\nheaders: [\"X-New: 1\"]")), LOADED);
    gate.open();
    assert_eq!(holder.reply().expect(200).text(), "held");
    assert_eq!(queued.reply().expect(200).text(), "queued");
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn a_bad_file_changes_nothing() {
    let backend = Backend::saying("ok");
    let good = one_user(&[&backend], "");
    let proxy = Vmauth::start(&good, &["-workers=2"]);
    let load = Load::start(&proxy, 2);
    let bad = [
        String::from("users: ["),
        String::from("users:\n- username: u\n"),
        format!("{good}  no_such_field: 1\n"),
        good.replace("http://", "ftp://"),
        String::from("\0\u{1}binary"),
    ];
    for text in &bad {
        proxy.reload(text, FAILED);
        proxy.client().get("/", &[AUTH]).expect(200);
    }
    let n = bad.len() as f64;
    proxy.expect_metrics(&[
        ("vmauth_config_last_reload_total", n),
        ("vmauth_config_last_reload_errors_total", n),
        ("vmauth_config_last_reload_successful", 0.0),
    ]);
    fs::remove_file(proxy.config()).expect("the file can be removed");
    let mark = proxy.program.mark();
    proxy.program.signal(Signal::Hup);
    proxy.program.wait_log(mark, FAILED);
    // The old bytes are the active config: nothing is rebuilt, but all is well again.
    fs::write(proxy.config(), &good).expect("the file can be written");
    proxy.program.signal(Signal::Hup);
    proxy.expect_metrics(&[
        ("vmauth_config_last_reload_successful", 1.0),
        ("vmauth_config_last_reload_errors_total", n + 1.0),
    ]);
    assert!(load.finish() > 0);
    proxy.expect_metrics(&[("user.request_errors_total", 0.0)]);
}

#[test]
fn a_burst_of_signals_ends_with_the_last_config() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-workers=2"]);
    let load = Load::start(&proxy, 2);
    for n in 0..200 {
        let next = proxy.config().with_extension("next");
        fs::write(&next, one_user(&[&backend], &format!("response_headers: [\"X-Config: {n}\"]"))).expect("written");
        fs::rename(&next, proxy.config()).expect("replaced");
        proxy.program.signal(Signal::Hup);
    }
    eventually("the last config serves", || {
        let reply = proxy.client().get("/", &[AUTH]).expect(200);
        let config = reply.fields.get("X-Config").map(str::to_owned);
        if config.as_deref() == Some("199") { Ok(()) } else { Err(config) }
    });
    assert!(load.finish() > 0);
}

#[test]
fn users_that_vanish_take_their_series_along() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    proxy.client().get("/", &[AUTH]).expect(200);
    proxy.reload(&one_user(&[&backend], "").replace("username: u", "username: v"), LOADED);
    let metrics = testkit::Metrics::fresh(proxy.address);
    assert_eq!(metrics.containing("username=\"u\""), []);
    assert_eq!(metrics.value("vmauth_user_requests_total{username=\"v\"}"), Some(0.0));
    let start = std::time::Instant::now();
    proxy.client().get("/", &[AUTH]).expect(401);
    assert!(start.elapsed() >= std::time::Duration::from_secs(2), "a wrong password is answered late");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn an_empty_file_keeps_the_config_unless_braces_stand_there() {
    let backend = Backend::saying("ok");
    let good = one_user(&[&backend], "");
    let proxy = Vmauth::start(&good, &[]);
    for empty in ["", "\n", "# tls-assets-hash: 1\n\n"] {
        proxy.reload(empty, FAILED);
        proxy.client().get("/", &[AUTH]).expect(200);
    }
    proxy.program.wait_log(0, "is empty; write {} into it if nobody is to be let in");
    let reply = proxy.client().get("/-/reload", &[]).expect(500);
    assert!(reply.text().contains("is empty; write {}"), "{reply:?}");
    proxy.reload("# nobody\n{}\n", "loaded information about 0 users");
    proxy.client().get("/", &[AUTH]).expect(401);
}

#[test]
fn an_empty_file_at_start_is_a_warning() {
    let proxy = Vmauth::start("", &[]);
    proxy.program.wait_log(0, "is empty: nobody is let in");
}

#[test]
fn a_key_file_that_hangs_holds_up_its_reload_only() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let fifo = proxy.config().with_file_name("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there").success());
    let bad = format!(
        "users:\n- jwt:\n    public_key_files: [\"{}\"]\n  url_prefix: \"{}\"\n",
        fifo.display(),
        backend.url()
    );
    proxy.reload(&bad, "SIGHUP received");
    proxy.client().get("/", &[AUTH]).expect(200);
    proxy.client().get("/metrics", &[]).expect(200);
    let mut proxy = proxy;
    proxy.program.signal(Signal::Term);
    assert_eq!(proxy.program.wait_exit(PATIENCE), Some(0));
}

#[test]
fn unchanged_backends_stay_marked_and_counted() {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let config = |extra: &str| one_user(&[&dead, &good], extra);
    let proxy = Vmauth::start(&config(""), &["-failTimeout=1h"]);
    proxy.client().get("/", &[AUTH]).expect(200);
    let name = |family: &str, backend: &Backend| format!("{family}{{backend=\"{}\"}}", backend.address());
    for n in 1..=3 {
        proxy.reload(&config(&format!("headers: [\"X-Config: {n}\"]")), LOADED);
        proxy.client().get("/", &[AUTH]).expect(200);
    }
    proxy.expect_metrics(&[
        ("user.request_backend_errors_total", 1.0),
        (&name("vmauth_backend_up", &dead), 0.0),
        (&name("vmauth_backend_attempts_total", &dead), 1.0),
        (&name("vmauth_backend_attempts_total", &good), 4.0),
    ]);
    // Another URL is another backend.
    let other = format!("  url_prefix: [\"{}/other\", \"{}\"]", dead.url(), good.url());
    let lines = config("");
    let lines = lines.lines().map(|line| if line.contains("url_prefix") { &other } else { line });
    proxy.reload(&(lines.collect::<Vec<_>>().join("\n") + "\n"), LOADED);
    proxy.client().get("/", &[AUTH]).expect(200);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 2.0)]);
}

#[test]
fn a_marked_backend_returns_although_its_config_was_replaced() {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let config = |extra: &str| one_user(&[&dead, &good], extra);
    let proxy = Vmauth::start(&config(""), &["-failTimeout=1s"]);
    proxy.client().get("/", &[AUTH]).expect(200);
    proxy.reload(&config("headers: [\"X-Config: 1\"]"), LOADED);
    dead.resume();
    eventually("a request for the backend", || {
        proxy.client().get("/", &[AUTH]).expect(200);
        if dead.request_count() > 0 { Ok(()) } else { Err("none") }
    });
}
