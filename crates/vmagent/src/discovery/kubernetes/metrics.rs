//! Metrics of Kubernetes discovery. Series of a role exist once the role is used.

use super::objects::ObjectKind;
use super::store::Counts;
use super::watch_ages::WatchAges;
use std::sync::Arc;
use vmkit::http_client::ConnectionCounts;
use vmkit::metrics::{Counter, Gauge, Set};

const PREFIX: &str = "vm_promscrape_discovery_kubernetes";

/// Metrics of all clusters.
#[derive(Debug)]
pub(crate) struct KubernetesMetrics {
    set: Arc<Set>,
    /// API servers with their own credentials.
    pub(super) groups: Arc<Gauge>,
    /// To all servers.
    pub(super) connections: Arc<ConnectionCounts>,
    /// Of all watches.
    pub(super) ages: Arc<WatchAges>,
}

/// Metrics of all watches of one kind.
#[derive(Debug)]
pub(super) struct WatchMetrics {
    set: Arc<Set>,
    kind: ObjectKind,
    watchers: Arc<Gauge>,
    objects: Arc<Gauge>,
    added: Arc<Counter>,
    updated: Arc<Counter>,
    removed: Arc<Counter>,
    stale: Arc<Counter>,
}

/// Metrics of the entries of one role.
#[derive(Clone, Debug)]
pub(super) struct RoleMetrics {
    pub(super) working: Arc<Gauge>,
    pub(super) pending: Arc<Gauge>,
}

impl KubernetesMetrics {
    pub(crate) fn new(set: &Arc<Set>) -> Self {
        let groups = set.gauge(&format!("{PREFIX}_group_watchers"));
        let connections = Arc::new(ConnectionCounts::new(set, PREFIX));
        Self { set: Arc::clone(set), groups, connections, ages: WatchAges::new(set, PREFIX) }
    }

    pub(super) fn watch(&self, kind: ObjectKind) -> Arc<WatchMetrics> {
        let name = |suffix: &str| format!("{PREFIX}_{suffix}{{role=\"{kind}\"}}");
        let counter = |suffix: &str| self.set.counter(&name(suffix));
        Arc::new(WatchMetrics {
            set: Arc::clone(&self.set),
            kind,
            watchers: self.set.gauge(&name("url_watchers")),
            objects: self.set.gauge(&name("objects")),
            added: counter("objects_added_total"),
            updated: counter("objects_updated_total"),
            removed: counter("objects_removed_total"),
            stale: counter("stale_resource_versions_total"),
        })
    }

    pub(super) fn role(&self, role: ObjectKind) -> RoleMetrics {
        let subscribers =
            |status: &str| self.set.gauge(&format!("{PREFIX}_subscribers{{role=\"{role}\",status=\"{status}\"}}"));
        RoleMetrics { working: subscribers("working"), pending: subscribers("pending") }
    }
}

impl WatchMetrics {
    pub(super) fn watching(&self, change: i64) {
        self.watchers.set(self.watchers.get() + change);
    }

    pub(super) fn objects(&self, change: i64) {
        self.objects.set(self.objects.get() + change);
    }

    pub(super) fn count(&self, counts: Counts) {
        self.added.add(counts.added);
        self.updated.add(counts.updated);
        self.removed.add(counts.removed);
    }

    pub(super) fn stale(&self) {
        self.stale.inc();
    }

    /// `reason` is a status, or one of a few words.
    pub(super) fn failed(&self, reason: &str) {
        let kind = self.kind;
        self.set.counter(&format!("{PREFIX}_errors_total{{role=\"{kind}\",reason=\"{reason}\"}}")).inc();
    }

    /// A watch was opened again; `cause` is one of a few words.
    pub(super) fn restarted(&self, cause: &str) {
        let kind = self.kind;
        self.set.counter(&format!("{PREFIX}_watch_restarts_total{{role=\"{kind}\",cause=\"{cause}\"}}")).inc();
    }
}
