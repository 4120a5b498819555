use super::*;
use std::sync::atomic::AtomicUsize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;

type Table<A> = Mutex<HashMap<&'static str, Result<Vec<A>, &'static str>>>;

/// Answers from a table that tests change; each lookup takes `delay`.
#[derive(Default)]
struct Names {
    ips: Table<&'static str>,
    srv: Table<(&'static str, u16)>,
    delay: Mutex<Duration>,
    lookups: AtomicUsize,
}

impl Names {
    fn set_ips(&self, host: &'static str, answer: Result<&[&'static str], &'static str>) {
        self.ips.lock().unwrap().insert(host, answer.map(<[_]>::to_vec));
    }

    fn set_srv(&self, name: &'static str, answer: Result<&[(&'static str, u16)], &'static str>) {
        self.srv.lock().unwrap().insert(name, answer.map(<[_]>::to_vec));
    }

    fn answer<A: Send + 'static>(&self, answer: Result<A, DnsError>) -> BoxFuture<Result<A, DnsError>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let delay = *self.delay.lock().unwrap();
        Box::pin(async move {
            sleep(delay).await;
            answer
        })
    }

    fn count(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }
}

fn dns_error(name: &str, cause: &str) -> DnsError {
    DnsError { name: name.to_owned(), server: None, cause: DnsCause::Other(cause.to_owned()) }
}

impl Lookup for Names {
    fn ips(&self, host: &str) -> BoxFuture<Result<Vec<IpAddr>, DnsError>> {
        let found = self.ips.lock().unwrap().get(host).cloned().unwrap_or(Err("no such host"));
        self.answer(match found {
            Ok(ips) => Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect()),
            Err(cause) => Err(dns_error(host, cause)),
        })
    }

    fn srv(&self, name: &str) -> BoxFuture<Result<Vec<(String, u16)>, DnsError>> {
        let found = self.srv.lock().unwrap().get(name).cloned().unwrap_or(Err("no such host"));
        self.answer(match found {
            Ok(targets) => Ok(targets.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()),
            Err(cause) => Err(dns_error(name, cause)),
        })
    }
}

struct Setup {
    names: Arc<Names>,
    cancel: CancellationToken,
    warnings: mpsc::UnboundedReceiver<String>,
    discovery: Arc<Discovery<String>>,
}

/// URLs such as `srv+host:port` or `host`.
fn setup(interval: Duration, urls: &[&str]) -> Setup {
    let entries = urls.iter().map(|url| {
        let (host, port) = match url.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port.parse().unwrap())),
            Some(_) | None => (*url, None),
        };
        let (host, srv) = host.strip_prefix("srv+").map_or((host, false), |host| (host, true));
        Entry { url: format!("http://{url}/"), host: host.to_owned(), port, srv, weight: 1 }
    });
    let factory: Factory<String> = Box::new(|entry, host, port| {
        let target = port.map_or_else(|| format!("{entry} {host}"), |port| format!("{entry} {host}:{port}"));
        Arc::new(Backend::new(target))
    });
    let (sender, warnings) = mpsc::unbounded_channel();
    let (names, cancel) = (Arc::new(Names::default()), CancellationToken::new());
    let resolving = Resolving {
        lookup: names.clone(),
        interval,
        control: Handle::current(),
        cancel: cancel.clone(),
        warn: Arc::new(move |text| sender.send(text).unwrap()),
    };
    let discovery = Discovery::new(Policy::LeastLoaded, entries.collect(), factory, resolving);
    Setup { names, cancel, warnings, discovery }
}

const SECOND: Duration = Duration::from_secs(1);

impl Setup {
    fn list(&self) -> Vec<String> {
        self.discovery.backends().snapshot().iter().map(|backend| backend.target().clone()).collect()
    }

