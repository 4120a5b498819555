//! One backend of a route and the lease that a try holds on it.
//!
//! A backend counts what is in flight (from selection to the last byte of the reply) and knows whether it is broken.
//! Balancing reads both, `health_check` and `active_check` mark and clear. Workers on several threads share it, so all state is atomic;
//! no count orders any other memory, hence relaxed everywhere. Selections are counted in the word that counts what is in
//! flight, so that knowing them costs a request nothing.
//!
//! It must never decide who is chosen, and an in-flight count must never be touched except through a [`Lease`].

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use super::active_check::{Checked, Judged};
use super::fault::{Failure, Fault, unix_seconds};
use super::outliers::{OutlierSpec, Outliers};
use super::slow_start::SlowStart;

/// Why a backend is avoided; several may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A try has failed, and it was not reached since.
    Broken = 1,
    /// Its health check says so.
    Down = 2,
    /// It has failed too many requests.
    Ejected = 4,
    /// It has returned and gets a part of its requests only. No reason to avoid it.
    Warming = 8,
}

impl Mark {
    /// All of them, the one that weighs most first.
    pub const ALL: [Self; 4] = [Self::Broken, Self::Down, Self::Ejected, Self::Warming];

    /// Word for pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Down => "unhealthy",
            Self::Ejected => "ejected",
            Self::Warming => "warming",
        }
    }
}

/// Where a health check dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialAddress {
    /// Host name or IP address, IPv6 without brackets, without `srv+`; or the absolute path of a unix socket.
    pub host: String,
    /// TCP port; the scheme's default when the URL has none. Without meaning when `srv` is set.
    pub port: u16,
    /// Whether `host` names SRV records.
    pub srv: bool,
}

/// What a health check must know about a target.
pub trait HealthTarget {
    /// Where to dial.
    fn dial_address(&self) -> DialAddress;
    /// `host:port` as users see it in the log.
    fn display_address(&self) -> String;
}

/// A target with the state of balancing. Belongs to one route; the same URL in two routes is two backends.
pub struct Backend<T> {
    target: T,
    /// Leases: those alive in the lower bits, all that there ever were above.
    leases: AtomicU64,
    /// Every [`Mark`] that holds; 0 for a sound backend.
    marks: AtomicU8,
    /// How often it was found broken since it served a request.
    relapses: AtomicU32,
    /// When it was found broken or sound last, in seconds since 1970; 0 for never.
    changed: AtomicU64,
    failures: [AtomicU64; Fault::ALL.len()],
    last_failure: ArcSwapOption<Failure>,
    check: Option<Arc<Checked>>,
    /// Boxed, so that it takes no room in backends of routes without it.
    outliers: Option<Box<Outliers>>,
    slow_start: Option<Box<SlowStart>>,
    life: Life,
}

/// Ends the tasks that wait for a backend when it is dropped.
#[derive(Default)]
struct Life(OnceLock<CancellationToken>);

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(end) = self.0.get() {
            end.cancel();
        }
    }
}

/// How a backend is watched besides by its failed tries.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// It is down when its check says so.
    pub check: Option<Arc<Checked>>,
    /// It is ejected when it fails too often.
    pub outliers: Option<Arc<OutlierSpec>>,
    /// How long it warms up when it returns.
    pub slow_start: Option<Duration>,
}

/// Room for the leases that are alive.
const ALIVE_BITS: u32 = 20;
const ALIVE_MASK: u64 = (1 << ALIVE_BITS) - 1;
/// One more lease, alive.
const ONE_LEASE: u64 = (1 << ALIVE_BITS) + 1;
/// Longest text of a failure that is kept, in bytes.
const MAX_TEXT: usize = 512;

impl<T> Backend<T> {
    /// An idle and sound backend.
    pub fn new(target: T) -> Self {
        Self {
            target,
            leases: AtomicU64::new(0),
            marks: AtomicU8::new(0),
            relapses: AtomicU32::new(0),
            changed: AtomicU64::new(0),
            failures: Default::default(),
            last_failure: ArcSwapOption::empty(),
            check: None,
            outliers: None,
            slow_start: None,
            life: Life::default(),
        }
    }

    /// One that is watched.
    pub fn watched(target: T, watch: Watch) -> Arc<Self>
    where
        T: Send + Sync + 'static,
    {
        let Watch { check, outliers, slow_start } = watch;
        let slow_start = slow_start.map(|time| Box::new(SlowStart::new(time)));
        let outliers = outliers.map(|spec| Box::new(Outliers::new(spec)));
        let backend = Arc::new(Self { check, outliers, slow_start, ..Self::new(target) });
        if let Some(check) = &backend.check {
            let judged: Weak<dyn Judged> = Arc::downgrade(&backend) as _;
            check.subscribe(judged);
        }
        backend
    }

