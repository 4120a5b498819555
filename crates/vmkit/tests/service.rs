//! The example program as a process: what a program gets from the kit without writing it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::client::Reply;
use testkit::{Client, Launch, Program, Signal};

const LIMIT: Duration = Duration::from_secs(30);

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
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    let path = folder.join("examples/greeter");
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let args = ["build", "-q", "-p", "vmkit", "--example", "greeter"];
        assert!(Command::new(cargo).args(args).status().unwrap().success());
    }
    path
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
