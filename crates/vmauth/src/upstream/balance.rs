//! Which backend of a route takes the next try.
//!
//! `least_loaded` prefers an idle backend, in turn; `first_available` stays with the first sound one. Broken backends
//! are skipped while another one is sound, and so are by chance those that warm up. A route never goes silent: when none is sound, those are used that are down
//! for another reason than a failed try, in the way of the policy (panic mode); when there are none either, the first one.
//! A selection touches a few atomics and takes no lock, and it runs for every try of every request.
//!
//! Weights other than equal ones, and `hash_query`, need to know how the load is to be divided ([`Shares`]); routes without
//! either go on without it.
//!
//! A request that has failed goes to a backend that it has not tried, while there is a sound one: a failure that says nothing about
//! the backend leaves no mark, and without one the policy would choose the same again.
//!
//! It must never mark a backend as broken and never wait.

mod hashed;
mod list;
mod weighted;

use super::backend::{Backend, Lease, Mark};
use super::shares::{Share, Shares};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub use list::BackendList;

/// How the backends of a route share its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// `least_loaded`
    #[default]
    LeastLoaded,
    /// `first_available`
    FirstAvailable,
    /// `hash_query`
    HashQuery,
}

impl Policy {
    /// The policy of this name; the empty name is the default. `None` for unknown names.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "" | "least_loaded" => Some(Self::LeastLoaded),
            "first_available" => Some(Self::FirstAvailable),
            "hash_query" => Some(Self::HashQuery),
            _ => None,
        }
    }

    /// Its name in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastLoaded => "least_loaded",
            Self::FirstAvailable => "first_available",
            Self::HashQuery => "hash_query",
        }
    }
}

/// What the next choice depends on besides the backends.
pub struct Choice<'s, T> {
    /// How backends are chosen.
    pub policy: Policy,
    /// How the load is divided, if not equally.
    pub shares: Option<&'s Shares>,
    /// The wrapping counter of the route.
    pub turn: &'s AtomicU32,
    /// What `hash_query` goes by.
    pub key: u64,
    /// At what this request has failed.
    pub tried: &'s [Arc<Backend<T>>],
}

impl<T> Choice<'_, T> {
    /// Part of the load of the backend at this place.
    fn weight(&self, at: usize) -> u16 {
        self.shares.map_or(1, |shares| shares.weight(at))
    }

    fn has_tried(&self, backend: &Backend<T>) -> bool {
        self.tried.iter().any(|tried| std::ptr::eq(&raw const **tried, backend))
    }
}

/// Chooses an index of `backends` and counts it as in flight; `None` only for an empty list.
///
/// With sequential requests `least_loaded` is a plain round robin.
pub fn select<T>(choice: &Choice<'_, T>, backends: &[Arc<Backend<T>>]) -> Option<usize> {
    if (choice.shares.is_some() || !choice.tried.is_empty()) && !backends.is_empty() {
        return select_with_care(choice, backends);
    }
    let index = match (backends, choice.policy) {
        ([], _) => return None,
        ([_], _) => 0,
        (_, Policy::FirstAvailable) => {
            let first = |usable: fn(&Backend<T>) -> bool| backends.iter().position(|backend| usable(backend));
            first(is_next).or_else(|| first(is_sound)).or_else(|| first(may_be_tried)).unwrap_or(0)
        }
        // A list of `hash_query` has shares.
        (_, Policy::LeastLoaded | Policy::HashQuery) => return Some(least_loaded(backends, choice.turn)),
    };
    backends.get(index)?.claim();
    Some(index)
}

