//! The resolver against servers on loopback whose answers are encoded by hand.

mod stub;

use super::system_files::RECHECK;
use super::*;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Instant;
use stub::{A, AAAA, Reply, SRV, Stub, a, aaaa, cname, srv};

const WAIT: Duration = Duration::from_secs(10);

fn ips(list: &[&str]) -> Result<Vec<IpAddr>, String> {
    Ok(list.iter().map(|ip| ip.parse().unwrap()).collect())
}

async fn lookup(resolver: &Resolver, name: &str, want_ipv6: bool) -> Result<Vec<IpAddr>, String> {
    resolver.lookup_ips(name, want_ipv6, WAIT).await.map_err(|err| err.to_string())
}

/// A resolver of these files whose servers listen at `port`.
struct Files {
    dir: tempfile::TempDir,
    port: u16,
}

impl Files {
    fn new(port: u16, resolv_conf: &str) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap(), port };
        files.write("resolv.conf", resolv_conf.as_bytes());
        files
    }

    fn write(&self, name: &str, text: &[u8]) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn resolver(&self) -> Resolver {
        let path = |name: &str| self.dir.path().join(name);
        Resolver::from_files(SystemFiles::new(path("resolv.conf"), path("hosts"), self.port))
    }
}

fn look_again(resolver: &Resolver) {
    let files = resolver.files.as_ref().unwrap();
    files.seen.lock().unwrap().at = Instant::now().checked_sub(RECHECK).unwrap();
}

/// Knows one name with one A record; `NXDOMAIN` for all others.
fn knows(host: &'static str, ip: &'static str) -> impl Fn(&str, u16) -> Reply + Send + Sync + 'static {
    move |name, kind| match (name == host, kind) {
        (true, A) => Reply::of([a(ip)]),
        (true, _) => Reply::of([]),
        _ => Reply::code(3),
    }
}

#[tokio::test]
async fn addresses() {
    let server = Stub::start(|name, kind| match (name, kind) {
        ("both.test", A) => Reply::of([a("10.0.0.1"), a("10.0.0.2"), a("10.0.0.1")]),
        ("both.test", AAAA) => Reply::of([aaaa("::1")]),
        ("half.test", A) => Reply::of([a("10.0.0.3")]),
        ("half.test", AAAA) | ("refused.test", _) => Reply::code(2),
        ("empty.test", _) => Reply::of([]),
        _ => Reply::code(3),
    })
    .await;
    let (resolver, at) = (Resolver::from_servers(&[server.addr]), server.addr);
    let check = async |name: &str, want_ipv6: bool, want: Result<Vec<IpAddr>, String>| {
        assert_eq!(lookup(&resolver, name, want_ipv6).await, want, "{name}");
    };
    check("both.test", false, ips(&["10.0.0.1", "10.0.0.2"])).await;
    check("both.test", true, ips(&["10.0.0.1", "10.0.0.2", "::1"])).await;
    check("BOTH.test.", false, ips(&["10.0.0.1", "10.0.0.2"])).await;
    check("half.test", true, ips(&["10.0.0.3"])).await;
    check("empty.test", true, Err(format!("lookup empty.test on {at}: no such host"))).await;
    check("missing.test", false, Err(format!("lookup missing.test on {at}: no such host"))).await;
    check("refused.test", true, Err(format!("lookup refused.test on {at}: server misbehaving"))).await;
    check("", true, Err("lookup : no such host".to_owned())).await;
    check(&"x".repeat(64), true, Err(format!("lookup {}: no such host", "x".repeat(64)))).await;
}

#[tokio::test]
async fn literals_need_no_server() {
    let server = Stub::start(|_, _| Reply::silence()).await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(lookup(&resolver, "127.0.0.7", false).await, ips(&["127.0.0.7"]));
    assert_eq!(lookup(&resolver, "::1", false).await, ips(&["::1"]));
    assert_eq!(server.questions(), 0);
}

