//! The resolver against a server on loopback whose answers are encoded by hand.

use super::*;
use std::net::Ipv6Addr as Ipv6;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use tokio::net::UdpSocket;

const A: u16 = 1;
const SRV: u16 = 33;
const AAAA: u16 = 28;
const WAIT: Duration = Duration::from_secs(10);

/// Data of one answer record.
type RecordData = Vec<u8>;

/// What the stub says to one question; `None` is silence.
type Answer = Option<(u8, Vec<RecordData>)>;

struct Stub {
    addr: SocketAddr,
    questions: Arc<AtomicUsize>,
}

/// A DNS server that answers by `answer(name, type)`.
async fn stub(answer: impl Fn(&str, u16) -> Answer + Send + 'static) -> Stub {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let questions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&questions);
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let (name, record_type, question_end) = question(&buffer[..length]);
            if let Some((code, records)) = answer(&name, record_type) {
                let reply = encode(&buffer[..question_end], record_type, code, &records);
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    Stub { addr, questions }
}

fn question(packet: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while packet[at] != 0 {
        let length = usize::from(packet[at]);
        labels.push(String::from_utf8(packet[at + 1..at + 1 + length].to_vec()).unwrap());
        at += 1 + length;
    }
    (labels.join(".").to_lowercase(), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
}

fn encode(question: &[u8], record_type: u16, code: u8, records: &[RecordData]) -> Vec<u8> {
    let mut reply = question.to_vec();
    reply[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    reply[4..12].copy_from_slice(&[0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    for data in records {
        reply.extend([0xc0, 12]);
        reply.extend(record_type.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0x0e, 0x10]);
        reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        reply.extend(data);
    }
    reply
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RecordData {
    let mut data: Vec<u8> = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.bytes());
    }
    data.push(0);
    data
}

fn ips(list: &[&str]) -> Result<Vec<IpAddr>, String> {
    Ok(list.iter().map(|ip| ip.parse().unwrap()).collect())
}

#[tokio::test]
async fn addresses() {
    let server = stub(|name, record_type| match (name, record_type) {
        ("both.test", A) => Some((0, vec![vec![10, 0, 0, 1], vec![10, 0, 0, 2], vec![10, 0, 0, 1]])),
        ("both.test", AAAA) => Some((0, vec![Ipv6::LOCALHOST.octets().to_vec()])),
        ("half.test", A) => Some((0, vec![vec![10, 0, 0, 3]])),
        ("half.test", AAAA) => Some((2, vec![])),
        ("refused.test", _) => Some((2, vec![])),
        ("empty.test", _) => Some((0, vec![])),
        _ => Some((3, vec![])),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    let check = async |name: &str, want_ipv6: bool, want: Result<Vec<IpAddr>, String>| {
        let got = resolver.lookup_ips(name, want_ipv6, WAIT).await.map_err(|err| err.to_string());
        assert_eq!(got, want, "{name}");
    };
    check("both.test", false, ips(&["10.0.0.1", "10.0.0.2"])).await;
    check("both.test", true, ips(&["10.0.0.1", "10.0.0.2", "::1"])).await;
    check("BOTH.test.", false, ips(&["10.0.0.1", "10.0.0.2"])).await;
    check("half.test", true, ips(&["10.0.0.3"])).await;
    check("empty.test", true, Err("lookup empty.test: no such host".to_owned())).await;
    check("missing.test", false, Err("lookup missing.test: no such host".to_owned())).await;
    check("refused.test", true, Err("lookup refused.test: server misbehaving".to_owned())).await;
    check("", true, Err("lookup : no such host".to_owned())).await;
    check(&"x".repeat(64), true, Err(format!("lookup {}: no such host", "x".repeat(64)))).await;
}

#[tokio::test]
async fn literals_need_no_server() {
    let server = stub(|_, _| None).await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert_eq!(resolver.lookup_ips("127.0.0.7", false, WAIT).await, Ok(vec![[127, 0, 0, 7].into()]));
    assert_eq!(resolver.lookup_ips("::1", false, WAIT).await, Ok(vec![Ipv6::LOCALHOST.into()]));
    assert_eq!(server.questions.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn service_records() {
    let server = stub(|name, record_type| match (name, record_type) {
        ("_vm._tcp.test", SRV) => Some((0, vec![srv(1, 2, 8080, "t1.Example."), srv(0, 5, 80, "t2.example.")])),
        ("off.test", SRV) => Some((0, vec![srv(0, 0, 0, "")])),
        _ => Some((3, vec![])),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    let target = |host: &str, port, priority, weight| SrvTarget { host: host.to_owned(), port, priority, weight };
    let got = resolver.lookup_srv("_vm._tcp.test", WAIT).await.unwrap();
    assert_eq!(got, [target("t1.Example", 8080, 1, 2), target("t2.example", 80, 0, 5)]);
    let no_such_host = |name: &str| Err(DnsError::NoSuchHost { name: name.to_owned() });
    assert_eq!(resolver.lookup_srv("off.test", WAIT).await, no_such_host("off.test"));
    assert_eq!(resolver.lookup_srv("missing.test", WAIT).await, no_such_host("missing.test"));
}

#[tokio::test]
async fn the_timeout_of_the_caller_holds() {
    let server = stub(|_, _| None).await;
    let resolver = Resolver::from_servers(&[server.addr]);
    let begin = Instant::now();
    let got = resolver.lookup_ips("foo.test", true, Duration::from_millis(100)).await;
    assert_eq!(got.unwrap_err().to_string(), "lookup foo.test: i/o timeout");
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert!(server.questions.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn every_lookup_asks_again() {
    let last = Arc::new(AtomicU16::new(0));
    let next = Arc::clone(&last);
    let server = stub(move |name, _| match next.fetch_add(1, Ordering::SeqCst) {
        _ if name != "foo.test" => None,
        0 => Some((3, vec![])),
        octet => Some((0, vec![vec![10, 0, 0, u8::try_from(octet).unwrap()]])),
    })
    .await;
    let resolver = Resolver::from_servers(&[server.addr]);
    assert!(resolver.lookup_ips("foo.test.", false, WAIT).await.is_err());
    assert_eq!(resolver.lookup_ips("foo.test.", false, WAIT).await, Ok(vec![[10, 0, 0, 1].into()]));
    assert_eq!(resolver.lookup_ips("foo.test.", false, WAIT).await, Ok(vec![[10, 0, 0, 2].into()]));
    assert_eq!(last.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let (resolv_conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
    std::fs::write(&resolv_conf, "nameserver 192.0.2.1\nsearch a.test b.test\n").unwrap();
    std::fs::write(&hosts, "# names\n10.1.1.1 foo foo.test\nfe80::1 foo\n").unwrap();
    let resolver = Resolver::from_files(&resolv_conf, &hosts);
    let short = Duration::from_millis(20);
    assert_eq!(resolver.lookup_ips("foo", false, short).await.unwrap(), ips(&["10.1.1.1"]).unwrap());
    assert_eq!(resolver.lookup_ips("Foo", true, short).await.unwrap(), ips(&["10.1.1.1", "fe80::1"]).unwrap());
    assert_eq!(resolver.lookup_ips("bar", true, short).await, Err(timed_out("bar")));

    std::fs::write(&hosts, "10.1.1.2 foo bar\n").unwrap();
    assert_eq!(resolver.lookup_ips("foo", false, short).await.unwrap(), ips(&["10.1.1.1"]).unwrap());
    let long_ago = Instant::now().checked_sub(RECHECK_FILES).unwrap();
    if let Some((at, _)) = resolver.files.as_ref().unwrap().lock().as_mut() {
        *at = long_ago;
    }
    assert_eq!(resolver.lookup_ips("bar", true, short).await.unwrap(), ips(&["10.1.1.2"]).unwrap());
}

#[tokio::test]
async fn a_missing_resolv_conf_means_the_local_server() {
    let dir = tempfile::tempdir().unwrap();
    let resolver = Resolver::from_files(dir.path().join("none"), dir.path().join("none"));
    assert!(resolver.clients().dns("foo").is_ok());
}