/// The same where backends have different parts of the load, or the request has failed at some. Those of weight 0 are
/// never chosen.
fn select_with_care<T>(choice: &Choice<'_, T>, backends: &[Arc<Backend<T>>]) -> Option<usize> {
    let of = |usable: &dyn Fn(&Backend<T>) -> bool| by_policy(choice, backends, usable);
    // Chance decides once a choice, however often a backend is looked at. Nothing is allocated while all are warm.
    let refusing = backends.iter().filter(|backend| is_sound(backend) && !is_next(backend));
    let refusing: Vec<*const Backend<T>> = refusing.map(Arc::as_ptr).collect();
    let is_next = |backend: &Backend<T>| is_sound(backend) && !refusing.contains(&std::ptr::from_ref(backend));
    let another = |usable: &dyn Fn(&Backend<T>) -> bool| {
        if choice.tried.is_empty() { None } else { of(&|backend| usable(backend) && !choice.has_tried(backend)) }
    };
    another(&is_next)
        .or_else(|| another(&is_sound))
        .or_else(|| of(&is_next))
        .or_else(|| of(&is_sound))
        .or_else(|| another(&may_be_tried))
        .or_else(|| of(&may_be_tried))
        .or_else(|| first(choice, backends, &|_| true))
}

/// Claims the one of the usable backends that the policy prefers.
fn by_policy<T>(
    choice: &Choice<'_, T>,
    backends: &[Arc<Backend<T>>],
    usable: &dyn Fn(&Backend<T>) -> bool,
) -> Option<usize> {
    match (choice.policy, choice.shares) {
        (Policy::HashQuery, Some(shares)) => hashed::preferred(backends, shares, choice.key, usable),
        (Policy::FirstAvailable | Policy::HashQuery, _) => first(choice, backends, usable),
        (Policy::LeastLoaded, None) => {
            let start = choice.turn.fetch_add(1, Relaxed);
            let index = least_loaded_of(backends, start, usable)?;
            end_turn(choice.turn, start, (index as u32).wrapping_add(1));
            Some(index)
        }
        (Policy::LeastLoaded, Some(shares)) => {
            let start = choice.turn.fetch_add(1, Relaxed);
            let (index, turns) = weighted::least_loaded(backends, shares, start, usable)?;
            end_turn(choice.turn, start, start.wrapping_add(turns));
            Some(index)
        }
    }
}

/// Claims the first one that has a weight.
fn first<T>(
    choice: &Choice<'_, T>,
    backends: &[Arc<Backend<T>>],
    usable: &dyn Fn(&Backend<T>) -> bool,
) -> Option<usize> {
    let index = backends.iter().enumerate().position(|(at, backend)| choice.weight(at) > 0 && usable(backend))?;
    backends.get(index)?.claim();
    Some(index)
}

/// Moves the counter on from the turn that began at `start`, unless somebody else moved it meanwhile.
fn end_turn(turn: &AtomicU32, start: u32, next: u32) {
    let _ = turn.compare_exchange(start.wrapping_add(1), next, Relaxed, Relaxed);
}

/// Whether it is sound, and warm or chosen by chance.
fn is_next<T>(backend: &Backend<T>) -> bool {
    backend.takes_next()
}

fn is_sound<T>(backend: &Backend<T>) -> bool {
    !backend.is_broken()
}

/// Whether it is worth a try when none is sound.
fn may_be_tried<T>(backend: &Backend<T>) -> bool {
    !backend.has(Mark::Broken)
}

/// At least two backends. The chosen one is claimed.
fn least_loaded<T>(backends: &[Arc<Backend<T>>], turn: &AtomicU32) -> usize {
    let start = turn.fetch_add(1, Relaxed);
    let chosen = least_loaded_of(backends, start, is_next)
        .or_else(|| least_loaded_of(backends, start, is_sound))
        .or_else(|| least_loaded_of(backends, start, may_be_tried));
    let Some(index) = chosen else {
        backends[0].claim();
        return 0;
    };
    // The next one in turn is the one after the choice.
    end_turn(turn, start, (index as u32).wrapping_add(1));
    index
}

