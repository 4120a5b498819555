//! Which entries run: starts what a config adds, keeps what it leaves, ends what it drops.
//!
//! Nothing here waits. An entry that is equal before and after a reload goes on with all it knows, even if its job has
//! changed otherwise; a job that loses its last entry of a kind loses those targets. Entries are tasks on the runtime
//! that [`Discovery::apply`] is called on, and end when they are dropped.

use super::dns_targets::{self, DnsContext};
use super::file_targets::{self, FileContext};
use super::group::{EntryState, Group, Publisher};
use super::http_targets::{self, HttpContext};
use super::kubernetes::{Kubernetes, KubernetesEntry, WatchState};
use super::{Kind, Published, static_targets};
use crate::config::{DnsSd, FileSd, HttpSd, JobConfig, KubernetesSd, StaticTargets};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use vmkit::env_template::Environment;
use vmkit::http_client::{Client, ConnectionCounts};
use vmkit::metrics::{Histogram, Set};
use vmkit::net::dns::Resolver;

/// What flags decide about discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// `-promscrape.fileSDCheckInterval`.
    pub file_interval: Duration,
    /// `-promscrape.httpSDCheckInterval`; servers are asked at half of it.
    pub http_interval: Duration,
    /// `-promscrape.dnsSDCheckInterval`.
    pub dns_interval: Duration,
    /// What Kubernetes discovery has of its own.
    pub kubernetes: super::kubernetes::KubernetesOptions,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            file_interval: Duration::from_secs(60),
            http_interval: Duration::from_secs(60),
            dns_interval: Duration::from_secs(30),
            kubernetes: super::kubernetes::KubernetesOptions::default(),
        }
    }
}

/// What discovery stands on.
#[derive(Clone)]
pub struct DiscoveryParts {
    /// For `%{NAME}` in files of targets.
    pub environment: Arc<Environment>,
    /// For names of targets.
    pub resolver: Arc<Resolver>,
    /// Where metrics go.
    pub metrics: Arc<Set>,
}

/// All running entries.
pub struct Discovery {
    options: DiscoveryOptions,
    parts: DiscoveryParts,
    /// For files that are URLs.
    files: Arc<Client>,
    kubernetes: Arc<Kubernetes>,
    /// Of HTTP discovery.
    connections: Arc<ConnectionCounts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    jobs: BTreeMap<Arc<str>, BTreeMap<Kind, Running>>,
}

/// One kind of one job.
struct Running {
    group: Arc<Group>,
    entries: Vec<RunningEntry>,
}

struct RunningEntry {
    id: u64,
    config: EntryConfig,
    /// Asks for a look before its time.
    again: Arc<Notify>,
    cluster: Option<Arc<KubernetesEntry>>,
    _task: Option<Task>,
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone, PartialEq, Eq)]
enum EntryConfig {
    Static(StaticTargets),
    /// With the directory of the config.
    File(FileSd, String),
    Http(HttpSd),
    Dns(DnsSd),
    Kubernetes(KubernetesSd),
}

/// Where the targets of one kind of one job are published.
pub struct JobTargets {
    /// `job_name`.
    pub job: Arc<str>,
    /// The kind.
    pub kind: Kind,
    /// Closed when the job, or its last entry of the kind, is gone.
    pub targets: watch::Receiver<Published>,
}

/// How one entry fares, for pages.
#[derive(Clone, Debug)]
pub struct EntryStatus {
    /// `job_name`.
    pub job: Arc<str>,
    /// The kind.
    pub kind: Kind,
    /// What it looks at, without credentials.
    pub source: String,
    /// Of the entry as a whole.
    pub state: EntryState,
    /// Of the URLs that it watches, with what is watched.
    pub watches: Vec<(String, WatchState)>,
}

impl Discovery {
    /// Nothing runs yet.
    pub fn new(options: DiscoveryOptions, parts: DiscoveryParts) -> Self {
        let kubernetes = Kubernetes::new(options.kubernetes.clone(), &parts.metrics);
        let files = Arc::new(Client::new(vmkit::tls::client_config::ClientTlsOptions::default()));
        let connections = Arc::new(ConnectionCounts::new(&parts.metrics, "vm_promscrape_discovery"));
        parts.metrics.counter("vm_promscrape_discovery_requests_total");
        // Dashboards may read it; what fails is asked for again at the next check.
        parts.metrics.counter("vm_promscrape_discovery_retries_total");
        Self { options, parts, files, kubernetes, connections, state: Mutex::default() }
    }

