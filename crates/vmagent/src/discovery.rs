//! Where targets come from: the `*_sd_configs` and `static_configs` of the jobs.
//!
//! Each entry of a job is watched by a task of its own, which publishes complete states only: a state is the list of
//! all targets of the entry, replaced as a whole. Start and reload never wait for a file system, a server or a name;
//! what an entry knew stays until it knows better. Relabeling is not done here: [`TargetLabels`] are what was found,
//! without the defaults of the job.

mod dns_targets;
mod file_targets;
mod group;
mod http_targets;
pub mod kubernetes;
mod manager;
mod static_targets;
mod target_groups;
mod target_labels;

use std::sync::Arc;

pub use crate::config::Kind;
pub use group::EntryState;
pub use manager::{Discovery, DiscoveryOptions, DiscoveryParts, EntryStatus, JobTargets};
pub use target_labels::{Interner, Piece, SharedLabel, TargetLabels, push_sanitized};

/// All targets of one kind of one job. Targets that did not change are the same `Arc` in the next list.
pub type TargetList = Arc<Vec<Arc<TargetLabels>>>;

/// What [`tokio::sync::watch`] channels of discovery carry: `None` until the first state is known.
pub type Published = Option<TargetList>;