/// The first idle one in turn, else the one with the fewest requests; claimed. `None` when none is usable.
fn least_loaded_of<T>(backends: &[Arc<Backend<T>>], start: u32, usable: impl Fn(&Backend<T>) -> bool) -> Option<usize> {
    let first = start as usize % backends.len();
    let in_turn = || {
        let (before, from) = backends.split_at(first);
        let from = from.iter().zip(first..);
        from.chain(before.iter().zip(0..)).filter(|(backend, _)| usable(backend))
    };
    if let Some((_, index)) = in_turn().find(|(backend, _)| backend.claim_if_idle()) {
        return Some(index);
    }
    // `min_by_key` keeps the earlier one of equals.
    let (backend, index) = in_turn().min_by_key(|(backend, _)| backend.in_flight())?;
    backend.claim();
    Some(index)
}

/// The backends of one route with the state of their balancing. Shared by all workers.
pub struct BackendSet<T> {
    policy: Policy,
    turn: AtomicU32,
    backends: ArcSwap<BackendList<T>>,
}

impl<T> BackendSet<T> {
    /// A set that starts with the first backend.
    pub fn new(policy: Policy, backends: Vec<(Arc<Backend<T>>, Share)>) -> Self {
        let backends = ArcSwap::from_pointee(BackendList::new(backends, policy == Policy::HashQuery));
        Self { policy, turn: AtomicU32::new(0), backends }
    }

    /// Sound backends in this order.
    pub fn of_targets(policy: Policy, targets: impl IntoIterator<Item = T>) -> Self {
        Self::new(
            policy,
            targets.into_iter().map(|target| (Arc::new(Backend::new(target)), Share::default())).collect(),
        )
    }

    /// The backend of the first try, and how many tries a request has that begins now: as many as backends take
    /// requests. `None` when none does. `key` as for [`pick`](Self::pick).
    pub fn begin(&self, key: u64) -> Option<(Lease<T>, usize)> {
        let backends = self.backends.load();
        let attempts = backends.taking();
        if attempts == 0 {
            return None;
        }
        Some((self.pick_of(&backends, key, &[])?, attempts))
    }

    /// The backend of the next try; `None` only when there is no backend at all. `key` is what `hash_query` goes by, `tried` are
    /// those at which the same request has failed.
    pub fn pick(&self, key: u64, tried: &[Arc<Backend<T>>]) -> Option<Lease<T>> {
        self.pick_of(&self.backends.load(), key, tried)
    }

    fn pick_of(&self, backends: &BackendList<T>, key: u64, tried: &[Arc<Backend<T>>]) -> Option<Lease<T>> {
        let choice = Choice { policy: self.policy, shares: backends.shares(), turn: &self.turn, key, tried };
        let index = select(&choice, backends)?;
        backends.get(index).map(|backend| Lease::of_claimed(Arc::clone(backend)))
    }

    /// The backends, each with its weight, that a request would try now, one after the other, if each of them failed and was found broken. Changes
    /// nothing.
    pub fn preview(&self, key: u64) -> Vec<(Arc<Backend<T>>, u16)> {
        let backends = self.backends.load();
        let copies: Vec<_> = backends.iter().map(|backend| Arc::new(backend.state_copy())).collect();
        let turn = AtomicU32::new(self.turn.load(Relaxed));
        let mut order = Vec::with_capacity(backends.len());
        let choice = Choice { policy: self.policy, shares: backends.shares(), turn: &turn, key, tried: &[] };
        for _ in 0..backends.taking() {
            let Some(index) = select(&choice, &copies) else { break };
            let (Some(copy), Some(backend)) = (copies.get(index), backends.get(index)) else { break };
            drop(Lease::of_claimed(Arc::clone(copy)));
            copy.set_broken();
            order.push((Arc::clone(backend), backends.weight(index)));
        }
        order
    }

    /// How backends are chosen.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Puts another list in place. Backends found in both lists by the caller keep their state by being the same `Arc`.
    pub fn replace(&self, backends: Vec<(Arc<Backend<T>>, Share)>) {
        self.backends.store(Arc::new(BackendList::new(backends, self.policy == Policy::HashQuery)));
    }

    /// The list of this moment.
    pub fn snapshot(&self) -> Arc<BackendList<T>> {
        self.backends.load_full()
    }
}