    /// Makes the entries of `jobs` the running ones. Must be called on a runtime.
    ///
    /// A job keeps its channels as long as it has entries of their kind; asking again gives new receivers of them.
    pub fn apply<'a>(&self, jobs: impl IntoIterator<Item = &'a JobConfig>) -> Vec<JobTargets> {
        let mut state = self.lock();
        let mut before = std::mem::take(&mut state.jobs);
        let mut channels = Vec::new();
        for job in jobs {
            let name: Arc<str> = job.name.as_str().into();
            let mut kinds = before.remove(&name).unwrap_or_default();
            for kind in Kind::ALL {
                let wanted = entries_of(job, kind);
                let running = kinds.remove(&kind);
                if wanted.is_empty() {
                    continue;
                }
                let running = self.update(&mut state.last_id, &name, kind, running, wanted);
                channels.push(JobTargets { job: Arc::clone(&name), kind, targets: running.group.subscribe() });
                state.jobs.entry(Arc::clone(&name)).or_default().insert(kind, running);
            }
        }
        // After the new ones were started, so that what both watch goes on.
        drop(before);
        channels
    }

    /// Kinds whose first pass is not over. An API server is waited for half a minute at most.
    pub fn pending_kinds(&self) -> usize {
        let state = self.lock();
        let groups = || state.jobs.values().flatten();
        Kind::ALL
            .into_iter()
            .filter(|kind| groups().any(|(known, running)| known == kind && !running.group.is_tried()))
            .count()
    }

    /// All entries, by job.
    pub fn status(&self) -> Vec<EntryStatus> {
        let state = self.lock();
        let mut status = Vec::new();
        for (job, kinds) in &state.jobs {
            for (&kind, running) in kinds {
                status.extend(running.entries.iter().map(|entry| EntryStatus {
                    job: Arc::clone(job),
                    kind,
                    source: entry.config.source(),
                    state: running.group.entry_state(entry.id),
                    watches: entry.cluster.as_ref().map(|entry| entry.watches()).unwrap_or_default(),
                }));
            }
        }
        status
    }

    fn update(
        &self,
        last_id: &mut u64,
        job: &Arc<str>,
        kind: Kind,
        before: Option<Running>,
        wanted: Vec<EntryConfig>,
    ) -> Running {
        let (group, mut old) = match before {
            Some(running) => (running.group, running.entries),
            None => (Group::new(Arc::clone(job), kind, self.duration(kind)), Vec::new()),
        };
        let mut entries: Vec<RunningEntry> = Vec::with_capacity(wanted.len());
        let mut new = Vec::new();
        for config in wanted {
            if let Some(at) = old.iter().position(|entry| entry.config == config) {
                let kept = old.remove(at);
                kept.again.notify_one();
                entries.push(kept);
                continue;
            }
            *last_id += 1;
            new.push(*last_id);
            let again = Arc::new(Notify::new());
            entries.push(RunningEntry { id: *last_id, config, again, cluster: None, _task: None });
        }
        group.set_entries(&entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
        for entry in entries.iter_mut().filter(|entry| new.contains(&entry.id)) {
            self.start(entry, group.publisher(entry.id), job);
        }
        Running { group, entries }
    }

    fn start(&self, entry: &mut RunningEntry, publisher: Publisher, job: &str) {
        let task = match entry.config.clone() {
            EntryConfig::Static(config) => {
                publisher.complete(static_targets::targets(job, &config), Duration::ZERO);
                return;
            }
            EntryConfig::File(config, directory) => {
                let context = FileContext {
                    directory,
                    environment: Arc::clone(&self.parts.environment),
                    interval: self.options.file_interval,
                    client: Arc::clone(&self.files),
                    errors: self.parts.metrics.counter("vm_promscrape_discovery_file_errors_total"),
                };
                tokio::spawn(file_targets::run(config, context, publisher, Arc::clone(&entry.again)))
            }
            EntryConfig::Http(config) => {
                let context = HttpContext {
                    interval: self.options.http_interval,
                    metrics: Arc::clone(&self.parts.metrics),
                    connections: Arc::clone(&self.connections),
                };
                tokio::spawn(http_targets::run(config, context, publisher))
            }
            EntryConfig::Dns(config) => {
                let context = DnsContext {
                    resolver: Arc::clone(&self.parts.resolver),
                    interval: self.options.dns_interval,
                    metrics: Arc::clone(&self.parts.metrics),
                };
                tokio::spawn(dns_targets::run(config, context, publisher))
            }
            EntryConfig::Kubernetes(config) => {
                let (cluster, run) = self.kubernetes.entry(config, publisher);
                entry.cluster = Some(cluster);
                tokio::spawn(run)
            }
        };
        entry._task = Some(Task(task));
    }

    fn duration(&self, kind: Kind) -> Arc<Histogram> {
        let name = format!("vm_promscrape_service_discovery_duration_seconds{{type=\"{kind}\"}}");
        self.parts.metrics.histogram(&name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entries_of(job: &JobConfig, kind: Kind) -> Vec<EntryConfig> {
    let sources = &job.discovery;
    match kind {
        Kind::Static => sources.statics.iter().cloned().map(EntryConfig::Static).collect(),
        Kind::File => {
            sources.files.iter().map(|entry| EntryConfig::File(entry.clone(), sources.directory.clone())).collect()
        }
        Kind::Http => sources.http.iter().cloned().map(EntryConfig::Http).collect(),
        Kind::Dns => sources.dns.iter().cloned().map(EntryConfig::Dns).collect(),
        Kind::Kubernetes => sources.kubernetes.iter().cloned().map(EntryConfig::Kubernetes).collect(),
    }
}

impl EntryConfig {
    fn source(&self) -> String {
        let redacted = |text: &str| vmkit::redact::url(text).into_owned();
        match self {
            Self::Static(config) => format!("{} in the config", config.targets.len()),
            Self::File(config, _) => config.files.iter().map(|file| redacted(file)).collect::<Vec<_>>().join(", "),
            Self::Http(config) => redacted(&config.url),
            Self::Dns(config) => config.names.join(", "),
            Self::Kubernetes(config) => format!("role {}", config.role),
        }
    }
}
