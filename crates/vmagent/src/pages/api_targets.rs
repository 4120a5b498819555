//! `/api/v1/targets`: targets as JSON, in the form that Prometheus gave it.

use super::view::{JobView, TargetView};
use super::{Args, JSON, PageReply};
use crate::labels::Labels;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(serde::Serialize)]
struct Answer {
    status: &'static str,
    data: Data,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    active_targets: Vec<Active>,
    dropped_targets: Vec<Dropped>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    discovered_labels: LabelMap,
    labels: LabelMap,
    scrape_pool: String,
    scrape_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    last_samples_scraped: u64,
    health: &'static str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Dropped {
    discovered_labels: LabelMap,
}

struct LabelMap(Labels);

impl Serialize for LabelMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for label in self.0.iter() {
            map.serialize_entry(label.name, label.value)?;
        }
        map.end()
    }
}

/// The answer to `state` (`active`, `dropped`, `any`) and `scrapePool`, which picks active targets only.
pub fn answer(jobs: &[JobView], args: &Args<'_>) -> PageReply {
    let (state, pool) = (args.text("state"), args.text("scrapePool"));
    let any = matches!(&*state, "" | "any");
    let mut data = Data { active_targets: Vec::new(), dropped_targets: Vec::new() };
    for job in jobs {
        if (any || state == "active") && (pool.is_empty() || pool == job.name) {
            data.active_targets.extend(job.targets.iter().map(|target| active(job, target)));
        }
        if any || state == "dropped" {
            let dropped = job.dropped.iter().map(|target| target.original.labels());
            data.dropped_targets.extend(dropped.map(|labels| Dropped { discovered_labels: LabelMap(labels) }));
        }
    }
    let body = serde_json::to_string(&Answer { status: "success", data }).unwrap_or_default();
    PageReply::new(JSON, escaped(&body))
}

/// `<`, `>` and `&` of JSON texts as escapes, so that a browser never takes the answer for HTML.
pub(super) fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('&', "\\u0026")
}

fn active(job: &JobView, target: &TargetView) -> Active {
    Active {
        discovered_labels: LabelMap(target.original.labels()),
        labels: LabelMap(target.labels.clone()),
        scrape_pool: job.name.clone(),
        scrape_url: target.url.clone(),
        last_error: target.error.clone(),
        last_scrape: rfc3339(target.last_scrape.unwrap_or(UNIX_EPOCH)),
        last_scrape_duration: target.duration.as_secs_f64(),
        last_samples_scraped: target.samples,
        health: if target.up { "up" } else { "down" },
    }
}

/// UTC with milliseconds, as Go prints it: without a fraction that is zero.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day comes last.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_utc() {
        let f = |millis: u64, want: &str| assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), want);
        f(0, "1970-01-01T00:00:00Z");
        f(951_782_400_120, "2000-02-29T00:00:00.12Z");
        f(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        f(1_795_799_411_050, "2026-11-27T17:10:11.05Z");
    }
}
