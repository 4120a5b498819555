//! What remote write counts, under the names that dashboards and alerts read (docs/reference/vmagent-metrics.md).

use super::queue::{Queue, QueueCounters};
use std::sync::Arc;
use vmkit::http_client::ConnectionCounts;
use vmkit::metrics::{Counter, Histogram, Set};

/// Counted once for all URLs.
#[derive(Debug)]
pub(crate) struct GlobalMetrics {
    pub(crate) rows_before_relabel: Arc<Counter>,
    pub(crate) relabel_dropped: Arc<Counter>,
    pub(crate) block_size_bytes: Arc<Histogram>,
    pub(crate) block_size_rows: Arc<Histogram>,
    pub(crate) block_metadata_rows: Arc<Histogram>,
    pub(crate) too_many_labels: Arc<Counter>,
    pub(crate) too_long_name: Arc<Counter>,
    pub(crate) too_long_value: Arc<Counter>,
    pub(crate) hourly_dropped: Arc<Counter>,
    pub(crate) daily_dropped: Arc<Counter>,
    pub(crate) connections: Arc<ConnectionCounts>,
    /// Of all queues.
    read_nanos: Arc<Counter>,
    write_nanos: Arc<Counter>,
    sync_nanos: Arc<Counter>,
    syncs: Arc<Counter>,
}

/// Nanoseconds shown as seconds.
fn show_seconds(set: &Set, name: &str, nanos: &Arc<Counter>) {
    let nanos = Arc::clone(nanos);
    set.callback_gauge(name, move || nanos.get() as f64 / 1e9);
}

impl GlobalMetrics {
    pub(crate) fn new(set: &Set) -> Self {
        let counter = |name: &str| set.counter(name);
        let remote = |name: &str| set.counter(&format!("vmagent_remotewrite_{name}"));
        let ignored = |reason: &str| set.counter(&format!("vm_rows_ignored_total{{reason=\"{reason}\"}}"));
        let metrics = Self {
            rows_before_relabel: remote("global_rows_pushed_before_relabel_total"),
            relabel_dropped: remote("global_relabel_metrics_dropped_total"),
            block_size_bytes: set.histogram("vmagent_remotewrite_block_size_bytes"),
            block_size_rows: set.histogram("vmagent_remotewrite_block_size_rows"),
            block_metadata_rows: set.histogram("vmagent_remotewrite_block_metadata_rows"),
            too_many_labels: ignored("too_many_labels"),
            too_long_name: ignored("too_long_label_name"),
            too_long_value: ignored("too_long_label_value"),
            hourly_dropped: counter("vmagent_hourly_series_limit_rows_dropped_total"),
            daily_dropped: counter("vmagent_daily_series_limit_rows_dropped_total"),
            connections: Arc::new(ConnectionCounts::new(set, "vmagent_remotewrite")),
            read_nanos: Arc::default(),
            write_nanos: Arc::default(),
            sync_nanos: Arc::default(),
            syncs: set.counter("vm_filestream_fsync_calls_total"),
        };
        show_seconds(set, "vm_persistentqueue_read_duration_seconds_total", &metrics.read_nanos);
        show_seconds(set, "vm_persistentqueue_write_duration_seconds_total", &metrics.write_nanos);
        show_seconds(set, "vm_filestream_fsync_duration_seconds_total", &metrics.sync_nanos);
        // Dashboards read them; there is no stream aggregation.
        set.gauge("vm_streamaggr_labels_compressor_items_count");
        set.gauge("vm_streamaggr_labels_compressor_size_bytes");
        metrics
    }

    /// The counters of one queue.
    pub(crate) fn queue(&self, set: &Set, labels: &UrlLabels) -> QueueCounters {
        let counter = |name: &str| set.counter(&format!("vm_persistentqueue_{name}{{{}}}", labels.path_and_name));
        QueueCounters {
            blocks_written: counter("blocks_written_total"),
            bytes_written: counter("bytes_written_total"),
            blocks_read: counter("blocks_read_total"),
            bytes_read: counter("bytes_read_total"),
            blocks_dropped: counter("blocks_dropped_total"),
            bytes_dropped: counter("bytes_dropped_total"),
            damages: counter("damages_total"),
            damaged_bytes: counter("damaged_bytes_total"),
            unwritten_blocks: counter("unwritten_blocks_total"),
            io_errors: counter("io_errors_total"),
            read_nanos: Arc::clone(&self.read_nanos),
            write_nanos: Arc::clone(&self.write_nanos),
            sync_nanos: Arc::clone(&self.sync_nanos),
            syncs: Arc::clone(&self.syncs),
        }
    }
}

