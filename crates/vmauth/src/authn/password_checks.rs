//! The pool that checks passwords against slow hashes, beside the workers.
//!
//! Few threads of low priority work one after the other; a request waits for its turn without holding anything else up,
//! and gives it back when its client leaves. The queue is bounded, for each address more so: who guesses fills only a part
//! of it. What is too much is told at once.
//!
//! A password that fits is remembered, as a keyed hash of itself and of the hash it fits: a fact that no reload makes
//! wrong, and that nobody finds any more when the hash of the user has changed. Passwords that do not fit are not
//! remembered. The table is of fixed size and made of atomics, so that workers read it without a lock.

use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use aws_lc_rs::rand::SystemRandom;
use foldhash::quality::RandomState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use vmkit::net::address::customer_of;

use crate::metrics::PasswordMetrics;
use crate::password_hash::PasswordHash;

/// Requests that may wait for their turn.
const MAX_WAITING: u32 = 256;
/// Of these from one address; addresses share places by chance.
const MAX_WAITING_OF_ONE: u32 = 32;
/// Places that addresses share.
const PLACES: usize = 1024;
/// Threads, at most; each may need the memory of the costliest hash.
const MAX_THREADS: usize = 4;
/// How much less of a busy machine the threads get than the workers.
const NICENESS: i32 = 5;
/// Passwords that are remembered: sets of [`WAYS`].
const SETS: usize = 4096;
const WAYS: usize = 8;

/// The queue is full, or a turn did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Overloaded;

/// A slow hash and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    pub(super) hash: Arc<PasswordHash>,
    pub(super) user: u32,
}

/// One password, and the hashes that it may fit.
#[derive(Clone)]
pub(super) struct Check {
    pub(super) password: Vec<u8>,
    pub(super) candidates: Arc<[Slow]>,
    /// Whether a hash that fits lets in.
    pub(super) counts: bool,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("candidates", &self.candidates.len()).finish_non_exhaustive()
    }
}

/// Where in the queue a request may wait: decided by its address.
#[derive(Debug, Clone, Copy)]
pub struct Place(IpAddr);

impl Place {
    /// That of requests from this address.
    pub fn of(ip: IpAddr) -> Self {
        Self(customer_of(ip))
    }
}

/// Threads, their queue, and what they found out.
#[derive(Debug)]
pub struct PasswordChecks {
    metrics: PasswordMetrics,
    hasher: RandomState,
    waiting: AtomicU32,
    places: Box<[AtomicU32]>,
    turns: Arc<Semaphore>,
    threads: usize,
    /// Made when the first config has slow hashes.
    pool: OnceLock<Pool>,
}

#[derive(Debug)]
struct Pool {
    jobs: Sender<Job>,
    key: Key,
    /// Two words a password; zeroes are empty.
    known: Box<[[AtomicU64; 2]]>,
}

#[derive(Debug)]
struct Job {
    check: Check,
    answer: oneshot::Sender<Option<(usize, Check)>>,
    _turn: OwnedSemaphorePermit,
}

/// A request in the queue; leaves it when dropped.
#[derive(Debug)]
pub struct Waiting<'p> {
    checks: &'p PasswordChecks,
    place: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.checks.waiting.fetch_sub(1, Relaxed);
        if let Some(place) = self.checks.places.get(self.place) {
            place.fetch_sub(1, Relaxed);
        }
    }
}

