//! What pushes count (docs/reference/vmagent-metrics.md). Names of protocols that are not taken are there with 0, because
//! dashboards add them up.

use super::target::Protocol;
use std::sync::Arc;
use vmkit::metrics::{Counter, Gauge, Histogram, Set};

/// All of it.
#[derive(Debug)]
pub(super) struct PushMetrics {
    write: Counters,
    text: Counters,
    pub(super) unsupported: Arc<Counter>,
    pub(super) current: Arc<Gauge>,
    pub(super) limit_reached: Arc<Counter>,
    pub(super) limit_timeout: Arc<Counter>,
    pub(super) refused_v2: Arc<Counter>,
    pub(super) native_histograms: Arc<Counter>,
}

/// Of one protocol.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) requests: Arc<Counter>,
    pub(super) errors: Arc<Counter>,
    pub(super) rows: Arc<Counter>,
    pub(super) rows_read: Arc<Counter>,
    pub(super) rows_per_insert: Arc<Histogram>,
    pub(super) metadata: Arc<Counter>,
    pub(super) metadata_read: Arc<Counter>,
    pub(super) read_calls: Arc<Counter>,
    pub(super) read_errors: Arc<Counter>,
    pub(super) unmarshal_errors: Arc<Counter>,
    pub(super) invalid: Arc<Counter>,
}

impl Counters {
    fn new(set: &Set, path: &str, protocol: &str, kind: &str) -> Self {
        let http = |name: &str| set.counter(&format!("{name}{{path=\"{path}\",protocol=\"{protocol}\"}}"));
        let typed = |name: &str| set.counter(&format!("{name}{{type=\"{kind}\"}}"));
        let invalid = if kind == "prometheus" { typed("vm_rows_invalid_total") } else { Arc::default() };
        let unmarshal =
            if kind == "promremotewrite" { typed("vm_protoparser_unmarshal_errors_total") } else { Arc::default() };
        Self {
            requests: http("vmagent_http_requests_total"),
            errors: http("vmagent_http_request_errors_total"),
            rows: typed("vmagent_rows_inserted_total"),
            rows_read: typed("vm_protoparser_rows_read_total"),
            rows_per_insert: set.histogram(&format!("vmagent_rows_per_insert{{type=\"{kind}\"}}")),
            metadata: typed("vmagent_metadata_inserted_total"),
            metadata_read: typed("vm_protoparser_metadata_read_total"),
            read_calls: typed("vm_protoparser_read_calls_total"),
            read_errors: typed("vm_protoparser_read_errors_total"),
            unmarshal_errors: unmarshal,
            invalid,
        }
    }

    /// Samples and metadata that were taken in.
    pub(super) fn taken(&self, samples: usize, metadata: usize) {
        self.rows.add(samples as u64);
        self.rows_read.add(samples as u64);
        self.metadata.add(metadata as u64);
        self.metadata_read.add(metadata as u64);
        if samples > 0 {
            self.rows_per_insert.update(samples as f64);
        }
    }
}

impl PushMetrics {
    pub(super) fn new(set: &Set, capacity: usize) -> Self {
        for kind in [
            "csvimport",
            "datadogsketches",
            "datadogv1",
            "datadogv2",
            "graphite",
            "influx",
            "native",
            "newrelic",
            "opentelemetry",
            "opentsdb",
            "opentsdbhttp",
            "vmimport",
            "zabbixconnector",
        ] {
            set.counter(&format!("vmagent_rows_inserted_total{{type=\"{kind}\"}}"));
        }
        for kind in ["graphite", "influx", "opentsdb"] {
            for net in ["tcp", "udp"] {
                let labels = format!("type=\"{kind}\",name=\"write\",net=\"{net}\"");
                set.counter(&format!("vm_ingestserver_requests_total{{{labels}}}"));
                set.counter(&format!("vm_ingestserver_request_errors_total{{{labels}}}"));
            }
        }
        set.gauge("vm_concurrent_insert_capacity").set(i64::try_from(capacity).unwrap_or(i64::MAX));
        Self {
            write: Counters::new(set, "/api/v1/write", "promremotewrite", "promremotewrite"),
            text: Counters::new(set, "/api/v1/import/prometheus", "prometheusimport", "prometheus"),
            unsupported: set.counter("vm_http_request_errors_total{path=\"*\", reason=\"unsupported\"}"),
            current: set.gauge("vm_concurrent_insert_current"),
            limit_reached: set.counter("vm_concurrent_insert_limit_reached_total"),
            limit_timeout: set.counter("vm_concurrent_insert_limit_timeout_total"),
            refused_v2: set.counter("vmagent_remote_write_v2_requests_refused_total"),
            native_histograms: set.counter("vmagent_native_histograms_dropped_total"),
        }
    }

    pub(super) fn of(&self, protocol: Protocol) -> &Counters {
        match protocol {
            Protocol::Write => &self.write,
            Protocol::Text => &self.text,
        }
    }
}
