//! The targets of one kind of one job, put together from its entries.
//!
//! Each entry publishes for itself through its [`Publisher`]; the group hands out one list. After a reload the targets
//! of entries that are gone stay until all new entries have told theirs, so a changed entry never leaves a gap. The
//! channel of a group lives as long as its job, whatever its entries become.

use super::{Kind, Published, TargetLabels, TargetList};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use vmkit::metrics::Histogram;

/// One kind of one job.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) job: Arc<str>,
    pub(super) kind: Kind,
    duration: Arc<Histogram>,
    sender: watch::Sender<Published>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    /// Of entries that are gone, until the new ones are complete.
    leftover: Vec<Arc<TargetLabels>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    targets: TargetList,
    complete: bool,
    /// Whether the first pass is over, however it went.
    tried: bool,
    state: EntryState,
}

/// How an entry fares, for people.
#[derive(Clone, Debug, Default)]
pub struct EntryState {
    /// When targets were found last, or confirmed.
    pub updated: Option<SystemTime>,
    /// The error since which nothing has worked, and when it was first seen.
    pub error: Option<(SystemTime, String)>,
    /// Targets at present.
    pub targets: usize,
}

/// Through which an entry tells its targets.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    group: Arc<Group>,
    id: u64,
}

impl Group {
    pub(super) fn new(job: Arc<str>, kind: Kind, duration: Arc<Histogram>) -> Arc<Self> {
        Arc::new(Self { job, kind, duration, sender: watch::Sender::new(None), inner: Mutex::default() })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.sender.subscribe()
    }

    /// Makes `ids` the entries, in this order. Those that were there before keep their targets.
    pub(super) fn set_entries(self: &Arc<Self>, ids: &[u64]) {
        let mut inner = self.lock();
        let mut before = std::mem::take(&mut inner.entries);
        for &id in ids {
            let known = before.iter().position(|entry| entry.id == id).map(|at| before.remove(at));
            let new = || Entry {
                id,
                targets: TargetList::default(),
                complete: false,
                tried: false,
                state: EntryState::default(),
            };
            inner.entries.push(known.unwrap_or_else(new));
        }
        inner.leftover.extend(before.iter().flat_map(|entry| entry.targets.iter().cloned()));
        self.publish(inner);
    }

    pub(super) fn publisher(self: &Arc<Self>, id: u64) -> Publisher {
        Publisher { group: Arc::clone(self), id }
    }

    pub(super) fn entry_state(&self, id: u64) -> EntryState {
        self.lock().entries.iter().find(|entry| entry.id == id).map(|entry| entry.state.clone()).unwrap_or_default()
    }

    /// Whether the first pass of each entry is over.
    pub(super) fn is_tried(&self) -> bool {
        self.lock().entries.iter().all(|entry| entry.tried)
    }

