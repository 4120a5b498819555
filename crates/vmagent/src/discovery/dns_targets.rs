//! Targets behind names: `dns_sd_configs`.
//!
//! Each name keeps its last answer while its servers fail or do not answer; a name that does not exist, or has no
//! record of the kind, has no targets. All names of an entry are asked at once, within ten seconds.

use super::group::Publisher;
use super::{Interner, SharedLabel, TargetLabels, target_groups};
use crate::config::{DnsSd, DnsType};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use vmkit::metrics::Set;
use vmkit::net::dns::{DnsCause, DnsError, Resolver};

const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// One record: address, and the labels that are not those of the name.
type Record = (String, Vec<(&'static str, String)>);

/// What lookups need.
#[derive(Clone)]
pub(super) struct DnsContext {
    pub(super) resolver: Arc<Resolver>,
    pub(super) interval: Duration,
    pub(super) metrics: Arc<Set>,
}

/// Looks up the names of one entry until the task is dropped.
pub(super) async fn run(entry: DnsSd, context: DnsContext, publisher: Publisher) {
    let mut texts = Interner::default();
    let mut known: BTreeMap<String, Vec<Arc<TargetLabels>>> = BTreeMap::new();
    for name in &entry.names {
        errors_of(&context.metrics, name);
    }
    loop {
        let begun = Instant::now();
        let mut lookups = JoinSet::new();
        for name in &entry.names {
            let (resolver, name, entry) = (Arc::clone(&context.resolver), name.clone(), entry.clone());
            lookups.spawn(async move {
                let answer = lookup(&resolver, &name, &entry).await;
                (name, answer)
            });
        }
        let mut errors = Vec::new();
        while let Some(joined) = lookups.join_next().await {
            let Ok((name, answer)) = joined else { continue };
            match answer {
                Ok(records) => {
                    let next = targets(&name, &records, &mut texts);
                    let old = known.remove(&name).unwrap_or_default();
                    known.insert(name, target_groups::keep_known(&old, next));
                }
                Err(error) => {
                    errors_of(&context.metrics, &name).inc();
                    if error.cause == DnsCause::NoSuchHost {
                        known.remove(&name);
                    }
                    errors.push(error.to_string());
                }
            }
        }
        let all = entry.names.iter().filter_map(|name| known.get(name)).flatten().cloned().collect();
        publisher.complete(Arc::new(all), begun.elapsed());
        if !errors.is_empty() {
            errors.sort();
            publisher.failed(errors.join("; "));
        }
        tokio::time::sleep(context.interval).await;
    }
}

fn errors_of(metrics: &Set, name: &str) -> Arc<vmkit::metrics::Counter> {
    metrics.counter(&format!("promscrape_discovery_dns_errors_total{{name={}}}", vmkit::go_text::quote(name)))
}

async fn lookup(resolver: &Resolver, name: &str, entry: &DnsSd) -> Result<Vec<Record>, DnsError> {
    let port = entry.port;
    match entry.record_type {
        DnsType::Srv => {
            let records = resolver.lookup_srv(name, LOOKUP_LIMIT).await?;
            let record = |record: vmkit::net::dns::SrvTarget| {
                let port = record.port;
                let labels = vec![
                    ("__meta_dns_srv_record_target", record.host.clone()),
                    ("__meta_dns_srv_record_port", port.to_string()),
                ];
                (join(&record.host, port), labels)
            };
            Ok(records.into_iter().map(record).collect())
        }
        DnsType::A | DnsType::Aaaa => {
            let want_ipv6 = entry.record_type == DnsType::Aaaa;
            let addresses = resolver.lookup_ips(name, want_ipv6, LOOKUP_LIMIT).await?;
            let port = port.unwrap_or_default();
            let record = |address: std::net::IpAddr| {
                let labels = vec![
                    ("__meta_dns_srv_record_target", address.to_string()),
                    ("__meta_dns_srv_record_port", port.to_string()),
                ];
                (join(&address.to_string(), port), labels)
            };
            Ok(addresses.into_iter().filter(|address| address.is_ipv6() == want_ipv6).map(record).collect())
        }
        DnsType::Mx => {
            let hosts = resolver.lookup_mx(name, LOOKUP_LIMIT).await?;
            let port = port.unwrap_or(25);
            let record = |host: String| (join(&host, port), vec![("__meta_dns_mx_record_target", host)]);
            Ok(hosts.into_iter().map(record).collect())
        }
    }
}

fn targets(name: &str, records: &[Record], texts: &mut Interner) -> Vec<Arc<TargetLabels>> {
    let shared: super::Piece = [texts.label("__meta_dns_name", name)].into();
    let target = |(address, labels): &Record| {
        let own: Vec<SharedLabel> = labels
            .iter()
            .map(|(name, value)| texts.unique(name, value))
            .collect::<Vec<_>>()
            .into_iter()
            .chain([texts.unique("__address__", address)])
            .collect();
        Arc::new(TargetLabels::new([Arc::clone(&shared)], own))
    };
    records.iter().map(target).collect()
}

/// `host:port`, IPv6 in brackets.
fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
