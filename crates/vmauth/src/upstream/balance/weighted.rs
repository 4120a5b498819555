//! `least_loaded` among backends with different weights.
//!
//! As without weights: the first idle one in turn, else the one with the least load. Turns come as often as the weights
//! say, and load is requests in flight for each unit of weight, counted as if the request were there already.

use std::sync::Arc;

use super::super::backend::Backend;
use super::super::shares::Shares;

/// Claims the backend that takes the next request; how many turns from `turn` on are over then. `None` when none is usable.
pub(super) fn least_loaded<T>(
    backends: &[Arc<Backend<T>>],
    shares: &Shares,
    turn: u32,
    usable: impl Fn(&Backend<T>) -> bool,
) -> Option<(usize, u32)> {
    let in_turn = || {
        let places = shares.turns_from(turn);
        places.filter_map(|index| Some((index, backends.get(index)?)))
    };
    let idle = in_turn().zip(1..).find(|((_, backend), _)| usable(backend) && backend.claim_if_idle());
    if let Some(((index, _), turns)) = idle {
        return Some((index, turns));
    }
    let mut best: Option<(usize, u64, u64)> = None;
    for (index, backend) in in_turn().filter(|(_, backend)| usable(backend)) {
        let (load, weight) = (u64::from(backend.in_flight()) + 1, u64::from(shares.weight(index)));
        // The load of both by the weight of the other; of equals the earlier one in turn stays.
        if best.is_none_or(|(_, best_load, best_weight)| load * best_weight < best_load * weight) {
            best = Some((index, load, weight));
        }
    }
    let (index, ..) = best?;
    backends.get(index)?.claim();
    Some((index, 1))
}
