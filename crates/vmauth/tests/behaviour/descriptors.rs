//! Out of file descriptors: the process lives, does not spin, and serves again when some are free.

use std::thread;
use std::time::Duration;

use testkit::{Backend, Client, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

const LIMIT: u64 = 64;
/// By default clients cannot take all descriptors.
const UNLIMITED: &str = "-http.maxConnections=1000";

#[test]
fn by_default_clients_leave_descriptors_for_backends() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::launch(&one_user(&[&backend], ""), &[], |launch| launch.open_files(LIMIT));
    let mut early = proxy.client();
    let crowd: Vec<_> = (0..150).filter_map(|_| Client::try_connect(proxy.address).ok()).collect();
    early.get("/", &[AUTH]).expect(200);
    assert!(backend.connections() == 1 && (proxy.program.open_files() as u64) < LIMIT, "{}", proxy.program.log_text());
    drop(crowd);
}

#[test]
fn a_soft_limit_is_raised_to_the_hard_one() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::launch(&one_user(&[&backend], ""), &[], |launch| launch.soft_open_files(LIMIT));
    let mut crowd: Vec<_> = (0..2 * LIMIT).map(|_| proxy.client()).collect();
    for client in &mut crowd {
        client.get("/", &[AUTH]).expect(200);
    }
}

#[test]
fn too_many_clients_are_survived() {
    let backend = Backend::saying("ok");
    let mut proxy = Vmauth::launch(&one_user(&[&backend], ""), &[UNLIMITED], |launch| launch.open_files(LIMIT));
    proxy.client().get("/", &[AUTH]).expect(200);
    let crowd: Vec<_> = (0..150).filter_map(|_| Client::try_connect(proxy.address).ok()).collect();
    eventually("all descriptors are in use", || {
        let open = proxy.program.open_files() as u64;
        if open + 8 >= LIMIT { Ok(()) } else { Err(open) }
    });
    // Accepting fails now, again and again; that must not eat the processor. This pause is the measurement itself.
    let before = proxy.program.cpu_time();
    thread::sleep(Duration::from_secs(1));
    let used = proxy.program.cpu_time().saturating_sub(before);
    assert!(used < Duration::from_millis(500), "{used:?} of processor time in a second without work");
    assert!(proxy.program.is_running(), "{}", proxy.program.log_text());
    drop(crowd);
    eventually("a new client is served", || {
        let reply = proxy.client().get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err((reply.status, reply.end)) }
    });
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_concurrent_requests_current", 0.0)]);
    eventually("the descriptors are free", || {
        let open = proxy.program.open_files() as u64;
        if open < LIMIT / 2 { Ok(()) } else { Err(open) }
    });
}

#[test]
fn too_many_requests_in_flight_are_survived() {
    // Each needs two descriptors, so dials to the backend fail before clients do.
    let backend = Backend::with(|request| match request.target.as_str() {
        "/held" => Reply::nothing().then(Step::AwaitPeer),
        _ => Reply::ok("ok"),
    });
    let mut proxy = Vmauth::launch(&one_user(&[&backend], ""), &[UNLIMITED, "-failTimeout=200ms"], |launch| {
        launch.open_files(LIMIT)
    });
    let mut crowd: Vec<_> = (0..40).filter_map(|_| Client::try_connect(proxy.address).ok()).collect();
    for client in &mut crowd {
        let _ = client.try_send(format!("GET /held HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n\r\n"));
    }
    backend.wait_for(5);
    assert!(proxy.program.is_running(), "{}", proxy.program.log_text());
    drop(crowd);
    backend.wait_open(0);
    eventually("requests are served again", || {
        let reply = proxy.client().get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err((reply.status, reply.end)) }
    });
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_concurrent_requests_current", 0.0)]);
}

#[test]
fn a_reload_without_descriptors_keeps_the_old_config() {
    let backend = Backend::saying("ok");
    let mut proxy = Vmauth::launch(&one_user(&[&backend], ""), &[UNLIMITED], |launch| launch.open_files(LIMIT));
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    let crowd: Vec<_> = (0..150).filter_map(|_| Client::try_connect(proxy.address).ok()).collect();
    eventually("all descriptors are in use", || {
        let open = proxy.program.open_files() as u64;
        if open + 8 >= LIMIT { Ok(()) } else { Err(open) }
    });
    let new = one_user(&[&backend], "response_headers: [\"X-Config: new\"]");
    std::fs::write(proxy.config(), &new).expect("written");
    proxy.program.signal(testkit::Signal::Hup);
    client.get("/", &[AUTH]).expect(200);
    assert!(proxy.program.is_running(), "{}", proxy.program.log_text());
    drop(crowd);
    eventually("the descriptors are free", || {
        let open = proxy.program.open_files() as u64;
        if open < LIMIT / 2 { Ok(()) } else { Err(open) }
    });
    proxy.program.signal(testkit::Signal::Hup);
    eventually("the new config serves", || {
        let reply = client.get("/", &[AUTH]).expect(200);
        if reply.fields.get("X-Config") == Some("new") { Ok(()) } else { Err((reply.status, reply.end)) }
    });
}
