//! How many logins have failed from an address lately, and who has logged in from there (docs/reference/auth.md).
//!
//! An address that fails often waits longer for each answer. So does the first valid login of a user that was not seen
//! from there: whoever hangs up early must not tell a right guess by its quick answer. Users that are known there are
//! never held up, since many people may share an address.
//!
//! Both tables are of fixed size, shared by all workers, and made of atomics: nothing here waits, grows or fails. What
//! does not fit pushes out an address with fewer failures, or makes a user wait once more.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::time::Instant;
use vmkit::net::address::customer_of;

/// Failures are forgotten this long after the first of them.
const WINDOW: Duration = Duration::from_secs(60);
const SETS: usize = 4096;
/// Addresses of a set.
const WAYS: usize = 4;
/// Pairs of address and user that are remembered.
const KNOWN: usize = 16 * 1024;

const TAG_BITS: u32 = 64 - START_BITS - COUNT_BITS;
const COUNT_BITS: u32 = 20;
const START_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const START_MASK: u64 = (1 << START_BITS) - 1;

/// Failures and logins of all addresses.
#[derive(Debug)]
pub struct FailedLogins {
    /// Failures within the window that cost nothing; 0 turns all of this off.
    limit: u32,
    hasher: RandomState,
    born: Instant,
    /// Sets of [`WAYS`] entries.
    failures: Box<[AtomicU64]>,
    known: Box<[AtomicU64]>,
}

/// Address, second of the first failure and number of failures in one word; 0 is empty.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn new(tag: u64, start: u64, count: u64) -> Self {
        Self(tag << (START_BITS + COUNT_BITS) | (start & START_MASK) << COUNT_BITS | count.min(COUNT_MASK))
    }

    fn tag(self) -> u64 {
        self.0 >> (START_BITS + COUNT_BITS)
    }

    fn start(self) -> u64 {
        (self.0 >> COUNT_BITS) & START_MASK
    }

    /// Failures that still count.
    fn count(self, second: u64) -> u64 {
        let age = second.wrapping_sub(self.start()) & START_MASK;
        if age < WINDOW.as_secs() { self.0 & COUNT_MASK } else { 0 }
    }
}

impl FailedLogins {
    /// Tables for a process that tolerates so many failures of an address in a minute; 0: any number.
    pub fn new(limit: u32) -> Self {
        let table = |entries: usize| std::iter::repeat_with(AtomicU64::default).take(entries).collect();
        let size = usize::from(limit > 0);
        Self {
            limit,
            hasher: RandomState::default(),
            born: Instant::now(),
            failures: table(SETS * WAYS * size),
            known: table(KNOWN * size),
        }
    }

    /// Counts a failed login; by which factor its answer is to be delayed.
    pub fn count(&self, ip: IpAddr, now: Instant) -> u32 {
        let (hash, second) = (self.hasher.hash_one(customer_of(ip)), self.second(now));
        let tag = tag(hash);
        let set = self.set(hash);
        let load = |slot: &&AtomicU64| Entry(slot.load(Relaxed));
        let is_mine = |entry: Entry| entry.tag() == tag && entry.count(second) > 0;
        let found = set.iter().find(|slot| is_mine(load(slot)));
        let Some(slot) = found.or_else(|| set.iter().min_by_key(|slot| load(slot).count(second))) else { return 1 };
        let next = |old: Entry| match is_mine(old) {
            true => Entry::new(old.tag(), old.start(), old.count(second) + 1),
            false => Entry::new(tag, second, 1),
        };
        let mut old = Entry(slot.load(Relaxed));
        loop {
            let new = next(old);
            match slot.compare_exchange_weak(old.0, new.0, Relaxed, Relaxed) {
                Ok(_) => return self.factor(new.count(second)),
                Err(changed) => old = Entry(changed),
            }
        }
    }

