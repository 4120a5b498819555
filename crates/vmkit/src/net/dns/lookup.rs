//! One lookup: which names are asked, of which servers, in which order.
//!
//! Servers are asked one after the other; the next one only when one is silent or fails. That a name does not exist is
//! an answer and ends the round. Names of the search list are tried until one exists.

use super::answer::{self, Answer, SrvTarget};
use super::error::{DnsCause, DnsError};
use super::exchange;
use super::resolv_conf::ResolvConf;
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::timeout;

/// How long the other family may be late when one has answered. RFC 8305 suggests 50 ms for browsers; here a list of
/// backends that flaps would cost more than the wait.
const OTHER_FAMILY: Duration = Duration::from_millis(200);

/// A name and whom to ask for it.
pub(super) struct Lookup<'a> {
    conf: &'a ResolvConf,
    name: &'a str,
    /// Index of the server that is asked first.
    first: usize,
    /// Index of the server that was asked last, plus one; 0 before the first question.
    asked: AtomicUsize,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(conf: &'a ResolvConf, name: &'a str, first: usize) -> Self {
        Self { conf, name, first, asked: AtomicUsize::new(0) }
    }

    /// The outcome of a lookup within the caller's time.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        lookup: impl Future<Output = Result<T, DnsError>>,
    ) -> Result<T, DnsError> {
        let asked = || self.asked.load(Relaxed).checked_sub(1).and_then(|index| self.conf.servers.get(index)).copied();
        timeout(limit, lookup).await.unwrap_or_else(|_| Err(self.error(asked(), DnsCause::Timeout)))
    }

    /// Addresses of the first candidate that has any.
    pub(super) async fn addresses(&self, want_ipv6: bool) -> Result<Vec<IpAddr>, DnsError> {
        let mut failure = None;
        for name in self.names() {
            match self.both_families(&name, want_ipv6).await {
                Ok(addresses) => return Ok(addresses),
                Err(error) => failure = Some(DnsError::worse(failure, error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.error(None, DnsCause::NoSuchHost)))
    }

    /// Services of the first candidate that has any.
    pub(super) async fn services(&self) -> Result<Vec<SrvTarget>, DnsError> {
        self.first_of(RecordType::SRV, answer::services).await
    }

    /// Mail servers of the first candidate that has any.
    pub(super) async fn mail_servers(&self) -> Result<Vec<String>, DnsError> {
        self.first_of(RecordType::MX, answer::mail_servers).await
    }

    async fn first_of<T>(&self, kind: RecordType, read: fn(&[RData]) -> Vec<T>) -> Result<Vec<T>, DnsError> {
        let mut failure = None;
        for name in self.names() {
            match self.records(&name, kind).await.map(|(server, records)| (server, read(&records))) {
                Ok((server, found)) if found.is_empty() => {
                    failure = Some(DnsError::worse(failure, self.error(Some(server), DnsCause::NoSuchHost)));
                }
                Ok((_, found)) => return Ok(found),
                Err(error) => failure = Some(DnsError::worse(failure, error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.error(None, DnsCause::NoSuchHost)))
    }

    /// Candidates that are names at all; the others could not be asked for.
    fn names(&self) -> Vec<Name> {
        let parse = |text: String| {
            // SRV owners and container names carry underscores, so the relaxed rules apply.
            let mut name = Name::from_str_relaxed(text).ok().filter(|name| !name.is_root())?;
            name.set_fqdn(true);
            Some(name)
        };
        let candidates = if self.name.is_empty() { Vec::new() } else { self.conf.candidates(self.name) };
        candidates.into_iter().filter_map(parse).collect()
    }

    /// A and AAAA at once; an answer of one family is not held up by the other's silence (RFC 8305, section 3).
    async fn both_families(&self, name: &Name, want_ipv6: bool) -> Result<Vec<IpAddr>, DnsError> {
        let family = async |kind| self.records(name, kind).await.map(|(_, records)| answer::addresses(&records));
        if !want_ipv6 {
            return family(RecordType::A).await;
        }
        let (v4, v6) = if self.conf.single_request {
            (family(RecordType::A).await, family(RecordType::AAAA).await)
        } else {
            let (mut v4, mut v6) = (pin!(family(RecordType::A)), pin!(family(RecordType::AAAA)));
            let late = |_| Ok(Vec::new());
            tokio::select! {
                first = &mut v4 => match first {
                    Ok(_) => (first, timeout(OTHER_FAMILY, v6).await.unwrap_or_else(late)),
                    Err(_) => (first, v6.await),
                },
                first = &mut v6 => match first {
                    Ok(_) => (timeout(OTHER_FAMILY, v4).await.unwrap_or_else(late), first),
                    Err(_) => (v4.await, first),
                },
            }
        };
        match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.extend(v6);
                Ok(v4)
            }
            (Ok(addresses), Err(_)) | (Err(_), Ok(addresses)) => Ok(addresses),
            (Err(v4), Err(v6)) => Err(DnsError::worse(Some(v4), v6)),
        }
    }

    /// Records of one name and kind, at least one, and who gave them.
    async fn records(&self, name: &Name, kind: RecordType) -> Result<(SocketAddr, Vec<RData>), DnsError> {
        let servers = &self.conf.servers;
        let mut failure = self.error(None, DnsCause::Other("no DNS server".to_owned()));
        for turn in 0..servers.len().saturating_mul(usize::try_from(self.conf.attempts).unwrap_or(1)) {
            let index = (self.first.wrapping_add(turn)) % servers.len();
            let Some(server) = servers.get(index).copied() else { break };
            self.asked.store(index + 1, Relaxed);
            let cause = match exchange::ask(server, name, kind, self.conf.timeout, self.conf.use_tcp).await {
                Ok(Answer::Records(records)) => return Ok((server, records)),
                Ok(Answer::Nothing) => return Err(self.error(Some(server), DnsCause::NoSuchHost)),
                Ok(Answer::Failure | Answer::Cut) => DnsCause::ServerFailure,
                Err(cause) => cause,
            };
            failure = self.error(Some(server), cause);
        }
        Err(failure)
    }

    fn error(&self, server: Option<SocketAddr>, cause: DnsCause) -> DnsError {
        DnsError { name: self.name.to_owned(), server, cause }
    }
}
