//! Backends found by DNS: names that change, fail, say nothing or vanish, and SRV records.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use testkit::dns_server::{Answer, DnsServer};
use testkit::{Backend, Client, Reply, eventually};

use crate::vmauth::{AUTH, Vmauth, user_of_urls};

const DISCOVER: &str = "discover_backend_ips: true";

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

fn addresses(last: &[u8]) -> Answer {
    Answer::Addresses(last.iter().map(|&n| ip(n)).collect())
}

/// Backends on one port of several loopback addresses, each saying the last byte of its own.
fn on_one_port<const N: usize>(last: [u8; N]) -> (u16, [Backend; N]) {
    let first = Backend::at(SocketAddr::new(ip(last[0]), 0), Reply::ok(&last[0].to_string()));
    let port = first.address().port();
    let mut first = Some(first);
    let backends = last.map(|n| match first.take() {
        Some(backend) => backend,
        None => Backend::at(SocketAddr::new(ip(n), port), Reply::ok(&n.to_string())),
    });
    (port, backends)
}

fn start(dns: &DnsServer, url: &str, extra: &str) -> Vmauth {
    let servers = format!("-dns.servers={}", dns.address());
    Vmauth::start(&user_of_urls(&format!("\"{url}\""), extra), &[&servers, "-discoverBackendIPsInterval=1s"])
}

#[track_caller]
fn wait_reply(client: &mut Client, want: &str) {
    eventually(want, || {
        let reply = client.get("/", &[AUTH]);
        if reply.status == 200 && reply.text() == want { Ok(()) } else { Err((reply.status, reply.text())) }
    });
}

#[test]
fn all_addresses_of_a_name_are_used() {
    let (port, backends) = on_one_port([21, 22, 23]);
    let dns = DnsServer::start();
    dns.set("b.test", addresses(&[21, 22, 23]));
    let proxy = start(&dns, &format!("http://b.test:{port}/base"), DISCOVER);
    let mut client = proxy.client();
    let got: Vec<_> = (0..6).map(|_| client.get("/x", &[AUTH]).expect(200).text()).collect();
    assert_eq!(got, ["21", "22", "23", "21", "22", "23"], "in order of the addresses, in turn");
    for backend in &backends {
        let seen = backend.wait_for(1);
        assert_eq!(seen.target, "/base/x");
        assert_eq!(seen.fields.get("Host"), Some(backend.address().to_string().as_str()));
    }
}

#[test]
fn a_changed_name_moves_the_requests() {
    let (port, [old, new]) = on_one_port([31, 32]);
    let dns = DnsServer::start();
    dns.set("b.test", addresses(&[31]));
    let proxy = start(&dns, &format!("http://b.test:{port}/"), DISCOVER);
    let mut client = proxy.client();
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "31");
    dns.set("b.test", addresses(&[32]));
    eventually("the new address serves", || {
        // No request may fail while the list is exchanged.
        let text = client.get("/", &[AUTH]).expect(200).text();
        if text == "32" { Ok(()) } else { Err(text) }
    });
    let before = old.request_count();
    for _ in 0..5 {
        assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "32");
    }
    assert_eq!(old.request_count(), before);
    assert!(new.request_count() >= 6);
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);
}

/// A name that cannot be resolved at first, then can.
fn fails_then_heals(failure: Answer) {
    let (port, [_backend]) = on_one_port([41]);
    let dns = DnsServer::start();
    dns.set("b.test", failure);
    let proxy = start(&dns, &format!("http://b.test:{port}/"), DISCOVER);
    let mut client = proxy.client();
    client.get("/x", &[AUTH]).expect(502);
    let (_, line) = proxy.program.wait_log(0, "cannot discover backend IPs for ");
    assert!(line.contains("/upstream/discovery.rs:"), "{line}");
    dns.set("b.test", addresses(&[41]));
    wait_reply(&mut client, "41");
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0)]);
    proxy.expect_access("/x", 502);
}

#[test]
fn a_name_that_does_not_exist_yet() {
    fails_then_heals(Answer::NoSuchName);
}

#[test]
fn a_name_without_records() {
    fails_then_heals(Answer::Empty);
}

#[test]
fn a_server_that_fails() {
    fails_then_heals(Answer::Failure);
}

#[test]
fn a_server_that_is_silent() {
    fails_then_heals(Answer::Silence);
}

