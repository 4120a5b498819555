//! What lives on from one generation to the next: counters of users with the same labels, slots of unchanged users, and
//! their unchanged backends with marks, counts and what names were resolved to.
//!
//! Users with equal labels share their counters, as their series are the same. Slots and backends belong to the n-th user
//! with these labels; slots only while its limit stays, the n-th backend of a URL only while nothing of it differs.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::admission::concurrency::Limiter;
use crate::config::Watching;
use crate::upstream::backend::{Backend, Watch};
use crate::upstream::discovery::Discovery;
use crate::user::{Upstream, UserMetrics};
use vmkit::tls::client_config::ClientTls;

/// What a generation leaves to the next.
#[derive(Default)]
pub(super) struct CarriedOver {
    /// By label text.
    users: HashMap<Arc<str>, Labelled>,
    /// By a hash of owner and URL, which is shorter than both; whether they are the same is looked at.
    backends: HashMap<u64, SmallVec<[Arc<Backend<Upstream>>; 1]>>,
    discoveries: HashMap<u64, Vec<Found>>,
}

/// The users with the same labels.
struct Labelled {
    metrics: Arc<UserMetrics>,
    /// The slots of each of them.
    limiters: SmallVec<[Arc<Limiter>; 1]>,
}

/// Whose something is: label text, and place among the users with these labels.
#[derive(Hash)]
pub(super) struct Owner(Arc<str>, usize);

/// What must not differ for the backends behind names to be the same.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Discovered {
    pub(super) urls: Vec<String>,
    pub(super) tls: Option<ByAddress<ClientTls>>,
    pub(super) watching: Watching,
}

/// The backends behind names.
type Found = (Discovered, Arc<Discovery<Upstream>>);

/// Is equal to itself only.
pub(super) struct ByAddress<T>(pub(super) Arc<T>);

impl<T> Clone for ByAddress<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for ByAddress<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for ByAddress<T> {}

/// Collects what a new generation takes over from the one before.
pub(super) struct Collector<'a> {
    before: Option<&'a CarriedOver>,
    now: CarriedOver,
}

impl<'a> Collector<'a> {
    pub(super) fn new(before: Option<&'a CarriedOver>) -> Self {
        Self { before, now: CarriedOver::default() }
    }

    /// The next user with these labels: its counters are those of another user of this config, of the previous one, or new
    /// ones; its slots those of the same user before, if there were as many.
    pub(super) fn user(&mut self, labels: Arc<str>, slots: usize) -> (Owner, Arc<UserMetrics>, Arc<Limiter>) {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let before = self.before.and_then(|before| before.users.get(&labels));
        let now = self.now.users.entry(labels.clone()).or_insert_with(|| Labelled {
            metrics: before.map(|before| before.metrics.clone()).unwrap_or_default(),
            limiters: SmallVec::new(),
        });
        let place = now.limiters.len();
        let kept = before.and_then(|before| before.limiters.get(place)).filter(|kept| kept.capacity() == slots);
        let limiter = kept.cloned().unwrap_or_else(|| Limiter::new(slots));
        now.limiters.push(limiter.clone());
        (Owner(labels, place), now.metrics.clone(), limiter)
    }

    /// The user's next backend of this URL, which is `url` as text: the one of before, or a new one.
    pub(super) fn backend(
        &mut self,
        owner: &Owner,
        url: &str,
        upstream: Upstream,
        watch: Watch,
    ) -> Arc<Backend<Upstream>> {
        let key = hash(&(owner, url));
        let now = self.now.backends.entry(key).or_default();
        let before = self.before.and_then(|before| before.backends.get(&key)?.get(now.len()));
        let is_same =
            |kept: &&Arc<Backend<Upstream>>| kept.target().is_same(url, &upstream.peer) && kept.is_watched_by(&watch);
        let backend = match before.filter(is_same) {
            Some(kept) => kept.clone(),
            None => Backend::watched(upstream, watch),
        };
        now.push(backend.clone());
        backend
    }

    /// Lets the user's next discovery of these URLs go on with what the one of before has found.
    pub(super) fn discovery(&mut self, owner: &Owner, key: Discovered, discovery: &Arc<Discovery<Upstream>>) {
        let hashed = hash(&(owner, &key.urls));
        let now = self.now.discoveries.entry(hashed).or_default();
        let before = self.before.and_then(|before| before.discoveries.get(&hashed)?.get(now.len()));
        if let Some((_, before)) = before.filter(|(known, _)| *known == key) {
            discovery.take_over(before);
        }
        now.push((key, discovery.clone()));
    }

    pub(super) fn finish(self) -> CarriedOver {
        self.now
    }
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