    /// By which factor of a failure's delay a valid login of this user has to wait; `None` to pass at once, and the
    /// user is known from then on.
    pub fn admit(&self, ip: IpAddr, user: &str, now: Instant) -> Option<u32> {
        let (slot, mark) = self.known(ip, user)?;
        if slot.load(Relaxed) == mark {
            return None;
        }
        let (hash, second) = (self.hasher.hash_one(customer_of(ip)), self.second(now));
        let tag = tag(hash);
        let entries = self.set(hash).iter().map(|slot| Entry(slot.load(Relaxed)));
        let mine = entries.filter(|entry| entry.tag() == tag).map(|entry| entry.count(second));
        match self.factor(mine.max().unwrap_or_default() + 1) {
            1 => {
                slot.store(mark, Relaxed);
                None
            }
            factor => Some(factor),
        }
    }

    /// The user has waited.
    pub fn remember(&self, ip: IpAddr, user: &str) {
        if let Some((slot, mark)) = self.known(ip, user) {
            slot.store(mark, Relaxed);
        }
    }

    fn factor(&self, failures: u64) -> u32 {
        match failures.saturating_sub(1) / u64::from(self.limit.max(1)) {
            0 => 1,
            1 => 2,
            _ => 4,
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_secs()
    }

    fn set(&self, hash: u64) -> &[AtomicU64] {
        let first = (hash % SETS as u64) as usize * WAYS;
        self.failures.get(first..first + WAYS).unwrap_or_default()
    }

    fn known(&self, ip: IpAddr, user: &str) -> Option<(&AtomicU64, u64)> {
        if self.known.is_empty() {
            return None;
        }
        // An empty slot is 0.
        let mark = self.hasher.hash_one((customer_of(ip), user)) | 1 << 63;
        Some((self.known.get((mark % KNOWN as u64) as usize)?, mark))
    }
}

/// What stands for an address in its set; other bits of the hash choose the set.
fn tag(hash: u64) -> u64 {
    hash >> (64 - TAG_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_an_address_add_up_within_a_minute() {
        let logins = FailedLogins::new(2);
        let (one, other, now) = (ip("1.2.3.4"), ip("1.2.3.5"), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        let factors: Vec<_> = (0..6).map(|second| logins.count(one, later(second))).collect();
        assert_eq!(factors, [1, 1, 2, 2, 4, 4]);
        assert_eq!(logins.count(ip("::ffff:1.2.3.4"), later(59)), 4);
        assert_eq!(logins.count(other, now), 1);
        assert_eq!(logins.count(one, later(60)), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_address() {
        let logins = FailedLogins::new(1);
        let now = Instant::now();
        let f = |text: &str| logins.count(ip(text), now);
        assert_eq!([f("2001:db8::1"), f("2001:db8::ffff:2"), f("2001:db8:0:1::1"), f("2001:db8::3")], [1, 2, 1, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_wait_and_the_known_do_not() {
        let logins = FailedLogins::new(1);
        let (here, now) = (ip("1.2.3.4"), Instant::now());
        assert_eq!(logins.admit(here, "known", now), None);
        logins.count(here, now);
        assert_eq!(logins.admit(here, "known", now), None);
        assert_eq!(logins.admit(here, "new", now), Some(2));
        assert_eq!(logins.admit(here, "new", now), Some(2), "who does not wait stays unknown");
        assert_eq!(logins.admit(ip("1.2.3.5"), "new", now), None);
        logins.remember(here, "new");
        assert_eq!(logins.admit(here, "new", now), None);
        assert_eq!(logins.admit(here, "late", now + WINDOW), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_push_out_the_small_ones() {
        let logins = FailedLogins::new(2);
        let (bad, now) = (ip("1.2.3.4"), Instant::now());
        for _ in 0..10 {
            logins.count(bad, now);
        }
        for n in 0..100_000 {
            logins.count(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)), now);
        }
        assert_eq!(logins.count(bad, now), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_turns_it_off() {
        let logins = FailedLogins::new(0);
        let now = Instant::now();
        assert!((0..100).all(|_| logins.count(ip("::1"), now) == 1));
        assert_eq!(logins.admit(ip("::1"), "u", now), None);
    }
}
