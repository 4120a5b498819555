//! The example program as a process: what a program gets from the kit without writing it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use testkit::client::Reply;
use testkit::{Client, Launch, Program, Signal};

const LIMIT: Duration = Duration::from_secs(60);

/// The example, greeting with what stands in its file.
struct Greeter {
    program: Program,
    address: SocketAddr,
    dir: TempDir,
}

impl Greeter {
    fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("greeting");
        fs::write(&path, "hello").unwrap();
        let launch =
            Launch::new(binary()).arg(format!("-greeting={}", path.display())).arg("-httpListenAddr=127.0.0.1:0");
        let program = flags.iter().fold(launch, |launch, flag| launch.arg(*flag)).start();
        let address = program.wait_listening();
        Self { program, address, dir }
    }

    fn ask(&self, method: &str, target: &str, body: Option<&[u8]>) -> Reply {
        let mut client = Client::connect(self.address);
        client.request(method, target, &[], body);
        client.reply()
    }

    fn stop(mut self) -> Option<i32> {
        self.program.signal(Signal::Term);
        self.program.wait_exit(LIMIT)
    }
}

/// Examples are built with the tests of their package, but not when one test target is named.
fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/greeter");
        let built = fs::metadata(&path).and_then(|data| data.modified()).ok();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        if built < newest(&package.join("src")).max(newest(&package.join("examples"))) {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let args = ["build", "-q", "-p", "vmkit", "--example", "greeter"];
            assert!(Command::new(cargo).args(args).status().unwrap().success());
        }
        path
    };
    BUILT.get_or_init(build).clone()
}

/// When anything below this folder was changed last.
fn newest(folder: &Path) -> Option<SystemTime> {
    let times = fs::read_dir(folder).unwrap().flatten().filter_map(|entry| {
        let data = entry.metadata().ok()?;
        if data.is_dir() { newest(&entry.path()) } else { data.modified().ok() }
    });
    times.max()
}

#[test]
fn a_page_of_code_is_a_whole_service() {
    let greeter = Greeter::start(&["-metricsAuthKey=k", "-pushmetrics.header=Authorization: hunter"]);
    let reply = greeter.ask("POST", "/greet", Some(b"world"));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello, world"));
    assert_eq!(greeter.ask("POST", "/greet", Some(&[b'x'; 2000])).status, 413);
    assert_eq!(greeter.ask("GET", "/health", None).text(), "OK");
    assert_eq!(greeter.ask("GET", "/metrics", None).status, 401);
    let metrics = greeter.ask("GET", "/metrics?authKey=k", None).text();
    for part in ["greeter_greetings_total 2", "vm_app_version{version=\"greeter-v", "flag{name=\"greeting\", value=\""]
    {
        assert!(metrics.contains(part), "{part}");
    }
    let flags = greeter.ask("GET", "/flags", None).text();
    assert!(flags.contains("-metricsAuthKey=\"secret\"") && !flags.contains("hunter"), "{flags}");
    let reply = greeter.ask("GET", "/other", None);
    assert_eq!((reply.status, reply.text().as_str()), (400, "unsupported path requested: \"/other\""));
    assert_eq!(greeter.stop(), Some(0));
}

#[test]
fn a_reload_answers_when_it_is_done_and_with_its_problems() {
    let greeter = Greeter::start(&["-reloadAuthKey=k"]);
    let path = greeter.dir.path().join("greeting");
    fs::write(&path, "good morning").unwrap();
    assert_eq!(greeter.ask("POST", "/-/reload?authKey=x", None).status, 401);
    assert_eq!(greeter.ask("POST", "/-/reload?authKey=k", None).status, 200);
    assert_eq!(greeter.ask("GET", "/greet", None).text(), "good morning,");
    fs::remove_file(&path).unwrap();
    let reply = greeter.ask("POST", "/-/reload?authKey=k", None);
    let problem = format!("cannot read \"{0}\": open {0}: no such file or directory", path.display());
    assert_eq!((reply.status, reply.text()), (500, problem));
    assert_eq!(greeter.ask("GET", "/greet", None).text(), "good morning,");
    assert_eq!(greeter.stop(), Some(0));
}

