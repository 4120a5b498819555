//! How many connections of clients may be open: all together, and from one address.
//!
//! Every connection takes a descriptor, and a request that is forwarded takes another one. Without a limit clients could
//! take them all, and what fails then is whatever needs one next: a backend, a reload, a log file. A connection beyond
//! a limit is closed at once, before anything of it is read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::address::customer_of;

/// Descriptors that connections of clients never take, however few there are.
const RESERVED: usize = 32;

/// Limits and counts of a server, shared by its workers.
#[derive(Debug, Default)]
pub(super) struct ConnectionLimits {
    /// 0 for no limit.
    total: usize,
    /// 0 for no limit; the map is empty then.
    per_address: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// An open connection that counts.
#[derive(Debug)]
pub(super) struct Counted {
    limits: Arc<ConnectionLimits>,
    address: Option<IpAddr>,
}

impl ConnectionLimits {
    /// `total` 0 leaves a quarter of the descriptors of the process for everything else.
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        let total = if total > 0 { total } else { most_by_descriptors() };
        Self { total, per_address, ..Self::default() }
    }

    /// Counts a connection from this address, if it has one; `None` when it is one too many.
    pub(super) fn claim(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Counted> {
        if self.total > 0 && self.open.load(Relaxed) >= self.total {
            return None;
        }
        let address = address.filter(|_| self.per_address > 0).map(customer_of);
        if let Some(address) = address {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.entry(address).or_default();
            if *count >= self.per_address {
                return None;
            }
            *count += 1;
        }
        self.open.fetch_add(1, Relaxed);
        Some(Counted { limits: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.limits.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

fn most_by_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(0, |limit| {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        limit.saturating_sub((limit / 4).max(RESERVED)).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_refused_until_another_one_ends() {
        let limits = Arc::new(ConnectionLimits::new(3, 2));
        let claim = |text: &str| limits.claim(Some(text.parse().unwrap()));
        let first = claim("10.0.0.1").unwrap();
        let _second = claim("::ffff:10.0.0.1").unwrap();
        assert!(claim("10.0.0.1").is_none(), "two of one address");
        let _third = claim("2001:db8::1").unwrap();
        assert!(claim("10.0.0.2").is_none(), "three in all");
        drop(first);
        let _fourth = claim("2001:db8::2:1").unwrap();
        assert!(claim("2001:db8::3").is_none(), "the same /64");
        assert_eq!(limits.by_address.lock().unwrap().len(), 2);
    }

    #[test]
    fn without_limits_descriptors_are_left_for_the_rest() {
        let limits = ConnectionLimits::new(0, 0);
        assert!(limits.total > 0 && limits.total < most_by_descriptors() + 1);
        assert!(Arc::new(limits).claim("10.0.0.1".parse().ok()).is_some());
    }
}