#[cfg(test)]
mod share_tests;

#[cfg(test)]
mod tests {
    use super::super::backend::Watch;
    use super::super::shares::Share;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::advance;

    fn set(policy: Policy, len: usize) -> BackendSet<usize> {
        BackendSet::of_targets(policy, 0..len)
    }

    fn pick(set: &BackendSet<usize>) -> usize {
        *set.pick(0, &[]).unwrap().target()
    }

    fn mark(set: &BackendSet<usize>, broken: &[usize]) {
        let backends = set.snapshot();
        broken.iter().for_each(|&index| assert!(backends[index].set_broken().is_some()));
    }

    #[test]
    fn names() {
        let f = |name, want| assert_eq!(Policy::from_name(name), want, "{name:?}");
        f("", Some(Policy::LeastLoaded));
        f("least_loaded", Some(Policy::LeastLoaded));
        f("first_available", Some(Policy::FirstAvailable));
        f("hash_query", Some(Policy::HashQuery));
        f("Least_Loaded", None);
        f("random", None);
    }

    #[test]
    fn sequential_picks() {
        let f = |policy, len, broken: &[usize], want: &[usize]| {
            let set = set(policy, len);
            mark(&set, broken);
            let got: Vec<_> = want.iter().map(|_| pick(&set)).collect();
            assert_eq!(got, want, "{policy:?} of {len}, broken {broken:?}");
        };
        use Policy::{FirstAvailable, LeastLoaded};
        f(LeastLoaded, 3, &[], &[0, 1, 2, 0, 1, 2, 0]);
        f(LeastLoaded, 3, &[1], &[0, 2, 0, 2, 0]);
        f(LeastLoaded, 3, &[0, 1], &[2, 2, 2]);
        f(LeastLoaded, 3, &[0, 1, 2], &[0, 0, 0]);
        f(LeastLoaded, 1, &[0], &[0, 0]);
        f(FirstAvailable, 3, &[], &[0, 0, 0]);
        f(FirstAvailable, 3, &[0], &[1, 1]);
        f(FirstAvailable, 3, &[0, 1], &[2, 2]);
        f(FirstAvailable, 3, &[0, 1, 2], &[0, 0]);
        f(FirstAvailable, 1, &[0], &[0]);
    }

    #[test]
    fn a_preview_is_what_failing_requests_try() {
        for policy in [Policy::LeastLoaded, Policy::FirstAvailable] {
            let set = set(policy, 4);
            for round in 0..9 {
                if round == 5 {
                    mark(&set, &[2]);
                }
                let held = pick_all(&set, round % 3);
                let preview: Vec<_> = set.preview(0).iter().map(|(backend, _)| *backend.target()).collect();
                let before: Vec<_> = set.snapshot().iter().map(|backend| backend.is_broken()).collect();
                let tried: Vec<_> = (0..4)
                    .map(|_| {
                        let lease = set.pick(0, &[]).unwrap();
                        lease.set_broken();
                        *lease.target()
                    })
                    .collect();
                assert_eq!(preview, tried, "{policy:?} round {round}");
                for (backend, broken) in set.snapshot().iter().zip(before) {
                    if !broken {
                        backend.clear_broken();
                    }
                }
                drop(held);
            }
        }
    }

    fn pick_all(set: &BackendSet<usize>, count: usize) -> Vec<Lease<usize>> {
        (0..count).map(|_| set.pick(0, &[]).unwrap()).collect()
    }

    #[test]
    fn empty_list_picks_nothing() {
        let tried = [Arc::new(Backend::new(7))];
        for policy in [Policy::LeastLoaded, Policy::FirstAvailable, Policy::HashQuery] {
            let set = set(policy, 0);
            assert!(set.pick(0, &[]).is_none() && set.pick(0, &tried).is_none() && set.snapshot().taking() == 0);
        }
    }