    /// Whether it is watched so.
    pub fn is_watched_by(&self, watch: &Watch) -> bool {
        let is_same = |(own, other): (&Arc<Checked>, &Arc<Checked>)| Arc::ptr_eq(own, other);
        self.check.is_some() == watch.check.is_some()
            && self.check.as_ref().zip(watch.check.as_ref()).is_none_or(is_same)
            && self.outliers().map(Outliers::spec) == watch.outliers.as_ref()
            && self.slow_start.as_ref().map(|slow| slow.time()) == watch.slow_start
    }

    /// Ends when it is dropped.
    pub(super) fn end(&self) -> CancellationToken {
        self.life.0.get_or_init(CancellationToken::new).clone()
    }

    /// What its health check knows, if it has one.
    pub fn check(&self) -> Option<&Arc<Checked>> {
        self.check.as_ref()
    }

    /// How its tries have ended, where somebody wants to know.
    pub fn outliers(&self) -> Option<&Outliers> {
        self.outliers.as_deref()
    }

    /// What the caller stored here at build time.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// Leases that are alive.
    pub fn in_flight(&self) -> u32 {
        (self.leases.load(Relaxed) & ALIVE_MASK) as u32
    }

    /// How often it was selected.
    pub fn selections(&self) -> u64 {
        self.leases.load(Relaxed) >> ALIVE_BITS
    }

    /// Counts a failed try.
    pub fn failed(&self, fault: Fault, text: &str) {
        self.failures[fault.place()].fetch_add(1, Relaxed);
        let text = text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
        self.last_failure.store(Some(Arc::new(Failure { at: unix_seconds(), fault, text })));
    }

    /// Failed tries by kind, in the order of [`Fault::ALL`].
    pub fn failures(&self) -> [u64; Fault::ALL.len()] {
        std::array::from_fn(|place| self.failures.get(place).map_or(0, |count| count.load(Relaxed)))
    }

    /// The last of them.
    pub fn last_failure(&self) -> Option<Arc<Failure>> {
        self.last_failure.load_full()
    }

