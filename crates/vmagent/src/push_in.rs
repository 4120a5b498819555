//! Samples that others push to the agent over HTTP.
//!
//! ```text
//! request ─► target (path, tenant, labels) ─► body (size, encoding) ─► decoder ─► SeriesBlock ─► Sink
//! ```
//!
//! Remote write 1.0 and the text format are taken; other protocols are refused by name, so that nobody believes his
//! samples arrive. A request is taken as a whole or refused: only lines of the text format are skipped one by one. The
//! reply says that samples are in the agent's hands, not that the remote has them (docs/reference/vmagent-remote-write.md).

mod gateway_path;
mod metrics;
mod query;
mod reader;
mod target;
mod tenant;
#[cfg(test)]
mod tests;
mod text;
mod write;

use crate::remote_write::{PushError, SeriesBlock, Sink};
use metrics::PushMetrics;
use std::sync::Arc;
use std::time::Duration;
use target::{Protocol, Target};
use tokio::sync::Semaphore;
use vmkit::http_server::{AppRoute, Reply, Request};
use vmkit::metrics::Set;

/// Settings of what is taken in.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// `-maxInsertRequestSize`, for remote write, packed and unpacked.
    pub max_request_size: usize,
    /// `-maxConcurrentInserts`.
    pub max_concurrent: usize,
    /// `-insert.maxQueueDuration`.
    pub max_queue_duration: Duration,
    /// `-enableMetadata`.
    pub metadata: bool,
    /// `-enableMultitenantHandlers`.
    pub tenants: bool,
    /// `-enableMultitenancyViaHeaders`.
    pub tenants_in_headers: bool,
}

/// The handlers of pushes. Shared by all workers.
#[derive(Debug)]
pub struct PushIn {
    options: PushOptions,
    sink: Sink,
    slots: Semaphore,
    metrics: PushMetrics,
}

/// What goes on to the sink and how it is labelled on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Labelling {
    /// Appended to each series, in this order.
    extra: Vec<(Vec<u8>, Vec<u8>)>,
    /// Replaces labels of the client that say whose the series is.
    tenant: Option<(u32, u32)>,
}

impl PushIn {
    /// Handlers that push into `sink`.
    pub fn new(options: PushOptions, sink: Sink, set: &Set) -> Arc<Self> {
        let slots = Semaphore::new(options.max_concurrent.clamp(1, Semaphore::MAX_PERMITS));
        let metrics = PushMetrics::new(set, options.max_concurrent);
        Arc::new(Self { options, sink, slots, metrics })
    }

    /// The route of all paths that no other route has taken; it goes last.
    pub fn route(self: &Arc<Self>) -> AppRoute {
        let push_in = Arc::clone(self);
        AppRoute::prefix("/", move |request| {
            let push_in = Arc::clone(&push_in);
            Box::pin(async move { push_in.answer(request).await })
        })
    }

    async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let path = query::decoded_path(request.path);
        let target = match Target::of(&path, request, &self.options) {
            Ok(target) => target,
            Err(refusal) => {
                self.metrics.unsupported.inc();
                let text = request.log_text(&refusal);
                vmkit::warn!("{text}");
                return Reply::error(400, &refusal);
            }
        };
        let counters = self.metrics.of(target.protocol);
        if target.protocol == Protocol::Write && write::asks_version(request) {
            return Reply::text(200, "1");
        }
        counters.requests.inc();
        let taken = match target.protocol {
            Protocol::Write => self.write(request, &target).await,
            Protocol::Text => self.text(request, &target).await,
        };
        match taken {
            Ok(()) if target.answers_200 => Reply::new(200, "", ""),
            Ok(()) => Reply::no_content(),
            Err(Refusal { status, message }) => {
                counters.errors.inc();
                let text = request.log_text(&message);
                vmkit::warn!("{text}");
                Reply::error(status, &message)
            }
        }
    }

    /// A place among the requests that are worked on.
    async fn slot(&self) -> Result<SlotGuard<'_>, Refusal> {
        if self.slots.available_permits() == 0 {
            self.metrics.limit_reached.inc();
        }
        match tokio::time::timeout(self.options.max_queue_duration, self.slots.acquire()).await {
            Ok(Ok(permit)) => {
                self.metrics.current.inc();
                Ok(SlotGuard { _permit: permit, metrics: &self.metrics })
            }
            Ok(Err(_)) | Err(_) => {
                self.metrics.limit_timeout.inc();
                Err(Refusal::new(
                    503,
                    format!(
                        "cannot handle more than {} concurrent inserts during {:?}; possible solutions: increase -insert.maxQueueDuration, -maxConcurrentInserts, or the resources of the agent",
                        self.options.max_concurrent, self.options.max_queue_duration
                    ),
                ))
            }
        }
    }

    async fn push(&self, block: &mut SeriesBlock) -> Result<(), Refusal> {
        self.sink.push_or_refuse(block).await.map_err(|err| match err {
            PushError::Overloaded => Refusal::new(429, err.to_string()),
            PushError::Stopping => Refusal::new(503, err.to_string()),
        })
    }
}

/// One of the requests that are worked on.
struct SlotGuard<'a> {
    _permit: tokio::sync::SemaphorePermit<'a>,
    metrics: &'a PushMetrics,
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        self.metrics.current.dec();
    }
}

/// Why a request is not taken.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    message: String,
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl Labelling {
    /// Whether a label of the client stays.
    fn keeps(&self, name: &[u8], value: &[u8]) -> bool {
        let says_whose = self.tenant.is_some() && (name == b"vm_account_id" || name == b"vm_project_id");
        !value.is_empty() && !says_whose
    }

    /// Appends what every series gets.
    fn finish(&self, block: &mut SeriesBlock) {
        for (name, value) in self.extra.iter().filter(|(name, value)| self.keeps(name, value)) {
            block.push_label(name, value);
        }
        if let Some((account, project)) = self.tenant {
            block.push_label(b"vm_account_id", itoa::Buffer::new().format(account).as_bytes());
            block.push_label(b"vm_project_id", itoa::Buffer::new().format(project).as_bytes());
        }
    }
}
