//! Counters of all connections to backends.

use std::sync::Arc;

use vmkit::exchange::{Http2Stats, WireStats};
use vmkit::metrics::Set;

use crate::upstream::dialer::DialStats;

/// Counters of all backend connections, registered under their names.
pub(super) fn dial_stats(set: &Set) -> DialStats {
    let counter = |name: &str| set.counter(&format!("vmauth_backend_{name}"));
    DialStats {
        dials: counter("dials_total"),
        errors: counter("dial_errors_total"),
        wire: Arc::new(WireStats {
            open: set.gauge("vmauth_backend_conns"),
            read_bytes: counter("conn_bytes_read_total"),
            reads: counter("conn_reads_total"),
            read_errors: counter("conn_read_errors_total"),
            written_bytes: counter("conn_bytes_written_total"),
            writes: counter("conn_writes_total"),
            write_errors: counter("conn_write_errors_total"),
            write_timeouts: Arc::default(),
        }),
    }
}

/// Counters of connections to backends that carry many requests at once.
pub(super) fn http2_stats(set: &Set) -> Http2Stats {
    Http2Stats {
        connections: set.gauge("vmauth_backend_http2_conns"),
        streams: set.gauge("vmauth_backend_http2_streams"),
        refused: set.counter("vmauth_backend_http2_refused_requests_total"),
        dead: set.counter("vmauth_backend_http2_dead_conns_total"),
    }
}
