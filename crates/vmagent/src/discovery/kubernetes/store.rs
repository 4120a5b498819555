//! The objects of one watched URL, and who wants to hear of their changes.
//!
//! The first list fills the store without telling anybody; from then on each difference is noted with every
//! subscriber, as the key of the object. Readers ask for an object when they need it, so a key noted twice costs one
//! look. A list that is broken off leaves what was known.

use super::objects::{Key, Object};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Objects of one kind by key.
#[derive(Debug, Default)]
pub(super) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Object>>,
    /// Whether a list was complete once.
    synced: bool,
    subscribers: Vec<Weak<Subscription>>,
}

/// What changed since the subscriber looked last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The store became complete: look at everything.
    pub(super) all: bool,
    pub(super) keys: HashSet<Key, foldhash::fast::RandomState>,
}

/// One who is told about changes of one store.
#[derive(Debug)]
pub(super) struct Subscription {
    changes: Mutex<Changes>,
    wake: Arc<Notify>,
}

/// What a list or an event did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) added: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
}

/// A list that is being read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    seen: HashSet<Key, foldhash::fast::RandomState>,
    /// What differs from the store; applied when the list is complete.
    changed: Vec<(Key, Arc<Object>)>,
    counts: Counts,
}

impl Store {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.lock().objects.get(key).cloned()
    }

    /// Whether a list was complete once; from then on what is missing here does not exist.
    pub(super) fn is_synced(&self) -> bool {
        self.lock().synced
    }

    pub(super) fn len(&self) -> usize {
        self.lock().objects.len()
    }

    /// Calls `visit` with each object in order of their keys. `visit` must not ask this store.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Notes changes from now on with the returned subscription until it is dropped, and wakes `wake`.
    pub(super) fn subscribe(&self, wake: Arc<Notify>) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription { changes: Mutex::default(), wake });
        let mut inner = self.lock();
        if inner.synced {
            subscription.note_all();
        }
        inner.subscribers.retain(|known| known.strong_count() > 0);
        inner.subscribers.push(Arc::downgrade(&subscription));
        subscription
    }

    /// An object of an event.
    pub(super) fn upsert(&self, key: Key, object: Object) -> Counts {
        let mut inner = self.lock();
        let counts = match inner.objects.get(&key) {
            Some(known) if **known == object => return Counts::default(),
            Some(_) => Counts { updated: 1, ..Counts::default() },
            None => Counts { added: 1, ..Counts::default() },
        };
        inner.objects.insert(key.clone(), Arc::new(object));
        inner.note(&key);
        counts
    }

    /// An object that is gone.
    pub(super) fn remove(&self, key: &Key) -> Counts {
        let mut inner = self.lock();
        if inner.objects.remove(key).is_none() {
            return Counts::default();
        }
        inner.note(key);
        Counts { removed: 1, ..Counts::default() }
    }

    /// One object of a list.
    pub(super) fn listed(&self, listing: &mut Listing, key: Key, object: Object) {
        let mut inner = self.lock();
        match inner.objects.get(&key) {
            Some(known) if **known == object => {}
            known => {
                match known {
                    Some(_) => listing.counts.updated += 1,
                    None => listing.counts.added += 1,
                }
                // Nobody looks before the first list is complete, so it need not be held twice.
                if inner.synced {
                    listing.changed.push((key.clone(), Arc::new(object)));
                } else {
                    inner.objects.insert(key.clone(), Arc::new(object));
                }
            }
        }
        listing.seen.insert(key);
    }

    /// The list is complete: what it did not name is gone.
    pub(super) fn finish(&self, listing: Listing) -> Counts {
        let mut inner = self.lock();
        let gone: Vec<Key> = inner.objects.keys().filter(|key| !listing.seen.contains(*key)).cloned().collect();
        let mut counts = listing.counts;
        counts.removed = gone.len() as u64;
        for key in gone {
            inner.objects.remove(&key);
            inner.note(&key);
        }
        for (key, object) in listing.changed {
            inner.objects.insert(key.clone(), object);
            inner.note(&key);
        }
        if !inner.synced {
            inner.synced = true;
            inner.subscribers.iter().filter_map(Weak::upgrade).for_each(|subscriber| subscriber.note_all());
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, key: &Key) {
        if !self.synced {
            return;
        }
        for subscriber in self.subscribers.iter().filter_map(Weak::upgrade) {
            subscriber.lock().keys.insert(key.clone());
            subscriber.wake.notify_one();
        }
    }
}

impl Subscription {
    /// What changed since the last call.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *self.lock())
    }

    fn note_all(&self) {
        let mut changes = self.lock();
        changes.all = true;
        changes.keys.clear();
        drop(changes);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        let mut interner = crate::discovery::Interner::default();
        Object::Namespace([interner.label("text", text)].into())
    }

    fn key(name: &str) -> Key {
        Key::new("", name)
    }

    fn list(store: &Store, items: &[(&str, &str)]) -> Counts {
        let mut listing = Listing::default();
        items.iter().for_each(|(name, text)| store.listed(&mut listing, key(name), object(text)));
        store.finish(listing)
    }

    fn taken(subscription: &Subscription) -> (bool, Vec<String>) {
        let changes = subscription.take();
        let mut names: Vec<String> = changes.keys.iter().map(|key| key.name.to_string()).collect();
        names.sort();
        (changes.all, names)
    }

    #[test]
    fn lists_and_events_note_what_differs() {
        let store = Store::default();
        let subscription = store.subscribe(Arc::default());
        store.upsert(key("early"), object("1"));
        assert_eq!(taken(&subscription), (false, vec![]));
        let counts = list(&store, &[("a", "1"), ("b", "1"), ("c", "1")]);
        assert_eq!(counts, Counts { added: 3, updated: 0, removed: 1 });
        assert_eq!(taken(&subscription), (true, vec![]));
        let counts = list(&store, &[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(counts, Counts { added: 1, updated: 1, removed: 1 });
        assert_eq!(taken(&subscription), (false, vec!["b".into(), "c".into(), "d".into()]));
        assert_eq!(list(&store, &[("a", "1"), ("b", "2"), ("d", "1")]), Counts::default());
        assert_eq!(store.upsert(key("a"), object("1")), Counts::default());
        assert_eq!(store.remove(&key("zzz")), Counts::default());
        assert_eq!(taken(&subscription), (false, vec![]));
        assert_eq!(store.upsert(key("a"), object("2")).updated, 1);
        assert_eq!(store.remove(&key("b")).removed, 1);
        assert_eq!(taken(&subscription), (false, vec!["a".into(), "b".into()]));
        assert_eq!(store.len(), 2);
        assert_eq!(taken(&store.subscribe(Arc::default())), (true, vec![]));
    }

    #[test]
    fn a_list_that_breaks_off_changes_nothing() {
        let store = Store::default();
        list(&store, &[("a", "1"), ("b", "1")]);
        let subscription = store.subscribe(Arc::default());
        subscription.take();
        let mut listing = Listing::default();
        store.listed(&mut listing, key("a"), object("2"));
        drop(listing);
        assert_eq!(taken(&subscription), (false, vec![]));
        assert_eq!(store.get(&key("a")).as_deref(), Some(&object("1")));
        assert!(store.get(&key("b")).is_some() && store.is_synced());
    }
}
