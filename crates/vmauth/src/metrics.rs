//! Every metric of the proxy that belongs to the process rather than to a config; names in `docs/reference/metrics.md`.

use std::sync::Arc;

use jwt::RefusalCause;
use vmkit::metrics::{Counter, Set, Summary};

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
    pub failed_logins_limited: Arc<Counter>,
    pub missing_credentials: Arc<Counter>,
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
            failed_logins_limited: set.counter("vmauth_failed_logins_limited_total"),
            missing_credentials: set.counter("vmauth_missing_credentials_total"),
            tokens_refused: TokenRefusalMetrics::register(set),
            token_cache: CacheMetrics::register(set),
        }
    }
}

/// Counters of all workers' caches.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics {
    /// Tokens that were found.
    pub hits: Arc<Counter>,
    /// Values that were not.
    pub misses: Arc<Counter>,
}

impl CacheMetrics {
    /// `vmauth_jwt_cache_hits_total` and `vmauth_jwt_cache_misses_total`.
    pub fn register(set: &Set) -> Self {
        Self { hits: set.counter("vmauth_jwt_cache_hits_total"), misses: set.counter("vmauth_jwt_cache_misses_total") }
    }
}

/// Counters of passwords that are checked against slow hashes.
#[derive(Debug, Clone, Default)]
pub struct PasswordMetrics {
    /// Passwords that were checked.
    pub checks: Arc<Counter>,
    /// Requests that were refused because too many were.
    pub refused: Arc<Counter>,
    /// Passwords that had been checked before.
    pub cache_hits: Arc<Counter>,
}

impl PasswordMetrics {
    /// `vmauth_password_checks_total` and its kin.
    pub fn register(set: &Set) -> Self {
        Self {
            checks: set.counter("vmauth_password_checks_total"),
            refused: set.counter("vmauth_password_checks_refused_total"),
            cache_hits: set.counter("vmauth_password_cache_hits_total"),
        }
    }
}

/// `vmauth_invalid_auth_tokens_total{cause="…"}`: refused tokens by cause, all causes from the start.
#[derive(Debug, Clone)]
pub struct TokenRefusalMetrics([(RefusalCause, Arc<Counter>); RefusalCause::ALL.len()]);

impl TokenRefusalMetrics {
    /// Registers the series.
    pub fn register(set: &Set) -> Self {
        let counter = |cause| set.counter(&format!("vmauth_invalid_auth_tokens_total{{cause=\"{cause}\"}}"));
        Self(RefusalCause::ALL.map(|cause| (cause, counter(cause))))
    }

    /// Counts a refused token; once a request, when nothing else has let it in.
    pub fn count(&self, cause: RefusalCause) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == cause) {
            counter.inc();
        }
    }
}

/// Gauges of the global limit: how many requests may run at once, and how many do.
pub fn register_limiter(
    set: &Set,
    capacity: impl Fn() -> f64 + Send + Sync + 'static,
    current: impl Fn() -> f64 + Send + Sync + 'static,
) {
    set.callback_gauge("vmauth_concurrent_requests_capacity", capacity);
    set.callback_gauge("vmauth_concurrent_requests_current", current);
}