#[test]
fn a_name_that_vanishes_and_returns() {
    let (port, [_backend]) = on_one_port([51]);
    let dns = DnsServer::start();
    dns.set("b.test", addresses(&[51]));
    let mut proxy = start(&dns, &format!("http://b.test:{port}/"), DISCOVER);
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(200);
    dns.set("b.test", Answer::NoSuchName);
    let asked = dns.queries("b.test");
    eventually("another lookup", || {
        // Whether the last good addresses serve on or requests fail is a choice; to hang or crash is none.
        let reply = client.get("/", &[AUTH]);
        assert!(matches!(reply.status, 200 | 502), "{reply:?}");
        let now = dns.queries("b.test");
        if now > asked { Ok(()) } else { Err(now) }
    });
    proxy.program.wait_log(0, "cannot discover backend IPs for ");
    assert!(proxy.program.is_running());
    dns.set("b.test", addresses(&[51]));
    wait_reply(&mut client, "51");
}

#[test]
fn a_slow_lookup_does_not_hold_up_others() {
    let (port, [_backend]) = on_one_port([61]);
    let dns = DnsServer::start();
    dns.set("slow.test", Answer::Silence);
    let other = Backend::saying("other");
    let servers = format!("-dns.servers={}", dns.address());
    let config = user_of_urls(&format!("\"http://slow.test:{port}/\""), DISCOVER)
        + &format!("unauthorized_user:\n  url_prefix: \"{}\"\n", other.url());
    let took = || {
        // One worker serves both, and the lookup may take five seconds.
        let proxy = Vmauth::start(&config, &[&servers, "-discoverBackendIPsInterval=5s"]);
        let (mut slow, asked) = (proxy.client(), dns.queries("slow.test"));
        slow.request("GET", "/", &[AUTH], None);
        eventually("the lookup has begun", || if dns.queries("slow.test") > asked { Ok(()) } else { Err(asked) });
        let start = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(proxy.client().get("/", &[]).expect(200).text(), "other");
        }
        let took = start.elapsed();
        // The lookup and the dial that takes the name literally both run into their limits.
        slow.set_deadline(std::time::Duration::from_secs(60));
        slow.reply().expect(502);
        took
    };
    // A machine that stalls is late as well, but not each time.
    let all: Vec<_> = std::iter::repeat_with(took).take(3).take_while(|took| took.as_secs() >= 4).collect();
    assert!(all.len() < 3, "20 other requests took {all:?}");
}

#[test]
fn service_records_give_host_and_port() {
    let (first, second) = (Backend::saying("first"), Backend::saying("second"));
    let dns = DnsServer::start();
    let services = |backends: &[&Backend]| {
        Answer::Services(backends.iter().map(|b| (b.address().port(), String::from("t.test"))).collect())
    };
    dns.set("t.test", addresses(&[1]));
    dns.set("s.test", services(&[&first]));
    let proxy = start(&dns, "http://srv+s.test/", DISCOVER);
    let mut client = proxy.client();
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "first");
    dns.set("s.test", services(&[&second]));
    wait_reply(&mut client, "second");
    dns.set("s.test", services(&[&first, &second]));
    eventually("both take turns", || {
        let got: Vec<_> = (0..2).map(|_| client.get("/", &[AUTH]).expect(200).text()).collect();
        if got[0] == got[1] { Err(got) } else { Ok(()) }
    });
    proxy.expect_metrics(&[("user.request_errors_total", 0.0)]);
}

#[test]
fn service_records_without_discovery_are_resolved_when_dialling() {
    let backend = Backend::saying("ok");
    let dns = DnsServer::start();
    dns.set("t.test", addresses(&[1]));
    let proxy = start(&dns, "http://srv+s.test/", "");
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(502);
    dns.set("s.test", Answer::Services(vec![(backend.address().port(), String::from("t.test"))]));
    wait_reply(&mut client, "ok");
    let asked = dns.queries("s.test");
    client.get("/", &[AUTH]).expect(200);
    assert_eq!((backend.connections(), dns.queries("s.test")), (1, asked), "a pooled connection needs no lookup");
}

#[test]
fn a_plain_name_is_resolved_when_dialling() {
    let (port, [backend]) = on_one_port([71]);
    let dns = DnsServer::start();
    let proxy = start(&dns, &format!("http://b.test:{port}/"), "");
    let mut client = proxy.client();
    client.get("/", &[AUTH]).expect(502);
    proxy.program.wait_log(0, "no such host");
    dns.set("b.test", addresses(&[71]));
    wait_reply(&mut client, "71");
    assert_eq!(backend.wait_for(1).fields.get("Host"), Some(format!("b.test:{port}").as_str()));
}
