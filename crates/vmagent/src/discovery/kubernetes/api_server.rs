//! One API server under one set of credentials: requests, what is known about it, and texts that its objects share.

use super::KubernetesOptions;
use super::metrics::KubernetesMetrics;
use super::object_builder::Builder;
use super::server_address::ServerSettings;
use super::transport::Transport;
use super::watch_limits::WatchLimits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use super::transport::Reply;

/// Time to the head of a reply.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A server.
pub(super) struct ApiServer {
    settings: ServerSettings,
    shown_url: String,
    transport: Transport,
    limits: WatchLimits,
    metrics: Arc<KubernetesMetrics>,
    builder: Mutex<Builder>,
    /// Whether it can list by a watch, as far as we know.
    streaming_lists: AtomicBool,
}

impl ApiServer {
    pub(super) fn new(
        settings: ServerSettings,
        options: &KubernetesOptions,
        metrics: Arc<KubernetesMetrics>,
    ) -> Arc<Self> {
        let shown_url = vmkit::redact::url(&settings.url).into_owned();
        if settings.http.tls.insecure_skip_verify {
            vmkit::warn!(
                "certificates of the Kubernetes API server {shown_url} are not verified: `insecure_skip_verify`"
            );
        }
        let transport = Transport::new(&settings, &metrics.connections);
        metrics.groups.inc();
        Arc::new(Self {
            settings,
            shown_url,
            transport,
            limits: options.limits.clone(),
            metrics,
            builder: Mutex::default(),
            streaming_lists: AtomicBool::new(options.streaming_lists),
        })
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
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.metrics.groups.dec();
    }
}
