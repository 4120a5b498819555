//! What lives on from one generation to the next: counters of users with the same labels, slots of unchanged users, and
//! their unchanged backends with marks, counts and what names were resolved to.
//!
//! Users with equal labels share their counters, as their series are the same. Slots and backends belong to the n-th user
//! with these labels; slots only while its limit stays, the n-th backend of a URL only while nothing of it differs.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

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
    metrics: HashMap<String, Arc<UserMetrics>>,
    limiters: HashMap<LimiterKey, Arc<Limiter>>,
    /// By a hash of owner and URL, which is shorter than both; whether they are the same is looked at.
    backends: HashMap<u64, Vec<Arc<Backend<Upstream>>>>,
    discoveries: HashMap<u64, Vec<Found>>,
}

/// Whose something is: label text, and place among the users with these labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner(String, usize);

/// Owner, and limit.
type LimiterKey = (Owner, usize);

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
    /// How many users had these labels so far.
    seen: HashMap<String, usize>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(before: Option<&'a CarriedOver>) -> Self {
        Self { before, now: CarriedOver::default(), seen: HashMap::new() }
    }

    /// Counters with these labels: of another user of this config, of the previous one, or new ones.
    pub(super) fn metrics(&mut self, key: &str) -> Arc<UserMetrics> {
        if let Some(metrics) = self.now.metrics.get(key) {
            return metrics.clone();
        }
        let before = self.before.and_then(|before| before.metrics.get(key));
        let metrics = before.cloned().unwrap_or_default();
        self.now.metrics.insert(key.to_owned(), metrics.clone());
        metrics
    }

    /// The next user with these labels.
    pub(super) fn owner(&mut self, key: &str) -> Owner {
        let position = self.seen.entry(key.to_owned()).or_default();
        *position += 1;
        Owner(key.to_owned(), *position)
    }

    /// The slots of a user with this limit.
    pub(super) fn limiter(&mut self, owner: &Owner, capacity: usize) -> Arc<Limiter> {
        let key = (owner.clone(), capacity);
        let before = self.before.and_then(|before| before.limiters.get(&key));
        let limiter = before.cloned().unwrap_or_else(|| Limiter::new(u32::try_from(capacity).unwrap_or(u32::MAX)));
        self.now.limiters.insert(key, limiter.clone());
        limiter
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
