//! One entry of `kubernetes_sd_configs`: its watches and the view over them.
//!
//! Settings that cannot be had (no kubeconfig, no namespace file) are tried again, and a kubeconfig is read again as
//! other files are; what was discovered before stays meanwhile.

use super::objects::ObjectKind;
use super::server_settings::{self, EntrySettings};
use super::shared_watches::{SharedWatches, Watch};
use super::view::{Source, View};
use super::watch_status::WatchState;
use super::{Kubernetes, metrics::RoleMetrics};
use crate::config::KubernetesSd;
use crate::discovery::group::Publisher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Settings that failed, and kubeconfigs, are looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Other kinds of discovery are not made to wait longer for the first lists.
const FIRST_LISTS: Duration = Duration::from_secs(30);

/// What pages see of a running entry.
#[derive(Default)]
pub(crate) struct KubernetesEntry {
    watches: Mutex<Vec<(String, Arc<Watch>)>>,
}

impl KubernetesEntry {
    /// What is watched, and how it fares.
    pub(crate) fn watches(&self) -> Vec<(String, WatchState)> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().map(|(what, watch)| (what.clone(), watch.watcher.state())).collect()
    }

    fn set(&self, watches: Vec<(String, Arc<Watch>)>) {
        *self.watches.lock().unwrap_or_else(PoisonError::into_inner) = watches;
    }
}

/// Counts of one entry in the metrics; taken back when it ends.
struct Counted {
    metrics: RoleMetrics,
    urls: i64,
    working: bool,
}

impl Counted {
    fn new(metrics: RoleMetrics, urls: i64) -> Self {
        metrics.pending.set(metrics.pending.get() + urls);
        Self { metrics, urls, working: false }
    }

    fn published(&mut self, complete: bool) {
        let metrics = &self.metrics;
        if complete && !self.working {
            self.working = true;
            metrics.pending.set(metrics.pending.get() - self.urls);
            metrics.working.set(metrics.working.get() + self.urls);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        let gauge = if self.working { &metrics.working } else { &metrics.pending };
        gauge.set(gauge.get() - self.urls);
    }
}

/// Runs an entry until it is dropped.
pub(super) async fn run(
    kubernetes: Arc<Kubernetes>,
    config: KubernetesSd,
    publisher: Publisher,
    entry: Arc<KubernetesEntry>,
) {
    let give_up = publisher.clone();
    let patience = async {
        tokio::time::sleep(FIRST_LISTS).await;
        give_up.give_up_waiting();
        std::future::pending::<()>().await;
    };
    let work = async {
        loop {
            match settings(&kubernetes, &config).await {
                Ok(settings) => {
                    let server = kubernetes.server(&settings.server);
                    serve(&kubernetes, &config, &settings, &server, &publisher, &entry).await;
                }
                Err(error) => publisher.failed(error),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::join!(patience, work);
}

async fn settings(kubernetes: &Kubernetes, config: &KubernetesSd) -> Result<EntrySettings, String> {
    server_settings::resolve(config, &kubernetes.options.surroundings, &kubernetes.files)
        .await
        .map_err(|error| format!("cannot create API config for kubernetes: {error}"))
}

/// Publishes targets until the settings change.
async fn serve(
    kubernetes: &Kubernetes,
    config: &KubernetesSd,
    settings: &EntrySettings,
    server: &Arc<SharedWatches>,
    publisher: &Publisher,
    entry: &KubernetesEntry,
) {
    let wake = Arc::new(Notify::new());
    let (mut view, watches) = start(settings, server, &wake);
    entry.set(watches);
    let urls = i64::try_from(settings.namespaces.len()).unwrap_or(i64::MAX);
    let mut counted = Counted::new(kubernetes.metrics.role(settings.role), urls);
    let follow = async {
        loop {
            wake.notified().await;
            tokio::time::sleep(kubernetes.options.coalesce).await;
            let begun = Instant::now();
            if view.refresh() {
                let (targets, complete) = (view.targets(), view.is_complete());
                counted.published(complete);
                if complete {
                    publisher.complete(targets, begun.elapsed());
                } else {
                    publisher.partial(targets);
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = changed(kubernetes, config, settings) => {}
    }
}

/// Ends when a kubeconfig says something else than before.
async fn changed(kubernetes: &Kubernetes, config: &KubernetesSd, known: &EntrySettings) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if config.kubeconfig_file.is_some()
            && let Ok(new) = settings(kubernetes, config).await
            && new != *known
        {
            return;
        }
    }
}

/// The watches that a role needs, and the view over them.
fn start(
    settings: &EntrySettings,
    server: &Arc<SharedWatches>,
    wake: &Arc<Notify>,
) -> (View, Vec<(String, Arc<Watch>)>) {
    let mut watches = Vec::new();
    let mut source = |kind: ObjectKind, namespace: Option<&str>| {
        let selectors = settings.selectors.iter().find(|(known, _)| *known == kind);
        let selectors = selectors.map(|(_, query)| query.clone()).unwrap_or_default();
        let path = kind.path(namespace);
        let watch = server.watch(kind, path.clone(), selectors);
        let source = Source::new(kind, Arc::clone(watch.watcher.store()), wake);
        watches.push((format!("{kind} {}{path}", server.server().shown_url()), watch));
        source
    };
    let mut view = View::new(settings.attach);
    let role = settings.role;
    if role == ObjectKind::Node {
        view.add_unit(source(role, None), Vec::new());
        return (view, watches);
    }
    for namespace in &settings.namespaces {
        let namespace = namespace.as_deref();
        let helpers = match role {
            ObjectKind::Endpoints | ObjectKind::EndpointSlice => {
                vec![source(ObjectKind::Pod, namespace), source(ObjectKind::Service, namespace)]
            }
            _ => Vec::new(),
        };
        let main = source(role, namespace);
        view.add_unit(main, helpers);
    }
    let has_pods = matches!(role, ObjectKind::Pod | ObjectKind::Endpoints | ObjectKind::EndpointSlice);
    if settings.attach.node && has_pods {
        view.add_shared(source(ObjectKind::Node, None));
    }
    if settings.attach.namespace {
        view.add_shared(source(ObjectKind::Namespace, None));
    }
    (view, watches)
}
