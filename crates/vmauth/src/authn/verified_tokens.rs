//! Tokens that a worker has verified, so that a signature costs once a token and not once a request.
//!
//! Stands before [`super::jwt_users`]. One cache a worker, so there is no lock. A hit needs the whole header value to
//! be equal, the same epoch of configuration and keys, and a time at which the token is valid; it allocates nothing.
//! The cache never makes a token valid for longer than its own dates and keys do.
//!
//! Bounded in entries and bytes; what was not used for longest goes first, roughly (the clock algorithm).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use super::jwt_users::AcceptedToken;
use crate::metrics::CacheMetrics;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use foldhash::quality::RandomState;

/// Hands that pass over used entries stop after so many and take the next one.
const MAX_STEPS: usize = 16;

/// Which configuration and keys a token was verified with: the number of the generation, which never falls, and
/// [`super::jwt_users::JwtUsers::key_epoch`].
pub type Epoch = (u64, u64);

/// What the cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// The number of tokens.
    pub entries: usize,
    /// The size of tokens and of what they grant.
    pub bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 4096, bytes: 8 << 20 }
    }
}

/// The cache of one worker.
pub struct VerifiedTokens {
    hasher: RandomState,
    counters: CacheMetrics,
    entries: RefCell<Entries>,
}

struct Entries {
    limits: CacheLimits,
    epoch: Epoch,
    bytes: usize,
    hand: usize,
    /// Places of entries by the keyed hash of their value.
    index: HashMap<u64, usize, BuildHasherDefault<KeptHash>>,
    entries: Vec<Entry>,
}

struct Entry {
    hash: u64,
    value: Box<[u8]>,
    accepted: Arc<AcceptedToken>,
    bytes: usize,
    is_used: bool,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VerifiedTokens").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// An empty cache.
    pub fn new(counters: CacheMetrics) -> Self {
        Self::with_limits(CacheLimits::default(), counters)
    }

    /// An empty cache of another size.
    pub fn with_limits(limits: CacheLimits, counters: CacheMetrics) -> Self {
        let entries = Entries {
            limits,
            epoch: Epoch::default(),
            bytes: 0,
            hand: 0,
            index: HashMap::default(),
            entries: Vec::new(),
        };
        Self { hasher: RandomState::default(), counters, entries: RefCell::new(entries) }
    }

    /// What was accepted for exactly this header value, if it still holds at `now` (seconds since 1970).
    ///
    /// Read `epoch` before this call and give the same one to [`VerifiedTokens::insert`], or a key that was revoked in
    /// between lives on.
    pub fn get(&self, header_value: &[u8], epoch: Epoch, now: u64) -> Option<Arc<AcceptedToken>> {
        let hash = self.hasher.hash_one(header_value);
        let found = self.entries.borrow_mut().get(hash, header_value, epoch, now);
        if found.is_some() {
            self.counters.hits.inc();
        }
        found
    }

    /// A value that was not found has turned out to be a token; other credentials are no misses.
    pub fn count_miss(&self) {
        self.counters.misses.inc();
    }

    /// Keeps what was accepted for this header value. Does nothing for an epoch that has passed and for values that
    /// would take a large part of the cache.
    pub fn insert(&self, header_value: &[u8], epoch: Epoch, accepted: &Arc<AcceptedToken>) {
        let hash = self.hasher.hash_one(header_value);
        self.entries.borrow_mut().insert(hash, header_value, epoch, accepted.clone());
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.entries.borrow().entries.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of all tokens with what they grant.
    pub fn bytes(&self) -> usize {
        self.entries.borrow().bytes
    }
}

impl Entries {
    fn get(&mut self, hash: u64, value: &[u8], epoch: Epoch, now: u64) -> Option<Arc<AcceptedToken>> {
        if !self.enter(epoch) {
            return None;
        }
        let at = *self.index.get(&hash)?;
        let entry = self.entries.get_mut(at)?;
        // The hash is keyed and has 64 bits, so this is reached with the right value or never; still no early exit.
        verify_slices_are_equal(&entry.value, value).ok()?;
        if entry.accepted.is_valid_at(now) {
            entry.is_used = true;
            return Some(entry.accepted.clone());
        }
        if now > entry.accepted.exp {
            self.remove(at);
        }
        None
    }

    fn insert(&mut self, hash: u64, value: &[u8], epoch: Epoch, accepted: Arc<AcceptedToken>) {
        let bytes = value.len() + accepted.heap_bytes() + size_of::<Entry>() + size_of::<AcceptedToken>();
        if !self.enter(epoch) || bytes > self.limits.bytes / 16 || self.limits.entries == 0 {
            return;
        }
        if let Some(at) = self.index.get(&hash).copied() {
            self.remove(at);
        }
        while self.entries.len() >= self.limits.entries || self.bytes + bytes > self.limits.bytes {
            self.evict();
        }
        self.index.insert(hash, self.entries.len());
        self.bytes += bytes;
        self.entries.push(Entry { hash, value: value.into(), accepted, bytes, is_used: false });
    }

    /// Forgets everything when a new epoch begins; false if `epoch` has passed.
    fn enter(&mut self, epoch: Epoch) -> bool {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.bytes = 0;
            self.index.clear();
            self.entries.clear();
        }
        epoch == self.epoch
    }

    fn evict(&mut self) {
        for _ in 0..MAX_STEPS {
            match self.entries.get_mut(self.hand) {
                None => self.hand = 0,
                Some(entry) if entry.is_used => {
                    entry.is_used = false;
                    self.hand += 1;
                }
                Some(_) => break,
            }
        }
        self.remove(self.hand.min(self.entries.len().saturating_sub(1)));
    }

