//! What a watch has been through: for the page of discovery, the log and the metrics.
//!
//! An error is logged when it is new and counted each time; what is well again is said once. Texts name URLs without
//! credentials and quote what the server answered, never a header.

use super::metrics::{KubernetesMetrics, WatchMetrics};
use super::objects::ObjectKind;
use super::store::Counts;
use super::watch_ages::WatchAge;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Why a request or a watch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// No reply: connection, TLS, credentials that cannot be read, a limit of time.
    #[error("cannot perform request to \"{url}\": {cause}")]
    Request { url: String, cause: String },
    /// A reply other than 200.
    #[error("unexpected status code for request to \"{url}\": {status}; want 200; response: \"{message}\"{hint}")]
    Status { url: String, status: u16, message: String, hint: String, retry_after: Option<Duration> },
    /// The reply broke off.
    #[error("error when reading the reply from \"{url}\": {cause}")]
    Cut { url: String, cause: String },
    /// Not what an API server sends, or an error event.
    #[error("cannot parse objects from \"{url}\": {cause}")]
    Parse { url: String, cause: String },
    /// The version is too old: the list is read again.
    #[error("the version to watch from is gone at \"{url}\"")]
    Gone { url: String },
    /// The server cannot list by a watch; never shown.
    #[error("no streaming lists at \"{url}\"")]
    NoStreamingLists { url: String },
}

impl Failure {
    /// The value of the label `reason`.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Request { .. } => "request".to_owned(),
            Self::Status { status, .. } => status.to_string(),
            Self::Cut { .. } => "cut".to_owned(),
            Self::Parse { .. } => "parse".to_owned(),
            Self::Gone { .. } => "410".to_owned(),
            Self::NoStreamingLists { .. } => "no_streaming_lists".to_owned(),
        }
    }
}

/// The state of one watched URL, for people.
#[derive(Clone, Debug, Default)]
pub struct WatchState {
    /// When the last list was complete.
    pub last_list: Option<SystemTime>,
    /// When the last event or bookmark came.
    pub last_event: Option<SystemTime>,
    /// The error since which nothing has worked.
    pub error: Option<(SystemTime, String)>,
    /// Objects held.
    pub objects: usize,
}

/// Keeps the state, counts and logs.
#[derive(Debug)]
pub(super) struct WatchStatus {
    kind: ObjectKind,
    url: String,
    metrics: Arc<WatchMetrics>,
    age: WatchAge,
    state: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    state: WatchState,
    /// The failure that was logged and has not ended.
    failure: Option<Failure>,
}

impl WatchStatus {
    pub(super) fn new(kind: ObjectKind, url: String, metrics: &KubernetesMetrics) -> Self {
        vmkit::info!("started {kind} watcher for \"{url}\"");
        let age = metrics.ages.watch(kind, &url);
        let metrics = metrics.watch(kind);
        metrics.watching(1);
        Self { kind, url, metrics, age, state: Mutex::default() }
    }

    pub(super) fn state(&self) -> WatchState {
        self.lock().state.clone()
    }

    pub(super) fn metrics(&self) -> &WatchMetrics {
        &self.metrics
    }

    /// A list was complete.
    pub(super) fn listed(&self, counts: Counts, objects: usize, took: Duration, version: &str) {
        let Counts { added, updated, removed } = counts;
        vmkit::info!(
            "reloaded {objects} objects from \"{}\" in {:.3}s; updated={updated}, removed={removed}, added={added}, \
             resourceVersion=\"{version}\"",
            self.url,
            took.as_secs_f64()
        );
        self.count(counts, objects);
        self.age.list();
        let mut logged = self.lock();
        logged.state.last_list = Some(SystemTime::now());
        drop(logged);
        self.works();
    }

    /// An event or bookmark came.
    pub(super) fn event(&self, counts: Counts, objects: usize) {
        self.count(counts, objects);
        self.age.event();
        self.lock().state.last_event = Some(SystemTime::now());
        self.works();
    }

    fn count(&self, counts: Counts, objects: usize) {
        self.metrics.count(counts);
        let mut logged = self.lock();
        let before = std::mem::replace(&mut logged.state.objects, objects);
        self.metrics.objects(objects as i64 - before as i64);
    }

    fn works(&self) {
        let mut logged = self.lock();
        logged.state.error = None;
        if logged.failure.take().is_some() {
            vmkit::info!("requests to \"{}\" succeed again", self.url);
        }
    }

    /// A request or watch failed.
    pub(super) fn failed(&self, failure: &Failure) {
        self.metrics.failed(&failure.reason());
        let mut logged = self.lock();
        let since = logged.state.error.as_ref().map_or_else(SystemTime::now, |(since, _)| *since);
        logged.state.error = Some((since, failure.to_string()));
        let known = logged.failure.as_ref().is_some_and(|known| known.reason() == failure.reason());
        if known {
            return;
        }
        let first = logged.failure.replace(failure.clone()).is_none();
        drop(logged);
        match failure {
            // Common while a server starts: its access rules are not loaded yet.
            Failure::Status { status: 401 | 403, .. } if !first => vmkit::warn!("{failure}"),
            Failure::Gone { .. } => vmkit::info!("{failure}"),
            _ => vmkit::error!("{failure}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Logged> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WatchStatus {
    fn drop(&mut self) {
        let objects = self.lock().state.objects;
        self.metrics.objects(-(objects as i64));
        self.metrics.watching(-1);
        vmkit::info!("stopped {} watcher for \"{}\"", self.kind, self.url);
    }
}
