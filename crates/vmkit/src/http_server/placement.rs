//! Which worker serves a new connection: the one with the fewest open ones, each counted the more the busier its worker
//! is.
//!
//! Counts alone are not enough: clients that open one idle and one busy connection in turn would put all the work on one
//! worker. How busy a worker is comes from its runtime, which keeps that figure anyway, and is read at most once a second
//! while connections are accepted. Nothing here may touch a worker or its connections.

use std::cell::{Ref, RefCell};
use std::time::Duration;

use tokio::runtime::RuntimeMetrics;
use tokio::time::Instant;

/// How long a reading is good.
const READ_EVERY: Duration = Duration::from_secs(1);
/// A worker that is never idle has so many steps; small differences are noise and must not decide.
const STEPS: u32 = 4;

/// Index of the worker for the next connection, from the open connections and the steps of each; the first one wins a
/// tie, because it is the acceptor, and hands nothing over. A connection of a worker that is never idle counts twice.
pub(super) fn least_loaded(workers: impl Iterator<Item = (usize, u32)>) -> usize {
    let weight = |(open, steps): (usize, u32)| (open + 1).saturating_mul((STEPS + steps) as usize);
    workers.map(weight).enumerate().min_by_key(|&(_, weight)| weight).map_or(0, |(index, _)| index)
}

/// How busy the workers were lately, as their acceptor reads it.
pub(super) struct Busy {
    runtimes: Vec<RuntimeMetrics>,
    last: RefCell<Reading>,
}

struct Reading {
    at: Instant,
    /// Time that each worker was busy since it started.
    totals: Vec<Duration>,
    /// 0 for idle to `STEPS` for busy all the time, between the last two readings.
    steps: Vec<u32>,
}

impl Busy {
    pub(super) fn of(runtimes: Vec<RuntimeMetrics>) -> Self {
        let (totals, steps) = (vec![Duration::ZERO; runtimes.len()], vec![0; runtimes.len()]);
        Self { runtimes, last: RefCell::new(Reading { at: Instant::now(), totals, steps }) }
    }

    /// The steps of each worker.
    pub(super) fn now(&self) -> Ref<'_, [u32]> {
        let now = Instant::now();
        if now - self.last.borrow().at >= READ_EVERY {
            let totals = self.runtimes.iter().map(|runtime| runtime.worker_total_busy_duration(0)).collect();
            self.last.borrow_mut().take(now, totals);
        }
        Ref::map(self.last.borrow(), |reading| reading.steps.as_slice())
    }
}

impl Reading {
    fn take(&mut self, now: Instant, totals: Vec<Duration>) {
        let passed = now - self.at;
        let busy = totals.iter().zip(&self.totals).map(|(now, before)| now.saturating_sub(*before));
        self.steps = busy.map(|busy| steps(busy, passed)).collect();
        (self.at, self.totals) = (now, totals);
    }
}

fn steps(busy: Duration, passed: Duration) -> u32 {
    let share = busy.as_secs_f64() / passed.as_secs_f64().max(f64::MIN_POSITIVE);
    // Truncation is meant: what is busy for less than a step of the time counts as idle.
    (share.min(1.0) * f64::from(STEPS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_connections_count_and_the_acceptor_wins_a_tie() {
        let f = |workers: &[(usize, u32)], want| assert_eq!(least_loaded(workers.iter().copied()), want, "{workers:?}");
        f(&[(0, 0), (0, 0)], 0);
        f(&[(1, 0), (0, 0)], 1);
        f(&[(1, 0), (1, 0)], 0);
        f(&[(3, 0), (2, 0), (2, 0)], 1);
        f(&[], 0);
    }

    #[test]
    fn a_busy_worker_gets_fewer() {
        let f = |workers: &[(usize, u32)], want| assert_eq!(least_loaded(workers.iter().copied()), want, "{workers:?}");
        f(&[(100, 2), (100, 0)], 1);
        f(&[(100, 2), (148, 0)], 1);
        f(&[(100, 2), (152, 0)], 0);
        f(&[(100, 4), (100, 4)], 0);
    }

    #[test]
    fn busy_time_is_counted_from_reading_to_reading() {
        let at = Instant::now();
        let mut reading = Reading { at, totals: vec![Duration::ZERO; 2], steps: vec![0; 2] };
        let second = |n| at + Duration::from_secs(n);
        reading.take(second(10), vec![Duration::from_secs(10), Duration::from_secs(1)]);
        assert_eq!(reading.steps, [4, 0]);
        reading.take(second(12), vec![Duration::from_secs(10), Duration::from_secs(2)]);
        assert_eq!(reading.steps, [0, 2], "what was before does not count");
    }

    #[test]
    fn a_runtime_tells_how_long_it_was_busy() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let busy = Busy::of(vec![runtime.metrics()]);
        assert_eq!(*busy.now(), [0]);
        let worked = || {
            runtime.block_on(async {
                let end = std::time::Instant::now() + Duration::from_millis(5);
                while std::time::Instant::now() < end {
                    tokio::task::yield_now().await;
                }
            });
            runtime.metrics().worker_total_busy_duration(0)
        };
        assert!((0..1000).any(|_| worked() > Duration::ZERO), "a runtime of this kind keeps the figure");
    }
}