    /// Removes an entry and puts the last one in its place.
    fn remove(&mut self, at: usize) {
        if at >= self.entries.len() {
            return;
        }
        let entry = self.entries.swap_remove(at);
        self.bytes -= entry.bytes;
        self.index.remove(&entry.hash);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.hash, at);
        }
    }
}

/// Takes a hash as it is.
#[derive(Default)]
struct KeptHash(u64);

impl Hasher for KeptHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt::VmAccess;
    use proptest::prelude::*;
    use vmkit::metrics::Set;

    fn accepted(user: u32, nbf: u64, exp: u64) -> Arc<AcceptedToken> {
        Arc::new(AcceptedToken { user, placeholders: VmAccess::default(), exp, nbf })
    }

    fn cache(entries: usize, bytes: usize) -> VerifiedTokens {
        VerifiedTokens::with_limits(CacheLimits { entries, bytes }, CacheMetrics::register(&Set::new()))
    }

    fn user(cache: &VerifiedTokens, value: &str, epoch: Epoch, now: u64) -> Option<u32> {
        cache.get(value.as_bytes(), epoch, now).map(|accepted| accepted.user)
    }

    const FIRST: Epoch = (1, 0);

    #[test]
    fn the_whole_value_counts() {
        let cache = cache(10, 1 << 20);
        cache.insert(b"Bearer a.b.c", FIRST, &accepted(7, 0, 100));
        let f = |value: &str, want: Option<u32>| assert_eq!(user(&cache, value, FIRST, 50), want, "{value}");
        f("Bearer a.b.c", Some(7));
        f("bearer a.b.c", None);
        f("Bearer a.b.c ", None);
        f("Bearer a.b.d", None);
        f("a.b.c", None);
        f("", None);
        assert_eq!((cache.counters.hits.get(), cache.counters.misses.get()), (1, 0));
        cache.insert(b"Bearer a.b.c", FIRST, &accepted(8, 0, 100));
        f("Bearer a.b.c", Some(8));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn dates_are_checked_on_every_hit() {
        let cache = cache(10, 1 << 20);
        cache.insert(b"t", FIRST, &accepted(1, 50, 100));
        let f = |now: u64, want: Option<u32>| assert_eq!(user(&cache, "t", FIRST, now), want, "{now}");
        f(49, None);
        f(50, Some(1));
        f(100, Some(1));
        f(101, None);
        assert!(cache.is_empty() && cache.bytes() == 0, "expired tokens go");
    }

    #[test]
    fn epochs_end_everything() {
        let cache = cache(10, 1 << 20);
        let epoch = |generation, keys| (generation, keys);
        cache.insert(b"t", epoch(1, 5), &accepted(1, 0, 100));
        assert_eq!(user(&cache, "t", epoch(1, 5), 50), Some(1));
        assert_eq!(user(&cache, "t", epoch(1, 6), 50), None);
        assert!(cache.is_empty() && cache.bytes() == 0);
        // A request that began before the change neither uses nor leaves anything.
        cache.insert(b"t", epoch(1, 5), &accepted(1, 0, 100));
        assert!(cache.is_empty());
        cache.insert(b"t", epoch(1, 6), &accepted(2, 0, 100));
        assert_eq!(user(&cache, "t", epoch(1, 5), 50), None);
        assert_eq!(user(&cache, "t", epoch(1, 6), 50), Some(2));
        assert_eq!(user(&cache, "t", epoch(2, 6), 50), None);
        assert_eq!(user(&cache, "t", epoch(1, 7), 50), None);
    }

    #[test]
    fn used_tokens_stay() {
        let cache = cache(100, 1 << 20);
        for n in 0..1000 {
            cache.insert(format!("token {n}").as_bytes(), FIRST, &accepted(n, 0, 100));
            assert_eq!(user(&cache, "token 0", FIRST, 50), Some(0), "after {n}");
        }
        assert_eq!(cache.len(), 100);
    }

    #[test]
    fn large_tokens_are_not_kept() {
        let cache = cache(100, 64 << 10);
        cache.insert(&[b'x'; 5 << 10], FIRST, &accepted(1, 0, 100));
        assert!(cache.is_empty());
        let values = VmAccess { metrics_extra_labels: vec!["x".repeat(5 << 10)], ..Default::default() };
        cache.insert(b"t", FIRST, &Arc::new(AcceptedToken { user: 1, placeholders: values, exp: 100, nbf: 0 }));
        assert!(cache.is_empty());
        cache.insert(&[b'x'; 3 << 10], FIRST, &accepted(1, 0, 100));
        assert_eq!(cache.len(), 1);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_index_fits(steps in prop::collection::vec((0u32..60, 0usize..1500, 0u64..3, any::<bool>()), 1..400)) {
            let cache = cache(20, 20_000);
            for (n, size, keys, insert) in steps {
                let value = format!("{n}{}", "x".repeat(size));
                let epoch = (1, keys / 2);
                if insert {
                    cache.insert(value.as_bytes(), epoch, &accepted(n, 0, 100));
                } else if let Some(found) = user(&cache, &value, epoch, u64::from(n) + 60) {
                    prop_assert_eq!(found, n);
                }
                let entries = cache.entries.borrow();
                prop_assert!(entries.entries.len() <= 20 && entries.bytes <= 20_000);
                prop_assert_eq!(entries.bytes, entries.entries.iter().map(|entry| entry.bytes).sum::<usize>());
                prop_assert_eq!(entries.index.len(), entries.entries.len());
                for (at, entry) in entries.entries.iter().enumerate() {
                    prop_assert_eq!(entries.index.get(&entry.hash), Some(&at));
                }
            }
        }
    }
}
