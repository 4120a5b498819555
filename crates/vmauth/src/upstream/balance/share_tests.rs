//! Weights, and `hash_query`: who gets how much, what moves when backends come and go, and where the bound is.

use super::*;
use proptest::prelude::*;

/// A backend that is known by its number.
fn backend(weight: u16, number: u64) -> (Arc<Backend<u64>>, Share) {
    (Arc::new(Backend::new(number)), Share { weight, identity: number })
}

fn set(policy: Policy, weights: &[u16]) -> BackendSet<u64> {
    BackendSet::new(policy, weights.iter().zip(0..).map(|(weight, number)| backend(*weight, number)).collect())
}

fn pick(set: &BackendSet<u64>, key: u64) -> u64 {
    *set.pick(key, &[]).unwrap().target()
}

fn counts(set: &BackendSet<u64>, keys: impl IntoIterator<Item = u64>) -> Vec<usize> {
    let mut counts = vec![0; set.snapshot().len()];
    keys.into_iter().for_each(|key| counts[usize::try_from(pick(set, key)).unwrap()] += 1);
    counts
}

fn key(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn one_after_the_other_goes_round_by_weight() {
    let f = |weights: &[u16], broken: &[usize], want: &[u64]| {
        let set = set(Policy::LeastLoaded, weights);
        broken.iter().for_each(|at| assert!(set.snapshot()[*at].set_broken().is_some()));
        let got: Vec<_> = want.iter().map(|_| pick(&set, 0)).collect();
        assert_eq!(got, want, "{weights:?} broken {broken:?}");
    };
    f(&[3, 1], &[], &[0, 0, 1, 0, 0, 0, 1, 0]);
    f(&[2, 1, 1], &[], &[0, 1, 2, 0, 0, 1, 2, 0]);
    f(&[3, 1], &[0], &[1, 1, 1]);
    f(&[2, 1, 1], &[0], &[1, 2, 1, 2]);
    f(&[1, 0, 1], &[], &[0, 2, 0, 2]);
    f(&[1, 0], &[0], &[0, 0]);
}

#[test]
fn requests_in_flight_are_divided_by_weight() {
    let set = set(Policy::LeastLoaded, &[4, 2, 1, 0]);
    let held: Vec<_> = (0..70).map(|_| set.pick(0, &[]).unwrap()).collect();
    let loads: Vec<_> = set.snapshot().iter().map(|backend| backend.in_flight()).collect();
    assert_eq!(loads, [40, 20, 10, 0]);
    drop(held);
    assert_eq!(set.snapshot().taking(), 3);
}

#[test]
fn who_has_no_weight_is_no_last_resort_either() {
    for policy in [Policy::LeastLoaded, Policy::FirstAvailable, Policy::HashQuery] {
        let set = set(policy, &[0, 1, 1]);
        let order: Vec<_> = set.preview(7).iter().map(|(backend, _)| *backend.target()).collect();
        assert!(order.len() == 2 && !order.contains(&0), "{policy:?} {order:?}");
        set.snapshot().iter().skip(1).for_each(|backend| assert!(backend.set_broken().is_some()));
        assert_ne!(pick(&set, 7), 0, "{policy:?}");
    }
    let set = set(Policy::FirstAvailable, &[0, 1, 9]);
    assert_eq!((pick(&set, 0), pick(&set, 0)), (1, 1), "other weights do not count there");
}

#[test]
fn keys_are_spread_by_weight() {
    let f = |weights: &[u16], want: &[f64]| {
        let counts = counts(&set(Policy::HashQuery, weights), (0..20_000).map(key));
        for (count, want) in counts.iter().zip(want) {
            assert!((*count as f64 / 20_000.0 - want).abs() < 0.02, "{weights:?}: {counts:?}");
        }
    };
    f(&[1, 1, 1, 1], &[0.25; 4]);
    f(&[3, 1], &[0.75, 0.25]);
    f(&[0, 5, 5], &[0.0, 0.5, 0.5]);
    f(&[7], &[1.0]);
}

#[test]
fn a_key_stays_where_it_is_and_moves_only_while_its_backend_is_broken() {
    let set = set(Policy::HashQuery, &[1; 5]);
    let homes: Vec<_> = (0..500).map(|n| pick(&set, key(n))).collect();
    let broken = Arc::clone(&set.snapshot()[2]);
    broken.set_broken();
    for (n, home) in (0..).zip(&homes) {
        let now = pick(&set, key(n));
        assert!(if *home == 2 { now != 2 } else { now == *home }, "{n}: {home} {now}");
    }
    broken.clear_broken();
    assert!((0..).zip(&homes).all(|(n, home)| pick(&set, key(n)) == *home));
}

#[test]
fn one_hot_query_is_lent_to_others() {
    let set = set(Policy::HashQuery, &[1; 4]);
    let held: Vec<_> = (0..100).map(|_| set.pick(key(1), &[]).unwrap()).collect();
    let mut loads: Vec<_> = set.snapshot().iter().map(|backend| backend.in_flight()).collect();
    let home = loads[usize::try_from(*held[0].target()).unwrap()];
    loads.sort_unstable();
    assert_eq!((home, loads[3]), (32, 32), "a quarter more than its part of 100 and a bit: {loads:?}");
    drop(held);
    assert_eq!(pick(&set, key(1)), pick(&set, key(1)));
}

#[derive(Clone, Debug)]
enum Move {
    Pick(u64),
    Finish(usize),
}

proptest! {
    #[test]
    fn only_keys_of_a_backend_that_comes_or_goes_move(weights in prop::collection::vec(1..=20_u16, 2..12), gone: usize) {
        let gone = gone % weights.len();
        let all: Vec<_> = weights.iter().zip(0..).map(|(weight, number)| backend(*weight, number)).collect();
        let set = BackendSet::new(Policy::HashQuery, all.clone());
        let homes: Vec<_> = (0..300).map(|n| pick(&set, key(n))).collect();
        let rest = all.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, backend)| backend.clone());
        set.replace(rest.collect());
        for (n, home) in (0..).zip(&homes) {
            let now = pick(&set, key(n));
            prop_assert!(now == *home || *home == gone as u64, "{} moved from {} to {}", n, home, now);
        }
        // In another place of the list.
        let mut back = all.clone();
        back.rotate_left(1);
        set.replace(back);
        for (n, home) in (0..).zip(&homes) {
            prop_assert_eq!(pick(&set, key(n)), *home);
        }
    }

    #[test]
    fn nobody_takes_more_than_the_bound(
        weights in prop::collection::vec(1..=9_u16, 2..8),
        moves in prop::collection::vec(
            prop_oneof![3 => (0..4_u64).prop_map(Move::Pick), 1 => any::<usize>().prop_map(Move::Finish)],
            1..200,
        ),
    ) {
        let set = set(Policy::HashQuery, &weights);
        let all: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        let mut held = Vec::new();
        for step in moves {
            match step {
                Move::Pick(n) => {
                    held.push(set.pick(key(n), &[]).unwrap());
                    let Some(lease) = held.last() else { continue };
                    let part = held.len() as f64 * f64::from(weights[usize::try_from(*lease.target()).unwrap()]) / f64::from(all);
                    prop_assert!(f64::from(lease.in_flight()) <= (1.25 * part).ceil(), "{} of {part}", lease.in_flight());
                }
                Move::Finish(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Move::Finish(_) => {}
            }
        }
    }
}
