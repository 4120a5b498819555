//! A DNS server over UDP and TCP whose answers are a function of name and type. Replies over 512 bytes are cut on UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const AAAA: u16 = 28;
pub(super) const SRV: u16 = 33;

const MAX_UDP: usize = 512;

/// A record of the name asked for, or of another.
#[derive(Clone)]
pub(super) struct Record {
    name: Option<String>,
    kind: u16,
    data: Vec<u8>,
}

impl Record {
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }
}

pub(super) fn a(ip: &str) -> Record {
    let ip: Ipv4Addr = ip.parse().unwrap();
    Record { name: None, kind: A, data: ip.octets().to_vec() }
}

pub(super) fn aaaa(ip: &str) -> Record {
    let ip: Ipv6Addr = ip.parse().unwrap();
    Record { name: None, kind: AAAA, data: ip.octets().to_vec() }
}

pub(super) fn cname(target: &str) -> Record {
    Record { name: None, kind: CNAME, data: encode_name(target) }
}

pub(super) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
    let mut data: Vec<u8> = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes).collect();
    data.extend(encode_name(target));
    Record { name: None, kind: SRV, data }
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// What the server says to one question.
pub(super) struct Reply {
    code: u8,
    records: Vec<Record>,
    additional: Vec<u8>,
    is_silent: bool,
    forgeries: bool,
}

impl Reply {
    pub(super) fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let records = records.into_iter().collect();
        Self { code: 0, records, additional: Vec::new(), is_silent: false, forgeries: false }
    }

    pub(super) fn code(code: u8) -> Self {
        Self { code, ..Self::of([]) }
    }

    pub(super) fn silence() -> Self {
        Self { is_silent: true, ..Self::of([]) }
    }

    /// Bytes that stand where one additional record should.
    pub(super) fn with_additional(self, bytes: &[u8]) -> Self {
        Self { additional: bytes.to_vec(), ..self }
    }

    /// Replies to other questions come first.
    pub(super) fn after_forgeries(self) -> Self {
        Self { forgeries: true, ..self }
    }

    fn encode(&self, question: &[u8]) -> Vec<u8> {
        let count = u16::try_from(self.records.len()).unwrap().to_be_bytes();
        let additional = u8::from(!self.additional.is_empty());
        let mut reply = question.to_vec();
        reply[2..4].copy_from_slice(&[0x81, 0x80 | self.code]);
        reply[4..12].copy_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, additional]);
        for record in &self.records {
            reply.extend(record.name.as_deref().map_or_else(|| vec![0xc0, 12], encode_name));
            reply.extend(record.kind.to_be_bytes());
            reply.extend([0, 1, 0, 0, 0x0e, 0x10]);
            reply.extend(u16::try_from(record.data.len()).unwrap().to_be_bytes());
            reply.extend(&record.data);
        }
        reply.extend(&self.additional);
        reply
    }
}

/// The server; it ends with the test's runtime.
pub(super) struct Stub {
    pub(super) addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<dyn Fn(&str, u16) -> Reply + Send + Sync>;

impl Stub {
    pub(super) async fn start(answers: impl Fn(&str, u16) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, 0, answers).await
    }

    pub(super) async fn at(
        ip: Ipv4Addr,
        port: u16,
        answers: impl Fn(&str, u16) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = bind(ip.into(), port).await;
        let stub = Self { addr: udp.local_addr().unwrap(), seen: Arc::default() };
        let answers: Answers = Arc::new(answers);
        tokio::spawn(serve_udp(udp, answers.clone(), stub.seen.clone()));
        tokio::spawn(serve_tcp(tcp, answers, stub.seen.clone()));
        stub
    }

    pub(super) fn questions(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// One port for both; another try when somebody else has the TCP one.
async fn bind(ip: IpAddr, port: u16) -> (UdpSocket, TcpListener) {
    for _ in 0..20 {
        let udp = UdpSocket::bind((ip, port)).await.unwrap();
        match TcpListener::bind(udp.local_addr().unwrap()).await {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert_eq!(port, 0, "{error}"),
        }
    }
    panic!("no free port");
}

async fn serve_udp(socket: UdpSocket, answers: Answers, seen: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        let (name, kind, end) = question(&buffer[..length]);
        seen.lock().unwrap().push(name.clone());
        let reply = answers(&name, kind);
        let mut bytes = reply.encode(&buffer[..end]);
        if bytes.len() > MAX_UDP {
            bytes = Reply::of([]).encode(&buffer[..end]);
            bytes[2] |= 2;
        }
        if reply.forgeries {
            let mut forged = Reply::of([a("6.6.6.6")]).encode(&buffer[..end]);
            forged[0] ^= 0xff;
            socket.send_to(&forged, peer).await.unwrap();
            forged[0] ^= 0xff;
            forged[13] ^= 1;
            socket.send_to(&forged, peer).await.unwrap();
            socket.send_to(&[1, 2, 3], peer).await.unwrap();
        }
        if !reply.is_silent {
            socket.send_to(&bytes, peer).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, answers: Answers, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.unwrap();
        let (name, kind, end) = question(&query);
        seen.lock().unwrap().push(name.clone());
        let reply = answers(&name, kind).encode(&query[..end]);
        stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
        stream.write_all(&reply).await.unwrap();
    }
}

fn question(packet: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while packet[at] != 0 {
        let length = usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(&packet[at + 1..at + 1 + length]).into_owned());
        at += 1 + length;
    }
    (labels.join(".").to_lowercase(), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
}
