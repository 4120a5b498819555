//! How the load of a route is to be divided: weights of its backends, their order, and what they are known by.
//!
//! Made once for each list of backends, and only where weights or the policy need it: routes without them have none, and
//! pay nothing. It knows nothing of what backends are doing right now.

/// What a backend is to get of its route's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Part of the load, 0 to [`Share::MAX_WEIGHT`]; 0 for none at all.
    pub weight: u16,
    /// What it is known by, also to other processes and after a restart; the same for the same URL.
    pub identity: u64,
}

impl Share {
    /// As HAProxy's.
    pub const MAX_WEIGHT: u16 = 256;
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, identity: 0 }
    }
}

/// Turns in the longest order, unless there are more backends than that.
const MAX_TURNS: u32 = 256;

/// The shares of a list of backends, by their place in it.
#[derive(Debug)]
pub struct Shares {
    weights: Vec<u16>,
    /// Like [`Share::identity`]; backends that are the same are told apart by how many came before.
    identities: Vec<u64>,
    /// Whose turn it is, one backend after the other, each as often as its weight says and spread evenly.
    turns: Vec<u32>,
}

impl Shares {
    /// What must be known to divide the load; `None` when all are equal and `by_identity` is not wanted.
    pub fn of(shares: &[Share], by_identity: bool) -> Option<Self> {
        let first = shares.first()?.weight;
        if !by_identity && shares.iter().all(|share| share.weight == first) {
            return None;
        }
        let weights: Vec<_> = shares.iter().map(|share| share.weight).collect();
        let mut identities = Vec::with_capacity(shares.len());
        for share in shares {
            let mut identity = mixed(share.identity);
            while identities.contains(&identity) {
                // Not of the identity alone: 0 is mixed to 0.
                identity = mixed(identity.wrapping_add(1));
            }
            identities.push(identity);
        }
        let turns = turns(&weights);
        Some(Self { weights, identities, turns })
    }

    /// Weight of a backend.
    pub fn weight(&self, index: usize) -> u16 {
        self.weights.get(index).copied().unwrap_or(0)
    }

    /// How many backends take requests at all.
    pub fn taking(&self) -> usize {
        self.weights.iter().filter(|weight| **weight > 0).count()
    }

    /// Places of all that take requests, from this turn on; some come several times.
    pub(super) fn turns_from(&self, turn: u32) -> impl Iterator<Item = usize> {
        let first = turn as usize % self.turns.len().max(1);
        let (before, from) = self.turns.split_at(first);
        from.iter().chain(before).map(|index| *index as usize)
    }

    /// How much a backend is to be preferred for a key: the higher the better. Of many keys each backend is the best for
    /// as large a part as its weight says, and keeps that part when others come or go (rendezvous hashing; Wang and
    /// Ravishankar 1998, weights by Schindelhauer and Schomaker 2005).
    pub(super) fn preference(&self, index: usize, key: u64) -> f64 {
        let hash = mixed(key ^ self.identities.get(index).copied().unwrap_or(0));
        // Above 0 and below 1.
        let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        f64::from(self.weight(index)) / -uniform.ln()
    }
}

/// The finaliser of MurmurHash3: every bit of the input changes half of the output.
fn mixed(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// An order in which each place comes as often as its weight says: whoever is furthest behind its part comes next.
fn turns(weights: &[u16]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let mut parts: Vec<u32> = weights.iter().map(|weight| u32::from(weight / divisor)).collect();
    let total: u32 = parts.iter().sum();
    let limit = MAX_TURNS.max(u32::try_from(weights.len()).unwrap_or(u32::MAX));
    if total > limit {
        parts.iter_mut().filter(|part| **part > 0).for_each(|part| *part = (*part * limit).div_ceil(total));
    }
    let total: u32 = parts.iter().sum();
    let mut behind = vec![0_i64; parts.len()];
    let mut order = Vec::with_capacity(total as usize);
    for _ in 0..total {
        behind.iter_mut().zip(&parts).for_each(|(behind, part)| *behind += i64::from(*part));
        // `max_by_key` keeps the last one of equals, the first place is wanted.
        let candidates = behind.iter().enumerate().rev().filter(|(index, _)| parts.get(*index) != Some(&0));
        let Some((next, _)) = candidates.max_by_key(|(_, behind)| **behind) else { break };
        behind[next] -= i64::from(total);
        order.push(u32::try_from(next).unwrap_or(u32::MAX));
    }
    order
}

fn greatest_common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(weight: u16, identity: u64) -> Share {
        Share { weight, identity }
    }

    #[test]
    fn equal_weights_need_nothing() {
        assert!(Shares::of(&[], true).is_none());
        assert!(Shares::of(&[share(1, 1), share(1, 2)], false).is_none());
        assert!(Shares::of(&[share(7, 1), share(7, 2)], false).is_none());
        assert!(Shares::of(&[share(1, 1)], true).is_some());
        assert_eq!(Shares::of(&[share(1, 1), share(0, 2)], false).unwrap().taking(), 1);
    }

    #[test]
    fn turns_are_spread_evenly() {
        let f = |weights: &[u16], want: &[u32]| assert_eq!(turns(weights), want, "{weights:?}");
        f(&[3, 1], &[0, 0, 1, 0]);
        f(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        f(&[2, 4], &[1, 0, 1]);
        f(&[0, 9], &[1]);
        f(&[256, 0, 256], &[0, 2]);
        f(&[0, 0], &[]);
    }

    #[test]
    fn equal_urls_are_told_apart() {
        let shares = Shares::of(&[share(1, 5), share(1, 5), share(1, 5)], true).unwrap();
        let best = |key: u64| (0..3).max_by(|a, b| shares.preference(*a, key).total_cmp(&shares.preference(*b, key)));
        let counts = (0..3000_u64).map(mixed).filter_map(best).fold([0; 3], |mut counts, index| {
            counts[index] += 1;
            counts
        });
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        let shares = Shares::of(&[share(1, 0), share(1, 0)], true).unwrap();
        assert_ne!(shares.identities[0], shares.identities[1]);
    }

    proptest! {
        #[test]
        fn everybody_has_turns_by_weight(weights in prop::collection::vec(0..=256_u16, 1..40)) {
            let order = turns(&weights);
            let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
            prop_assert!(order.len() <= 256 + weights.len());
            for (index, weight) in weights.iter().enumerate() {
                let count = order.iter().filter(|turn| **turn as usize == index).count();
                prop_assert_eq!(count == 0, *weight == 0);
                let wanted = f64::from(*weight) / f64::from(total.max(1)) * order.len() as f64;
                prop_assert!((count as f64 - wanted).abs() <= 2.0 + 0.2 * wanted, "{count} instead of {wanted}");
            }
        }
    }
}
