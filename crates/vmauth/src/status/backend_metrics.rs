//! Metrics of each backend address: whether it is up, and why tries at it fail.
//!
//! Made when the page is, from what backends count anyway. Bounded: of very many addresses those that are down go first and
//! the rest is left out and counted. What a reload takes away is no longer counted, as after a restart.

use std::collections::BTreeMap;

use vmkit::metrics::{Kind, Page};

use super::collect::{Sources, Wanted};
use super::model::Backend;

/// Addresses that have series of their own.
const MAX_BACKENDS: usize = 1000;

/// Appends the series; for a writer of the metrics page.
pub fn write(page: &mut Page, sources: &Sources) {
    let wanted = Wanted { limit: MAX_BACKENDS, ..Wanted::default() };
    let mut found = sources.backends(&sources.shared.serving.load(), &wanted);
    let omitted = found.total - found.items.len();
    found.items.sort_by(|a, b| a.address.cmp(&b.address));
    write_page(page, &found.items, omitted);
}

fn write_page(page: &mut Page, backends: &[Backend], omitted: usize) {
    if backends.is_empty() {
        return;
    }
    let mut series = |family: &str, kind: Kind, value: &dyn Fn(&Backend) -> f64| {
        page.family(family, kind);
        for backend in backends {
            page.labeled(family, &[("backend", &backend.address)], value(backend));
        }
    };
    series("vmauth_backend_up", Kind::Gauge, &|backend| f64::from(u8::from(backend.state != "down")));
    series("vmauth_backend_in_flight", Kind::Gauge, &|backend| backend.in_flight as f64);
    series("vmauth_backend_attempts_total", Kind::Counter, &|backend| backend.attempts as f64);
    let family = "vmauth_backend_failures_total";
    page.family(family, Kind::Counter);
    for backend in backends {
        for (cause, count) in &backend.failures {
            page.labeled(family, &[("backend", &backend.address), ("cause", cause)], *count as f64);
        }
    }
    probes(page, backends);
    if backends.iter().any(|backend| backend.ejections.is_some()) {
        let family = "vmauth_backend_ejections_total";
        page.family(family, Kind::Counter);
        for (backend, count) in backends.iter().filter_map(|backend| Some((backend, backend.ejections?))) {
            page.labeled(family, &[("backend", &backend.address)], count as f64);
        }
    }
    page.gauge("vmauth_backends_without_metrics", omitted as f64);
}

/// Health checks of each address; nothing without any.
fn probes(page: &mut Page, backends: &[Backend]) {
    let checked: Vec<_> = backends.iter().filter(|backend| !backend.checks.is_empty()).collect();
    if checked.is_empty() {
        return;
    }
    let family = "vmauth_backend_probes_total";
    page.family(family, Kind::Counter);
    for backend in &checked {
        let count: u64 = backend.checks.iter().map(|check| check.probes).sum();
        page.labeled(family, &[("backend", &backend.address)], count as f64);
    }
    let family = "vmauth_backend_probe_failures_total";
    page.family(family, Kind::Counter);
    for backend in &checked {
        let mut by_cause = BTreeMap::<&str, u64>::new();
        for (cause, count) in backend.checks.iter().flat_map(|check| &check.failures) {
            *by_cause.entry(cause).or_default() += count;
        }
        for (cause, count) in by_cause {
            page.labeled(family, &[("backend", &backend.address), ("cause", cause)], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Check;
    use super::*;

    #[test]
    fn series_by_address() {
        let check = |probes, failures: &[(&'static str, u64)]| Check {
            path: "/health".to_owned(),
            state: "up",
            since: None,
            probes,
            failures: failures.iter().copied().collect(),
            last: None,
        };
        let backend = |address: &str, state: &'static str| Backend {
            address: address.to_owned(),
            state,
            since: None,
            why: None,
            routes: 1,
            in_flight: 2,
            attempts: 3,
            failures: [("tls", 1)].into(),
            last_failure: None,
            checks: vec![check(2, &[("status", 1)]), check(3, &[("status", 1), ("dns", 1)])],
            ejections: (state == "partly").then_some(4),
            responses: Default::default(),
            latency: None,
            pool: Default::default(),
        };
        let mut page = Page::new(false);
        write_page(&mut page, &[backend("a:1", "down"), backend("b:2", "partly")], 5);
        let text = String::from_utf8(page.into_bytes()).unwrap();
        for line in [
            "vmauth_backend_up{backend=\"a:1\"} 0\n",
            "vmauth_backend_up{backend=\"b:2\"} 1\n",
            "vmauth_backend_attempts_total{backend=\"b:2\"} 3\n",
            "vmauth_backend_failures_total{backend=\"a:1\", cause=\"tls\"} 1\n",
            "vmauth_backend_probes_total{backend=\"a:1\"} 5\n",
            "vmauth_backend_probe_failures_total{backend=\"b:2\", cause=\"status\"} 2\n",
            "vmauth_backend_ejections_total{backend=\"b:2\"} 4\n",
            "vmauth_backends_without_metrics 5\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
