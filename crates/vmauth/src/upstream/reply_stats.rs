//! What the backends of one address have answered and how long they took (`docs/reference/metrics.md`).
//!
//! Belongs to the address, not to a config: a reload keeps it while any route names the address, and afterwards it goes.
//! Requests count by atomics alone, with the times that others have taken. The number of addresses is bounded when they
//! are first named; what comes beyond is counted together as `other`, so that no series ever stands for something else than
//! before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use vmkit::metrics::{Histogram, HistogramCounts, Kind, Page};

/// Addresses that have series of their own.
const MAX_ADDRESSES: usize = 1000;
/// The label of all others.
const OTHER: &str = "other";
/// Classes of statuses; the first one is for what is no status of HTTP.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Classes that are shown before they occur, so that their first reply is seen as an increase.
const ALWAYS: [usize; 3] = [2, 4, 5];

/// Replies of the backends of one address.
#[derive(Debug, Default)]
pub struct ReplyStats {
    by_class: [AtomicU64; CLASSES.len()],
    took: Histogram,
    /// Counts of `took` at the last two turns of the window, the older one first.
    turns: Mutex<[HistogramCounts; 2]>,
}

impl ReplyStats {
    /// A reply with this status has begun, whatever becomes of it.
    pub fn replied(&self, status: u16) {
        let class = usize::from(status / 100);
        if let Some(count) = self.by_class.get(class).or_else(|| self.by_class.first()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A request was answered to its end, so long after it was sent.
    pub fn took(&self, time: Duration) {
        self.took.update_duration(time);
    }

    /// Replies by class, those that occurred.
    pub fn by_class(&self) -> BTreeMap<&'static str, u64> {
        let counts = CLASSES.iter().zip(&self.by_class).map(|(class, count)| (*class, count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Durations of the last minutes: see [`AllReplyStats::turn`].
    pub fn recent(&self) -> HistogramCounts {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        self.took.counts().since(&turns[0])
    }

    fn turn(&self) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let [older, newer] = &mut *turns;
        *older = std::mem::replace(newer, self.took.counts());
    }
}

/// The statistics of all addresses in use.
#[derive(Debug, Default)]
pub struct AllReplyStats {
    by_address: Mutex<BTreeMap<String, Weak<ReplyStats>>>,
    others: Arc<ReplyStats>,
}

impl AllReplyStats {
    /// How often the window of [`ReplyStats::recent`] is to be moved on: it then covers the last one to two of these.
    pub const TURN: Duration = Duration::from_secs(150);

    /// The statistics of an address. Whoever holds them keeps them in use.
    pub fn of(&self, address: &str) -> Arc<ReplyStats> {
        self.of_at_most(address, MAX_ADDRESSES)
    }

    fn of_at_most(&self, address: &str, limit: usize) -> Arc<ReplyStats> {
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(address).and_then(Weak::upgrade) {
            return known;
        }
        if all.len() >= limit {
            all.retain(|_, stats| stats.strong_count() > 0);
        }
        if all.len() >= limit {
            return self.others.clone();
        }
        let stats = Arc::<ReplyStats>::default();
        all.insert(address.to_owned(), Arc::downgrade(&stats));
        stats
    }

    /// Moves the windows on.
    pub fn turn(&self) {
        self.in_use().iter().for_each(|(_, stats)| stats.turn());
    }

    /// Appends the series.
    pub fn write(&self, page: &mut Page) {
        let all = self.in_use();
        let family = "vmauth_backend_responses_total";
        if !all.is_empty() {
            page.family(family, Kind::Counter);
        }
        for (address, stats) in &all {
            for (class, (name, count)) in CLASSES.iter().zip(&stats.by_class).enumerate() {
                let count = count.load(Relaxed);
                if count > 0 || ALWAYS.contains(&class) {
                    page.labeled(family, &[("backend", address), ("code", name)], count as f64);
                }
            }
        }
        let family = "vmauth_backend_response_duration_seconds";
        if !all.is_empty() {
            page.family(family, Kind::Untyped);
        }
        for (address, stats) in &all {
            stats.took.write_labeled(page, family, &[("backend", address)]);
        }
    }

    /// By address; the others last, once there were any.
    fn in_use(&self) -> Vec<(String, Arc<ReplyStats>)> {
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, stats| stats.strong_count() > 0);
        let mut found: Vec<_> =
            all.iter().filter_map(|(address, stats)| Some((address.clone(), stats.upgrade()?))).collect();
        drop(all);
        if !self.others.by_class().is_empty() {
            found.push((OTHER.to_owned(), self.others.clone()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(all: &AllReplyStats) -> String {
        let mut page = Page::new(false);
        all.write(&mut page);
        String::from_utf8(page.into_bytes()).unwrap()
    }

    #[test]
    fn series_of_addresses_in_use() {
        let all = AllReplyStats::default();
        assert_eq!(text(&all), "");
        let (a, b) = (all.of("a:1"), all.of("b:2"));
        [204, 200, 301, 503, 99, 700].into_iter().for_each(|status| a.replied(status));
        a.took(Duration::from_millis(5));
        assert!(Arc::ptr_eq(&a, &all.of("a:1")));
        drop(b);
        assert_eq!(
            text(&all),
            "vmauth_backend_responses_total{backend=\"a:1\", code=\"other\"} 2\n\
             vmauth_backend_responses_total{backend=\"a:1\", code=\"2xx\"} 2\n\
             vmauth_backend_responses_total{backend=\"a:1\", code=\"3xx\"} 1\n\
             vmauth_backend_responses_total{backend=\"a:1\", code=\"4xx\"} 0\n\
             vmauth_backend_responses_total{backend=\"a:1\", code=\"5xx\"} 1\n\
             vmauth_backend_response_duration_seconds_bucket{backend=\"a:1\",vmrange=\"4.642e-03...5.275e-03\"} 1\n\
             vmauth_backend_response_duration_seconds_sum{backend=\"a:1\"} 0.005\n\
             vmauth_backend_response_duration_seconds_count{backend=\"a:1\"} 1\n"
        );
        drop(a);
        assert_eq!(text(&all), "");
        assert!(all.of("a:1").by_class().is_empty(), "who comes back begins anew");
    }

    #[test]
    fn too_many_addresses_are_counted_together() {
        let all = AllReplyStats::default();
        let (a, b, c) = (all.of_at_most("a", 2), all.of_at_most("b", 2), all.of_at_most("c", 2));
        assert!(!text(&all).contains("other"));
        [&a, &b, &c].into_iter().for_each(|stats| stats.replied(200));
        all.of_at_most("d", 2).replied(200);
        let shown = text(&all);
        assert!(shown.contains("backend=\"b\", code=\"2xx\"} 1\n"), "{shown}");
        assert!(shown.contains("backend=\"other\", code=\"2xx\"} 2\n") && !shown.contains("\"c\""), "{shown}");
        // A place that becomes free is taken by who comes next; `c` stays where it was counted.
        drop(b);
        all.of_at_most("e", 2).replied(200);
        c.replied(200);
        assert!(text(&all).contains("backend=\"other\", code=\"2xx\"} 3\n"));
    }

    #[test]
    fn the_window_moves() {
        let all = AllReplyStats::default();
        let a = all.of("a");
        let took = |seconds: u64| a.took(Duration::from_secs(seconds));
        took(1);
        all.turn();
        took(2);
        assert_eq!(a.recent().total(), 2);
        all.turn();
        assert_eq!(a.recent().total(), 1);
        took(3);
        assert_eq!(a.recent().total(), 2);
        all.turn();
        all.turn();
        assert_eq!((a.recent().total(), a.recent().quantile(0.5)), (0, None));
    }
}