#[tokio::test]
async fn service_records() {
    let server = Stub::start(|name, kind| match (name, kind) {
        ("_vm._tcp.test", SRV) => Reply::of([srv(1, 2, 8080, "t1.Example."), srv(0, 5, 80, "t2.example.")]),
        ("off.test", SRV) => Reply::of([srv(0, 0, 0, "")]),
        ("alias.test", SRV) => Reply::of([cname("_vm._tcp.test"), srv(0, 0, 9, "t3.example").named("_vm._tcp.test")]),
        _ => Reply::code(3),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    let target = |host: &str, port, priority, weight| SrvTarget { host: host.to_owned(), port, priority, weight };
    let got = resolver.lookup_srv("_vm._tcp.test", WAIT).await.unwrap();
    assert_eq!(got, [target("t1.Example", 8080, 1, 2), target("t2.example", 80, 0, 5)]);
    assert_eq!(resolver.lookup_srv("alias.test", WAIT).await.unwrap(), [target("t3.example", 9, 0, 0)]);
    for name in ["off.test", "missing.test"] {
        let error = resolver.lookup_srv(name, WAIT).await.unwrap_err();
        assert_eq!(error.to_string(), format!("lookup {name} on {}: no such host", server.addr));
    }
}

#[tokio::test]
async fn aliases_of_hosts_are_followed_by_the_server() {
    let server = Stub::start(|_, kind| match kind {
        A => Reply::of([cname("real.test"), a("10.0.0.1").named("real.test")]),
        _ => Reply::of([cname("real.test")]),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(lookup(&resolver, "alias.test", true).await, ips(&["10.0.0.1"]));
}

#[tokio::test]
async fn the_timeout_of_the_caller_holds() {
    let server = Stub::start(|_, _| Reply::silence()).await;
    let resolver = Resolver::from_servers(&[server.addr]);
    let got = resolver.lookup_ips("foo.test", true, Duration::from_millis(100)).await;
    assert_eq!(got.unwrap_err().to_string(), format!("lookup foo.test on {}: i/o timeout", server.addr));
    // The question is on its way, and this thread is the server's, too.
    let asked = async {
        while server.questions() < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(testkit::PATIENCE, asked).await.unwrap();
}

#[tokio::test]
async fn every_lookup_asks_again() {
    let next = AtomicUsize::new(0);
    let server = Stub::start(move |_, _| match next.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::code(3),
        1 => Reply::of([a("10.0.0.1")]),
        _ => Reply::of([a("10.0.0.2")]),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert!(lookup(&resolver, "foo.test.", false).await.is_err());
    assert_eq!(lookup(&resolver, "foo.test.", false).await, ips(&["10.0.0.1"]));
    assert_eq!(lookup(&resolver, "foo.test.", false).await, ips(&["10.0.0.2"]));
    assert_eq!(server.questions(), 3);
}

#[tokio::test]
async fn servers_are_asked_in_their_order() {
    let first = Stub::start(knows("web.svc", "10.0.0.1")).await;
    let second = Stub::at(Ipv4Addr::new(127, 0, 0, 2), first.addr.port(), |_, _| Reply::code(3)).await;
    let files = Files::new(first.addr.port(), "nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    let resolver = files.resolver();
    for _ in 0..20 {
        assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
    }
    // That a name does not exist is an answer, too: the second server is a spare, not a second opinion.
    let error = format!("lookup other.svc on {}: no such host", first.addr);
    assert_eq!(lookup(&resolver, "other.svc", false).await, Err(error));
    assert_eq!(second.questions(), 0);
}

#[tokio::test]
async fn a_server_that_fails_or_is_gone_is_passed_over() {
    for broken in [2, 5] {
        let first = Stub::start(move |_, _| Reply::code(broken)).await;
        let port = first.addr.port();
        let _second = Stub::at(Ipv4Addr::new(127, 0, 0, 2), port, knows("web.svc", "10.0.0.1")).await;
        let files = Files::new(port, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
        assert_eq!(lookup(&files.resolver(), "web.svc", false).await, ips(&["10.0.0.1"]));
    }
    // Nobody listens at 127.0.0.1: the system says so at once.
    let second = Stub::at(Ipv4Addr::new(127, 0, 0, 2), 0, knows("web.svc", "10.0.0.1")).await;
    let files = Files::new(second.addr.port(), "nameserver 127.0.0.3\nnameserver 127.0.0.2\n");
    assert_eq!(lookup(&files.resolver(), "web.svc", false).await, ips(&["10.0.0.1"]));
    // A silent one costs its timeout; `timeout:0` means a second, as in libc and Go.
    let silent = Stub::at(Ipv4Addr::new(127, 0, 0, 4), second.addr.port(), |_, _| Reply::silence()).await;
    let files = Files::new(second.addr.port(), "nameserver 127.0.0.4\nnameserver 127.0.0.2\noptions timeout:0\n");
    assert_eq!(lookup(&files.resolver(), "web.svc", false).await, ips(&["10.0.0.1"]));
    assert_eq!(silent.questions(), 1);
}

#[tokio::test]
async fn attempts_and_rotation() {
    let flaky = AtomicUsize::new(0);
    let server = Stub::start(move |_, _| match flaky.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::code(2),
        _ => Reply::of([a("10.0.0.1")]),
    })
    .await;
    let files = Files::new(server.addr.port(), "nameserver 127.0.0.1\noptions attempts:3\n");
    assert_eq!(lookup(&files.resolver(), "web.svc", false).await, ips(&["10.0.0.1"]));
    assert_eq!(server.questions(), 3);

    let first = Stub::start(knows("web.svc", "10.0.0.1")).await;
    let port = first.addr.port();
    let _second = Stub::at(Ipv4Addr::new(127, 0, 0, 2), port, knows("web.svc", "10.0.0.2")).await;
    let files = Files::new(port, "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions rotate\n");
    let resolver = files.resolver();
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.2"]));
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
}

#[tokio::test]
async fn unusable_search_domains_are_passed_over() {
    let server = Stub::start(knows("web.lan", "10.0.0.1")).await;
    let long = "x".repeat(80);
    for bad in ["foo..bar", &long, "-x.lan", "~corp.example", "a/b", ".", "\u{e9}..x"] {
        let files = Files::new(server.addr.port(), &format!("nameserver 127.0.0.1\nsearch {bad} lan\n"));
        assert_eq!(lookup(&files.resolver(), "web", false).await, ips(&["10.0.0.1"]), "{bad}");
    }
    let asked = server.names();
    assert_eq!(asked.last().map(String::as_str), Some("web.lan"));
}

#[tokio::test]
async fn a_late_answer_of_one_family_does_not_hold_up_the_other() {
    let server = Stub::start(|_, kind| match kind {
        A => Reply::of([a("10.0.0.1")]),
        _ => Reply::silence(),
    })
    .await;
    // It would be held up for five seconds; a machine that stalls is late as well, but not each time.
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let resolver = Resolver::from_servers(&[server.addr]);
        assert_eq!(lookup(&resolver, "web.svc", true).await, ips(&["10.0.0.1"]));
        quickest = quickest.min(begin.elapsed());
    }
    assert!(quickest < Duration::from_secs(4), "{quickest:?}");
    let server = Stub::start(|_, kind| match kind {
        AAAA => Reply::of([aaaa("fd00::1")]),
        _ => Reply::silence(),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(lookup(&resolver, "web.svc", true).await, ips(&["fd00::1"]));
}

#[tokio::test]
async fn cut_answers_are_asked_for_over_tcp() {
    let server = Stub::start(|_, kind| match kind {
        A => Reply::of((1..=200).map(|last| a(&format!("10.0.0.{last}"))).collect::<Vec<_>>()),
        _ => Reply::of([]),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(lookup(&resolver, "many.svc", false).await.unwrap().len(), 200);
    assert_eq!(server.questions(), 2, "once each over UDP and TCP");
    let files = Files::new(server.addr.port(), "nameserver 127.0.0.1\noptions use-vc\n");
    assert_eq!(lookup(&files.resolver(), "many.svc", false).await.unwrap().len(), 200);
    assert_eq!(server.questions(), 3);
}

#[tokio::test]
async fn odd_replies_are_no_answers_and_spoil_none() {
    // EDNS options of no use, broken additional records, foreign ids, other questions, and noise before the answer.
    let odd_option: &[u8] = &[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 6, 0, 8, 0, 99, 1, 2];
    let server = Stub::start(move |name, kind| match (name, kind) {
        ("edns.test", A) => Reply::of([a("10.0.0.1")]).with_additional(odd_option),
        ("junk.test", A) => Reply::of([a("10.0.0.1")]).with_additional(&[0xff; 7]),
        ("forged.test", A) => Reply::of([a("10.0.0.1")]).after_forgeries(),
        _ => Reply::code(3),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    for name in ["edns.test", "junk.test", "forged.test"] {
        assert_eq!(lookup(&resolver, name, false).await, ips(&["10.0.0.1"]), "{name}");
    }
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let server = Stub::start(|_, _| Reply::code(3)).await;
    let files = Files::new(server.addr.port(), "nameserver 127.0.0.1\nsearch a.test b.test\n");
    files.write("hosts", b"# names\n\xff\n10.1.1.1 foo foo.test\nfe80::1 foo\n::ffff:10.1.1.9 mapped\n");
    let resolver = files.resolver();
    assert_eq!(lookup(&resolver, "foo", false).await, ips(&["10.1.1.1"]));
    assert_eq!(lookup(&resolver, "Foo", true).await, ips(&["10.1.1.1", "fe80::1"]));
    assert_eq!(lookup(&resolver, "mapped", false).await, ips(&["10.1.1.9"]));
    assert_eq!(server.questions(), 0);
    assert!(lookup(&resolver, "bar", true).await.is_err());

    files.write("hosts", b"10.1.1.2 foo bar\n");
    assert_eq!(lookup(&resolver, "foo", false).await, ips(&["10.1.1.1"]), "not looked at yet");
    look_again(&resolver);
    assert_eq!(lookup(&resolver, "bar", true).await, ips(&["10.1.1.2"]));
}

#[tokio::test]
async fn a_changed_resolv_conf_takes_effect() {
    let first = Stub::start(knows("web.svc", "10.0.0.1")).await;
    let port = first.addr.port();
    let _second = Stub::at(Ipv4Addr::new(127, 0, 0, 2), port, knows("web.svc", "10.0.0.22")).await;
    let files = Files::new(port, "nameserver 127.0.0.1\n");
    let resolver = files.resolver();
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
    files.write("resolv.conf", b"# changed\nnameserver 127.0.0.2\n");
    look_again(&resolver);
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.22"]));
}

#[tokio::test]
async fn last_good_answers_stand_in_while_dns_fails() {
    let works = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = works.clone();
    let server = Stub::start(move |_, kind| match (switch.load(Ordering::SeqCst), kind) {
        (false, _) => Reply::code(2),
        (true, SRV) => Reply::of([srv(0, 0, 80, "t.test")]),
        (true, _) => Reply::of([a("10.0.0.1")]),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
    assert_eq!(resolver.lookup_srv("srv.test", WAIT).await.unwrap().len(), 1);
    works.store(false, Ordering::SeqCst);
    assert_eq!(lookup(&resolver, "web.svc", false).await, ips(&["10.0.0.1"]));
    assert_eq!(resolver.lookup_srv("srv.test", WAIT).await.unwrap().len(), 1);
    let error = format!("lookup new.svc on {}: server misbehaving", server.addr);
    assert_eq!(lookup(&resolver, "new.svc", false).await, Err(error));
}

#[tokio::test]
async fn a_missing_resolv_conf_means_the_local_server() {
    let server = Stub::start(knows("web.svc", "10.0.0.1")).await;
    let files = Files::new(server.addr.port(), "");
    std::fs::remove_file(files.dir.path().join("resolv.conf")).unwrap();
    assert_eq!(lookup(&files.resolver(), "web.svc", false).await, ips(&["10.0.0.1"]));
}
