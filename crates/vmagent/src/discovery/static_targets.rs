//! Targets that stand in the config itself.

use super::target_groups::{self, TargetGroup};
use super::{Interner, TargetList};
use crate::config::StaticTargets;
use std::sync::Arc;

/// The targets of one entry. Empty ones are left out, as upstream does, and said.
pub(super) fn targets(job: &str, entry: &StaticTargets) -> TargetList {
    let named = entry.targets.iter().filter(|target| !target.is_empty());
    let group = TargetGroup { targets: named.cloned().collect(), labels: entry.labels.clone() };
    if group.targets.len() < entry.targets.len() {
        vmkit::error!("`static_configs` of job_name={job:?} has an empty target; it is left out");
    }
    Arc::new(target_groups::targets(&[group], &[], &mut Interner::default()))
}
