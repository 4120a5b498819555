//! One API server under one set of credentials: requests, shared watches, shared texts.
//!
//! Entries with equal settings share it, whatever their roles, namespaces and attached metadata are; each URL is
//! watched once. A watch ends when the last entry lets go of it.

use super::KubernetesOptions;
use super::metrics::KubernetesMetrics;
use super::object_builder::Builder;
use super::objects::ObjectKind;
use super::server_settings::ServerSettings;
use super::transport::Transport;
use super::watcher::{WatchLimits, Watcher};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

pub(super) use super::transport::Reply;

/// Time to the head of a reply.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A server with its watches.
pub(super) struct ApiServer {
    settings: ServerSettings,
    shown_url: String,
    transport: Transport,
    limits: WatchLimits,
    metrics: Arc<KubernetesMetrics>,
    builder: Mutex<Builder>,
    /// Whether it can list by a watch, as far as we know.
    streaming_lists: AtomicBool,
    watches: Mutex<HashMap<WatchKey, Weak<Watch>>>,
}

/// Kind, path and selectors.
type WatchKey = (ObjectKind, String, String);

/// A running watch.
pub(super) struct Watch {
    pub(super) watcher: Arc<Watcher>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    pub(super) fn new(
        settings: ServerSettings,
        options: &KubernetesOptions,
        metrics: Arc<KubernetesMetrics>,
    ) -> Result<Arc<Self>, String> {
        let shown_url = vmkit::redact::url(&settings.url).into_owned();
        if settings.http.tls.insecure_skip_verify {
            vmkit::warn!(
                "certificates of the Kubernetes API server {shown_url} are not verified: `insecure_skip_verify`"
            );
        }
        let transport = Transport::new(&settings)?;
        metrics.groups.inc();
        Ok(Arc::new(Self {
            settings,
            shown_url,
            transport,
            limits: options.limits.clone(),
            metrics,
            builder: Mutex::default(),
            streaming_lists: AtomicBool::new(options.streaming_lists),
            watches: Mutex::default(),
        }))
    }

    pub(super) fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Without credentials and without a slash at the end.
    pub(super) fn shown_url(&self) -> &str {
        &self.shown_url
    }

    pub(super) fn limits(&self) -> &WatchLimits {
        &self.limits
    }

    pub(super) fn metrics(&self) -> &KubernetesMetrics {
        &self.metrics
    }

    /// What makes objects of all watches of the server.
    pub(super) fn builder(&self) -> MutexGuard<'_, Builder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_streaming_lists(&self) -> bool {
        self.streaming_lists.load(Ordering::Relaxed)
    }

    /// Remembers that lists must be asked for in the plain form.
    pub(super) fn no_streaming_lists(&self) {
        self.streaming_lists.store(false, Ordering::Relaxed);
    }

    /// GET of a path with its query. The error says why there is no reply.
    pub(super) async fn get(&self, target: &str) -> Result<Reply, String> {
        match tokio::time::timeout(HEAD_LIMIT, self.transport.get(target)).await {
            Ok(reply) => reply,
            Err(_) => Err(format!("no reply within {HEAD_LIMIT:?}")),
        }
    }

    /// The watch of a URL, started if nobody watches it. Must be called on a runtime.
    pub(super) fn watch(self: &Arc<Self>, kind: ObjectKind, path: String, selectors: String) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|_, watch| watch.strong_count() > 0);
        let key = (kind, path, selectors);
        if let Some(watch) = watches.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        let watcher = Watcher::new(kind, Arc::clone(self), key.1.clone(), key.2.clone());
        let running = Arc::clone(&watcher);
        let watch = Arc::new(Watch { watcher, task: tokio::spawn(async move { running.run().await }) });
        watches.insert(key, Arc::downgrade(&watch));
        watch
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.metrics.groups.dec();
    }
}
