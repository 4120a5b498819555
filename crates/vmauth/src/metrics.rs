//! Every metric of the proxy that belongs to the process rather than to a config; names in docs/reference/metrics.md.

use std::sync::Arc;

use vmkit::exchange::WireStats;
use vmkit::metrics::{Counter, Set, Summary};

use crate::admission::concurrency::Limiter;
use crate::authn::jwt_users::TokenRefusalMetrics;
use crate::authn::verified_tokens::CacheMetrics;
use crate::upstream::pool::DialStats;

/// Counters of the request path.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the metrics' names")]
pub struct ProxyMetrics {
    pub invalid_auth_token: Arc<Counter>,
    pub missing_route: Arc<Counter>,
    pub client_canceled: Arc<Counter>,
    pub slow_client: Arc<Counter>,
    pub global_limit_reached: Arc<Counter>,
    pub global_ip_denies: Arc<Counter>,
    pub buffer_duration: Arc<Summary>,
    pub tokens_refused: TokenRefusalMetrics,
    pub token_cache: CacheMetrics,
}

impl ProxyMetrics {
    /// Registers them in the set of the process.
    pub fn register(set: &Set) -> Self {
        let error = |reason: &str| set.counter(&format!("vmauth_http_request_errors_total{{reason=\"{reason}\"}}"));
        Self {
            invalid_auth_token: error("invalid_auth_token"),
            missing_route: error("missing_route"),
            client_canceled: error("client_canceled"),
            slow_client: error("reject_slow_client"),
            global_limit_reached: set.counter("vmauth_concurrent_requests_limit_reached_total"),
            global_ip_denies: set.counter("vmauth_global_ip_denies_total"),
            buffer_duration: set.summary("vmauth_buffer_request_body_duration_seconds"),
            tokens_refused: TokenRefusalMetrics::register(set),
            token_cache: CacheMetrics::register(set),
        }
    }
}

/// Gauges of the global limit.
pub fn register_limiter(set: &Set, limiter: &Arc<Limiter>) {
    let (capacity, current) = (limiter.clone(), limiter.clone());
    set.callback_gauge("vmauth_concurrent_requests_capacity", move || capacity.capacity() as f64);
    set.callback_gauge("vmauth_concurrent_requests_current", move || current.current() as f64);
}

/// Counters of all backend connections, registered under their names.
pub fn dial_stats(set: &Set) -> DialStats {
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