#[test]
fn routes_of_users_and_internal_pages_can_be_apart() {
    let greeter = Greeter::start(&["-httpInternalListenAddr=127.0.0.1:0", "-http.pathPrefix=/g"]);
    let (_, line) = greeter.program.wait_log(0, "pprof handlers are exposed at http://");
    let internal = line.rsplit("://").next().and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let ask = |address, target| Client::connect(address).get(target, &[]).status;
    assert_eq!((ask(greeter.address, "/g/greet"), ask(internal, "/g/greet")), (200, 400));
    assert_eq!((ask(greeter.address, "/g/flags"), ask(internal, "/g/flags")), (400, 200));
    assert_eq!((ask(greeter.address, "/greet"), ask(internal, "/g/-/reload")), (400, 200));
    assert_eq!(greeter.stop(), Some(0));
}

#[test]
fn problems_of_shared_and_own_flags_are_told_together() {
    let mut program = Launch::new(binary()).arg("-workers=0").start();
    assert_eq!(program.wait_exit(LIMIT), Some(255));
    program.wait_log(0, "-workers must be at least 1; got 0; missing required -greeting");
}

#[test]
fn signals_that_mean_nothing_do_nothing_and_quit_tells_what_threads_do() {
    let mut greeter = Greeter::start(&["-workers=2"]);
    for signal in [Signal::Usr1, Signal::Usr2, Signal::Alarm] {
        greeter.program.signal(signal);
        assert_eq!(greeter.ask("GET", "/health", None).status, 200);
    }
    greeter.program.signal(Signal::Quit);
    assert_eq!(greeter.program.wait_exit(LIMIT), Some(2));
    greeter.program.wait_log(0, "worker-1: 0 open connections");
    greeter.program.wait_log(0, "\"worker-1\": state ");
}

#[test]
fn a_config_that_hangs_does_not_hold_up_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut program = Launch::new(binary()).arg(format!("-greeting={}", fifo.display())).start();
    program.wait_log(0, "starting greeter at");
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(LIMIT), Some(143));

    let mut greeter = Greeter::start(&[]);
    fs::remove_file(greeter.dir.path().join("greeting")).unwrap();
    fs::rename(&fifo, greeter.dir.path().join("greeting")).unwrap();
    let mark = greeter.program.mark();
    greeter.program.signal(Signal::Hup);
    greeter.program.wait_log(mark, "SIGHUP received");
    assert_eq!(greeter.ask("GET", "/metrics", None).status, 200);
    greeter.program.signal(Signal::Term);
    assert_eq!(greeter.program.wait_exit(LIMIT), Some(0));
}

