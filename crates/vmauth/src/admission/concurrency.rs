//! A limit on requests that run at the same time, with a queue bounded by a deadline.
//!
//! One atomic word holds both the taken slots and the number of waiters. Taking or freeing a slot with nobody waiting
//! is one exchange of that word, without a lock. The number of waiters changes only under the lock of the queue and
//! always equals its length, so whoever frees a slot sees every waiter: it then passes its slot to the eldest one
//! instead of freeing it, and nobody can overtake. A slot on its way is a [`Permit`] already; if its receiver is gone,
//! dropping the permit passes it on.
//!
//! It must never lose a slot, whenever a waiter is dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// No slot became free before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of concurrent requests is reached")]
pub struct LimitReached;

/// What one of several users may take of `global` slots at most: a tenth stays for the others.
pub fn most_of_one_user(global: usize) -> usize {
    global - global / 10
}

/// So many slots, shared by all workers.
#[derive(Debug)]
pub struct Limiter {
    capacity: u32,
    /// Low half: taken slots, those on their way to a waiter included. High half: length of the queue.
    state: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// By ticket: the first is the eldest.
    waiters: BTreeMap<u64, oneshot::Sender<Permit>>,
}

const ONE_WAITER: u64 = 1 << 32;

fn taken(state: u64) -> u32 {
    (state & (ONE_WAITER - 1)) as u32
}

fn has_waiters(state: u64) -> bool {
    state >= ONE_WAITER
}

/// A taken slot; free again when dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.release();
    }
}

impl Limiter {
    /// A limit of `capacity` slots; with 0 every request is refused.
    pub fn new(capacity: u32) -> Arc<Self> {
        Arc::new(Self { capacity, state: AtomicU64::new(0), queue: Mutex::default() })
    }

    /// Slots at all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Taken slots.
    pub fn current(&self) -> u32 {
        taken(self.state.load(Ordering::Relaxed))
    }

    /// Takes a slot, waiting for one until `deadline`. A free slot is taken even if the deadline has passed.
    ///
    /// May be dropped at any time: the place in the queue goes, a slot that was on its way goes to the next one.
    pub async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Permit, LimitReached> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        if self.capacity == 0 || deadline <= Instant::now() {
            return Err(LimitReached);
        }
        let mut place = match self.take_or_queue() {
            Ok(permit) => return Ok(permit),
            Err(place) => place,
        };
        match timeout_at(deadline, &mut place.receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(LimitReached),
        }
    }

    /// A slot if one is free and nobody waits.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let free = |state| (taken(state) < self.capacity && !has_waiters(state)).then(|| state + 1);
        self.update(free).then(|| Permit { limiter: Arc::clone(self) })
    }

    /// The last chance for a free slot, else a place in the queue. Both are decided by one exchange of the word, so a
    /// slot that is freed meanwhile is seen here or is passed on by its owner.
    fn take_or_queue(self: &Arc<Self>) -> Result<Permit, Place> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(permit) = self.try_acquire() {
                return Ok(permit);
            }
            let full = |state| (taken(state) >= self.capacity || has_waiters(state)).then(|| state + ONE_WAITER);
            if self.update(full) {
                break;
            }
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiters.insert(ticket, sender);
        Err(Place { limiter: Arc::clone(self), ticket, receiver })
    }

    fn release(self: &Arc<Self>) {
        let nobody_waits = |state| (!has_waiters(state)).then(|| state - 1);
        if self.update(nobody_waits) {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, eldest)) = queue.waiters.pop_first() else {
            // The last waiter left before the lock was ours; none can come while it is.
            self.state.fetch_sub(1, Ordering::AcqRel);
            return;
        };
        self.state.fetch_sub(ONE_WAITER, Ordering::AcqRel);
        drop(queue);
        // If the receiver is gone the permit comes back, and its drop serves the next one. Waiters leave the queue when
        // they are dropped, so this nests no deeper than there are threads dropping waiters at this instant.
        let _ = eldest.send(Permit { limiter: Arc::clone(self) });
    }

    /// Replaces the state by `next` of it; `false` when that is `None`.
    fn update(&self, next: impl Fn(u64) -> Option<u64>) -> bool {
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }
}

/// A place in the queue. Leaving it first and dropping the receiver then is what makes it safe to drop: a slot that
/// was sent before is dropped with the receiver, later ones are not sent here.
struct Place {
    limiter: Arc<Limiter>,
    ticket: u64,
    receiver: oneshot::Receiver<Permit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.limiter.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiters.remove(&self.ticket).is_some() {
            self.limiter.state.fetch_sub(ONE_WAITER, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests;
