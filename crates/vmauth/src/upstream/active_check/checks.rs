//! All health checks in use: the same check of the same backend is one [`Checked`], whoever asks for it.
//!
//! Lives as long as the process and holds nothing alive: what no generation of the config uses any more ends by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{CheckSpec, Checked, Question};
use crate::upstream::peer::Peer;

/// Begins to ask.
pub(in crate::upstream) struct Order {
    pub(super) question: Arc<Question>,
    pub(super) check: Weak<Checked>,
    /// Ends when nobody holds the check any more.
    pub(super) end: CancellationToken,
}

/// Checks that wait for the prober. As many as the config has backends; nobody takes them where nothing is served.
pub struct Orders(pub(super) UnboundedReceiver<Order>);

/// All checks in use, by the number of their peer.
pub struct Checks {
    known: Mutex<HashMap<u64, Vec<Weak<Checked>>>>,
    orders: UnboundedSender<Order>,
}

impl Checks {
    /// No check yet, and what the prober takes.
    pub fn new() -> (Self, Orders) {
        let (orders, taken) = unbounded_channel();
        (Self { known: Mutex::default(), orders }, Orders(taken))
    }

    /// The check of this backend: one that runs already, or a new one, which begins soon after the process serves.
    ///
    /// `authority` is the `Host` of probes, `shown` the backend's address in messages.
    pub fn check(&self, spec: &Arc<CheckSpec>, peer: &Arc<Peer>, authority: &str, shown: String) -> Arc<Checked> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= 64 && known.len().is_power_of_two() {
            known.retain(|_, of_peer| of_peer.iter().any(|check| check.strong_count() > 0));
        }
        let of_peer = known.entry(peer.id()).or_default();
        of_peer.retain(|check| check.strong_count() > 0);
        let is_same = |check: &Arc<Checked>| {
            let question = &check.question;
            question.authority == authority && *question.spec == **spec
        };
        if let Some(check) = of_peer.iter().filter_map(Weak::upgrade).find(is_same) {
            return check;
        }
        let (spec, peer, authority) = (spec.clone(), peer.clone(), authority.to_owned());
        let question = Arc::new(Question { spec, peer, authority, shown });
        let end = CancellationToken::new();
        let check = Arc::new(Checked::new(question.clone(), end.clone().drop_guard()));
        of_peer.push(Arc::downgrade(&check));
        // Without a prober nothing is asked: the config is only looked at.
        let _ = self.orders.send(Order { question, check: Arc::downgrade(&check), end });
        check
    }

    /// Checks that somebody holds.
    #[cfg(test)]
    fn count(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().filter(|check| check.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::active_check::{Judged, ProbeFailure, Probed};
    use crate::upstream::backend::{Backend, Watch};
    use crate::upstream::fault::Fault;
    use crate::upstream::peer::PeerRegistry;
    use std::time::Duration;

    fn spec(path: &str) -> Arc<CheckSpec> {
        Arc::new(CheckSpec {
            path: path.to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            expected_status: vec![200..=399],
            rise: 2,
            fall: 3,
            headers: Vec::new(),
        })
    }

    fn watch(check: Arc<Checked>) -> Watch {
        Watch { check: Some(check), ..Watch::default() }
    }

    fn failed(at: u64) -> Probed {
        let failure = ProbeFailure { fault: Fault::Status, text: "status 503".to_owned() };
        Probed { at, took: Duration::ZERO, result: Err(failure) }
    }

    #[test]
    fn equal_checks_are_one_and_end_with_their_last_backend() {
        let (checks, mut orders) = Checks::new();
        let peers = PeerRegistry::default();
        let (a, b) = (peers.peer("a", 80, false, false, None), peers.peer("b", 80, false, false, None));
        let check = |path: &str, peer| checks.check(&spec(path), peer, "h", "h:80".to_owned());
        let first = check("/health", &a);
        assert!(Arc::ptr_eq(&first, &check("/health", &a)));
        let others = [check("/other", &a), check("/health", &b)];
        assert!(others.iter().all(|other| !Arc::ptr_eq(&first, other)));
        assert_eq!((orders.0.len(), checks.count()), (3, 3));

        // The state is known to a backend of the next generation before it serves.
        first.note(failed(7));
        let next = Backend::watched("next", watch(check("/health", &a)));
        assert!(next.is_broken());
        let other = Backend::watched("other", watch(check("/other", &a)));
        assert!(!other.is_broken());
        let order = orders.0.try_recv().unwrap();
        drop(first);
        assert!(!order.end.is_cancelled());
        drop(next);
        assert!(order.end.is_cancelled() && order.check.upgrade().is_none());
        assert_eq!(checks.count(), 2);
    }

    #[test]
    fn backends_are_told_of_changes_only() {
        struct Asked(Mutex<Vec<bool>>);
        impl Judged for Asked {
            fn set_down(&self, is_down: bool) {
                self.0.lock().unwrap().push(is_down);
            }
        }
        let (checks, _orders) = Checks::new();
        let peer = PeerRegistry::default().peer("a", 80, false, false, None);
        let check = checks.check(&spec("/health"), &peer, "h", "h:80".to_owned());
        let asked = Arc::new(Asked(Mutex::default()));
        let judged: Weak<dyn Judged> = Arc::downgrade(&asked) as _;
        check.subscribe(judged);
        let good = |at| Probed { at, took: Duration::ZERO, result: Ok(200) };
        for probed in [good(1), failed(2), failed(3), failed(4), failed(5), good(6), good(7), good(8)] {
            check.note(probed);
        }
        assert_eq!(*asked.0.lock().unwrap(), [true, false]);
        let facts = check.facts();
        assert_eq!((facts.is_down, facts.since, facts.probes), (false, Some(7), 8));
        assert_eq!((facts.failures.iter().sum::<u64>(), facts.last), (4, Some(good(8))));
    }
}
