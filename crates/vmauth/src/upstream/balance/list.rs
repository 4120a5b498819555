//! The backends of a route at one moment, with what divides the load among them.

use std::ops::Deref;
use std::sync::Arc;

use super::super::backend::Backend;
use super::super::shares::{Share, Shares};

/// Backends in the order of the config, or of their addresses.
pub struct BackendList<T> {
    backends: Vec<Arc<Backend<T>>>,
    shares: Option<Shares>,
    /// That of all when they have no [`Shares`].
    equal_weight: u16,
}

impl<T> BackendList<T> {
    /// `by_identity`: whether it matters which backend is which.
    pub(super) fn new(backends: Vec<(Arc<Backend<T>>, Share)>, by_identity: bool) -> Self {
        let (backends, shares): (Vec<_>, Vec<_>) = backends.into_iter().unzip();
        let equal_weight = shares.first().map_or(1, |share| share.weight);
        Self { backends, shares: Shares::of(&shares, by_identity), equal_weight }
    }

    /// `None` when all take turns as equals.
    pub(super) fn shares(&self) -> Option<&Shares> {
        self.shares.as_ref()
    }

    /// Part of the load of the one at this place.
    pub fn weight(&self, index: usize) -> u16 {
        self.shares.as_ref().map_or(self.equal_weight, |shares| shares.weight(index))
    }

    /// How many of them take requests.
    pub(super) fn taking(&self) -> usize {
        self.shares.as_ref().map_or(self.backends.len(), Shares::taking)
    }
}

impl<T> Deref for BackendList<T> {
    type Target = [Arc<Backend<T>>];

    fn deref(&self) -> &Self::Target {
        &self.backends
    }
}
