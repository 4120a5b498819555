//! Active health checks: a backend is asked by HTTP whether it can serve (docs/reference/balancing.md#health-checks).
//!
//! A [`Checked`] is what is known about one backend by one check. Routes, users and generations of the config that ask
//! for the same check of the same backend share it (`checks`), so that a reload of an unchanged backend neither forgets
//! what was found out nor asks twice. A task of the control plane asks (`prober`), one exchange each time (`http_probe`).
//! What it finds is pushed to the backends, because balancing must see it without looking anywhere else.
//!
//! Nothing here may run on a worker, keep a backend alive, or decide who is chosen.

pub mod checks;
mod http_probe;
pub mod prober;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::DropGuard;
use vmkit::redact;
use vmkit::secret::Secret;

use super::fault::Fault;
use super::peer::Peer;

/// `health_check` of a user or an entry of `url_map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// Path and query; begins with a slash and replaces those of the backend's URL.
    pub path: String,
    /// Time from one probe to the next.
    pub interval: Duration,
    /// Longest time of one probe, connecting included.
    pub timeout: Duration,
    /// Statuses of a backend that can serve; never empty.
    pub expected_status: Vec<RangeInclusive<u16>>,
    /// Good probes in a row after which a backend is used again.
    pub rise: u32,
    /// Failed ones after which it no longer is.
    pub fall: u32,
    /// Header fields of the probe besides `Host` and `User-Agent`, which they may replace.
    pub headers: Vec<(String, Secret)>,
}

impl CheckSpec {
    /// The path as it may be shown.
    pub fn shown_path(&self) -> String {
        String::from_utf8_lossy(&redact::url_args(self.path.as_bytes())).into_owned()
    }

    /// `200, 204, 300-399`
    pub fn shown_statuses(&self) -> String {
        let one = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        };
        self.expected_status.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn expects(&self, status: u16) -> bool {
        self.expected_status.iter().any(|range| range.contains(&status))
    }
}

/// What a probe needs to know.
#[derive(Debug)]
pub(super) struct Question {
    spec: Arc<CheckSpec>,
    peer: Arc<Peer>,
    /// `Host` of the probe.
    authority: String,
    /// `host:port` as users see it.
    shown: String,
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFailure {
    /// The kind.
    pub fault: Fault,
    /// In the words of the log.
    pub text: String,
}

/// A probe that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How long it took.
    pub took: Duration,
    /// The status, or what was wrong.
    pub result: Result<u16, ProbeFailure>,
}

/// What is known by a check, for pages and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckFacts {
    /// Whether the backend is held for unable to serve.
    pub is_down: bool,
    /// Since when, in seconds since 1970; `None` before the first probe.
    pub since: Option<u64>,
    /// Probes so far.
    pub probes: u64,
    /// Failed ones by kind, in the order of [`Fault::ALL`].
    pub failures: [u64; Fault::ALL.len()],
    /// The last one.
    pub last: Option<Probed>,
}

/// Is told when a check changes its mind.
pub(super) trait Judged: Send + Sync {
    /// Whether the backend is held for unable to serve.
    fn set_down(&self, is_down: bool);
}

/// What one check knows about one backend. Asking ends when nobody holds it any more.
pub struct Checked {
    question: Arc<Question>,
    state: Mutex<State>,
    _until_dropped: DropGuard,
}

#[derive(Default)]
struct State {
    tally: Tally,
    facts: CheckFacts,
    judged: Vec<Weak<dyn Judged>>,
}

impl Checked {
    fn new(question: Arc<Question>, until_dropped: DropGuard) -> Self {
        Self { question, state: Mutex::default(), _until_dropped: until_dropped }
    }

    /// What is asked.
    pub fn spec(&self) -> &CheckSpec {
        &self.question.spec
    }

    /// What is known.
    pub fn facts(&self) -> CheckFacts {
        self.lock().facts.clone()
    }

    /// Tells `judged` what is known, now and later.
    pub(super) fn subscribe(&self, judged: Weak<dyn Judged>) {
        let mut state = self.lock();
        if let Some(judged) = judged.upgrade().filter(|_| state.facts.is_down) {
            judged.set_down(true);
        }
        if state.judged.len() >= 8 && state.judged.len().is_power_of_two() {
            state.judged.retain(|judged| judged.strong_count() > 0);
        }
        state.judged.push(judged);
    }

    /// Takes the result of a probe.
    fn note(&self, probed: Probed) {
        let mut state = self.lock();
        let is_first = state.facts.last.is_none();
        state.facts.probes += 1;
        if let Err(failure) = &probed.result {
            state.facts.failures[failure.fault.place()] += 1;
        }
        let spec = &self.question.spec;
        let changed = state.tally.count(probed.result.is_ok(), spec.rise, spec.fall);
        if is_first || changed.is_some() {
            state.facts.since = Some(probed.at);
        }
        if let Some(is_down) = changed {
            state.facts.is_down = is_down;
            state.judged.retain(|judged| judged.upgrade().map(|judged| judged.set_down(is_down)).is_some());
            self.log(is_down, &probed);
        }
        state.facts.last = Some(probed);
    }

    fn log(&self, is_down: bool, probed: &Probed) {
        let (shown, path) = (&self.question.shown, self.question.spec.shown_path());
        match &probed.result {
            Err(failure) if is_down => {
                vmkit::warn!("the backend at {shown} is down by its health check GET {path}: {}", failure.text);
            }
            Ok(status) if !is_down => {
                vmkit::info!("the backend at {shown} is up again by its health check GET {path}: status {status}");
            }
            // A failure brings nobody up, a success nobody down.
            Ok(_) | Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checked").field("backend", &self.question.shown).finish_non_exhaustive()
    }
}

/// Probes in a row that speak against what is believed. A backend is up until the first probe, which decides alone:
/// one that is dead at the start must not get requests for as long as `fall` probes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    was_asked: bool,
    is_down: bool,
    against: u32,
}

impl Tally {
    /// Says whether the backend is down if that has changed.
    fn count(&mut self, is_good: bool, rise: u32, fall: u32) -> Option<bool> {
        let decides_alone = !std::mem::replace(&mut self.was_asked, true);
        if is_good != self.is_down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if !decides_alone && self.against < if self.is_down { rise } else { fall } {
            return None;
        }
        self.against = 0;
        self.is_down = !self.is_down;
        Some(self.is_down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall() {
        let f = |probes: &str, want: &str| {
            let mut tally = Tally::default();
            let states: String = probes
                .chars()
                .map(|probe| {
                    tally.count(probe == '+', 2, 3);
                    if tally.is_down { 'd' } else { 'u' }
                })
                .collect();
            assert_eq!(states, want, "{probes}");
        };
        f("+---", "uuud");
        f("+--+--+---", "uuuuuuuuud");
        f("-", "d");
        f("-+-++", "ddddu");
        f("-++---", "dduuud");
    }

    #[test]
    fn ranges_of_statuses() {
        let spec = CheckSpec {
            path: "/health?authKey=secret1".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            expected_status: vec![200..=204, 404..=404],
            rise: 2,
            fall: 3,
            headers: vec![("X-Key".to_owned(), "secret2".into())],
        };
        assert_eq!([199, 200, 204, 205, 404].map(|status| spec.expects(status)), [false, true, true, false, true]);
        assert_eq!(spec.shown_statuses(), "200-204, 404");
        assert!(!spec.shown_path().contains("secret1") && !format!("{:?}", spec.headers).contains("secret2"));
    }
}
