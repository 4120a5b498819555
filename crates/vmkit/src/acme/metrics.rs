//! Counters of the ACME client (`docs/reference/metrics.md`).

use std::collections::HashMap;
use std::sync::Arc;

use super::failure::Cause;
use crate::metrics::{Counter, Set};

pub(super) struct AcmeMetrics {
    issued: HashMap<String, Arc<Counter>>,
    failed: HashMap<(String, &'static str), Arc<Counter>>,
}

impl AcmeMetrics {
    pub(super) fn register(set: &Set, hosts: &[String]) -> Self {
        let counter = |name: &str, host: &str, more: &str| {
            set.counter(&format!("{name}{{host={}{more}}}", crate::go_text::quote(host)))
        };
        let issued = hosts.iter().map(|host| (host.clone(), counter("vm_acme_certificates_issued_total", host, "")));
        let failed = hosts.iter().flat_map(|host| {
            Cause::ALL.map(|cause| {
                let more = format!(", cause=\"{}\"", cause.name());
                ((host.clone(), cause.name()), counter("vm_acme_failures_total", host, &more))
            })
        });
        Self { issued: issued.collect(), failed: failed.collect() }
    }

    pub(super) fn issued(&self, host: &str) {
        if let Some(counter) = self.issued.get(host) {
            counter.inc();
        }
    }

    pub(super) fn failed(&self, host: &str, cause: Cause) {
        if let Some(counter) = self.failed.get(&(host.to_owned(), cause.name())) {
            counter.inc();
        }
    }
}
