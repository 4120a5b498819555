//! Numbers of requests that each worker keeps for itself: replies by status, and how they ended.
//!
//! Only the worker that owns them writes, so counting is a load and a store of a line that no other core wants; the
//! metrics page adds the workers up. Statuses outside 100…599 come from odd backends and are counted together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use vmkit::metrics::{Kind, Page};

use crate::ending::End;

const STATUSES: std::ops::Range<u16> = 100..600;

/// Replies that did not reach their end, by whom.
const CUTS: [End; 4] = [End::ByBackend, End::ByClient, End::ByLimit, End::Cut];

/// The numbers of one worker.
#[derive(Debug)]
pub struct WorkerCounters {
    /// By status; the last place is for all others.
    statuses: Box<[AtomicU64]>,
    cuts: [AtomicU64; CUTS.len()],
}

impl Default for WorkerCounters {
    fn default() -> Self {
        let places = STATUSES.len() + 1;
        Self { statuses: std::iter::repeat_with(AtomicU64::default).take(places).collect(), cuts: Default::default() }
    }
}

impl WorkerCounters {
    /// A request ended after a reply with this status; 0: without any. `is_own`: the reply was made here.
    pub fn ended(&self, status: u16, end: End, is_own: bool) {
        if status != 0 {
            self.replied(status);
        }
        // Before a reply began there was nothing to cut, unless the process stopped; own answers are whole.
        let is_cut = (status != 0 || end == End::Cut) && !is_own;
        if let Some((_, count)) = CUTS.iter().zip(&self.cuts).find(|(cut, _)| **cut == end && is_cut) {
            add_one(count);
        }
    }

    /// A reply with this status was sent.
    pub fn replied(&self, status: u16) {
        let place = match STATUSES.contains(&status) {
            true => usize::from(status - STATUSES.start),
            false => STATUSES.len(),
        };
        if let Some(count) = self.statuses.get(place) {
            add_one(count);
        }
    }
}

/// Correct for one writer only.
fn add_one(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

/// The numbers of all workers.
#[derive(Debug, Default)]
pub struct AllCounters(Mutex<Vec<Arc<WorkerCounters>>>);

impl AllCounters {
    /// The numbers of one more worker.
    pub fn worker(&self) -> Arc<WorkerCounters> {
        let own = Arc::<WorkerCounters>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    }

    /// Replies by status, those that were sent at all; 0 stands for odd ones.
    pub fn by_status(&self) -> Vec<(u16, u64)> {
        let statuses = STATUSES.chain([0]).enumerate();
        statuses
            .map(|(place, status)| (status, self.sum(|worker| worker.statuses.get(place))))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Cut replies by who cut them.
    pub fn cuts(&self) -> [(&'static str, u64); CUTS.len()] {
        let mut place = 0;
        CUTS.map(|end| {
            let count = self.sum(|worker| worker.cuts.get(place));
            place += 1;
            (if end == End::Cut { "shutdown" } else { end.name() }, count)
        })
    }

    /// `vmauth_http_responses_total{code="…"}` and `vmauth_http_cut_responses_total{by="…"}`.
    pub fn write_metrics(&self, page: &mut Page) {
        let statuses = self.by_status();
        let family = "vmauth_http_responses_total";
        if !statuses.is_empty() {
            page.family(family, Kind::Counter);
        }
        for (status, count) in statuses {
            let code = if status == 0 { "other".to_owned() } else { status.to_string() };
            page.labeled(family, &[("code", &code)], count as f64);
        }
        let family = "vmauth_http_cut_responses_total";
        page.family(family, Kind::Counter);
        for (by, count) in self.cuts() {
            page.labeled(family, &[("by", by)], count as f64);
        }
    }

    fn sum(&self, read: impl Fn(&WorkerCounters) -> Option<&AtomicU64>) -> u64 {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().filter_map(|worker| read(worker)).map(|count| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up() {
        let all = AllCounters::default();
        let (one, other) = (all.worker(), all.worker());
        one.ended(200, End::Complete, false);
        other.ended(200, End::ByBackend, false);
        other.ended(599, End::Failed, true);
        other.ended(999, End::Complete, false);
        other.ended(0, End::ByClient, false);
        other.ended(429, End::ByLimit, true);
        one.ended(206, End::ByLimit, false);
        one.replied(401);
        assert_eq!(all.by_status(), [(200, 2), (206, 1), (401, 1), (429, 1), (599, 1), (0, 1)]);
        assert_eq!(all.cuts(), [("backend", 1), ("client", 0), ("limit", 1), ("shutdown", 0)]);
        let mut page = Page::new(false);
        all.write_metrics(&mut page);
        let text = String::from_utf8(page.into_bytes()).unwrap();
        for line in [
            "vmauth_http_responses_total{code=\"200\"} 2\n",
            "vmauth_http_responses_total{code=\"other\"} 1\n",
            "vmauth_http_cut_responses_total{by=\"backend\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
