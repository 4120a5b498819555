//! How many logins have failed from an address lately, and who has logged in from there (docs/reference/auth.md).
//!
//! An address that fails often waits longer for each answer. So does the first valid login of a user that was not seen
//! from there: whoever hangs up early must not tell a right guess by its quick answer. Users that are known there are
//! never held up, since many people may share an address.
//!
//! All tables are of fixed size, shared by all workers, and made of atomics: nothing here waits, grows or fails. What
//! does not fit pushes out an address with fewer failures, or makes a user wait once more.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::time::Instant;
use vmkit::net::address::customer_of;

/// Failures are forgotten this long after the first of them.
pub const WINDOW: Duration = Duration::from_secs(60);
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
    /// Whose entries these are, for people who look; see [`packed`].
    addresses: Box<[AtomicU64]>,
    known: Box<[AtomicU64]>,
}

/// An address whose logins have failed lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingAddress {
    /// The address, or the /64 of an IPv6 address.
    pub ip: IpAddr,
    /// Failures that count.
    pub failures: u64,
    /// Time since the first of them.
    pub age: Duration,
    /// By which factor the answer to the next one will be delayed.
    pub factor: u32,
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
            addresses: table(SETS * WAYS * size),
            known: table(KNOWN * size),
        }
    }

    /// Counts a failed login; by which factor its answer is to be delayed.
    pub fn count(&self, ip: IpAddr, now: Instant) -> u32 {
        let (hash, second) = (self.hasher.hash_one(customer_of(ip)), self.second(now));
        let tag = tag(hash);
        let slots = || self.set(hash).iter().zip(self.owners(hash));
        let load = |slot: &AtomicU64| Entry(slot.load(Relaxed));
        let is_mine = |entry: Entry| entry.tag() == tag && entry.count(second) > 0;
        let found = slots().find(|(slot, _)| is_mine(load(slot)));
        let found = found.or_else(|| slots().min_by_key(|(slot, _)| load(slot).count(second)));
        let Some((slot, owner)) = found else { return 1 };
        let next = |old: Entry| match is_mine(old) {
            true => Entry::new(old.tag(), old.start(), old.count(second) + 1),
            false => Entry::new(tag, second, 1),
        };
        let mut old = Entry(slot.load(Relaxed));
        loop {
            let new = next(old);
            match slot.compare_exchange_weak(old.0, new.0, Relaxed, Relaxed) {
                Ok(_) => {
                    owner.store(packed(customer_of(ip)), Relaxed);
                    return self.factor(new.count(second));
                }
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

    /// `-maxFailedLoginsPerIP`
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Addresses with failures that count, those with most first: how many there are, and at most so many of them. Looks at
    /// all entries, so not for workers.
    pub fn failing(&self, now: Instant, most: usize) -> (usize, Vec<FailingAddress>) {
        let second = self.second(now);
        let mut all = Vec::new();
        for (at, (slot, owner)) in self.failures.iter().zip(&self.addresses).enumerate() {
            let (entry, ip) = (Entry(slot.load(Relaxed)), unpacked(owner.load(Relaxed)));
            let failures = entry.count(second);
            let hash = self.hasher.hash_one(ip);
            // Another address may just be taking the place: then entry and owner do not fit each other.
            let is_whole = tag(hash) == entry.tag() && at / WAYS == (hash % SETS as u64) as usize;
            if failures > 0 && is_whole {
                let age = Duration::from_secs(second.wrapping_sub(entry.start()) & START_MASK);
                all.push(FailingAddress { ip, failures, age, factor: self.factor(failures + 1) });
            }
        }
        all.sort_by_key(|failing| (std::cmp::Reverse(failing.failures), failing.ip));
        let total = all.len();
        all.truncate(most);
        (total, all)
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

    fn owners(&self, hash: u64) -> &[AtomicU64] {
        let first = (hash % SETS as u64) as usize * WAYS;
        self.addresses.get(first..first + WAYS).unwrap_or_default()
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

/// What stands for all addresses of somebody in one word: an IPv4 address behind a bit, or the upper half of an IPv6 address.
fn packed(customer: IpAddr) -> u64 {
    match customer {
        IpAddr::V4(ip) => 1 << 32 | u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

/// The opposite of [`packed`]; `0:1:x:x::/64`, which nobody has, would be taken for IPv4.
fn unpacked(word: u64) -> IpAddr {
    match word >> 32 {
        1 => Ipv4Addr::from((word & 0xffff_ffff) as u32).into(),
        _ => Ipv6Addr::from(u128::from(word) << 64).into(),
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
            logins.count(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)), now);
        }
        assert_eq!(logins.count(bad, now), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_listed_and_forgotten() {
        let logins = FailedLogins::new(2);
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        for (address, times) in [("1.2.3.4", 1), ("2001:db8::7", 5), ("::ffff:10.0.0.1", 3), ("::1", 2)] {
            for _ in 0..times {
                logins.count(ip(address), later(10));
            }
        }
        let shown = |at, most| {
            let (total, list) = logins.failing(at, most);
            let line =
                |one: FailingAddress| format!("{} {} {} {}", one.ip, one.failures, one.age.as_secs(), one.factor);
            (total, list.into_iter().map(line).collect::<Vec<_>>())
        };
        let (total, list) = shown(later(15), 10);
        assert_eq!((total, list.len()), (4, 4));
        assert_eq!(list, ["2001:db8:: 5 5 4", "10.0.0.1 3 5 2", ":: 2 5 2", "1.2.3.4 1 5 1"]);
        assert_eq!(shown(later(15), 1), (4, vec!["2001:db8:: 5 5 4".to_owned()]));
        assert_eq!(shown(later(70), 10), (0, Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_bounded_whoever_fails() {
        let logins = FailedLogins::new(2);
        let now = Instant::now();
        for n in 0..100_000 {
            logins.count(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)), now);
        }
        let (total, list) = logins.failing(now, 100);
        assert!(total <= SETS * WAYS && total > SETS && list.len() == 100, "{total}");
        assert!(list.iter().all(|one| matches!(one.ip, IpAddr::V4(ip) if ip.octets()[0] == 10)));
    }

    #[tokio::test(start_paused = true)]
    async fn zero_turns_it_off() {
        let logins = FailedLogins::new(0);
        let now = Instant::now();
        assert!((0..100).all(|_| logins.count(ip("::1"), now) == 1));
        assert_eq!(logins.admit(ip("::1"), "u", now), None);
    }
}