    /// Since when it is as it is, in seconds since 1970; `None` when it has always been sound.
    pub fn changed(&self) -> Option<u64> {
        Some(self.changed.load(Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// Whether the backend is avoided while another one is sound.
    pub fn is_broken(&self) -> bool {
        self.marks.load(Relaxed) & !(Mark::Warming as u8) != 0
    }

    /// Whether it takes a request that would be its while another one is sound: not when it is broken, and by chance while
    /// it warms up.
    pub(super) fn takes_next(&self) -> bool {
        const WARMING: u8 = Mark::Warming as u8;
        match self.marks.load(Relaxed) {
            0 => true,
            WARMING => self.takes_by_chance(),
            _ => false,
        }
    }

    #[cold]
    fn takes_by_chance(&self) -> bool {
        match self.slow_start.as_ref().map(|slow| slow.share()) {
            Some(Some(share)) => fastrand::f64() < share,
            Some(None) => {
                self.clear(Mark::Warming);
                true
            }
            // A copy that shows what would be chosen.
            None => true,
        }
    }

    /// All reasons to avoid it.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(|mark| self.has(*mark))
    }

    /// Whether this is a reason to avoid it.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.load(Relaxed) & mark as u8 != 0
    }

    /// Notes that a reply has begun: what was wrong with the backend is over.
    pub fn served(&self) {
        // The load spares busy backends the exclusive access to their cache line.
        if self.relapses.load(Relaxed) != 0 {
            self.relapses.store(0, Relaxed);
        }
    }

    /// A backend without a target in the state of this one, to try out what would be chosen.
    pub(super) fn state_copy(&self) -> Backend<()> {
        let copy = Backend::new(());
        copy.leases.store(self.leases.load(Relaxed) & ALIVE_MASK, Relaxed);
        copy.marks.store(self.marks.load(Relaxed), Relaxed);
        copy
    }

    /// Sets the flag; for the one caller that changed it, how often that has happened since the backend served a
    /// request. Requests go through the health checker instead, which also sees to it that the flag is cleared again.
    pub(super) fn set_broken(&self) -> Option<u32> {
        self.mark(Mark::Broken).then(|| self.relapses.fetch_add(1, Relaxed).saturating_add(1))
    }

    pub(super) fn clear_broken(&self) {
        self.clear(Mark::Broken);
    }

    /// Whether the mark is new.
    pub(super) fn mark(&self, mark: Mark) -> bool {
        let before = self.update(|marks| (marks | mark as u8) & !(Mark::Warming as u8));
        if before & !(Mark::Warming as u8) == 0 {
            self.changed.store(unix_seconds(), Relaxed);
        }
        before & mark as u8 == 0
    }

    /// Takes a mark away. One that is sound then warms up, if it is to.
    pub(super) fn clear(&self, mark: Mark) {
        if mark != Mark::Warming
            && let Some(slow) = self.slow_start.as_ref().filter(|_| self.has(mark))
        {
            slow.begin();
        }
        let before = self.update(|marks| match marks & !(mark as u8) {
            0 if marks == mark as u8 && mark != Mark::Warming && self.slow_start.is_some() => Mark::Warming as u8,
            rest => rest,
        });
        if before == mark as u8 && mark != Mark::Warming {
            self.changed.store(unix_seconds(), Relaxed);
        }
    }

    /// The marks before.
    fn update(&self, change: impl Fn(u8) -> u8) -> u8 {
        let updated = self.marks.fetch_update(Relaxed, Relaxed, |marks| Some(change(marks)));
        // The change is never refused.
        updated.unwrap_or_else(|marks| marks)
    }

    /// Counts one in flight if there is none; `false` leaves the count alone.
    pub(super) fn claim_if_idle(&self) -> bool {
        // The load spares busy backends the exclusive access to their cache line.
        let leases = self.leases.load(Relaxed);
        leases & ALIVE_MASK == 0
            && self.leases.compare_exchange(leases, leases.wrapping_add(ONE_LEASE), Relaxed, Relaxed).is_ok()
    }

    /// Counts one more in flight.
    pub(super) fn claim(&self) {
        self.leases.fetch_add(ONE_LEASE, Relaxed);
    }
}

impl<T: Send + Sync> Judged for Backend<T> {
    fn set_down(&self, is_down: bool) {
        if is_down {
            self.mark(Mark::Down);
        } else {
            self.clear(Mark::Down);
        }
    }
}

/// The right to use a backend for one try. Must live until the last byte of the reply has been passed on.
pub struct Lease<T> {
    backend: Arc<Backend<T>>,
}

impl<T> Lease<T> {
    /// Takes over a claim that the selection made already.
    pub(super) fn of_claimed(backend: Arc<Backend<T>>) -> Self {
        Self { backend }
    }
}

impl<T> Deref for Lease<T> {
    type Target = Arc<Backend<T>>;

    fn deref(&self) -> &Self::Target {
        &self.backend
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.backend.leases.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_counts_until_dropped() {
        let backend = Arc::new(Backend::new("a"));
        assert!(backend.claim_if_idle());
        let first = Lease::of_claimed(Arc::clone(&backend));
        assert!(!backend.claim_if_idle());
        backend.claim();
        let second = Lease::of_claimed(Arc::clone(&backend));
        assert_eq!((backend.in_flight(), *first.target()), (2, "a"));
        drop(first);
        assert_eq!(second.in_flight(), 1);
        drop(second);
        assert_eq!((backend.in_flight(), backend.selections()), (0, 2));
    }

    #[test]
    fn failures_are_told_apart() {
        let backend = Backend::new(());
        assert_eq!((backend.last_failure(), backend.changed()), (None, None));
        backend.failed(Fault::Tls, "no trust");
        backend.failed(Fault::Cut, &"ż".repeat(1000));
        assert_eq!(backend.failures(), [0, 0, 1, 0, 1, 0, 0]);
        let last = backend.last_failure().unwrap();
        assert!(last.fault == Fault::Cut && last.text.len() == MAX_TEXT && last.at > 0);
        backend.set_broken();
        assert!(backend.changed().is_some());
    }

    #[test]
    fn only_the_first_marks() {
        let backend = Backend::new(());
        assert!(!backend.is_broken());
        assert_eq!(backend.set_broken(), Some(1));
        assert_eq!(backend.set_broken(), None);
        backend.clear_broken();
        assert!(!backend.is_broken());
        assert_eq!(backend.set_broken(), Some(2));
        backend.served();
        backend.clear_broken();
        assert_eq!(backend.set_broken(), Some(1));
    }
}
