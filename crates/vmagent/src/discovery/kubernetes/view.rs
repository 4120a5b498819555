//! The targets of one entry of a job: a role seen over the stores it needs.
//!
//! What an object depends on (its pods, its service, its node, its namespace) is remembered while its targets are
//! made, so a change recomputes the objects that asked for it and no others. Targets that come out equal stay the same
//! `Arc`. The targets of a namespace appear when all its lists are complete, each namespace for itself: one that is
//! forbidden does not hold up the others.

use super::objects::{Key, Object, ObjectKind};
use super::role_targets::{AttachMetadata, Helpers, Names, RoleTargets};
use super::store::{Changes, Store, Subscription};
use crate::discovery::{TargetLabels, TargetList};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// A store and what changed in it.
pub(super) struct Source {
    kind: ObjectKind,
    store: Arc<Store>,
    changes: Arc<Subscription>,
}

impl Source {
    pub(super) fn new(kind: ObjectKind, store: Arc<Store>, wake: &Arc<Notify>) -> Self {
        let changes = store.subscribe(Arc::clone(wake));
        Self { kind, store, changes }
    }
}

/// The stores of one namespace, or of all.
struct Unit {
    main: Source,
    /// Pods and services of endpoints and slices.
    helpers: Vec<Source>,
    /// Whether its targets have been made.
    shown: bool,
    made: BTreeMap<Key, Made>,
}

/// Targets of one object.
#[derive(Default)]
struct Made {
    targets: Box<[Arc<TargetLabels>]>,
    /// What was asked for, found or not.
    needs: Box<[Need]>,
}

type Need = (ObjectKind, Key);
/// Unit and key of an object.
type Place = (usize, Key);

/// A role over its stores.
pub(super) struct View {
    attach: AttachMetadata,
    units: Vec<Unit>,
    /// Nodes and namespaces.
    shared: Vec<Source>,
    dependents: HashMap<Need, HashSet<Place, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    names: Names,
    /// Objects whose targets were made.
    computed: u64,
}

/// Answers from the stores and notes the questions.
struct Asked<'a> {
    sources: Vec<&'a Source>,
    needs: Vec<Need>,
}

impl Helpers for Asked<'_> {
    fn get(&mut self, kind: ObjectKind, key: &Key) -> Option<Arc<Object>> {
        if !self.needs.iter().any(|(known_kind, known)| *known_kind == kind && known == key) {
            self.needs.push((kind, key.clone()));
        }
        self.sources.iter().filter(|source| source.kind == kind).find_map(|source| source.store.get(key))
    }
}

impl View {
    /// A view of nothing; stores are added before the first [`View::refresh`].
    pub(super) fn new(attach: AttachMetadata) -> Self {
        Self {
            attach,
            units: Vec::new(),
            shared: Vec::new(),
            dependents: HashMap::default(),
            names: Names::default(),
            computed: 0,
        }
    }

    /// Stores of one namespace: that of the role, and its helpers.
    pub(super) fn add_unit(&mut self, main: Source, helpers: Vec<Source>) {
        self.units.push(Unit { main, helpers, shown: false, made: BTreeMap::new() });
    }

    /// A store that all namespaces use: nodes or namespaces.
    pub(super) fn add_shared(&mut self, source: Source) {
        self.shared.push(source);
    }

    /// Whether all lists have been complete.
    pub(super) fn is_complete(&self) -> bool {
        self.units.iter().all(|unit| unit.shown)
    }

    /// Objects whose targets were made so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed
    }

    /// Brings targets up to date; true if any changed or a namespace became complete.
    pub(super) fn refresh(&mut self) -> bool {
        let mut dirty: HashSet<Place, foldhash::fast::RandomState> = HashSet::default();
        let mut all_helpers = false;
        let mut helper_changes: Vec<(ObjectKind, Changes)> = Vec::new();
        for source in self.shared.iter().chain(self.units.iter().flat_map(|unit| &unit.helpers)) {
            let changes = source.changes.take();
            all_helpers |= changes.all;
            helper_changes.push((source.kind, changes));
        }
        for need in
            helper_changes.into_iter().flat_map(|(kind, changes)| changes.keys.into_iter().map(move |key| (kind, key)))
        {
            dirty.extend(self.dependents.get(&need).into_iter().flatten().cloned());
        }
        let mut changed = false;
        let shared_ready = self.shared.iter().all(|source| source.store.is_synced());
        for index in 0..self.units.len() {
            let Some(unit) = self.units.get_mut(index) else { continue };
            let changes = unit.main.changes.take();
            let ready = shared_ready
                && unit.main.store.is_synced()
                && unit.helpers.iter().all(|source| source.store.is_synced());
            if !ready {
                continue;
            }
            if changes.all || all_helpers || !unit.shown {
                changed |= !unit.shown;
                unit.shown = true;
                let gone = unit.made.keys().cloned().collect::<Vec<_>>();
                dirty.extend(gone.into_iter().chain(unit.main.store.keys()).map(|key| (index, key)));
            }
            dirty.extend(changes.keys.into_iter().map(|key| (index, key)));
        }
        for (index, key) in dirty {
            changed |= self.recompute(index, key);
        }
        changed
    }

    /// All targets, in order of namespaces and names.
    pub(super) fn targets(&self) -> TargetList {
        let made = self.units.iter().flat_map(|unit| unit.made.values());
        Arc::new(made.flat_map(|made| made.targets.iter().cloned()).collect())
    }

    fn recompute(&mut self, index: usize, key: Key) -> bool {
        self.computed += 1;
        let (found, needs) = self.make(index, &key);
        let Some(unit) = self.units.get_mut(index) else { return false };
        let old = unit.made.remove(&key).unwrap_or_default();
        let mut targets = found;
        let mut changed = targets.len() != old.targets.len();
        for (position, target) in targets.iter_mut().enumerate() {
            match old.targets.get(position) {
                Some(known) if known == target => *target = Arc::clone(known),
                _ => changed = true,
            }
        }
        let place = (index, key);
        for need in old.needs.iter().filter(|need| !needs.contains(need)) {
            if let Some(places) = self.dependents.get_mut(need) {
                places.remove(&place);
                if places.is_empty() {
                    self.dependents.remove(need);
                }
            }
        }
        for need in needs.iter().filter(|need| !old.needs.contains(need)) {
            self.dependents.entry(need.clone()).or_default().insert(place.clone());
        }
        if !targets.is_empty() || !needs.is_empty() {
            unit.made.insert(place.1, Made { targets: targets.into(), needs: needs.into() });
        }
        changed
    }

    fn make(&self, index: usize, key: &Key) -> (Vec<Arc<TargetLabels>>, Vec<Need>) {
        let Some(object) = self.units.get(index).and_then(|unit| unit.main.store.get(key)) else {
            return (Vec::new(), Vec::new());
        };
        // A pod may be in another of the namespaces than its endpoints.
        let sources = self.shared.iter().chain(self.units.iter().flat_map(|unit| &unit.helpers)).collect();
        let mut asked = Asked { sources, needs: Vec::new() };
        let mut targets =
            RoleTargets { names: &self.names, attach: self.attach, helpers: &mut asked, found: Vec::new() };
        targets.add(key, &object);
        (targets.found, asked.needs)
    }
}

#[cfg(test)]
mod tests;
