//! Targets of a Kubernetes cluster: `kubernetes_sd_configs`.
//!
//! ```text
//! watcher (one a URL) ── list, then watch ──► store ──► view (one an entry of a job) ──► targets
//! ```
//!
//! Watchers are shared by all entries with the same server and credentials. A watcher keeps its objects whatever
//! happens to the connection: it resumes from the last version it saw and lists again only when the server says that
//! the version is gone, or when it is in doubt. A view publishes when all lists that it needs are complete, and then
//! recomputes what depends on a changed object and nothing else.

mod api_objects;
mod api_server;
mod backoff;
mod entry;
mod json_pieces;
mod kubeconfig;
mod metrics;
mod object_builder;
mod objects;
mod role_targets;
mod server_address;
mod server_settings;
mod shared_watches;
mod store;
mod transport;
mod view;
mod watch_ages;
mod watch_limits;
mod watch_status;
mod watcher;

use super::TargetLabels;
use super::group::Publisher;
use crate::config::KubernetesSd;
use api_server::ApiServer;
use metrics::KubernetesMetrics;
use server_address::ServerSettings;
use shared_watches::SharedWatches;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use vmkit::http_client::Client;
use vmkit::metrics::Set;

pub(super) use entry::KubernetesEntry;
pub use json_pieces::PieceError;
pub use objects::ObjectKind;
pub use server_settings::Surroundings;
pub use watch_limits::WatchLimits;
pub use watch_status::WatchState;

/// What flags and tests decide.
#[derive(Clone, Debug)]
pub struct KubernetesOptions {
    /// How long changes are collected before targets are made of them.
    pub coalesce: Duration,
    /// Limits of time of lists and watches.
    pub limits: WatchLimits,
    /// Whether servers are first asked to list by a watch.
    pub streaming_lists: bool,
    /// The pod that we may run in, and defaults of entries.
    pub surroundings: Surroundings,
}

impl Default for KubernetesOptions {
    fn default() -> Self {
        Self {
            coalesce: Duration::from_millis(200),
            limits: WatchLimits::default(),
            streaming_lists: true,
            surroundings: Surroundings::default(),
        }
    }
}

/// The role that found a target, as the config names it.
pub(crate) fn role_of(target: &TargetLabels) -> Option<&'static str> {
    // Endpoints and slices have labels of their services and pods, too, and pods those of their nodes.
    const OWN: [(&str, &str); 6] = [
        ("__meta_kubernetes_endpointslice_name", "endpointslice"),
        ("__meta_kubernetes_endpoints_name", "endpoints"),
        ("__meta_kubernetes_ingress_name", "ingress"),
        ("__meta_kubernetes_pod_name", "pod"),
        ("__meta_kubernetes_service_name", "service"),
        ("__meta_kubernetes_node_name", "node"),
    ];
    OWN.iter().find(|(label, _)| target.get(label).is_some()).map(|&(_, role)| role)
}

/// All API servers in use.
pub(crate) struct Kubernetes {
    options: KubernetesOptions,
    metrics: Arc<KubernetesMetrics>,
    /// For kubeconfigs that are URLs.
    files: Client,
    servers: Mutex<Vec<Weak<SharedWatches>>>,
}

impl Kubernetes {
    pub(super) fn new(options: KubernetesOptions, metrics: &Arc<Set>) -> Arc<Self> {
        Arc::new(Self {
            options,
            metrics: Arc::new(KubernetesMetrics::new(metrics)),
            files: Client::new(vmkit::tls::client_config::ClientTlsOptions::default()),
            servers: Mutex::default(),
        })
    }

    /// An entry and the task that runs it.
    pub(super) fn entry(
        self: &Arc<Self>,
        config: KubernetesSd,
        publisher: Publisher,
    ) -> (Arc<KubernetesEntry>, impl Future<Output = ()> + Send + 'static) {
        let entry = Arc::new(KubernetesEntry::default());
        let run = entry::run(Arc::clone(self), config, publisher, Arc::clone(&entry));
        (entry, run)
    }

    /// The server of these settings, shared with whoever uses it.
    fn server(&self, settings: &ServerSettings) -> Arc<SharedWatches> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.strong_count() > 0);
        if let Some(server) =
            servers.iter().filter_map(Weak::upgrade).find(|known| known.server().settings() == settings)
        {
            return server;
        }
        let server = ApiServer::new(settings.clone(), &self.options, Arc::clone(&self.metrics));
        let server = SharedWatches::new(server);
        servers.push(Arc::downgrade(&server));
        server
    }
}
