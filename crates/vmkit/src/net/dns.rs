//! Name resolution for backends: A, AAAA and SRV records, the hosts file first.
//!
//! One resolver serves the process and lives on the control plane's runtime; workers reach it through a runtime
//! handle. It decides nothing about when to resolve: callers re-resolve at their own interval, so answers are not
//! cached here. It must never block a thread, and never outlast the timeout that the caller gives.

use crate::net::errno;
use arc_swap::ArcSwap;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as AnswerError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// How often the system's files are looked at; the original uses the same pause.
const RECHECK_FILES: Duration = Duration::from_secs(5);

/// Why a name has no answer. The texts are those of the original.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist, or has no record of the wanted type.
    #[error("lookup {name}: no such host")]
    NoSuchHost {
        /// The name asked for.
        name: String,
    },
    /// No server answered in time.
    #[error("lookup {name}: i/o timeout")]
    Timeout {
        /// The name asked for.
        name: String,
    },
    /// A server refused or failed to answer.
    #[error("lookup {name}: server misbehaving")]
    ServerFailure {
        /// The name asked for.
        name: String,
    },
    /// Anything else, such as an unreachable server.
    #[error("lookup {name}: {cause}")]
    Other {
        /// The name asked for.
        name: String,
        /// What happened.
        cause: String,
    },
}

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

/// The shared resolver. Its futures must be polled on the runtime that it is used on first.
pub struct Resolver {
    clients: ArcSwap<Clients>,
    /// `None` for fixed servers.
    files: Option<SystemFiles>,
}

/// Servers and hosts of one reading of the system's files.
struct Clients {
    dns: Result<TokioResolver, String>,
    hosts: Hosts,
}

impl Resolver {
    /// Servers of `/etc/resolv.conf` and names of `/etc/hosts`; changes of both files are noticed within 5 s.
    ///
    /// Without a readable `resolv.conf` the server at 127.0.0.1 is asked, as libc does.
    pub fn from_system() -> Self {
        Self::from_files("/etc/resolv.conf", "/etc/hosts")
    }

    /// Asks exactly these servers over UDP and TCP; no hosts file.
    pub fn from_servers(servers: &[SocketAddr]) -> Self {
        let servers = servers.iter().map(|server| name_server(*server)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let clients = Clients { dns: client(config, ResolverOpts::default()), hosts: Hosts::default() };
        Self { clients: ArcSwap::from_pointee(clients), files: None }
    }

    fn from_files(resolv_conf: impl Into<PathBuf>, hosts: impl Into<PathBuf>) -> Self {
        let files = SystemFiles { resolv_conf: resolv_conf.into(), hosts: hosts.into(), seen: Mutex::default() };
        let stamp = files.stamp();
        let clients = files.read();
        *files.lock() = Some((Instant::now(), stamp));
        Self { clients: ArcSwap::from_pointee(clients), files: Some(files) }
    }

    /// Addresses of `host`: the hosts file, else A records and, with `want_ipv6`, AAAA records.
    ///
    /// An IP literal is its own answer. At least one address, each once, in the order of the answer, IPv4 first.
    pub async fn lookup_ips(&self, host: &str, want_ipv6: bool, timeout: Duration) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let name = parse_name(host)?;
        let clients = self.clients();
        let types: &[RecordType] = if want_ipv6 { &[RecordType::A, RecordType::AAAA] } else { &[RecordType::A] };
        let known = clients.host_addresses(&name, types);
        if !known.is_empty() {
            return Ok(known);
        }
        let dns = clients.dns(host)?;
        let lookups = async {
            let ipv4 = dns.lookup(name.clone(), RecordType::A);
            if want_ipv6 {
                tokio::join!(ipv4, async { Some(dns.lookup(name.clone(), RecordType::AAAA).await) })
            } else {
                (ipv4.await, None)
            }
        };
        let (ipv4, ipv6) = tokio::time::timeout(timeout, lookups).await.map_err(|_| timed_out(host))?;
        let mut addresses = Vec::new();
        let mut failure = None;
        for answer in [Some(ipv4), ipv6].into_iter().flatten() {
            match answer {
                Ok(lookup) => push_addresses(&mut addresses, lookup.answers().iter().map(|record| &record.data)),
                Err(err) => keep_worst(&mut failure, answer_error(host, &err)),
            }
        }
        if addresses.is_empty() { Err(failure.unwrap_or_else(|| no_such_host(host))) } else { Ok(addresses) }
    }

    /// SRV records of `name`, in the order of the answer; at least one.
    pub async fn lookup_srv(&self, name: &str, timeout: Duration) -> Result<Vec<SrvTarget>, DnsError> {
        let query = parse_name(name)?;
        let clients = self.clients();
        let lookup = clients.dns(name)?.lookup(query, RecordType::SRV);
        let lookup = tokio::time::timeout(timeout, lookup)
            .await
            .map_err(|_| timed_out(name))?
            .map_err(|err| answer_error(name, &err))?;
        let targets: Vec<SrvTarget> = lookup.answers().iter().filter_map(|record| srv_target(&record.data)).collect();
        if targets.is_empty() { Err(no_such_host(name)) } else { Ok(targets) }
    }

