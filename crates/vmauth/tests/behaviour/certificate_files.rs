//! Certificate files that change, vanish or are half-written: the process lives, open connections too, and a good file heals.

use std::fs;
use std::sync::Arc;

use testkit::certs::{Authority, Files, Identity};
use testkit::client::End;
use testkit::wire::chunk;
use testkit::{Backend, Client, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

fn tls_proxy(backend: &Backend, files: &Files) -> Vmauth {
    let cert = format!("-tlsCertFile={}", files.cert.display());
    let key = format!("-tlsKeyFile={}", files.key.display());
    Vmauth::start(&one_user(&[backend], ""), &["-tls", &cert, &key])
}

/// Handshakes anew until the served certificate is `want`; every connection that is made is asked something.
#[track_caller]
fn wait_served(proxy: &Vmauth, ca: &Authority, want: &Identity) {
    eventually("the new certificate is served", || {
        let mut client = Client::try_connect_tls(proxy.address, ca.client_config(None), "127.0.0.1")
            .map_err(|e| format!("handshake: {e}"))?;
        client.get("/", &[AUTH]).expect(200);
        let served = client.server_certificate().unwrap_or_default();
        if served == want.der().as_ref() { Ok(()) } else { Err(String::from("another certificate")) }
    });
}

/// Spoils the files of a TLS listener, then puts a new pair in their place.
fn survives(spoil: impl Fn(&Files, &Identity)) {
    let ca = Authority::new("listener");
    let (first, second) = (ca.issue(&["127.0.0.1"]), ca.issue(&["127.0.0.1"]));
    let backend = Backend::saying("ok");
    let files = ca.write("server", &first);
    let mut proxy = tls_proxy(&backend, &files);
    let config = ca.client_config(None);
    let mut old = Client::try_connect_tls(proxy.address, Arc::clone(&config), "127.0.0.1").expect("a handshake");
    old.get("/", &[AUTH]).expect(200);
    spoil(&files, &second);
    // Handshakes over more than the two seconds in which files are looked at again: each works or fails, none hangs.
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_secs(3) {
        if let Ok(mut client) = Client::try_connect_tls(proxy.address, Arc::clone(&config), "127.0.0.1") {
            client.get("/", &[AUTH]).expect(200);
        }
        old.get("/", &[AUTH]).expect(200);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(proxy.program.is_running(), "{}", proxy.program.log_text());
    ca.write("server", &second);
    wait_served(&proxy, &ca, &second);
    old.get("/", &[AUTH]).expect(200);
}

#[test]
fn files_of_the_listener_are_read_again() {
    let ca = Authority::new("listener");
    let (first, second) = (ca.issue(&["127.0.0.1"]), ca.issue(&["127.0.0.1"]));
    let backend = Backend::saying("ok");
    let files = ca.write("server", &first);
    let proxy = tls_proxy(&backend, &files);
    wait_served(&proxy, &ca, &first);
    ca.write("server", &second);
    wait_served(&proxy, &ca, &second);
}

#[test]
fn vanished_files_of_the_listener_do_no_lasting_harm() {
    survives(|files, _| {
        fs::remove_file(&files.cert).expect("removed");
        fs::remove_file(&files.key).expect("removed");
    });
}

#[test]
fn a_half_written_certificate_does_no_lasting_harm() {
    survives(|files, next| {
        fs::write(&files.cert, &next.cert_pem[..next.cert_pem.len() / 2]).expect("written");
    });
}

#[test]
fn a_certificate_without_its_new_key_does_no_lasting_harm() {
    survives(|files, next| fs::write(&files.cert, &next.cert_pem).expect("written"));
}

#[test]
fn an_empty_key_does_no_lasting_harm() {
    survives(|files, _| fs::write(&files.key, "").expect("written"));
}

#[test]
fn a_missing_ca_of_a_backend_fails_requests_until_it_appears() {
    let ca = Authority::new("backend");
    let backend = Backend::tls(ca.server_config(&ca.issue(&["127.0.0.1"]), None), Reply::ok("secure"));
    let late = ca.dir().join("late.pem");
    let config = user_of_urls(&format!("\"{}\"", backend.url()), &format!("tls_ca_file: {}", late.display()));
    let proxy = Vmauth::start(&config, &[]);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(502);
    proxy.program.wait_log(0, "cannot read");
    assert_eq!(backend.request_count(), 0);
    fs::write(&late, &ca.ca_pem()[..40]).expect("written");
    client.get("/", &[AUTH]).expect(502);
    fs::write(&late, ca.ca_pem()).expect("written");
    eventually("the backend is reached", || {
        let reply = client.get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    });
    assert_eq!(backend.request_count(), 1);
}

#[test]
fn a_vanished_ca_of_a_backend_heals() {
    let ca = Authority::new("backend");
    let identity = ca.issue(&["127.0.0.1"]);
    let backend = Backend::tls(ca.server_config(&identity, Some(&ca)), Reply::ok("secure"));
    let files = ca.write("proxy", &ca.issue(&["proxy"]));
    let tls = format!(
        "tls_ca_file: {}\ntls_cert_file: {}\ntls_key_file: {}",
        ca.ca_file().display(),
        files.cert.display(),
        files.key.display()
    );
    let mut proxy = Vmauth::start(&user_of_urls(&format!("\"{}\"", backend.url()), &tls), &[]);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    let pem = fs::read_to_string(&files.cert).expect("the certificate");
    fs::remove_file(ca.ca_file()).expect("removed");
    fs::write(&files.cert, &pem[..pem.len() / 3]).expect("written");
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_secs(3) {
        let reply = client.get("/", &[AUTH]);
        assert!(matches!(reply.status, 200 | 502), "{reply:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(proxy.program.is_running());
    fs::write(ca.ca_file(), ca.ca_pem()).expect("written");
    fs::write(&files.cert, pem).expect("written");
    backend.hang_up();
    eventually("the backend is reached again", || {
        let reply = client.get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    });
}

#[test]
fn an_unknown_backend_certificate_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let backend = Backend::tls(theirs.server_config(&theirs.issue(&["127.0.0.1"]), None), Reply::ok("secret"));
    let tls = format!("tls_ca_file: {}", ours.ca_file().display());
    let proxy = Vmauth::start(&user_of_urls(&format!("\"{}\"", backend.url()), &tls), &[]);
    proxy.client().get("/", &[AUTH]).expect(502);
    assert_eq!(backend.request_count(), 0);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 1.0), ("user.request_errors_total", 1.0)]);
}

/// A reply that ends with its connection must not look complete when it is not.
#[test]
fn a_cut_reply_to_an_old_client_over_tls_ends_with_a_reset() {
    let ca = Authority::new("listener");
    let files = ca.write("server", &ca.issue(&["127.0.0.1"]));
    let part = Step::Send(chunk(b"part"));
    let backend = Backend::replying(Reply::chunked_head(200, &[]).then(part).then(Step::Reset));
    let proxy = tls_proxy(&backend, &files);
    let mut client = Client::try_connect_tls(proxy.address, ca.client_config(None), "127.0.0.1").expect("a handshake");
    client.send(format!("GET / HTTP/1.0\r\n{AUTH}\r\n\r\n"));
    let (bytes, end) = client.read_to_end();
    // The reset may overtake what was sent before it.
    assert!(bytes.is_empty() || bytes.ends_with(b"part"), "{}", bytes.escape_ascii());
    assert_eq!(end, End::Reset);
}