/// Label texts of one URL, without braces.
#[derive(Debug)]
pub(crate) struct UrlLabels {
    pub(crate) url: String,
    pub(crate) path_and_url: String,
    pub(crate) path_and_name: String,
}

impl UrlLabels {
    pub(crate) fn new(name: &str, path: &str) -> Self {
        let (name, path) = (escape(name), escape(path));
        Self {
            url: format!("url=\"{name}\""),
            path_and_url: format!("path=\"{path}\",url=\"{name}\""),
            path_and_name: format!("path=\"{path}\",name=\"{name}\""),
        }
    }
}

/// A label value of the text format.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Counted for each URL.
#[derive(Debug)]
pub(crate) struct UrlMetrics {
    set: Arc<Set>,
    url: String,
    pub(crate) requests_ok: Arc<Counter>,
    pub(crate) retries: Arc<Counter>,
    pub(crate) errors: Arc<Counter>,
    pub(crate) packets_dropped: Arc<Counter>,
    pub(crate) blocks_sent: Arc<Counter>,
    pub(crate) bytes_sent: Arc<Counter>,
    pub(crate) duration: Arc<Histogram>,
    pub(crate) send_nanos: Arc<Counter>,
    pub(crate) rate_limit_reached: Arc<Counter>,
    pub(crate) rows_after_relabel: Arc<Counter>,
    pub(crate) relabel_dropped: Arc<Counter>,
    pub(crate) push_failures: Arc<Counter>,
    pub(crate) samples_dropped: Arc<Counter>,
    pub(crate) metadata_dropped: Arc<Counter>,
}

impl UrlMetrics {
    pub(crate) fn new(set: &Arc<Set>, labels: &UrlLabels) -> Self {
        let counter = |name: &str, labels: &str| set.counter(&format!("vmagent_remotewrite_{name}{{{labels}}}"));
        let url = |name: &str| counter(name, &labels.url);
        let both = |name: &str| counter(name, &labels.path_and_url);
        let metrics = Self {
            set: Arc::clone(set),
            requests_ok: counter("requests_total", &format!("{},status_code=\"2XX\"", labels.url)),
            retries: url("retries_count_total"),
            errors: url("errors_total"),
            packets_dropped: url("packets_dropped_total"),
            blocks_sent: url("blocks_sent_total"),
            bytes_sent: url("bytes_sent_total"),
            duration: set.histogram(&format!("vmagent_remotewrite_duration_seconds{{{}}}", labels.url)),
            send_nanos: Arc::default(),
            rate_limit_reached: url("rate_limit_reached_total"),
            rows_after_relabel: both("rows_pushed_after_relabel_total"),
            relabel_dropped: both("relabel_metrics_dropped_total"),
            push_failures: both("push_failures_total"),
            samples_dropped: both("samples_dropped_total"),
            metadata_dropped: both("metadata_dropped_total"),
            url: labels.url.clone(),
        };
        let seconds = format!("vmagent_remotewrite_send_duration_seconds_total{{{}}}", labels.url);
        show_seconds(set, &seconds, &metrics.send_nanos);
        metrics
    }

    /// Requests that were answered with this status, which is not 2xx.
    pub(crate) fn requests(&self, status: u16) -> Arc<Counter> {
        self.set.counter(&format!("vmagent_remotewrite_requests_total{{{},status_code=\"{status}\"}}", self.url))
    }

    /// Shows what is fixed and what the queue knows.
    pub(crate) fn show_queue(&self, labels: &UrlLabels, queue: &Arc<Queue>, queues: usize, rate_limit: u64) {
        let gauge = |name: String, read: fn(&Queue) -> f64| {
            let queue = Arc::clone(queue);
            self.set.callback_gauge(&name, move || read(&queue));
        };
        let both = |name: &str| format!("vmagent_remotewrite_{name}{{{}}}", labels.path_and_url);
        gauge(both("pending_data_bytes"), |queue| queue.pending_bytes() as f64);
        gauge(both("sending_data_bytes"), |queue| queue.bytes_in_hands() as f64);
        gauge(both("pending_inmemory_blocks"), |queue| queue.memory_blocks() as f64);
        gauge(both("queue_blocked"), |queue| f64::from(queue.is_blocked()));
        let files = |name: &str| format!("vm_persistentqueue_{name}{{{}}}", labels.path_and_name);
        gauge(files("bytes_pending"), |queue| queue.file_bytes() as f64);
        gauge(files("free_disk_space_bytes"), |queue| queue.free_bytes() as f64);
        let fixed = |name: &str, value: f64| {
            self.set.callback_gauge(&format!("vmagent_remotewrite_{name}{{{}}}", self.url), move || value);
        };
        fixed("queues", queues as f64);
        fixed("rate_limit", rate_limit as f64);
    }
}
