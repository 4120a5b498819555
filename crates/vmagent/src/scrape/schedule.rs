//! When a target is scraped, and the timestamps that its samples get.
//!
//! A target keeps its place within the interval over restarts: the place comes from a hash of what it is, or from
//! `scrape_align_interval` and `scrape_offset`. Ticks that were missed are left out; scrapes never pile up.

use std::time::Duration;

use xxhash_rust::xxh64::Xxh64;

use super::cluster::Cluster;
use super::target::Target;

/// How long to wait for the first scrape. `now` is the time since the epoch.
pub fn first_delay(target: &Target, cluster: &Cluster, now: Duration) -> Duration {
    let interval = target.interval.as_nanos().max(1);
    let (align, offset) = (target.settings.align, target.settings.offset);
    let delay = match (align, offset) {
        (None, None) => {
            let place = (u128::from(place(target, cluster)) * interval) >> 64;
            (place + interval - now.as_nanos() % interval) % interval
        }
        (align, offset) => {
            let align = align.unwrap_or(target.interval).as_nanos().max(1);
            let to_multiple = (align - now.as_nanos() % align) % align;
            (to_multiple + offset.unwrap_or_default().as_nanos()) % interval
        }
    };
    Duration::from_nanos(u64::try_from(delay).unwrap_or(0))
}

/// The place of a target, in 2^64ths of its interval.
fn place(target: &Target, cluster: &Cluster) -> u64 {
    let mut hash = Xxh64::new(0);
    if cluster.members > 1 || !cluster.name.is_empty() {
        hash.update(format!("{}:{},", cluster.name, cluster.member).as_bytes());
    }
    hash.update(target.url.to_string().as_bytes());
    hash.update(target.labels.to_string().as_bytes());
    hash.digest()
}

/// Timestamps of successive scrapes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timestamps {
    last_ms: Option<i64>,
}

impl Timestamps {
    /// The timestamp of a scrape that begins at `real_ms`: one interval after the last one, unless that is more than a
    /// tenth of the interval off.
    pub fn next(&mut self, real_ms: i64, interval: Duration) -> i64 {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let planned = self.last_ms.map(|last| last.saturating_add(interval));
        let timestamp = match planned {
            Some(planned) if (planned - real_ms).abs() <= interval / 10 => planned,
            _ => real_ms,
        };
        self.last_ms = Some(timestamp);
        timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::target::test_target;

    #[test]
    fn alignment_and_offset() {
        let f = |job: &str, now_ms: u64, want_ms: u128| {
            let delay = first_delay(&test_target(job), &Cluster::default(), Duration::from_millis(now_ms));
            assert_eq!(delay.as_millis(), want_ms, "{job} {now_ms}");
        };
        f("scrape_interval: 2s, scrape_offset: 500ms", 10_000, 500);
        f("scrape_interval: 2s, scrape_offset: 500ms", 10_600, 1_900);
        f("scrape_interval: 2s, scrape_align_interval: 2s", 10_100, 1_900);
        f("scrape_interval: 2s, scrape_align_interval: 1s", 10_100, 900);
        f("scrape_interval: 2s, scrape_align_interval: 2s, scrape_offset: 700ms", 10_100, 600);
        f("scrape_interval: 2s, scrape_align_interval: 1h", 10_000, 0);
        f("scrape_interval: 2s, scrape_offset: 0s", 10_000, 0);
    }

    #[test]
    fn the_place_does_not_depend_on_the_time() {
        let target = test_target("scrape_interval: 10s");
        let at = |now_ms: u64| {
            let now = Duration::from_millis(now_ms);
            (now + first_delay(&target, &Cluster::default(), now)).as_nanos() % 10_000_000_000
        };
        assert_eq!(at(0), at(123_456));
        assert_eq!(at(0), at(9_999_999));
        let other = Cluster { name: "other".to_owned(), ..Cluster::default() };
        assert_ne!(place(&target, &Cluster::default()), place(&target, &other));
    }

    #[test]
    fn timestamps_are_an_interval_apart_unless_time_has_jumped() {
        let mut timestamps = Timestamps::default();
        let mut f = |real, want| assert_eq!(timestamps.next(real, Duration::from_secs(1)), want);
        f(10_003, 10_003);
        f(11_010, 11_003);
        f(11_950, 12_003);
        f(13_200, 13_200);
        f(14_200, 14_200);
    }
}