    fn publish(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.entries.iter().all(|entry| entry.complete) {
            inner.leftover = Vec::new();
        }
        let known = inner.entries.iter().any(|entry| entry.complete || !entry.targets.is_empty());
        if !known && inner.leftover.is_empty() {
            return;
        }
        // While old targets stand in for an entry its first finds would only double some of them.
        let waiting = !inner.leftover.is_empty();
        let shown = inner.entries.iter().filter(|entry| entry.complete || !waiting);
        let list = match (&*inner.entries, waiting) {
            ([only], false) => Arc::clone(&only.targets),
            _ => Arc::new(shown.flat_map(|entry| entry.targets.iter()).chain(&inner.leftover).cloned().collect()),
        };
        drop(inner);
        self.sender.send_if_modified(|published| {
            let same = published.as_ref().is_some_and(|old| {
                old.len() == list.len() && old.iter().zip(list.iter()).all(|(one, other)| Arc::ptr_eq(one, other))
            });
            *published = Some(list);
            !same
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// All targets of the entry.
    pub(super) fn complete(&self, targets: TargetList, took: Duration) {
        self.group.duration.update_duration(took);
        self.update(targets, true);
    }

    /// Targets of those parts that are complete.
    pub(super) fn partial(&self, targets: TargetList) {
        self.update(targets, false);
    }

    /// A pass failed; the targets stay. The error is logged when it is another one than before.
    pub(super) fn failed(&self, error: String) {
        let mut inner = self.group.lock();
        let Some(entry) = inner.entries.iter_mut().find(|entry| entry.id == self.id) else { return };
        entry.tried = true;
        let known = entry.state.error.as_ref();
        let since = known.map_or_else(SystemTime::now, |(since, _)| *since);
        let is_new = known.is_none_or(|(_, known)| *known != error);
        entry.state.error = Some((since, error.clone()));
        drop(inner);
        if is_new {
            let (job, kind) = (&self.group.job, self.group.kind);
            vmkit::error!("cannot discover {kind} targets of job_name={job:?}; the previous targets stay: {error}");
        }
    }

    /// The first pass takes too long for others to wait for it.
    pub(super) fn give_up_waiting(&self) {
        let mut inner = self.group.lock();
        if let Some(entry) = inner.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.tried = true;
        }
    }

    fn update(&self, targets: TargetList, complete: bool) {
        let mut inner = self.group.lock();
        let Some(entry) = inner.entries.iter_mut().find(|entry| entry.id == self.id) else { return };
        entry.complete |= complete;
        entry.tried |= complete;
        entry.state = EntryState { updated: Some(SystemTime::now()), error: None, targets: targets.len() };
        entry.targets = targets;
        self.group.publish(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Interner;

    fn list(addresses: &[&str]) -> TargetList {
        let mut texts = Interner::default();
        let target = |address: &&str| Arc::new(TargetLabels::new([], [texts.unique("__address__", address)]));
        Arc::new(addresses.iter().map(target).collect())
    }

    fn shown(receiver: &watch::Receiver<Published>) -> Option<Vec<String>> {
        let published = receiver.borrow().clone();
        published.map(|list| list.iter().map(|target| target.get("__address__").unwrap().to_owned()).collect())
    }

    fn group() -> Arc<Group> {
        Group::new("j".into(), Kind::Http, Arc::default())
    }

    #[test]
    fn entries_come_one_by_one_and_in_order() {
        let group = group();
        let receiver = group.subscribe();
        group.set_entries(&[1, 2]);
        let f = |want: Option<&[&str]>| {
            assert_eq!(shown(&receiver), want.map(|want| want.iter().map(|one| (*one).to_owned()).collect()));
        };
        f(None);
        assert!(!group.is_tried());
        group.publisher(2).complete(list(&["b"]), Duration::ZERO);
        f(Some(&["b"]));
        group.publisher(1).failed("down".to_owned());
        f(Some(&["b"]));
        assert!(group.is_tried());
        group.publisher(1).complete(list(&["a"]), Duration::ZERO);
        f(Some(&["a", "b"]));
        group.publisher(2).complete(list(&[]), Duration::ZERO);
        f(Some(&["a"]));
        group.publisher(99).complete(list(&["z"]), Duration::ZERO);
        f(Some(&["a"]));
    }

    #[test]
    fn a_changed_entry_leaves_no_gap() {
        let group = group();
        let receiver = group.subscribe();
        group.set_entries(&[1, 2]);
        group.publisher(1).complete(list(&["a"]), Duration::ZERO);
        group.publisher(2).complete(list(&["b"]), Duration::ZERO);
        group.set_entries(&[1, 3]);
        let f = |want: &[&str]| assert_eq!(shown(&receiver).unwrap(), want);
        f(&["a", "b"]);
        group.publisher(3).failed("down".to_owned());
        group.publisher(3).partial(list(&["b", "c"]));
        f(&["a", "b"]);
        group.publisher(1).complete(list(&["a2"]), Duration::ZERO);
        f(&["a2", "b"]);
        group.publisher(3).complete(list(&["c"]), Duration::ZERO);
        f(&["a2", "c"]);
        group.set_entries(&[3]);
        f(&["c"]);
    }

    #[test]
    fn equal_lists_wake_nobody() {
        let group = group();
        let mut receiver = group.subscribe();
        group.set_entries(&[1]);
        let targets = list(&["a"]);
        group.publisher(1).complete(Arc::clone(&targets), Duration::ZERO);
        assert!(receiver.has_changed().unwrap());
        receiver.mark_unchanged();
        group.publisher(1).complete(Arc::new(targets.to_vec()), Duration::ZERO);
        assert!(!receiver.has_changed().unwrap());
        let state = group.entry_state(1);
        assert_eq!((state.targets, state.error.is_none()), (1, true));
    }
}