    /// A pass after the interval, awaited to its end.
    async fn next_pass(&self) {
        sleep(10 * SECOND).await;
        self.discovery.ensure_fresh().await;
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lists_by_entry() {
    let f = async |urls: &[&str], want: &[&str]| {
        let setup = setup(10 * SECOND, urls);
        setup.names.set_ips("h", Ok(&["10.0.0.9", "10.0.0.10", "fd00::1", "10.0.0.9"]));
        setup.names.set_ips("g", Ok(&["10.1.0.1"]));
        setup.names.set_srv("s", Ok(&[("t2.example.", 82), ("t1.example.", 81), (".", 0)]));
        setup.discovery.ensure_fresh().await;
        assert_eq!(setup.list(), want, "{urls:?}");
    };
    f(&["h"], &["0 10.0.0.10", "0 10.0.0.9", "0 fd00::1"]).await;
    f(&["g:8080", "g:9090"], &["0 10.1.0.1:8080", "1 10.1.0.1:9090"]).await;
    f(&["srv+s"], &["0 t1.example:81", "0 t2.example:82"]).await;
    f(&["srv+s:7"], &["0 t1.example:7", "0 t2.example:7"]).await;
    f(&["g", "127.0.0.1:5"], &["0 10.1.0.1", "1 127.0.0.1:5"]).await;
    f(&["missing:8080", "srv+missing:9", "g"], &["0 missing:8080", "1 srv+missing:9", "2 10.1.0.1"]).await;
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_once_and_only_when_used() {
    let setup = setup(Duration::from_millis(9500), &["h:1", "h:2", "127.0.0.1:3"]);
    setup.names.set_ips("h", Ok(&["10.0.0.1"]));
    sleep(100 * SECOND).await;
    assert_eq!(setup.names.count(), 0);
    setup.discovery.ensure_fresh().await;
    assert_eq!(setup.names.count(), 1);
    sleep(Duration::from_millis(9900)).await;
    setup.discovery.ensure_fresh().await;
    assert_eq!(setup.names.count(), 1);
    setup.next_pass().await;
    assert_eq!(setup.names.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn addresses_need_no_lookup() {
    let setup = setup(SECOND, &["127.0.0.1:1", "::1"]);
    setup.discovery.ensure_fresh().await;
    assert_eq!(setup.list(), ["0 127.0.0.1:1", "1 ::1"]);
    assert_eq!((setup.names.count(), Handle::current().metrics().num_alive_tasks()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn only_the_first_use_waits() {
    let setup = setup(10 * SECOND, &["h"]);
    setup.names.set_ips("h", Ok(&["10.0.0.1"]));
    *setup.names.delay.lock().unwrap() = 2 * SECOND;
    let start = Instant::now();
    tokio::join!(setup.discovery.ensure_fresh(), setup.discovery.ensure_fresh());
    assert_eq!((start.elapsed().as_secs(), setup.names.count()), (2, 1));
    setup.names.set_ips("h", Ok(&["10.0.0.2"]));
    sleep(10 * SECOND).await;
    let start = Instant::now();
    tokio::join!(setup.discovery.ensure_fresh(), setup.discovery.ensure_fresh());
    assert_eq!((start.elapsed(), setup.list()), (Duration::ZERO, vec!["0 10.0.0.1".to_owned()]));
    sleep(3 * SECOND).await;
    assert_eq!((setup.names.count(), setup.list()), (2, vec!["0 10.0.0.2".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn slow_resolver_is_given_up_after_the_interval() {
    let mut setup = setup(3 * SECOND, &["h:80"]);
    *setup.names.delay.lock().unwrap() = 100 * SECOND;
    let start = Instant::now();
    setup.discovery.ensure_fresh().await;
    assert_eq!((start.elapsed().as_secs(), setup.list()), (3, vec!["0 h:80".to_owned()]));
    let want = "cannot discover backend IPs for http://h:80/: lookup h: i/o timeout; use it literally";
    assert_eq!(setup.warnings.recv().await.unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn failures_warn_and_keep_what_was_good() {
    let mut setup = setup(10 * SECOND, &["h:1", "h:2", "srv+s", "empty"]);
    setup.names.set_ips("empty", Ok(&[]));
    setup.discovery.ensure_fresh().await;
    for want in [
        "cannot discover backend IPs for http://h:1/: lookup h: no such host; use it literally",
        "cannot discover backend SRV records for http://srv+s/: lookup s: no such host; use it literally",
        "cannot discover backend IPs for http://empty/: lookup empty: no such host; use it literally",
    ] {
        assert_eq!(setup.warnings.recv().await.unwrap(), want);
    }
    assert!(setup.warnings.try_recv().is_err());
    setup.names.set_ips("h", Ok(&["10.0.0.1"]));
    setup.names.set_srv("s", Ok(&[("t.", 7)]));
    setup.names.set_ips("empty", Ok(&["10.0.0.3"]));
    setup.next_pass().await;
    let good = ["0 10.0.0.1:1", "1 10.0.0.1:2", "2 t:7", "3 10.0.0.3"];
    assert_eq!(setup.list(), good);
    setup.names.set_ips("h", Err("server misbehaving"));
    setup.next_pass().await;
    assert_eq!(setup.list(), good);
    let want = "cannot discover backend IPs for http://h:1/: lookup h: server misbehaving; \
                keep the addresses discovered before";
    assert_eq!(setup.warnings.recv().await.unwrap(), want);
    assert!(setup.warnings.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn addresses_that_stay_keep_their_state() {
    let setup = setup(10 * SECOND, &["h"]);
    setup.names.set_ips("h", Ok(&["10.0.0.1", "10.0.0.2"]));
    setup.discovery.ensure_fresh().await;
    let before = setup.discovery.backends().snapshot();
    before[1].set_broken();
    let _lease = setup.discovery.backends().pick(0, &[]);
    setup.names.set_ips("h", Ok(&["10.0.0.2", "10.0.0.1"]));
    setup.next_pass().await;
    assert!(Arc::ptr_eq(&before, &setup.discovery.backends().snapshot()));
    setup.names.set_ips("h", Ok(&["10.0.0.0", "10.0.0.2"]));
    setup.next_pass().await;
    let after = setup.discovery.backends().snapshot();
    assert_eq!(setup.list(), ["0 10.0.0.0", "0 10.0.0.2"]);
    assert!(Arc::ptr_eq(&before[1], &after[1]) && after[1].is_broken() && !after[0].is_broken());
    assert_eq!(before[0].in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_generation_frees_those_who_wait() {
    let setup = setup(100 * SECOND, &["h:80"]);
    *setup.names.delay.lock().unwrap() = 50 * SECOND;
    let (discovery, cancel) = (setup.discovery.clone(), setup.cancel.clone());
    let start = Instant::now();
    tokio::join!(discovery.ensure_fresh(), async {
        sleep(SECOND).await;
        cancel.cancel();
    });
    assert_eq!((start.elapsed().as_secs(), setup.list()), (1, vec!["0 h:80".to_owned()]));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[test]
fn a_dead_control_plane_blocks_nobody() {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let setup = control.block_on(async { setup(SECOND, &["h:80"]) });
    drop(control);
    worker.block_on(setup.discovery.ensure_fresh());
    assert_eq!(setup.list(), ["0 h:80"]);
}
