//! The keys of one provider as every thread sees them: the last good set, and a way to ask for a newer one.
//!
//! Written by the refresher alone, read by all workers without a lock. A failed refresh changes no key. The set is
//! published before its version grows, so whoever reads the new version sees the new keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use jwt::KeySet;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::failure::FailureReason;
use super::location::KeyLocation;

/// How long a request waits for newer keys.
const REFETCH_WAIT: Duration = Duration::from_secs(2);

/// The last good keys of one provider. Its refresher stops when the last `Arc` is dropped.
#[derive(Debug)]
pub struct IssuerKeys {
    location: KeyLocation,
    keys: ArcSwapOption<KeySet>,
    version: AtomicU64,
    started: AtomicBool,
    progress: watch::Sender<Progress>,
    key_count: AtomicUsize,
    last_success: AtomicU64,
    failures: [AtomicU64; FailureReason::ALL.len()],
    /// Seconds since 1970; 0 while a fetch runs or before the first.
    next_fetch: AtomicU64,
    /// The failure that no success has followed yet.
    last_error: ArcSwapOption<(u64, String)>,
}

/// What the refresher and those who wait for it tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Somebody wants newer keys than there are.
    pub(super) wanted: bool,
    /// The number of finished fetches, good and bad.
    pub(super) fetches: u64,
}

/// What operators want to know of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerFacts {
    /// The number of usable keys.
    pub keys: usize,
    /// When keys were fetched last, in seconds since 1970; `None` before the first success.
    pub last_success: Option<u64>,
    /// Failed fetches, in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
}

impl IssuerKeys {
    /// Keys not fetched yet; nothing is started.
    pub(super) fn new(location: KeyLocation) -> Self {
        Self {
            location,
            keys: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            started: AtomicBool::new(false),
            progress: watch::Sender::new(Progress::default()),
            key_count: AtomicUsize::new(0),
            last_success: AtomicU64::new(0),
            failures: Default::default(),
            next_fetch: AtomicU64::new(0),
            last_error: ArcSwapOption::empty(),
        }
    }

    /// Where the keys come from.
    pub fn location(&self) -> &KeyLocation {
        &self.location
    }

    /// The last good keys; `None` before the first success.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Grows with every change of the keys; 0 before the first success.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Facts for metrics.
    pub fn facts(&self) -> IssuerFacts {
        IssuerFacts {
            keys: self.key_count.load(Ordering::Relaxed),
            last_success: Some(self.last_success.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0),
            failures: std::array::from_fn(|index| {
                self.failures.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }

    /// When keys are fetched next, in seconds since 1970; `None` while they are or when nothing was started.
    pub fn next_fetch(&self) -> Option<u64> {
        Some(self.next_fetch.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// When the last fetch failed, in seconds since 1970, and why; `None` after a success.
    pub fn last_error(&self) -> Option<Arc<(u64, String)>> {
        self.last_error.load_full()
    }

    /// The next fetch comes after this time, unless somebody asks before.
    pub(super) fn plan(&self, delay: Duration) {
        self.next_fetch
            .store(unix_seconds() + delay.as_secs() + u64::from(delay.subsec_nanos() > 0), Ordering::Relaxed);
    }

    /// Asks for newer keys; gives the number of fetches after which they are there.
    pub(super) fn request(&self) -> u64 {
        let mut done = 0;
        self.progress.send_if_modified(|progress| {
            done = progress.fetches + 1;
            !std::mem::replace(&mut progress.wanted, true)
        });
        done
    }

    /// Waits until this number of fetches have finished.
    pub(super) async fn wait_for(&self, fetches: u64, deadline: Instant) {
        let mut progress = self.progress.subscribe();
        // Neither end of waiting is an error: the caller looks at the keys.
        let _ = timeout_at(deadline, progress.wait_for(|progress| progress.fetches >= fetches)).await;
    }

    /// Claims the right to start the refresher; false if it has been claimed.
    pub(super) fn claim_start(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    /// Tells the refresher what is wanted.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Takes over fetched keys; true if they differ from the last ones.
    pub(super) fn succeed(&self, keys: KeySet) -> bool {
        self.last_success.store(unix_seconds(), Ordering::Relaxed);
        self.last_error.store(None);
        if self.keys.load().as_deref() == Some(&keys) {
            return false;
        }
        self.key_count.store(keys.len(), Ordering::Relaxed);
        self.keys.store(Some(Arc::new(keys)));
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// Counts a failure.
    pub(super) fn fail(&self, reason: FailureReason, text: String) {
        self.last_error.store(Some(Arc::new((unix_seconds(), text))));
        if let Some(count) = self.failures.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Releases all who wait for the fetch that has ended.
    pub(super) fn finish_fetch(&self) {
        self.progress.send_modify(|progress| {
            progress.wanted = false;
            progress.fetches += 1;
        });
    }
}

/// Asks several providers for newer keys at once and waits for all of them, at most two seconds. True if any keys have
/// changed, so that a refused token deserves another look.
///
/// All who ask share one fetch, and fetches that are asked for have a pause between them that grows while they bring
/// nothing new; who comes in between waits for the next. Does not wait for providers that never had keys: they are down,
/// and asked in the background.
pub async fn refetch_all(issuers: &[Arc<IssuerKeys>]) -> bool {
    let deadline = Instant::now() + REFETCH_WAIT;
    let asked: Vec<_> = issuers.iter().map(|keys| (keys, keys.version(), keys.request())).collect();
    for (keys, version, done) in &asked {
        if *version > 0 {
            keys.wait_for(*done, deadline).await;
        }
    }
    asked.iter().any(|(keys, version, _)| keys.version() != *version)
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
