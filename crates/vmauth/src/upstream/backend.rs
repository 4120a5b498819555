//! One backend of a route and the lease that a try holds on it.
//!
//! A backend counts what is in flight (from selection to the last byte of the reply) and knows whether it is broken.
//! Balancing reads both, `health_check` clears the flag. Workers on several threads share it, so all state is atomic;
//! no count orders any other memory, hence relaxed everywhere.
//!
//! It must never decide who is chosen, and an in-flight count must never be touched except through a [`Lease`].

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Where a health check dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialAddress {
    /// Host name or IP address, IPv6 without brackets, without `srv+`.
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
    in_flight: AtomicU32,
    broken: AtomicBool,
    /// How often it was found broken since it served a request.
    relapses: AtomicU32,
}

impl<T> Backend<T> {
    /// An idle and sound backend.
    pub fn new(target: T) -> Self {
        Self { target, in_flight: AtomicU32::new(0), broken: AtomicBool::new(false), relapses: AtomicU32::new(0) }
    }

    /// What the caller stored here at build time.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// Leases that are alive.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether the backend is avoided while another one is sound.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
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
        copy.in_flight.store(self.in_flight(), Relaxed);
        copy.broken.store(self.is_broken(), Relaxed);
        copy
    }

    /// Sets the flag; for the one caller that changed it, how often that has happened since the backend served a
    /// request. Requests go through the health checker instead, which also sees to it that the flag is cleared again.
    pub(super) fn set_broken(&self) -> Option<u32> {
        (!self.broken.swap(true, Relaxed)).then(|| self.relapses.fetch_add(1, Relaxed).saturating_add(1))
    }

    pub(super) fn clear_broken(&self) {
        self.broken.store(false, Relaxed);
    }

    /// Counts one in flight if there is none; `false` leaves the count alone.
    pub(super) fn claim_if_idle(&self) -> bool {
        // The load spares busy backends the exclusive access to their cache line.
        self.in_flight() == 0 && self.in_flight.compare_exchange(0, 1, Relaxed, Relaxed).is_ok()
    }

    /// Counts one more in flight.
    pub(super) fn claim(&self) {
        self.in_flight.fetch_add(1, Relaxed);
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
        self.backend.in_flight.fetch_sub(1, Relaxed);
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
        assert_eq!(backend.in_flight(), 0);
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
