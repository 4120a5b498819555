//! The names under which the counters of users are on the page of metrics (docs/reference/metrics.md).
//!
//! Users with equal labels share their counters, so they share all series; the gauges show the slots of the first of them.

use std::sync::Arc;

use vmkit::metrics::{Reading, SeriesGroup, Set};

use super::UserMetrics;
use crate::admission::concurrency::Limiter;

/// The series of one user.
struct UserSeries {
    metrics: Arc<UserMetrics>,
    limiter: Arc<Limiter>,
}

/// The series of a user with a `retry_budget`.
struct BudgetSeries(Arc<UserMetrics>);

// In the order of `UserSeries::read`.
macro_rules! families {
    ($prefix:literal) => {
        &[
            concat!($prefix, "_requests_total"),
            concat!($prefix, "_request_errors_total"),
            concat!($prefix, "_request_backend_requests_total"),
            concat!($prefix, "_request_backend_errors_total"),
            concat!($prefix, "_request_duration_seconds"),
            concat!($prefix, "_concurrent_requests_limit_reached_total"),
            concat!($prefix, "_ip_denies_total"),
            concat!($prefix, "_path_denies_total"),
            concat!($prefix, "_concurrent_requests_capacity"),
            concat!($prefix, "_concurrent_requests_current"),
        ]
    };
}

static OF_USERS: &[&str] = families!("vmauth_user");
static OF_ANYBODY: &[&str] = families!("vmauth_unauthorized_user");
static BUDGET_OF_USERS: &[&str] = &["vmauth_user_retries_over_budget_total"];
static BUDGET_OF_ANYBODY: &[&str] = &["vmauth_unauthorized_user_retries_over_budget_total"];

impl SeriesGroup for UserSeries {
    fn read(&self, family: usize) -> Reading<'_> {
        let Self { metrics, limiter } = self;
        match family {
            0 => Reading::Counter(&metrics.requests),
            1 => Reading::Counter(&metrics.request_errors),
            2 => Reading::Counter(&metrics.backend_requests),
            3 => Reading::Counter(&metrics.backend_errors),
            4 => Reading::Summary(&metrics.duration),
            5 => Reading::Counter(&metrics.limit_reached),
            6 => Reading::Counter(&metrics.ip_denies),
            7 => Reading::Counter(&metrics.path_denies),
            8 => Reading::Gauge(f64::from(limiter.capacity())),
            _ => Reading::Gauge(f64::from(limiter.current())),
        }
    }
}

impl SeriesGroup for BudgetSeries {
    fn read(&self, _family: usize) -> Reading<'_> {
        Reading::Counter(&self.0.retries_over_budget)
    }
}

/// Puts the series of a user, or of `unauthorized_user`, into the set of a generation, under the given labels.
pub fn register(set: &Set, is_anonymous: bool, labels: &Arc<str>, metrics: &Arc<UserMetrics>, limiter: &Arc<Limiter>) {
    let families = if is_anonymous { OF_ANYBODY } else { OF_USERS };
    let series = UserSeries { metrics: metrics.clone(), limiter: limiter.clone() };
    set.register_group(families, labels.clone(), series);
}

/// Adds the counter of users with a `retry_budget`.
pub fn register_budget(set: &Set, is_anonymous: bool, labels: &Arc<str>, metrics: &Arc<UserMetrics>) {
    let families = if is_anonymous { BUDGET_OF_ANYBODY } else { BUDGET_OF_USERS };
    set.register_group(families, labels.clone(), BudgetSeries(metrics.clone()));
}
