//! Users with static credentials, found by one hash of the whole header value.
//!
//! The hash is keyed per process, so nobody can prepare collisions; what it finds is compared in constant time.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use smallvec::SmallVec;
use vmkit::secret::Secret;

/// Header values that belong to users, by hash.
#[derive(Debug, Default)]
pub struct TokenUsers {
    state: RandomState,
    by_hash: HashMap<u64, SmallVec<[(Secret, u32); 1]>, foldhash::fast::FixedState>,
    /// Hashes of user names, to tell a wrong password from an unknown user.
    names: HashSet<u64, foldhash::fast::FixedState>,
}

impl TokenUsers {
    /// Makes these header values lead to the user with this index.
    pub fn add(&mut self, values: Vec<Secret>, user: u32) {
        for value in values {
            let hash = self.state.hash_one(value.expose().as_bytes());
            self.by_hash.entry(hash).or_default().push((value, user));
        }
    }

    /// Makes this the name of a user.
    pub fn add_name(&mut self, name: &str) {
        self.names.insert(self.state.hash_one(name.as_bytes()));
    }

    /// Whether a user with a password has this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.names.contains(&self.state.hash_one(name.as_bytes()))
    }

    /// The user whose credentials are exactly this header value.
    pub fn find(&self, value: &[u8]) -> Option<u32> {
        let entries = self.by_hash.get(&self.state.hash_one(value))?;
        entries.iter().find(|(secret, _)| secret.matches(value)).map(|(_, user)| *user)
    }

    /// Whether there are no static credentials at all.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let mut users = TokenUsers::default();
        users.add(vec![Secret::from("Basic Zm9vOmJhcg==")], 0);
        users.add(vec![Secret::from("Bearer tok"), Secret::from("Basic dG9rOg==")], 1);
        users.add(vec![Secret::from("Foo x")], 2);
        let f = |value: &str, want: Option<u32>| assert_eq!(users.find(value.as_bytes()), want, "{value:?}");
        f("Basic Zm9vOmJhcg==", Some(0));
        f("Basic Zm9vOmJhcg", None);
        f("basic Zm9vOmJhcg==", None);
        f("Basic  Zm9vOmJhcg==", None);
        f("Bearer tok", Some(1));
        f("Basic dG9rOg==", Some(1));
        f("Bearer toK", None);
        f("Foo x", Some(2));
        f("", None);
    }
}
