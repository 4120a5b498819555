//! A DNS server on a UDP loopback port that answers from a table, which a test changes while it runs.
//!
//! It knows A, AAAA and SRV with TTL 0, and the failures that matter: no such name, an empty answer, a server failure,
//! silence. Names compare in any letter case. It reads the first question only and ignores EDNS, as stubs may.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const POLL: Duration = Duration::from_millis(50);

/// What the server says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A and AAAA records.
    Addresses(Vec<IpAddr>),
    /// SRV records: port and target.
    Services(Vec<(u16, String)>),
    /// The name exists but has no record.
    Empty,
    /// No such name; so is every name that is not in the table.
    NoSuchName,
    /// The server says that it failed.
    Failure,
    /// Nothing at all.
    Silence,
}

#[derive(Default)]
struct Table {
    answers: HashMap<String, Answer>,
    queries: Vec<(String, u16)>,
}

/// The server; it stops when dropped.
pub struct DnsServer {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
    stop: Arc<AtomicBool>,
}

impl DnsServer {
    /// Starts with an empty table.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a UDP port");
        socket.set_read_timeout(Some(POLL)).expect("a read timeout");
        let address = socket.local_addr().expect("a local address");
        let (table, stop) = (Arc::new(Mutex::new(Table::default())), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (Arc::clone(&table), Arc::clone(&stop));
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((n, peer)) = socket.recv_from(&mut buf) else { continue };
                if let Some(reply) = respond(&buf[..n], &shared) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        Self { address, table, stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says this about `name` from now on.
    pub fn set(&self, name: &str, answer: Answer) {
        self.lock().answers.insert(key(name), answer);
    }

    /// How many questions for `name` have come, of any type.
    pub fn queries(&self, name: &str) -> usize {
        let name = key(name);
        self.lock().queries.iter().filter(|(n, _)| *n == name).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn respond(query: &[u8], table: &Mutex<Table>) -> Option<Vec<u8>> {
    let (name, after) = read_name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(after)?, *query.get(after + 1)?]);
    let question = query.get(12..after + 4)?;
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.queries.push((key(&name), kind));
    let answer = table.answers.get(&key(&name)).cloned().unwrap_or(Answer::NoSuchName);
    drop(table);
    let (code, records): (u8, Vec<Vec<u8>>) = match answer {
        Answer::Silence => return None,
        Answer::NoSuchName => (3, Vec::new()),
        Answer::Failure => (2, Vec::new()),
        Answer::Empty => (0, Vec::new()),
        Answer::Addresses(ips) => (0, ips.iter().filter_map(|ip| address_record(*ip, kind)).collect()),
        Answer::Services(services) if kind == TYPE_SRV => {
            (0, services.iter().map(|(port, target)| service_record(*port, target)).collect())
        }
        Answer::Services(_) => (0, Vec::new()),
    };
    // Response, authoritative, recursion desired and available; one question.
    let mut reply = vec![query[0], query[1], 0x85, 0x80 | code, 0, 1];
    reply.extend_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    reply.extend_from_slice(&[0, 0, 0, 0]);
    reply.extend_from_slice(question);
    records.iter().for_each(|record| reply.extend_from_slice(record));
    Some(reply)
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels.join("."), at)),
            1..=63 => labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned()),
            _ => return None,
        }
        at += length;
    }
}

fn address_record(ip: IpAddr, asked: u16) -> Option<Vec<u8>> {
    match (ip, asked) {
        (IpAddr::V4(ip), TYPE_A) => Some(record(TYPE_A, &ip.octets())),
        (IpAddr::V6(ip), TYPE_AAAA) => Some(record(TYPE_AAAA, &ip.octets())),
        _ => None,
    }
}

fn service_record(port: u16, target: &str) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 0];
    data.extend_from_slice(&port.to_be_bytes());
    for label in key(target).split('.') {
        data.push(u8::try_from(label.len()).expect("a label of at most 63 bytes"));
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    record(TYPE_SRV, &data)
}

/// A record of the name asked for (a pointer to the question), class IN, TTL 0.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0, 12];
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(&u16::try_from(data.len()).expect("short data").to_be_bytes());
    out.extend_from_slice(data);
    out
}
