//! Counters of the server, by the names that dashboards know.

use std::sync::Arc;

use crate::exchange::HeadError;
use crate::metrics::{Counter, Histogram, Set};

/// Counters of the server.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the metrics' names")]
pub struct ServerMetrics {
    pub requests_all: Arc<Counter>,
    pub requests_metrics: Arc<Counter>,
    pub requests_favicon: Arc<Counter>,
    pub requests_pprof: PprofMetrics,
    pub unsupported: Arc<Counter>,
    pub wrong_auth_key: Arc<Counter>,
    pub wrong_basic_auth: Arc<Counter>,
    pub metrics_duration: Arc<Histogram>,
    pub conn_timeout_closed: Arc<Counter>,
    pub malformed_requests: MalformedMetrics,
}

/// `vm_http_requests_total` of the profiling pages.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the pages' names")]
pub struct PprofMetrics {
    pub index: Arc<Counter>,
    pub cmdline: Arc<Counter>,
    pub profile: Arc<Counter>,
    pub symbol: Arc<Counter>,
    pub trace: Arc<Counter>,
    pub mutex: Arc<Counter>,
    pub default: Arc<Counter>,
}

/// `vm_http_malformed_requests_total{reason="…"}`, all reasons from the start.
#[derive(Debug)]
pub struct MalformedMetrics {
    heads: [Arc<Counter>; HeadError::ALL.len()],
    protocol: Arc<Counter>,
}

impl MalformedMetrics {
    fn register(set: &Set) -> Self {
        let reason = |reason: &str| set.counter(&format!("vm_http_malformed_requests_total{{reason=\"{reason}\"}}"));
        Self { heads: HeadError::ALL.map(|error| reason(error.label())), protocol: reason("protocol") }
    }

    /// Counts a head that was refused.
    pub fn count(&self, error: HeadError) {
        if let Some(counter) = self.heads.get(error as usize) {
            counter.inc();
        }
    }

    /// Counts a connection whose client has broken the rules of its protocol, or has done too much.
    pub fn count_protocol(&self) {
        self.protocol.inc();
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.heads.iter().map(|counter| counter.get()).sum::<u64>() + self.protocol.get()
    }
}

impl ServerMetrics {
    /// Registers the server's metrics in the set of the process.
    pub fn register(set: &Set) -> Arc<Self> {
        let path = |path: &str| set.counter(&format!("vm_http_requests_total{{path=\"{path}\"}}"));
        let error =
            |reason: &str| set.counter(&format!("vm_http_request_errors_total{{path=\"*\", reason=\"{reason}\"}}"));
        let metrics_duration = Arc::new(Histogram::new());
        set.register("vm_http_request_duration_seconds{path=\"/metrics\"}", metrics_duration.clone());
        Arc::new(Self {
            requests_all: set.counter("vm_http_requests_all_total"),
            requests_metrics: path("/metrics"),
            requests_favicon: path("*/favicon.ico"),
            requests_pprof: PprofMetrics {
                index: path("/debug/pprof/"),
                cmdline: path("/debug/pprof/cmdline"),
                profile: path("/debug/pprof/profile"),
                symbol: path("/debug/pprof/symbol"),
                trace: path("/debug/pprof/trace"),
                mutex: path("/debug/pprof/mutex"),
                default: path("/debug/pprof/default"),
            },
            unsupported: error("unsupported"),
            wrong_auth_key: error("wrong_auth_key"),
            wrong_basic_auth: error("wrong_basic_auth"),
            metrics_duration,
            conn_timeout_closed: set.counter("vm_http_conn_timeout_closed_conns_total"),
            malformed_requests: MalformedMetrics::register(set),
        })
    }
}