#[test]
fn a_log_that_nobody_reads_costs_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("greeting"), "hello").unwrap();
    let mut child = Command::new(binary())
        .arg(format!("-greeting={}", dir.path().join("greeting").display()))
        .args(["-httpListenAddr=127.0.0.1:0", "-workers=1"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let address: SocketAddr = loop {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0, "it has ended");
        if let Some((_, rest)) = line.split_once("started server at http://") {
            break rest.trim_end().trim_end_matches('/').parse().unwrap();
        }
    };
    // From here on nobody reads. Each of these logs a warning of more than a kilobyte.
    let mut client = Client::connect(address);
    let target = format!("/{}", "x".repeat(1000));
    for _ in 0..2500 {
        assert_eq!(client.get(&target, &[]).status, 400);
    }
    let metrics = Client::connect(address).get("/metrics", &[]).text();
    let lost = metrics.lines().find_map(|line| line.strip_prefix("vm_log_dropped_lines_total ")).unwrap();
    assert!(lost.parse::<f64>().unwrap() > 0.0, "{lost}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let until = std::time::Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(std::time::Instant::now() < until, "the stop waits for the log"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}

/// A process that gets this socket as its descriptor 3, as a service manager passes it.
fn start_with_socket(greeting: &Path, socket: &std::net::TcpListener) -> Program {
    use std::os::fd::AsRawFd as _;
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    let script = format!("exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"", socket.as_raw_fd());
    // Not `sh`, which may know no descriptor above 9.
    Launch::new("bash")
        .arg("-c")
        .arg(script)
        .arg(binary())
        .arg(format!("-greeting={}", greeting.display()))
        .arg(format!("-httpListenAddr={}", socket.local_addr().unwrap()))
        .start()
}

#[test]
fn a_restart_with_a_held_socket_fails_no_request() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("greeting");
    fs::write(&path, "hello").unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut program = start_with_socket(&path, &socket);
    program.wait_log(0, "started greeter in");
    let done = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let load = || {
            let mut served = 0;
            while !done.load(Ordering::Relaxed) {
                let reply = Client::connect(address).get("/greet", &["Connection: close"]);
                assert_eq!((reply.status, reply.text().as_str()), (200, "hello,"), "request {served}");
                served += 1;
            }
            served
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        // One restart with both at work, one with nobody there for a while.
        let next = start_with_socket(&path, &socket);
        next.wait_log(0, "started greeter in");
        program.signal(Signal::Term);
        assert_eq!(program.wait_exit(LIMIT), Some(0));
        program = next;
        program.signal(Signal::Term);
        assert_eq!(program.wait_exit(LIMIT), Some(0));
        program = start_with_socket(&path, &socket);
        program.wait_log(0, "started greeter in");
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert!(served > 0);
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(LIMIT), Some(0));
}

#[test]
fn log_lines_have_any_time_zone_without_files_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("greeting"), "hello").unwrap();
    let mut program = Launch::new(binary())
        .arg(format!("-greeting={}", dir.path().join("greeting").display()))
        .arg("-httpListenAddr=127.0.0.1:0")
        .arg("-loggerTimezone=Asia/Kolkata")
        .env("TZDIR", &dir.path().display().to_string())
        .start();
    let (_, line) = program.wait_log(0, "started greeter in");
    assert!(line.contains("+0530\t"), "{line}");
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(LIMIT), Some(0));
}

#[test]
fn a_key_server_that_does_not_answer_holds_up_no_request() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let key = format!("-metricsAuthKey=http://{}/key", silent.local_addr().unwrap());
    let took = || {
        let greeter = Greeter::start(&["-workers=1", &key]);
        let started = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(greeter.ask("GET", "/metrics?authKey=x", None).status, 401);
            assert_eq!(greeter.ask("GET", "/greet", None).status, 200);
        }
        let took = started.elapsed();
        assert_eq!(greeter.stop(), Some(0));
        took
    };
    // One fetch by a worker would take at least as long as its limit of five seconds. A machine that stalls is late as
    // well, but not each time.
    let all: Vec<_> = std::iter::repeat_with(took).take(3).take_while(|took| took.as_secs() >= 5).collect();
    assert!(all.len() < 3, "{all:?}");
}

#[test]
fn credentials_of_urls_are_shown_nowhere() {
    let server = testkit::Backend::saying("hello");
    let url = server.url().replace("http://", "http://user:hunter@");
    let greeting = format!("-greeting={}/x?sig=hunter", url.trim_end_matches('/'));
    let push = format!("-pushmetrics.url={}/push?key=hunter", url.trim_end_matches('/'));
    let flags = [greeting.as_str(), push.as_str(), "-pushmetrics.header=X-Key: hunter", "-metricsAuthKey=hunter"];
    let launch = flags.iter().fold(Launch::new(binary()), |launch, flag| launch.arg(*flag));
    let mut program = launch.arg("-httpListenAddr=127.0.0.1:0").start();
    let address = program.wait_listening();
    let ask = |target: &str| Client::connect(address).get(target, &[]).expect(200).text();
    for page in ["/flags", "/metrics?authKey=hunter", "/debug/pprof/cmdline"] {
        let text = ask(page);
        assert!(text.contains("greeting") && !text.contains("hunter"), "{page}: {text}");
    }
    server.hang_up();
    server.refuse();
    assert_eq!(Client::connect(address).get("/-/reload", &[]).status, 500);
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(LIMIT), Some(0));
    let log = program.lines_since(0).join("\n");
    assert!(log.contains("http://xxxxx@") && !log.contains("hunter"), "{log}");
}

#[test]
fn a_form_that_never_comes_ends_its_request() {
    let greeter = Greeter::start(&["-metricsAuthKey=k"]);
    let mut client = Client::connect(greeter.address);
    client.send("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(client.reply().status, 401);
    assert_eq!(greeter.stop(), Some(0));
}
