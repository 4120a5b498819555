//! Unix sockets on both sides: clients without an address, backends that are files.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Backend, Signal, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with room for a socket.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("proxy.sock")
    }

    fn flag(&self) -> String {
        format!("-httpListenAddr=unix:{}", self.path().display())
    }

    /// As `url_prefix` names it.
    fn url(&self) -> String {
        format!("\"http+unix://{}/prefix\"", self.path().display().to_string().replace('/', "%2F"))
    }
}

/// Status line and body of each request sent over one connection.
fn ask(path: &Path, requests: &[&str]) -> Vec<(u16, String)> {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut replies = Vec::new();
    for request in requests {
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut text = String::new();
        let (head, length) = loop {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).expect("a reply");
            text.push(char::from(byte[0]));
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            break (head.to_owned(), length.parse().expect("a number"));
        };
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        replies.push((status, String::from_utf8(body).expect("text")));
    }
    replies
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{AUTH}\r\n{headers}\r\n")
}

#[test]
fn clients_without_an_address_are_served() {
    let backend = Backend::saying("ok");
    let place = Place::new();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[&place.flag()]);
    let mode = std::fs::metadata(place.path()).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let replies = ask(&place.path(), &[&get("/a", ""), &get("/b", "X-Forwarded-For: 1.2.3.4\r\n")]);
    assert_eq!(replies, [(200, "ok".to_owned()), (200, "ok".to_owned())]);
    let forwarded = |at: usize| backend.requests()[at].fields.get("X-Forwarded-For").map(str::to_owned);
    assert_eq!(forwarded(0), None, "there is no address to name");
    assert_eq!(forwarded(1).as_deref(), Some("1.2.3.4"), "what the client says is kept");
    proxy.program.wait_log(0, "remote_addr=\"unix:\"");
    proxy.program.wait_log(0, "remote_addr=\"unix:, X-Forwarded-For: 1.2.3.4\"");
    let accepted = format!("vm_tcplistener_accepts_total{{name=\"http\", addr=\"unix:{}\"}}", place.path().display());
    proxy.expect_metrics(&[(&accepted, 1.0)]);
}

#[test]
fn ip_filters_refuse_whom_no_header_names() {
    let backend = Backend::saying("ok");
    let place = Place::new();
    let config = one_user(&[&backend], "ip_filters: {allow_list: [10.0.0.0/8]}");
    let flags = [&*place.flag(), "-httpRealIPHeader=X-Real-IP", "-http.trustedProxies=192.0.2.1"];
    let _proxy = Vmauth::start(&config, &flags);
    let replies = ask(
        &place.path(),
        &[&get("/", ""), &get("/", "X-Real-IP: 10.1.2.3\r\n"), &get("/", "X-Real-IP: 11.1.2.3\r\n")],
    );
    let statuses: Vec<_> = replies.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [403, 200, 403], "{replies:?}");
}

#[test]
fn backends_at_unix_sockets_are_used_marked_and_come_back() {
    let backend = Backend::saying("ok");
    let place = Place::new();
    let behind = Vmauth::start(&one_user(&[&backend], ""), &[&place.flag()]);
    let front =
        Vmauth::start(&user_of_urls(&place.url(), "headers: [\"Authorization: Basic dTpw\"]"), &["-failTimeout=100ms"]);
    let mut client = front.client();
    client.get("/a?b=c", &[AUTH]).expect(200);
    client.get("/d", &[AUTH]).expect(200);
    assert_eq!(backend.requests()[0].target, "/prefix/a?b=c");
    behind.program.wait_log(0, "request_host=\"localhost\" request_uri=\"/prefix/a?b=c\"");
    front.program.wait_log(0, "proxy.sock\" attempts=1");
    let accepted = format!("vm_tcplistener_accepts_total{{name=\"http\", addr=\"unix:{}\"}}", place.path().display());
    behind.expect_metrics(&[(&accepted, 1.0)]);

    stop(behind);
    assert!(!place.path().exists(), "the socket goes with its listener");
    client.get("/e", &[AUTH]).expect(502);
    let text = format!("dial unix {}: connect: no such file or directory", place.path().display());
    front.program.wait_log(0, &text);
    let _again = Vmauth::start(&one_user(&[&backend], ""), &[&place.flag()]);
    eventually("the backend is used again", || {
        let reply = front.client().get("/f", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    });
}

fn stop(mut proxy: Vmauth) {
    proxy.program.signal(Signal::Term);
    assert_eq!(proxy.program.wait_exit(PATIENCE), Some(0), "{}", proxy.program.log_text());
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let backend = Backend::saying("ok");
    let place = Place::new();
    let config = one_user(&[&backend], "");
    // What a process that was killed leaves.
    drop(UnixListener::bind(place.path()).expect("the folder can be written"));
    let first = Vmauth::start(&config, &[&place.flag()]);
    let path = first.config().display().to_string();
    let mut second =
        testkit::Launch::new(crate::vmauth::binary()).arg(format!("-auth.config={path}")).arg(place.flag()).start();
    assert_eq!(second.wait_exit(PATIENCE), Some(255));
    let text = format!("listen unix {}: bind: address already in use", place.path().display());
    second.wait_log(0, &text);
    assert_eq!(ask(&place.path(), &[&get("/", "")])[0].0, 200, "the first one is not disturbed");
}

#[test]
fn a_start_that_fails_at_a_later_listener_leaves_no_file() {
    let backend = Backend::saying("ok");
    let place = Place::new();
    let first = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address");
    let other = place.0.path().join("other.sock");
    std::fs::write(&other, "no socket").expect("the folder can be written");
    for later in [taken.to_string(), format!("unix:{}", other.display())] {
        let path = first.config().display().to_string();
        let launch = testkit::Launch::new(crate::vmauth::binary()).arg(format!("-auth.config={path}"));
        let mut second = launch.arg(place.flag()).arg(format!("-httpListenAddr={later}")).start();
        assert_eq!(second.wait_exit(PATIENCE), Some(255));
        second.wait_log(0, "bind: address already in use");
        assert!(!place.path().exists(), "{later}");
    }
    assert!(other.exists(), "what was there before stays");
}