    /// Mail servers of `name` without the trailing dot, in the order of the answer; at least one.
    pub async fn lookup_mx(&self, name: &str, timeout: Duration) -> Result<Vec<String>, DnsError> {
        let query = parse_name(name)?;
        let clients = self.clients();
        let lookup = clients.dns(name)?.lookup(query, RecordType::MX);
        let lookup = tokio::time::timeout(timeout, lookup)
            .await
            .map_err(|_| timed_out(name))?
            .map_err(|err| answer_error(name, &err))?;
        let host = |data: &RData| match data {
            RData::MX(record) => Some(record.exchange.to_utf8().trim_end_matches('.').to_owned()),
            _ => None,
        };
        let hosts: Vec<String> = lookup.answers().iter().filter_map(|record| host(&record.data)).collect();
        if hosts.is_empty() { Err(no_such_host(name)) } else { Ok(hosts) }
    }

    /// The servers and hosts of now; re-reads the system's files when they changed.
    fn clients(&self) -> Arc<Clients> {
        if let Some(files) = &self.files
            && files.changed()
        {
            self.clients.store(Arc::new(files.read()));
        }
        self.clients.load_full()
    }
}

impl Clients {
    fn dns(&self, name: &str) -> Result<&TokioResolver, DnsError> {
        self.dns.as_ref().map_err(|cause| DnsError::Other { name: name.to_owned(), cause: cause.clone() })
    }

    /// The resolver consults the hosts file for the name with its first search domain only, so it is asked here.
    fn host_addresses(&self, name: &Name, types: &[RecordType]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for record_type in types {
            if let Some(found) = self.hosts.lookup_static_host(&Query::query(name.clone(), *record_type)) {
                push_addresses(&mut addresses, found.answers().iter().map(|record| &record.data));
            }
        }
        addresses
    }
}

/// What tells two versions of a file apart without reading it.
type Stamp = [Option<(SystemTime, u64)>; 2];

struct SystemFiles {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    seen: Mutex<Option<(Instant, Stamp)>>,
}

impl SystemFiles {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Stamp)>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| path.metadata().ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        [of(&self.resolv_conf), of(&self.hosts)]
    }

    /// Whether the files differ from the last look; looks at most once per [`RECHECK_FILES`].
    fn changed(&self) -> bool {
        let mut seen = self.lock();
        match &*seen {
            Some((at, _)) if at.elapsed() < RECHECK_FILES => false,
            last => {
                let stamp = self.stamp();
                let changed = last.as_ref().is_none_or(|(_, old)| *old != stamp);
                *seen = Some((Instant::now(), stamp));
                changed
            }
        }
    }

    fn read(&self) -> Clients {
        let mut hosts = Hosts::default();
        if let Ok(file) = std::fs::File::open(&self.hosts) {
            // A file that ends in garbage keeps its good lines.
            let _ = hosts.read_hosts_conf(file);
        }
        let parsed = std::fs::read(&self.resolv_conf).ok().and_then(|text| system_conf::parse_resolv_conf(text).ok());
        let (config, options) = parsed.unwrap_or_else(|| {
            let local = name_server(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
            (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
        });
        Clients { dns: client(config, options), hosts }
    }
}

fn client(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, String> {
    // Callers keep answers for as long as they want; a cache would hide changes from them.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|err| format!("cannot start the DNS resolver: {err}"))
}

fn name_server(addr: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = addr.port();
            connection
        })
        .collect();
    NameServerConfig::new(addr.ip(), true, connections)
}

fn parse_name(text: &str) -> Result<Name, DnsError> {
    // SRV owners and container names carry underscores, so the relaxed rules apply.
    Name::from_str_relaxed(text).ok().filter(|name| !name.is_root()).ok_or_else(|| no_such_host(text))
}

fn push_addresses<'a>(addresses: &mut Vec<IpAddr>, records: impl Iterator<Item = &'a RData>) {
    for ip in records.filter_map(RData::ip_addr) {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
}

fn srv_target(data: &RData) -> Option<SrvTarget> {
    let RData::SRV(record) = data else { return None };
    let target = record.target.to_utf8();
    let host = target.trim_end_matches('.');
    // A lone dot says that the service is not offered here (RFC 2782).
    (!host.is_empty()).then(|| SrvTarget {
        host: host.to_owned(),
        port: record.port,
        priority: record.priority,
        weight: record.weight,
    })
}

/// A missing name is the weakest reason: a failed server must not read as a missing host.
fn keep_worst(kept: &mut Option<DnsError>, new: DnsError) {
    if kept.as_ref().is_none_or(|old| matches!(old, DnsError::NoSuchHost { .. })) {
        *kept = Some(new);
    }
}

fn answer_error(name: &str, error: &NetError) -> DnsError {
    match error {
        NetError::Dns(AnswerError::NoRecordsFound(_)) => no_such_host(name),
        NetError::Dns(AnswerError::ResponseCode(_)) => DnsError::ServerFailure { name: name.to_owned() },
        NetError::Timeout => timed_out(name),
        NetError::Io(err) => DnsError::Other { name: name.to_owned(), cause: errno::text(err) },
        other => DnsError::Other { name: name.to_owned(), cause: other.to_string() },
    }
}

fn no_such_host(name: &str) -> DnsError {
    DnsError::NoSuchHost { name: name.to_owned() }
}

fn timed_out(name: &str) -> DnsError {
    DnsError::Timeout { name: name.to_owned() }
}

#[cfg(test)]
mod tests;
