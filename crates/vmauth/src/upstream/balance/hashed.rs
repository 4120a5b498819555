//! `hash_query`: equal queries go to the same backend, as long as it does not get too much.
//!
//! Each key has an order of preference among the backends that stays as it is when others come or go. The first one in
//! that order is taken whose requests in flight are within its part of all of them, and a quarter more (consistent hashing
//! with bounded loads; Mirrokni, Thorup and Zadimoghaddam 2016). Who is beyond it lends its queries to the next one.

use std::sync::Arc;

use super::super::backend::Backend;
use super::super::shares::Shares;

/// A backend may have five quarters of its part.
const BOUND: (u64, u64) = (5, 4);

/// Claims the backend that takes the request with this key; `None` when none is usable.
pub(super) fn preferred<T>(
    backends: &[Arc<Backend<T>>],
    shares: &Shares,
    key: u64,
    usable: impl Fn(&Backend<T>) -> bool,
) -> Option<usize> {
    let candidates = || backends.iter().enumerate().filter(|(at, backend)| shares.weight(*at) > 0 && usable(backend));
    let (mut in_flight, mut weights) = (1, 0);
    for (at, backend) in candidates() {
        in_flight += u64::from(backend.in_flight());
        weights += u64::from(shares.weight(at));
    }
    let has_room = |at: usize, backend: &Backend<T>| {
        let part = BOUND.0 * in_flight * u64::from(shares.weight(at));
        u64::from(backend.in_flight()) < part.div_ceil((BOUND.1 * weights).max(1))
    };
    let best = |with_room: bool| {
        let candidates = candidates().filter(|(at, backend)| !with_room || has_room(*at, backend));
        candidates.max_by(|(a, _), (b, _)| shares.preference(*a, key).total_cmp(&shares.preference(*b, key)))
    };
    // Somebody has room, unless others took it while this was looking.
    let (index, backend) = best(true).or_else(|| best(false))?;
    backend.claim();
    Some(index)
}
