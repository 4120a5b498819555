//! `Expect: 100-continue`: the go-ahead comes when the proxy is ready for the body, and never to a refused client.

use std::time::Duration;

use testkit::{Backend, Gate, Reply};

use crate::vmauth::{AUTH, Vmauth, one_user};

fn head(auth: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: test\r\n{auth}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
}

#[test]
fn the_body_is_asked_for_and_forwarded() {
    let backend = Backend::saying("thanks");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(head(&format!("{AUTH}\r\n")));
    assert_eq!(client.interim(), 100);
    assert_eq!(backend.request_count(), 0, "a buffered body is complete before the backend is asked");
    client.send("data");
    let reply = client.reply().expect(200);
    assert_eq!((reply.text().as_str(), &reply.interim[..]), ("thanks", &[][..]), "the backend's own 100 is swallowed");
    assert_eq!(backend.wait_for(1).body, b"data");
    client.get("/", &[AUTH]).expect(200);
}

#[test]
fn it_waits_for_the_admission() {
    let gate = Gate::new();
    let backend = Backend::script(vec![Reply::ok("held").after(&gate), Reply::ok("thanks")]);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxConcurrentRequests=1", "-maxQueueDuration=30s"]);
    let mut holder = proxy.client();
    holder.request("GET", "/holder", &[AUTH], None);
    backend.wait_for(1);
    let mut client = proxy.client();
    client.send(head(&format!("{AUTH}\r\n")));
    proxy.wait_user_requests(2.0);
    client.expect_silence(Duration::from_millis(300));
    gate.open();
    holder.reply().expect(200);
    assert_eq!(client.interim(), 100);
    client.send("data");
    client.reply().expect(200);
}

#[test]
fn a_refused_client_is_not_asked_for_its_body() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(head(""));
    let reply = client.reply().expect(401);
    assert_eq!(reply.interim, [0_u16; 0]);
    assert_eq!(reply.text(), "missing 'Authorization' request header");
    // The client may or may not send its body now, so the next request cannot be found.
    client.expect_closed();
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_client_that_does_not_wait_is_served_too() {
    let backend = Backend::saying("thanks");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(format!("{}data", head(&format!("{AUTH}\r\n"))));
    let reply = client.reply().expect(200);
    assert!(matches!(reply.interim[..], [] | [100]), "{:?}", reply.interim);
    client.get("/", &[AUTH]).expect(200);
    assert_eq!(backend.requests()[0].body, b"data");
}

#[test]
fn an_unknown_expectation_is_417() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH, "Expect: miracles"], None);
    client.reply().expect(417);
    client.expect_closed();
    assert_eq!(backend.connections(), 0);
}
