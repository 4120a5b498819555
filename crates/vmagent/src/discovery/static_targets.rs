//! Targets that stand in the config itself.

use super::target_groups::{self, TargetGroup};
use super::{Interner, TargetList};
use crate::config::StaticTargets;
use std::sync::Arc;

/// The targets of one entry. Empty ones are left out, as upstream does, and said.
pub(super) fn targets(job: &str, entry: &StaticTargets) -> TargetList {
    let named = entry.targets.iter().filter(|target| !target.is_empty());
    // A label of that name wins over the address, in a config as upstream has it.
    let own_address = entry.labels.iter().rfind(|(name, _)| name == "__address__").map(|(_, address)| address);
    let targets = named.map(|target| own_address.unwrap_or(target).clone()).collect();
    let group = TargetGroup { targets, labels: entry.labels.clone() };
    if group.targets.len() < entry.targets.len() {
        vmkit::error!("`static_configs` of job_name={job:?} has an empty target; it is left out");
    }
    Arc::new(target_groups::targets(&[group], &[], &mut Interner::default()))
}
