use super::*;
use std::sync::Mutex;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

struct At(&'static str, u16);

impl HealthTarget for At {
    fn dial_address(&self) -> DialAddress {
        DialAddress { host: self.0.to_owned(), port: self.1, srv: false }
    }

    fn display_address(&self) -> String {
        format!("{}:{}", self.0, self.1)
    }
}

/// Fails so many times, then always succeeds, and records when it was asked.
struct Script {
    start: Instant,
    failures: Mutex<usize>,
    asked: Mutex<Vec<u64>>,
}

impl Script {
    fn new(failures: usize) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), failures: Mutex::new(failures), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }
}

impl Probe for Script {
    fn probe(&self, _: DialAddress, deadline: Instant) -> BoxFuture<Result<(), ProbeError>> {
        assert_eq!(deadline - Instant::now(), PROBE_TIMEOUT);
        self.asked.lock().unwrap().push(self.start.elapsed().as_secs());
        let mut failures = self.failures.lock().unwrap();
        let answer = if *failures == 0 { Ok(()) } else { Err(ProbeError::NoAddress) };
        *failures = failures.saturating_sub(1);
        Box::pin(async move { answer })
    }
}

fn checker(probe: Arc<dyn Probe>, fail_timeout: Duration) -> (HealthChecker, mpsc::UnboundedReceiver<String>) {
    let (sender, warnings) = mpsc::unbounded_channel();
    let checker = HealthChecker {
        control: Handle::current(),
        fail_timeout,
        fail_timeout_text: format!("{}s", fail_timeout.as_secs()).into(),
        probe,
        warn: Arc::new(move |text| sender.send(text).unwrap()),
    };
    (checker, warnings)
}

