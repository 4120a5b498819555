//! Where targets come from: the `*_sd_configs` and `static_configs` of the jobs.
//!
//! Each entry of a job is watched by a task of its own, which publishes complete states only: a state is the list of
//! all targets of the entry, replaced as a whole. Start and reload never wait for a file system, a server or a name;
//! what an entry knew stays until it knows better. Relabeling is not done here: [`TargetLabels`] are what was found,
//! without the defaults of the job.

mod credentials;
mod dns_targets;
mod file_targets;
mod group;
mod http_targets;
pub mod kubernetes;
mod manager;
mod static_targets;
mod target_groups;
mod target_labels;

use std::fmt;
use std::sync::Arc;

pub use group::EntryState;
pub use manager::{Discovery, DiscoveryOptions, DiscoveryParts, EntryStatus, JobTargets};
pub use target_labels::{Interner, Piece, SharedLabel, TargetLabels, push_sanitized};

/// All targets of one kind of one job. Targets that did not change are the same `Arc` in the next list.
pub type TargetList = Arc<Vec<Arc<TargetLabels>>>;

/// What [`tokio::sync::watch`] channels of discovery carry: `None` until the first state is known.
pub type Published = Option<TargetList>;

/// The kinds of discovery that exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `static_configs`.
    Static,
    /// `file_sd_configs`.
    File,
    /// `http_sd_configs`.
    Http,
    /// `dns_sd_configs`.
    Dns,
    /// `kubernetes_sd_configs`.
    Kubernetes,
}

impl Kind {
    /// All of them, in the order in which a job is read.
    pub const ALL: [Self; 5] = [Self::Static, Self::File, Self::Http, Self::Dns, Self::Kubernetes];

    /// The key in a scrape config, which is the value of the label `type` of the metrics, too.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Static => "static_configs",
            Self::File => "file_sd_configs",
            Self::Http => "http_sd_configs",
            Self::Dns => "dns_sd_configs",
            Self::Kubernetes => "kubernetes_sd_configs",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
