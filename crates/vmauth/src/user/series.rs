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

/// The table: the end of each name, and what its series shows.
macro_rules! series {
    ($($end:literal => $read:expr,)*) => {
        static OF_USERS: &[&str] = &[$(concat!("vmauth_user_", $end)),*];
        static OF_ANYBODY: &[&str] = &[$(concat!("vmauth_unauthorized_user_", $end)),*];
        static READINGS: &[for<'s> fn(&'s UserSeries) -> Reading<'s>] = &[$($read),*];
    };
}

series! {
    "requests_total" => |user| Reading::Counter(&user.metrics.requests),
    "request_errors_total" => |user| Reading::Counter(&user.metrics.request_errors),
    "request_backend_requests_total" => |user| Reading::Counter(&user.metrics.backend_requests),
    "request_backend_errors_total" => |user| Reading::Counter(&user.metrics.backend_errors),
    "request_duration_seconds" => |user| Reading::Summary(&user.metrics.duration),
    "concurrent_requests_limit_reached_total" => |user| Reading::Counter(&user.metrics.limit_reached),
    "ip_denies_total" => |user| Reading::Counter(&user.metrics.ip_denies),
    "path_denies_total" => |user| Reading::Counter(&user.metrics.path_denies),
    "concurrent_requests_capacity" => |user| Reading::Gauge(f64::from(user.limiter.capacity())),
    "concurrent_requests_current" => |user| Reading::Gauge(f64::from(user.limiter.current())),
}

static BUDGET_OF_USERS: &[&str] = &["vmauth_user_retries_over_budget_total"];
static BUDGET_OF_ANYBODY: &[&str] = &["vmauth_unauthorized_user_retries_over_budget_total"];

impl SeriesGroup for UserSeries {
    fn read(&self, family: usize) -> Reading<'_> {
        READINGS.get(family).expect("BUG: the table has a reading for each name")(self)
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
