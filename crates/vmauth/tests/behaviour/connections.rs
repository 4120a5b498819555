//! Lives of connections on both sides: reuse, idle timeouts, the pool's bound, the age limit of clients.

use std::time::{Duration, Instant};

use testkit::{Backend, Gate, Metrics, Reply, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

#[test]
fn one_backend_connection_serves_one_client_after_another() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    for _ in 0..20 {
        client.get("/", &[AUTH]).expect(200);
    }
    for _ in 0..20 {
        proxy.client().get("/", &[AUTH]).expect(200);
    }
    assert_eq!((backend.request_count(), backend.connections()), (40, 1));
    proxy.expect_metrics(&[
        ("vmauth_backend_dials_total", 1.0),
        ("vmauth_backend_dial_errors_total", 0.0),
        ("vmauth_backend_conns", 1.0),
    ]);
}

#[test]
fn bodies_do_not_cost_the_connection() {
    let backend = Backend::with(|request| match request.target.as_str() {
        "/chunked" => Reply::chunked(200, &[], &["a", "b", "c"], &[]),
        "/big" => Reply::ok(&"x".repeat(1_000_000)),
        _ => Reply::ok("ok"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    for target in ["/", "/chunked", "/big"] {
        client.request("POST", target, &[AUTH], Some(&[b'y'; 300_000]));
        client.reply().expect(200);
        assert_eq!(backend.requests().last().map(|r| r.body.len()), Some(300_000));
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_says_close_is_not_reused() {
    let backend = Backend::replying(Reply::message(200, &[("Connection", "close")], "ok"));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    for n in 1..=3 {
        let reply = client.get("/", &[AUTH]).expect(200);
        assert!(!reply.fields.has_token("Connection", "close"), "hop-by-hop: the client's connection stays");
        assert_eq!(backend.connections(), n);
    }
    backend.wait_open(0);
}

#[test]
fn an_idle_backend_connection_is_closed_in_time() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-idleConnTimeout=3s"]);
    proxy.client().get("/", &[AUTH]).expect(200);
    assert_eq!(backend.open_connections(), 1);
    backend.wait_open(0);
    proxy.client().get("/", &[AUTH]).expect(200);
    assert_eq!(backend.connections(), 2);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}

#[test]
fn the_idle_pool_is_bounded() {
    let gate = Gate::new();
    let backend = Backend::replying(Reply::ok("ok").after(&gate));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxIdleConnsPerBackend=2"]);
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.request("GET", "/", &[AUTH], None));
    backend.wait_for(6);
    assert_eq!(backend.open_connections(), 6);
    gate.open();
    for client in &mut clients {
        client.reply().expect(200);
    }
    backend.wait_open(2);
    proxy.expect_metrics(&[("vmauth_backend_conns", 2.0)]);
}

#[test]
fn an_idle_client_is_closed_in_time() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.idleConnTimeout=3s"]);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    client.expect_closed();
    eventually("the connection gauge falls", || {
        let conns = Metrics::scrape(proxy.address).sum("vm_tcplistener_conns");
        // The scraping client itself is one.
        if conns <= 1.0 { Ok(()) } else { Err(conns) }
    });
}

#[test]
fn an_old_client_connection_is_ended_with_a_reply() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.connTimeout=1s"]);
    let start = Instant::now();
    let mut client = proxy.client();
    let mut replies = 0;
    let closing = eventually("a closing reply", || {
        let reply = client.get("/", &[AUTH]).expect(200);
        replies += 1;
        if reply.fields.has_token("Connection", "close") { Ok(start.elapsed()) } else { Err(replies) }
    });
    assert!(closing >= Duration::from_millis(900), "closed after {closing:?} already");
    client.expect_closed();
    assert_eq!(backend.request_count(), replies, "each request was answered");
    proxy.expect_metrics(&[("vm_http_conn_timeout_closed_conns_total", 1.0)]);
    assert_eq!(backend.connections(), 1, "the age of the client's connection is nothing to the backend's");
}

#[test]
fn keep_alive_can_be_disabled() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.disableKeepAlive"]);
    let mut client = proxy.client();
    assert!(client.get("/", &[AUTH]).expect(200).fields.has_token("Connection", "close"));
    client.expect_closed();
}

#[test]
fn connections_beyond_the_limits_are_closed_at_once() {
    let backend = Backend::saying("ok");
    for flag in ["-http.maxConnections=2", "-http.maxConnectionsPerIP=2"] {
        let proxy = Vmauth::start(&one_user(&[&backend], ""), &[flag]);
        let mut clients = [proxy.client(), proxy.client()];
        clients.iter_mut().for_each(|client| drop(client.get("/", &[AUTH]).expect(200)));
        proxy.client().expect_closed();
        let [mut first, second] = clients;
        drop(second);
        eventually("there is room again", || {
            let mut client = proxy.client();
            let reply = client.try_send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").map(|()| client.reply());
            if reply.as_ref().is_ok_and(|reply| reply.status == 200) { Ok(()) } else { Err("still closed") }
        });
        first.get("/", &[AUTH]).expect(200);
    }
}

/// NTLM authenticates a connection: the next user on it would be taken for the first.
#[test]
fn a_connection_that_carried_ntlm_is_never_shared() {
    for (sent, asked) in [(None, Some("NTLM")), (Some("Authorization: Negotiate YII="), None)] {
        let backend = Backend::with(move |_| match asked {
            Some(scheme) => Reply::message(401, &[("WWW-Authenticate", scheme)], ""),
            None => Reply::ok("ok"),
        });
        let config = format!("unauthorized_user:\n  url_prefix: {}\n", backend.url());
        let proxy = Vmauth::start(&config, &[]);
        let mut client = proxy.client();
        for n in 1..=3 {
            client.get("/", &sent.into_iter().collect::<Vec<_>>());
            assert_eq!(backend.connections(), n, "{sent:?} {asked:?}");
        }
        backend.wait_open(0);
    }
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let backend = Backend::saying(&"x".repeat(64 << 20));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.writeTimeout=3s"]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    backend.wait_open(0);
    let mut quick = proxy.client();
    quick.get("/", &[AUTH]).expect(200);
}
