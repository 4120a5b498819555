//! Metrics about scraping; names are those that public dashboards and alerts read.

use std::sync::Arc;

use vmkit::exchange::WireStats;
use vmkit::metrics::{Counter, Gauge, Histogram, Set};

use crate::discovery::Kind;

/// Counters of all targets together.
#[derive(Debug)]
pub struct ScrapeMetrics {
    set: Arc<Set>,
    /// Scrapes begun.
    pub requests: Arc<Counter>,
    /// Scrapes answered with 200.
    pub ok: Arc<Counter>,
    /// Scrapes that failed.
    pub failed: Arc<Counter>,
    /// Scrapes that took too long.
    pub timed_out: Arc<Counter>,
    /// Pages with too many samples.
    pub over_sample_limit: Arc<Counter>,
    /// Pages with a sample of too many labels.
    pub over_label_limit: Arc<Counter>,
    /// Pages that are too large.
    pub too_large: Arc<Counter>,
    /// Compressed pages that cannot be decompressed.
    pub gunzip_failed: Arc<Counter>,
    /// Markers for series that have gone.
    pub stale_markers: Arc<Counter>,
    /// Lines that make no sense.
    pub invalid_rows: Arc<Counter>,
    /// Samples read.
    pub rows_read: Arc<Counter>,
    /// Time of a scrape.
    pub duration: Arc<Histogram>,
    /// Size of a page.
    pub response_size: Arc<Histogram>,
    /// Samples of a page.
    pub samples: Arc<Histogram>,
    /// Time to hand a page over.
    pub push_duration: Arc<Histogram>,
    /// How late scrapes begin.
    pub delay: Arc<Histogram>,
    /// Attempts to connect.
    pub dials: Arc<Counter>,
    /// Failed attempts.
    pub dial_errors: Arc<Counter>,
    /// Connections and their bytes.
    pub wire: Arc<WireStats>,
}

/// Counters of the targets of one kind of discovery.
#[derive(Debug)]
pub struct KindMetrics {
    /// Running targets.
    pub active: Arc<Gauge>,
    /// Targets started.
    pub started: Arc<Counter>,
    /// Targets stopped.
    pub stopped: Arc<Counter>,
    /// Targets added and removed.
    pub changes: Arc<Counter>,
    /// Time to relabel the targets of a list.
    pub relabel_duration: Arc<Histogram>,
}

impl ScrapeMetrics {
    /// Registers the metrics.
    pub fn register(set: &Arc<Set>) -> Self {
        let counter = |name: &str| set.counter(&format!("vm_promscrape_{name}"));
        let histogram = |name: &str| set.histogram(&format!("vm_promscrape_{name}"));
        let wire = WireStats {
            open: set.gauge("vm_promscrape_conns"),
            read_bytes: counter("conn_bytes_read_total"),
            reads: counter("conn_reads_total"),
            read_errors: counter("conn_read_errors_total"),
            written_bytes: counter("conn_bytes_written_total"),
            writes: counter("conn_writes_total"),
            write_errors: counter("conn_write_errors_total"),
            write_timeouts: Arc::default(),
        };
        Self {
            requests: counter("scrape_requests_total"),
            ok: counter("scrapes_total{status_code=\"200\"}"),
            failed: counter("scrapes_failed_total"),
            timed_out: counter("scrapes_timed_out_total"),
            over_sample_limit: counter("scrapes_skipped_by_sample_limit_total"),
            over_label_limit: counter("scrapes_skipped_by_label_limit_total"),
            too_large: counter("max_scrape_size_exceeded_errors_total"),
            gunzip_failed: counter("scrapes_gunzip_failed_total"),
            stale_markers: counter("stale_samples_created_total"),
            invalid_rows: set.counter("vm_rows_invalid_total{type=\"prometheus\"}"),
            rows_read: set.counter("vm_protoparser_rows_read_total{type=\"promscrape\"}"),
            duration: histogram("scrape_duration_seconds"),
            response_size: histogram("scrape_response_size_bytes"),
            samples: histogram("scraped_samples"),
            push_duration: histogram("push_data_duration_seconds"),
            delay: histogram("scrape_delay_seconds"),
            dials: counter("dials_total"),
            dial_errors: counter("dial_errors_total"),
            wire: Arc::new(wire),
            set: Arc::clone(set),
        }
    }

    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        match status {
            200 => self.ok.inc(),
            _ => self.set.counter(&format!("vm_promscrape_scrapes_total{{status_code=\"{status}\"}}")).inc(),
        };
    }

    /// The counters of one kind.
    pub fn kind(&self, kind: Kind) -> KindMetrics {
        let name = |name: &str| format!("vm_promscrape_{name}{{type=\"{kind}\"}}");
        KindMetrics {
            active: self.set.gauge(&name("active_scrapers")),
            started: self.set.counter(&name("scrapers_started_total")),
            stopped: self.set.counter(&name("scrapers_stopped_total")),
            changes: self.set.counter(&name("config_changes_total")),
            relabel_duration: self.set.histogram(&name("target_relabel_duration_seconds")),
        }
    }
}
