//! The command itself: what it prints, what its page answers, and how it ends.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use testkit::{Client, Launch, Program, Signal, eventually};

/// Starts the command on free ports.
fn start(flags: &[&str]) -> (Program, SocketAddr) {
    let mut launch =
        Launch::new(env!("CARGO_BIN_EXE_devstack")).arg("-httpListenAddr=127.0.0.1:0").arg("-loggerLevel=INFO");
    for part in ["provider", "store", "vmauth", "vmagent"] {
        launch = launch.arg(format!("-{part}Addr=127.0.0.1:0"));
    }
    let program = flags.iter().fold(launch, |launch, flag| launch.arg(*flag)).start();
    let address = program.wait_listening();
    (program, address)
}

/// Its folder and the processes that work in it.
fn folder(program: &Program) -> PathBuf {
    let (_, line) = program.wait_log(0, "vm-auth.yaml, vmauth.log");
    PathBuf::from(line.split_whitespace().nth(2).unwrap()).parent().unwrap().to_owned()
}

fn processes_in(dir: &str) -> Vec<String> {
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let args = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&args).replace('\0', " ")).filter(|args| args.contains(dir))
    };
    fs::read_dir("/proc").unwrap().filter_map(of).collect()
}

/// Others may name the folder for a moment, as whoever lists it does.
fn expect_processes(dir: &str, count: usize) {
    eventually("the number of processes", || match processes_in(dir) {
        found if found.len() == count => Ok(()),
        found => Err(found),
    });
}

#[test]
fn it_tells_what_happens_as_lines_and_ends_with_all_its_parts() {
    let (mut program, address) = start(&["-fault=wrong-tenant@1s+2s,rotate-key@1s"]);
    let dir = folder(&program);
    program.wait_log(0, "the first sample was in the store after");
    program.wait_log(0, "rotate-key: ");
    program.wait_log(0, "wrong-tenant begins");
    program.wait_log(0, "wrong-tenant ends");
    program.wait_log(0, " tenant=0:0 series=");
    assert!(program.matching(0, "\u{1b}").is_empty(), "nothing for terminals");
    let state = Client::connect(address).get("/api/state", &[]).expect(200);
    let state: Value = serde_json::from_slice(&state.body).unwrap();
    assert_eq!(state["figures"]["store"]["tenants"][0]["tenant"], "0:0", "{state}");
    let name = dir.display().to_string();
    expect_processes(&name, 2);
    program.signal(Signal::Int);
    let code = program.wait_exit(Duration::from_secs(60));
    assert_eq!(code, Some(0), "{}", program.log_text());
    assert_eq!(processes_in(&name), [""; 0]);
    assert!(!dir.exists());
}

#[test]
fn its_page_switches_faults_for_itself_and_for_nobody_else() {
    let (mut program, address) = start(&[]);
    let page = Client::connect(address).get("/", &[]).expect(200);
    assert!(page.text().contains("<title>devstack</title>"));
    let switch = |path: &str, origin: &str| {
        let mut client = Client::connect(address);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{origin}Content-Length: 0\r\n\r\n"));
        client.reply().status
    };
    let own = format!("Origin: http://{address}\r\n");
    assert_eq!(switch("/api/fault/store-down?on=1", "Origin: http://example.com\r\n"), 403);
    assert_eq!(switch("/api/fault/nothing", &own), 404);
    assert_eq!(Client::connect(address).get("/api/fault/store-down", &[]).status, 405);
    assert!(program.matching(0, "store-down").is_empty(), "{}", program.log_text());
    assert_eq!(switch("/api/fault/store-down?on=1", &own), 204);
    program.wait_log(0, "store-down begins");
    assert_eq!(switch("/api/fault/store-down", ""), 204);
    program.wait_log(0, "store-down ends");
    // A process that is killed leaves its folder behind.
    program.signal(Signal::Term);
    assert_eq!(program.wait_exit(Duration::from_secs(60)), Some(0), "{}", program.log_text());
}

#[test]
fn its_programs_do_not_outlive_it() {
    let (mut program, _) = start(&[]);
    let name = folder(&program).display().to_string();
    program.wait_log(0, "the first sample was in the store after");
    expect_processes(&name, 2);
    program.signal(Signal::Quit);
    program.wait_exit(Duration::from_secs(60));
    expect_processes(&name, 0);
    // Nobody was left to remove it.
    let _ = fs::remove_dir_all(&name);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("-storeAddr={}", taken.local_addr().unwrap());
    let mut program = Launch::new(env!("CARGO_BIN_EXE_devstack")).arg("-providerAddr=127.0.0.1:0").arg(&flag).start();
    assert_eq!(program.wait_exit(Duration::from_secs(60)), Some(255));
    let told = program.log_text();
    assert!(told.contains(&flag) && told.contains("takes a free port"), "{told}");
}
