//! Name resolution for backends: A, AAAA and SRV records, the hosts file first.
//!
//! Names resolve as the system resolves them (resolv.conf(5), Go's resolver): servers in their order, each with the
//! timeout of the file, the search list, TCP when an answer was cut. One resolver serves the process and lives on the
//! control plane's runtime; workers reach it through a runtime handle. It decides nothing about when to resolve:
//! callers re-resolve at their own interval, so answers are not cached; only while DNS fails the last good answer of a
//! name stands in for some minutes (RFC 8767). It must never block a thread, and never outlast the caller's timeout.

mod answer;
mod error;
mod exchange;
mod hosts_file;
mod last_good;
mod lookup;
mod resolv_conf;
mod system_files;

pub use answer::SrvTarget;
pub use error::{DnsCause, DnsError};

use crate::net::zone;
use arc_swap::ArcSwap;
use hosts_file::Hosts;
use last_good::{LastGood, Report};
use lookup::Lookup;
use resolv_conf::ResolvConf;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use system_files::{Settings, SystemFiles};

/// The shared resolver. Its futures must be polled on a runtime with I/O and time.
pub struct Resolver {
    current: ArcSwap<Settings>,
    /// `None` for fixed servers.
    files: Option<SystemFiles>,
    addresses: LastGood<(String, bool), Vec<IpAddr>>,
    services: LastGood<String, Vec<SrvTarget>>,
    mail: LastGood<String, Vec<String>>,
    /// Server that `rotate` begins with.
    next_server: AtomicUsize,
    report: Box<Report>,
}

impl Resolver {
    /// Servers of `/etc/resolv.conf` and names of `/etc/hosts`; changes of both files are noticed within 5 s.
    ///
    /// Without a readable `resolv.conf` the server at 127.0.0.1 is asked, as libc does.
    pub fn from_system() -> Self {
        Self::from_files(SystemFiles::new("/etc/resolv.conf", "/etc/hosts", 53))
    }

    /// Asks exactly these servers over UDP and TCP, in this order; no search list and no hosts file.
    pub fn from_servers(servers: &[SocketAddr]) -> Self {
        let conf = ResolvConf { servers: servers.to_vec(), ..ResolvConf::default() };
        Self::new(Settings { conf, hosts: Hosts::default() }, None)
    }

    fn from_files(files: SystemFiles) -> Self {
        let settings = files.read();
        Self::new(settings, Some(files))
    }

    fn new(settings: Settings, files: Option<SystemFiles>) -> Self {
        Self {
            current: ArcSwap::from_pointee(settings),
            files,
            addresses: LastGood::default(),
            services: LastGood::default(),
            mail: LastGood::default(),
            next_server: AtomicUsize::new(0),
            report: Box::new(|_| {}),
        }
    }

    /// Tells `report` when a last good answer begins to stand in: the text of a warning.
    pub fn reporting(self, report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { report: Box::new(report), ..self }
    }

    /// Addresses of `host`: the hosts file, else A records and, with `want_ipv6`, AAAA records.
    ///
    /// An IP literal is its own answer. At least one address, each once, in the order of the answer, IPv4 first. While
    /// no server answers, the last good answer is given for some minutes.
    pub async fn lookup_ips(&self, host: &str, want_ipv6: bool, timeout: Duration) -> Result<Vec<IpAddr>, DnsError> {
        if let Some((ip, _)) = zone::parse_ip(host) {
            return Ok(vec![ip]);
        }
        let settings = self.settings().await;
        let known = settings.hosts.addresses(host, want_ipv6);
        if !known.is_empty() {
            return Ok(known);
        }
        let lookup = Lookup::new(&settings.conf, host, self.first_server(&settings));
        let key = (host.to_owned(), want_ipv6);
        let answer = lookup.within(timeout, lookup.addresses(want_ipv6));
        self.addresses.or_last(key, answer, &*self.report).await
    }

    /// SRV records of `name`, in the order of the answer; at least one. Last good answers as with addresses.
    pub async fn lookup_srv(&self, name: &str, timeout: Duration) -> Result<Vec<SrvTarget>, DnsError> {
        let settings = self.settings().await;
        let lookup = Lookup::new(&settings.conf, name, self.first_server(&settings));
        self.services.or_last(name.to_owned(), lookup.within(timeout, lookup.services()), &*self.report).await
    }

    /// Mail servers of `name` without the trailing dot, in the order of the answer; at least one.
    pub async fn lookup_mx(&self, name: &str, timeout: Duration) -> Result<Vec<String>, DnsError> {
        let settings = self.settings().await;
        let lookup = Lookup::new(&settings.conf, name, self.first_server(&settings));
        self.mail.or_last(name.to_owned(), lookup.within(timeout, lookup.mail_servers()), &*self.report).await
    }

    /// The servers and hosts of now; re-reads the system's files when they changed.
    async fn settings(&self) -> Arc<Settings> {
        if let Some(files) = &self.files
            && let Some(settings) = files.changed().await
        {
            self.current.store(Arc::new(settings));
        }
        self.current.load_full()
    }

    fn first_server(&self, settings: &Settings) -> usize {
        if settings.conf.rotate { self.next_server.fetch_add(1, Relaxed) } else { 0 }
    }
}

#[cfg(test)]
mod tests;