impl PasswordChecks {
    /// A pool that uses half of the cores at most. Its threads start when the first config needs them.
    pub fn new(metrics: PasswordMetrics) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).clamp(1, MAX_THREADS);
        Arc::new(Self {
            metrics,
            hasher: RandomState::default(),
            waiting: AtomicU32::new(0),
            places: std::iter::repeat_with(AtomicU32::default).take(PLACES).collect(),
            turns: Arc::new(Semaphore::new(threads)),
            threads,
            pool: OnceLock::new(),
        })
    }

    /// What was checked so far.
    pub fn metrics(&self) -> &PasswordMetrics {
        &self.metrics
    }

    /// Requests that wait or are being checked.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Makes what checks need, off the workers.
    pub(super) fn prepare(&self) {
        self.pool.get_or_init(|| {
            let (jobs, receiver) = channel();
            let receiver = Arc::new(Mutex::new(receiver));
            for n in 0..self.threads {
                let receiver = receiver.clone();
                let thread = std::thread::Builder::new().name(format!("password{n}"));
                // Without its threads the pool answers nobody: jobs fail, and so do these logins.
                if let Err(error) = thread.spawn(move || work(&receiver)) {
                    vmkit::error!("cannot start a thread that checks passwords: {error}");
                }
            }
            let random = SystemRandom::new();
            let key = Key::generate(HMAC_SHA256, &random).expect("BUG: the system has no randomness");
            let known = std::iter::repeat_with(Default::default).take(SETS * WAYS).collect();
            Pool { jobs, key, known }
        });
    }

    /// The user whose hash this password was found to fit before.
    pub(super) fn known(&self, candidates: &[Slow], password: &[u8]) -> Option<u32> {
        let pool = self.pool.get()?;
        let found = candidates.iter().find(|candidate| pool.knows(pool.mark(candidate, password)))?;
        self.metrics.cache_hits.inc();
        Some(found.user)
    }

    /// Takes a place in the queue.
    pub(super) fn queue(&self, Place(ip): Place) -> Result<Waiting<'_>, Overloaded> {
        let place = (self.hasher.hash_one(ip) % PLACES as u64) as usize;
        let taken = self.places.get(place).map_or(0, |place| place.fetch_add(1, Relaxed));
        let all = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting { checks: self, place };
        if taken >= MAX_WAITING_OF_ONE || all >= MAX_WAITING {
            self.metrics.refused.inc();
            return Err(Overloaded);
        }
        Ok(waiting)
    }

    /// Checks a password when its turn has come.
    pub(super) async fn run(&self, check: Check, wait: Duration) -> Result<Option<u32>, Overloaded> {
        let Some(pool) = self.pool.get() else { return Ok(None) };
        let Ok(turn) = tokio::time::timeout(wait, self.turns.clone().acquire_owned()).await else {
            self.metrics.refused.inc();
            return Err(Overloaded);
        };
        let Ok(turn) = turn else { return Err(Overloaded) };
        // Somebody may have found out meanwhile: a client begins with several connections.
        if check.counts
            && let Some(user) = self.known(&check.candidates, &check.password)
        {
            return Ok(Some(user));
        }
        self.metrics.checks.inc();
        let (answer, result) = oneshot::channel();
        // Nobody answers when the threads could not be started.
        let _ = pool.jobs.send(Job { check, answer, _turn: turn });
        let Ok(Some((fits, check))) = result.await else { return Ok(None) };
        let fits = check.candidates.get(fits).filter(|_| check.counts);
        Ok(fits.map(|candidate| {
            pool.remember(pool.mark(candidate, &check.password));
            candidate.user
        }))
    }
}

impl Pool {
    /// What stands for a password that fits a hash.
    fn mark(&self, candidate: &Slow, password: &[u8]) -> [u64; 3] {
        let mut context = Context::with_key(&self.key);
        context.update(candidate.hash.id());
        context.update(password);
        let tag = context.sign();
        let word = |n: usize| {
            let bytes = tag.as_ref().get(8 * n..8 * n + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(1, u64::from_le_bytes)
        };
        // An empty place is 0.
        [word(0) | 1, word(1), word(2)]
    }

    fn set(&self, [_, _, set]: [u64; 3]) -> &[[AtomicU64; 2]] {
        let first = (set % SETS as u64) as usize * WAYS;
        self.known.get(first..first + WAYS).unwrap_or_default()
    }

    /// Half of one mark beside half of another, as a race may show them, is no mark that anybody can have.
    fn knows(&self, mark: [u64; 3]) -> bool {
        self.set(mark).iter().any(|[a, b]| a.load(Relaxed) == mark[0] && b.load(Relaxed) == mark[1])
    }

    fn remember(&self, mark: [u64; 3]) {
        if self.knows(mark) {
            return;
        }
        let set = self.set(mark);
        let free = set.iter().find(|[a, _]| a.load(Relaxed) == 0);
        if let Some([a, b]) = free.or_else(|| set.get(fastrand::usize(..WAYS))) {
            a.store(mark[0], Relaxed);
            b.store(mark[1], Relaxed);
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // On Linux this is the priority of the calling thread alone; without it the checks work all the same.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { check, answer, _turn }) = job else { return };
        let fits = first_fit(&check);
        drop(_turn);
        // The client may have left.
        let _ = answer.send(fits.map(|fits| (fits, check)));
    }
}

/// The place of the first hash that fits. All are computed: how long it takes tells nothing of a password.
fn first_fit(check: &Check) -> Option<usize> {
    let mut found = None;
    for (at, candidate) in check.candidates.iter().enumerate() {
        let fits = candidate.hash.verify(&check.password);
        found = found.or_else(|| fits.then_some(at));
    }
    found
}
