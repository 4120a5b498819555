//! `health_check`, `outlier_detection`, `slow_start` and `retry_budget` of users and entries of `url_map`: an object of an entry replaces the user's.

use super::health_checks;
use super::model::Watching;
use super::raw::{RawBudget, RawOutliers, RawWatching};
use super::stage::{Problems, Stage};
use super::values::{DURATION, Values};
use crate::upstream::outliers::OutlierSpec;
use crate::upstream::retry_budget::BudgetSpec;
use std::sync::Arc;
use std::time::Duration;
use vmkit::units::GoDuration;
use vmkit::yaml::{At, Place};

const USUAL: OutlierSpec = OutlierSpec {
    consecutive_errors: 5,
    error_percent: 0,
    min_requests: 20,
    interval: Duration::from_secs(10),
    ejection_time: Duration::from_secs(30),
    max_ejection_time: Duration::from_secs(300),
    max_ejection_percent: 50,
};
const SHORTEST_TIME: Duration = Duration::from_millis(100);
const LONGEST_TIME: Duration = Duration::from_secs(24 * 3600);
const MOST_ERRORS: u32 = 1_000_000;
/// As good as no budget: a request is tried at most once at each backend.
const MOST_PERCENT: u32 = 10_000;

/// Replaces what an inner object says.
pub(super) fn inner(
    watching: &mut Watching,
    raw: &RawWatching<'_>,
    place: &Place<'_>,
    stage: Stage,
    problems: &mut Problems,
) {
    if let Some(check) = &raw.health_check {
        watching.check = health_checks::build(check, &place.field("health_check"), stage, problems);
    }
    if let Some(At { value, .. }) = &raw.outlier_detection {
        let place = &place.field("outlier_detection");
        let spec = outliers(value, &mut Values { place, stage, problems });
        watching.outliers = (spec.consecutive_errors > 0 || spec.error_percent > 0).then(|| Arc::new(spec));
    }
    if let Some(text) = raw.slow_start {
        let is_off = text.value.parse::<GoDuration>().is_ok_and(|time| time.0 == 0);
        let mut values = Values { place, stage, problems };
        let mut read = || values.duration("slow_start", Some(text), SHORTEST_TIME..=LONGEST_TIME, DURATION);
        watching.slow_start = if is_off { None } else { read() };
    }
    if let Some(At { value, .. }) = &raw.retry_budget {
        let place = &place.field("retry_budget");
        watching.retry_budget = Some(budget(value, &mut Values { place, stage, problems }));
    }
}

fn budget(raw: &RawBudget, values: &mut Values<'_>) -> BudgetSpec {
    BudgetSpec {
        percent: values.count("percent", raw.percent, 20, 0..=MOST_PERCENT),
        min_per_second: values.count("min_per_second", raw.min_per_second, 10, 0..=MOST_ERRORS),
    }
}

fn outliers(raw: &RawOutliers<'_>, values: &mut Values<'_>) -> OutlierSpec {
    let ejection_time = values.duration("ejection_time", raw.ejection_time, SHORTEST_TIME..=LONGEST_TIME, DURATION);
    let ejection_time = ejection_time.unwrap_or(USUAL.ejection_time);
    let longest = USUAL.max_ejection_time.max(ejection_time);
    OutlierSpec {
        consecutive_errors: values.count(
            "consecutive_errors",
            raw.consecutive_errors,
            USUAL.consecutive_errors,
            0..=MOST_ERRORS,
        ),
        error_percent: values.count("error_percent", raw.error_percent, USUAL.error_percent, 0..=100),
        min_requests: values.count("min_requests", raw.min_requests, USUAL.min_requests, 1..=MOST_ERRORS),
        interval: values
            .duration("interval", raw.interval, SHORTEST_TIME..=LONGEST_TIME, DURATION)
            .unwrap_or(USUAL.interval),
        ejection_time,
        max_ejection_time: values
            .duration("max_ejection_time", raw.max_ejection_time, ejection_time..=LONGEST_TIME, DURATION)
            .unwrap_or(longest),
        max_ejection_percent: values.count(
            "max_ejection_percent",
            raw.max_ejection_percent,
            USUAL.max_ejection_percent,
            1..=100,
        ),
    }
}
