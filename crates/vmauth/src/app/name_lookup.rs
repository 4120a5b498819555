//! Connects the balancer's questions about names and reachability with the resolver and the dialler.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use vmkit::net::dial::dial;
use vmkit::net::dns::{DnsError, Resolver};

use crate::upstream::discovery::{BoxFuture, Lookup};
use crate::upstream::health_check::Dial;

/// Time for one question, so that a second name server has its turn; callers have deadlines of their own.
const TIMEOUT: Duration = Duration::from_secs(11);

/// The resolver as the balancer sees it.
pub(super) struct NameLookup {
    resolver: Arc<Resolver>,
    ipv6: bool,
}

impl NameLookup {
    pub(super) fn new(resolver: Arc<Resolver>, ipv6: bool) -> Self {
        Self { resolver, ipv6 }
    }
}

impl Lookup for NameLookup {
    fn ips(&self, host: &str) -> BoxFuture<Result<Vec<IpAddr>, DnsError>> {
        let (resolver, host, ipv6) = (self.resolver.clone(), host.to_owned(), self.ipv6);
        Box::pin(async move { resolver.lookup_ips(&host, ipv6, TIMEOUT).await })
    }

    fn srv(&self, name: &str) -> BoxFuture<Result<Vec<(String, u16)>, DnsError>> {
        let (resolver, name) = (self.resolver.clone(), name.to_owned());
        Box::pin(async move {
            let targets = resolver.lookup_srv(&name, TIMEOUT).await?;
            Ok(targets.into_iter().map(|target| (target.host, target.port)).collect())
        })
    }
}

/// Opens and closes a connection: how broken backends are probed.
pub(super) fn probe_dial() -> Dial {
    Arc::new(|addr: SocketAddr, timeout: Duration| -> BoxFuture<io::Result<()>> {
        Box::pin(async move { dial(addr, timeout).await.map(drop) })
    })
}