    #[test]
    fn idle_before_busy() {
        let set = set(Policy::LeastLoaded, 2);
        let slow = set.pick(0, &[]).unwrap();
        assert_eq!(*slow.target(), 0);
        for _ in 0..4 {
            assert_eq!(pick(&set), 1);
        }
        drop(slow);
        assert_eq!(pick(&set), 0);
    }

    #[test]
    fn parallel_load_is_shared_equally() {
        let set = set(Policy::LeastLoaded, 3);
        let leases: Vec<_> = (0..12).map(|_| set.pick(0, &[]).unwrap()).collect();
        assert!(set.snapshot().iter().all(|backend| backend.in_flight() == 4));
        drop(leases);
        assert!(set.snapshot().iter().all(|backend| backend.in_flight() == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_returns_gets_a_growing_share() {
        let watch = Watch { slow_start: Some(Duration::from_secs(100)), ..Watch::default() };
        // In turn a cold one gets a part of what each other one gets, the first one a part of everything.
        let in_turn: fn(f64) -> f64 = |part| part / (1.0 + part);
        let of_all: fn(f64) -> f64 = |part| part;
        for (policy, expected) in [(Policy::LeastLoaded, in_turn), (Policy::FirstAvailable, of_all)] {
            let warm = expected(1.0);
            let set = BackendSet::new(
                policy,
                (0..2).map(|target| (Backend::watched(target, watch.clone()), Share::default())).collect(),
            );
            let share = || (0..10_000).filter(|_| pick(&set) == 0).count() as f64 / 10_000.0;
            assert_eq!(share(), warm, "all are warm at the start");
            mark(&set, &[0]);
            assert_eq!(share(), 0.0);
            set.snapshot()[0].clear_broken();
            assert!(!set.snapshot()[0].is_broken());
            // The others are so far from what is expected that chance never gets there.
            assert!((share() - expected(0.1)).abs() < 0.05, "{policy:?}");
            advance(Duration::from_secs(60)).await;
            assert!((share() - expected(0.6)).abs() < 0.05, "{policy:?}");
            advance(Duration::from_secs(40)).await;
            assert_eq!(share(), warm);

            // Alone it gets everything, and before one that is down for any reason.
            mark(&set, &[0]);
            set.snapshot()[0].clear_broken();
            set.snapshot()[1].mark(Mark::Down);
            assert_eq!(share(), 1.0);
        }
    }

    /// `tried`, backends that are broken and that are down, and who may be next.
    #[test]
    fn a_request_that_has_failed_goes_elsewhere() {
        let f = |tried: &[usize], broken: &[usize], down: &[usize], want: &[usize]| {
            for policy in [Policy::LeastLoaded, Policy::FirstAvailable, Policy::HashQuery] {
                for key in 0..20 {
                    let set = set(policy, 3);
                    mark(&set, broken);
                    down.iter().for_each(|at| assert!(set.snapshot()[*at].mark(Mark::Down)));
                    let tried: Vec<_> = tried.iter().map(|at| Arc::clone(&set.snapshot()[*at])).collect();
                    let got = *set.pick(key, &tried).unwrap().target();
                    assert!(want.contains(&got), "{policy:?} broken {broken:?} down {down:?}: {got}");
                    assert!(set.snapshot().iter().all(|backend| backend.in_flight() == 0));
                }
            }
        };
        f(&[0], &[], &[], &[1, 2]);
        f(&[0, 1], &[], &[], &[2]);
        f(&[0], &[1], &[], &[2]);
        // A sound one that was tried is better than one that is known to be broken or down.
        f(&[0], &[1], &[2], &[0]);
        f(&[0], &[2], &[0, 1], &[1]);
        f(&[0, 1], &[2], &[0, 1], &[0, 1]);
        f(&[0, 1, 2], &[], &[], &[0, 1, 2]);
    }

    #[test]
    fn ties_keep_the_earlier_in_turn() {
        let set = set(Policy::LeastLoaded, 3);
        // The counter stands at 1 when all have one in flight.
        let _leases: Vec<_> = (0..3).map(|_| set.pick(0, &[]).unwrap()).collect();
        set.turn.store(1, Relaxed);
        assert_eq!(pick(&set), 1);
        assert_eq!(set.turn.load(Relaxed), 2);
    }

    #[test]
    fn the_turn_wraps() {
        let set = set(Policy::LeastLoaded, 3);
        set.turn.store(u32::MAX, Relaxed);
        assert_eq!(pick(&set), u32::MAX as usize % 3);
        let next = pick(&set);
        assert_eq!(next, (u32::MAX as usize % 3 + 1) % 3);
    }

    #[test]
    fn replaced_list_keeps_shared_backends() {
        let set = set(Policy::FirstAvailable, 2);
        let held = set.pick(0, &[]).unwrap();
        let kept = Arc::clone(&set.snapshot()[0]);
        set.replace(vec![(Arc::new(Backend::new(9)), Share::default()), (kept, Share::default())]);
        assert_eq!((set.snapshot().taking(), pick(&set), set.snapshot()[1].in_flight()), (2, 9, 1));
        drop(held);
        assert_eq!(set.snapshot()[1].in_flight(), 0);
    }

    #[test]
    fn threads_spread_and_count_exactly() {
        let set = set(Policy::LeastLoaded, 4);
        let all_hold = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        drop(set.pick(0, &[]));
                    }
                    let held: Vec<_> = (0..50).map(|_| set.pick(0, &[]).unwrap()).collect();
                    all_hold.wait();
                    let loads: Vec<_> = set.snapshot().iter().map(|backend| backend.in_flight()).collect();
                    all_hold.wait();
                    drop(held);
                    // Each of 8 threads may choose from counts that 7 others change meanwhile.
                    assert!(loads.iter().all(|&load| load.abs_diff(100) <= 40), "{loads:?}");
                });
            }
        });
        assert!(set.snapshot().iter().all(|backend| backend.in_flight() == 0));
    }

    #[derive(Clone, Debug)]
    enum Move {
        Pick,
        Finish(usize),
        Break(usize),
        Heal(usize),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            4 => Just(Move::Pick),
            3 => any::<usize>().prop_map(Move::Finish),
            1 => any::<usize>().prop_map(Move::Break),
            1 => any::<usize>().prop_map(Move::Heal),
        ];
        proptest::collection::vec(one, 1..80)
    }

    proptest! {
        #[test]
        fn choice_follows_the_rules(len in 1_usize..6, start in any::<u32>(), first: bool, moves in moves()) {
            let policy = if first { Policy::FirstAvailable } else { Policy::LeastLoaded };
            let set = set(policy, len);
            set.turn.store(start, Relaxed);
            let backends = set.snapshot();
            let mut held = Vec::new();
            for step in moves {
                match step {
                    Move::Pick => {
                        let sound: Vec<_> = backends.iter().filter(|backend| !backend.is_broken()).collect();
                        let least = sound.iter().map(|backend| backend.in_flight()).min();
                        let first_sound = sound.first().map_or(0, |backend| *backend.target());
                        let lease = set.pick(0, &[]).unwrap();
                        let before = lease.in_flight() - 1;
                        match (policy, least) {
                            (_, None) => prop_assert_eq!(*lease.target(), 0),
                            (Policy::FirstAvailable, _) => prop_assert_eq!(*lease.target(), first_sound),
                            (Policy::LeastLoaded | Policy::HashQuery, Some(least)) => {
                                prop_assert!(!lease.is_broken());
                                prop_assert_eq!(before, least);
                            }
                        }
                        held.push(lease);
                    }
                    Move::Finish(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    Move::Finish(_) => {}
                    Move::Break(at) => drop(backends[at % len].set_broken()),
                    Move::Heal(at) => backends[at % len].clear_broken(),
                }
            }
            let total: u32 = backends.iter().map(|backend| backend.in_flight()).sum();
            prop_assert_eq!(total as usize, held.len());
        }
    }
}
