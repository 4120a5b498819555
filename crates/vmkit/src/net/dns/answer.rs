//! DNS messages: one question out, the records of one answer in (RFC 1035).
//!
//! `hickory-proto` encodes and decodes; of a reply only header, question and answer section are read, so nothing odd
//! behind them (EDNS options, broken additional records) can spoil an answer.

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::net::IpAddr;

/// Largest UDP reply that is not cut on its way anywhere (DNS flag day 2020).
pub(super) const MAX_UDP: u16 = 1232;

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SrvTarget {
    /// Host name without the trailing dot.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Lower ones are preferred.
    pub priority: u16,
    /// Share among targets of equal priority.
    pub weight: u16,
}

/// What a server said.
#[derive(Debug)]
pub(super) enum Answer {
    /// Records of the kind that was asked for; at least one.
    Records(Vec<RData>),
    /// The name, or that kind of record of it, does not exist.
    Nothing,
    /// The reply was cut: ask again over TCP.
    Cut,
    /// The server failed, refused, or sent us elsewhere.
    Failure,
}

/// The bytes of a question.
pub(super) fn question(id: u16, name: &Name, kind: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP);
    message.set_edns(edns);
    message.to_vec().ok()
}

/// The answer in `reply`; `None` if it belongs to another question, as forged and late replies do.
pub(super) fn read(reply: &[u8], id: u16, name: &Name, kind: RecordType) -> Option<Answer> {
    let mut decoder = BinDecoder::new(reply);
    let header = Header::read(&mut decoder).ok()?;
    if header.metadata.id != id || header.metadata.message_type != MessageType::Response || header.counts.queries != 1 {
        return None;
    }
    let query = Query::read(&mut decoder).ok()?;
    if query.query_type() != kind || !query.name().eq_ignore_root(name) {
        return None;
    }
    let records = answers(&mut decoder, header.counts.answers);
    let metadata = &header.metadata;
    Some(match metadata.response_code {
        ResponseCode::NXDomain => Answer::Nothing,
        ResponseCode::NoError if metadata.truncation => Answer::Cut,
        ResponseCode::NoError if header.counts.answers == 0 => {
            // A server that neither knows nor asks others: the next one may.
            let is_lame = !metadata.authoritative && !metadata.recursion_available;
            if is_lame { Answer::Failure } else { Answer::Nothing }
        }
        ResponseCode::NoError => match records {
            None => Answer::Failure,
            Some(records) => {
                // What leads there (CNAME records) has been followed by the server.
                let wanted: Vec<_> = records.into_iter().filter(|record| record.record_type() == kind).collect();
                if wanted.is_empty() {
                    Answer::Nothing
                } else {
                    Answer::Records(wanted.into_iter().map(|record| record.data).collect())
                }
            }
        },
        _ => Answer::Failure,
    })
}

fn answers(decoder: &mut BinDecoder<'_>, count: u16) -> Option<Vec<Record>> {
    (0..count).map(|_| Record::read(decoder).ok()).collect()
}

/// Addresses, each once, in their order.
pub(super) fn addresses(records: &[RData]) -> Vec<IpAddr> {
    let mut addresses = Vec::with_capacity(records.len());
    for ip in records.iter().filter_map(RData::ip_addr) {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

/// Services; a lone dot says that the service is not offered here (RFC 2782).
pub(super) fn services(records: &[RData]) -> Vec<SrvTarget> {
    let target = |data: &RData| {
        let RData::SRV(record) = data else { return None };
        let target = record.target.to_utf8();
        let host = target.trim_end_matches('.').to_owned();
        let (port, priority, weight) = (record.port, record.priority, record.weight);
        (!host.is_empty()).then_some(SrvTarget { host, port, priority, weight })
    };
    records.iter().filter_map(target).collect()
}

/// Mail servers without the trailing dot.
pub(super) fn mail_servers(records: &[RData]) -> Vec<String> {
    let host = |data: &RData| match data {
        RData::MX(record) => Some(record.exchange.to_utf8().trim_end_matches('.').to_owned()),
        _ => None,
    };
    records.iter().filter_map(host).collect()
}
