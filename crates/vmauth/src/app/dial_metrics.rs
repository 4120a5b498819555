//! Counters of all connections to backends.

use std::sync::Arc;

use vmkit::exchange::WireStats;
use vmkit::metrics::Set;

use crate::upstream::pool::DialStats;

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