fn backend() -> Arc<Backend<At>> {
    Arc::new(Backend::new(At("127.0.0.1", 19020)))
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn returns_after_the_first_success() {
    let script = Script::new(2);
    let (checker, mut warnings) = checker(script.clone(), Duration::from_secs(3));
    let backend = backend();
    checker.mark_broken(&backend);
    checker.mark_broken(&backend);
    assert_eq!(tasks(), 1);
    sleep(Duration::from_millis(8900)).await;
    assert!(backend.is_broken());
    sleep(Duration::from_millis(200)).await;
    assert!(!backend.is_broken());
    assert_eq!((script.asked(), tasks()), (vec![3, 6, 9], 0));
    let want = "ignoring the backend at 127.0.0.1:19020 for 3s because of dial error: no address to dial";
    assert_eq!(warnings.recv().await.unwrap(), want);
    assert_eq!(warnings.recv().await.unwrap(), want);
    assert!(warnings.try_recv().is_err());
    backend.served();
    checker.mark_broken(&backend);
    assert!(backend.is_broken());
    sleep(Duration::from_millis(3100)).await;
    assert!(!backend.is_broken());
}

#[tokio::test(start_paused = true)]
async fn ends_with_the_backend() {
    let script = Script::new(100);
    let (checker, mut warnings) = checker(script.clone(), Duration::from_secs(3));
    let backend = backend();
    checker.mark_broken(&backend);
    assert_eq!(Arc::strong_count(&backend), 1);
    drop(backend);
    // At once, not at the end of its wait.
    sleep(Duration::from_millis(1)).await;
    assert_eq!((script.asked(), tasks()), (vec![], 0));
    assert!(warnings.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn zero_fail_timeout_does_not_spin() {
    let script = Script::new(1000);
    let (checker, _warnings) = checker(script.clone(), Duration::ZERO);
    let backend = backend();
    checker.mark_broken(&backend);
    sleep(Duration::from_millis(105)).await;
    assert_eq!(script.asked().len(), 10);
}

fn no_such_host(name: &str) -> DnsError {
    DnsError { name: name.to_owned(), server: None, cause: DnsCause::NoSuchHost }
}

/// Knows `two.example` with two addresses and the records of `svc.example`.
struct Names;

impl Lookup for Names {
    fn ips(&self, host: &str) -> BoxFuture<Result<Vec<IpAddr>, DnsError>> {
        let answer = match host {
            "two.example" => Ok(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]),
            "one.example" => Ok(vec![[127, 0, 0, 1].into()]),
            _ => Err(no_such_host(host)),
        };
        Box::pin(async move { answer })
    }

    fn srv(&self, name: &str) -> BoxFuture<Result<Vec<(String, u16)>, DnsError>> {
        let answer = match name {
            "svc.example" => Ok(vec![("gone.example.".to_owned(), 1), ("one.example.".to_owned(), 2)]),
            "hang.example" => return Box::pin(std::future::pending()),
            _ => Err(no_such_host(name)),
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test(start_paused = true)]
async fn tcp_probe_tries_every_address() {
    let f = async |host: &str, port, srv, open: &'static [&'static str], want: Result<(), &str>| {
        let dial: Dial = Arc::new(move |address, timeout| {
            Box::pin(async move {
                if open.contains(&address.to_string().as_str()) {
                    return Ok(());
                }
                sleep(timeout).await;
                Err(io::ErrorKind::TimedOut.into())
            })
        });
        let probe = TcpProbe { lookup: Arc::new(Names), dial };
        let address = DialAddress { host: host.to_owned(), port, srv };
        let start = Instant::now();
        let got = probe.probe(address, start + PROBE_TIMEOUT).await;
        assert_eq!(got.map_err(|error| error.to_string()), want.map_err(str::to_owned), "{host}");
        assert!(start.elapsed() <= PROBE_TIMEOUT + Duration::from_millis(1), "{host}");
    };
    f("127.0.0.9", 7, false, &["127.0.0.9:7"], Ok(())).await;
    f("::1", 7, false, &["[::1]:7"], Ok(())).await;
    f("two.example", 7, false, &["127.0.0.2:7"], Ok(())).await;
    f("two.example", 7, false, &[], Err("dial tcp4 127.0.0.1:7: i/o timeout")).await;
    let hint = "dial tcp [::1]:7: i/o timeout; try -enableTCP6 command-line flag for dialing ipv6 addresses";
    f("::1", 7, false, &[], Err(hint)).await;
    f("svc.example", 9, true, &["127.0.0.1:2"], Ok(())).await;
    f("svc.example", 9, true, &[], Err("dial tcp4 127.0.0.1:2: i/o timeout")).await;
    f("gone.example", 7, false, &[], Err("lookup gone.example: no such host")).await;
    f("none.example", 7, true, &[], Err("lookup none.example: no such host")).await;
    f("hang.example", 7, true, &[], Err("lookup hang.example: i/o timeout")).await;
}

#[tokio::test]
async fn a_real_socket_brings_the_backend_back() {
    // Bound, so that nobody else takes the port before it listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let dial: Dial = Arc::new(|address, _| Box::pin(async move { TcpStream::connect(address).await.map(drop) }));
    let probe = Arc::new(TcpProbe { lookup: Arc::new(Names), dial });
    let (mut checker, mut warnings) = checker(probe, Duration::from_millis(50));
    checker.fail_timeout_text = "50ms".into();
    let backend = Arc::new(Backend::new(At("127.0.0.1", address.port())));
    checker.mark_broken(&backend);
    let want = format!(
        "ignoring the backend at {address} for 50ms because of dial error: dial tcp4 {address}: connect: connection \
         refused"
    );
    assert_eq!(warnings.recv().await.unwrap(), want);
    assert!(backend.is_broken());
    let listener = socket.listen(16).unwrap();
    listener.accept().await.unwrap();
    while backend.is_broken() {
        tokio::task::yield_now().await;
    }
}

/// A stopped process passes the TCP probe; only a served request shows that it is back.
#[tokio::test(start_paused = true)]
async fn who_serves_nothing_comes_back_ever_later() {
    let script = Script::new(0);
    let (checker, mut warnings) = checker(script.clone(), Duration::from_secs(3));
    let backend = backend();
    let begin = Instant::now();
    let waits = async |backend: &Arc<Backend<At>>| {
        let marked = Instant::now();
        checker.mark_broken(backend);
        while backend.is_broken() {
            sleep(Duration::from_millis(100)).await;
        }
        marked.elapsed().as_secs()
    };
    for want in [3, 6, 12, 24, 48, 60, 60] {
        assert_eq!(waits(&backend).await, want);
    }
    assert_eq!(begin.elapsed().as_secs(), 213);
    let want = "ignoring the backend at 127.0.0.1:19020 for 6s because it failed again without having served a request";
    assert_eq!(warnings.recv().await.unwrap(), want);
    backend.served();
    assert_eq!(waits(&backend).await, 3);
}
