//! Which targets run: follows the config and discovery, starts what is new, ends what has gone, keeps the rest.
//!
//! Lists of targets come per job and kind, complete each time. Each entry of a list is relabeled once: an entry that is
//! the same object as before keeps its result. A target that comes out equal goes on with its phase, its connection and
//! its memory, whatever else changed. What has gone gets its stale markers before what is new begins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use super::metrics::ScrapeMetrics;
use super::state::{ActiveTarget, DroppedTarget, JobState, KindTargets, ScrapeState};
use super::target::{Dropped, Target, TargetFactory};
use super::worker::{ScrapeOptions, TargetHandle, Workers};
use crate::config::{JobConfig, ScrapeConfig};
use crate::discovery::{Discovery, Kind, Published, TargetLabels, TargetList};
use crate::labels::LabelBuf;

/// Tells the manager about a new config.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    configs: mpsc::UnboundedSender<Arc<ScrapeConfig>>,
    stop: Arc<Stop>,
}

#[derive(Debug)]
struct Stop {
    wanted: tokio::sync::Notify,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl ManagerHandle {
    /// Makes a config the current one. Returns at once.
    pub fn apply(&self, config: Arc<ScrapeConfig>) {
        // The manager ends only with the process.
        let _ = self.configs.send(config);
    }

    /// Ends all targets without markers and waits until their threads have ended.
    pub async fn stop(&self) {
        self.stop.wanted.notify_one();
        if let Some(task) = self.stop.task.lock().await.take() {
            // A panic of the manager has been reported by its thread.
            let _ = task.await;
        }
    }
}

/// Runs the targets.
pub struct Manager {
    options: Arc<ScrapeOptions>,
    metrics: Arc<ScrapeMetrics>,
    state: Arc<ScrapeState>,
    discovery: Arc<Discovery>,
    workers: Workers,
    jobs: BTreeMap<String, Job>,
    labels: LabelBuf,
    lists: mpsc::UnboundedSender<(String, Kind, TargetList)>,
}

struct Job {
    config: Arc<JobConfig>,
    state: Arc<JobState>,
    kinds: BTreeMap<Kind, Running>,
    watchers: Vec<JoinHandle<()>>,
}

/// The targets of one kind of one job.
#[derive(Default)]
struct Running {
    list: Option<TargetList>,
    entries: Vec<Entry>,
    handles: HashMap<u64, TargetHandle>,
}

/// What became of one entry of a list.
struct Entry {
    found: Arc<TargetLabels>,
    outcome: Outcome,
}

#[derive(Clone)]
enum Outcome {
    Active(Arc<ActiveTarget>),
    Dropped(Arc<DroppedTarget>),
}

impl Manager {
    /// Starts the manager on the current runtime.
    pub fn start(
        options: Arc<ScrapeOptions>,
        metrics: Arc<ScrapeMetrics>,
        state: Arc<ScrapeState>,
        discovery: Arc<Discovery>,
        workers: Workers,
    ) -> ManagerHandle {
        let (configs, mut config_receiver) = mpsc::unbounded_channel::<Arc<ScrapeConfig>>();
        let (lists, mut list_receiver) = mpsc::unbounded_channel();
        let jobs = BTreeMap::new();
        let mut manager = Self { options, metrics, state, discovery, workers, jobs, labels: LabelBuf::new(), lists };
        let stop = Arc::new(Stop { wanted: tokio::sync::Notify::new(), task: tokio::sync::Mutex::default() });
        let stopping = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = stopping.wanted.notified() => break,
                    Some(config) = config_receiver.recv() => manager.apply(&config).await,
                    Some((job, kind, list)) = list_receiver.recv() => manager.update(&job, kind, list).await,
                }
            }
            let Self { workers, jobs, .. } = manager;
            for job in jobs.values() {
                job.watchers.iter().for_each(JoinHandle::abort);
            }
            drop(jobs);
            workers.join().await;
        });
        if let Ok(mut place) = stop.task.try_lock() {
            *place = Some(task);
        }
        ManagerHandle { configs, stop }
    }

    async fn apply(&mut self, config: &ScrapeConfig) {
        let mut before = std::mem::take(&mut self.jobs);
        let mut ending = Vec::new();
        let mut order = Vec::with_capacity(config.jobs.len());
        let mut changed = Vec::new();
        for job in &config.jobs {
            let mut running = match before.remove(&job.name) {
                Some(running) => running,
                None => self.new_job(job),
            };
            if running.config != *job {
                changed.push(job.name.clone());
                let state = self.new_state(job);
                *state.kinds() = running.state.kinds().clone();
                running = Job { config: Arc::clone(job), state, ..running };
            }
            let gone = running.kinds.keys().filter(|&&kind| !job.discovery.has(kind)).copied().collect::<Vec<_>>();
            for kind in gone {
                if let Some(targets) = running.kinds.remove(&kind) {
                    running.state.kinds().remove(&kind);
                    ending.extend(targets.handles.into_values().map(|handle| (kind, handle)));
                }
            }
            order.push(Arc::clone(&running.state));
            self.jobs.insert(job.name.clone(), running);
        }
        for job in before.into_values() {
            job.watchers.iter().for_each(JoinHandle::abort);
            for (kind, targets) in job.kinds {
                ending.extend(targets.handles.into_values().map(|handle| (kind, handle)));
            }
        }
        self.state.set_jobs(order);
        self.end(ending).await;
        for name in changed {
            self.relabel_again(&name).await;
        }
        self.subscribe(config);
    }

    fn new_job(&self, config: &Arc<JobConfig>) -> Job {
        let (config, state) = (Arc::clone(config), self.new_state(config));
        Job { config, state, kinds: BTreeMap::new(), watchers: Vec::new() }
    }

    fn new_state(&self, config: &Arc<JobConfig>) -> Arc<JobState> {
        let cluster: Arc<Cluster> = Arc::clone(&self.options.cluster);
        Arc::new(JobState::new(Arc::new(TargetFactory::new(Arc::clone(config), cluster))))
    }

    /// Follows the channels of discovery.
    fn subscribe(&mut self, config: &ScrapeConfig) {
        for job in self.jobs.values_mut() {
            job.watchers.drain(..).for_each(|watcher| watcher.abort());
        }
        for channel in self.discovery.apply(config.jobs.iter().map(|job| &**job)) {
            let Some(job) = self.jobs.get_mut(&*channel.job) else { continue };
            let (name, kind, lists) = (channel.job.to_string(), channel.kind, self.lists.clone());
            job.watchers.push(tokio::spawn(follow(name, kind, channel.targets, lists)));
        }
    }

    async fn relabel_again(&mut self, name: &str) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        let lists: Vec<_> =
            job.kinds.iter_mut().filter_map(|(&kind, running)| Some((kind, running.list.take()?))).collect();
        for running in job.kinds.values_mut() {
            // Results of the old rules are no good.
            running.entries.retain(|entry| matches!(entry.outcome, Outcome::Active(_)));
        }
        for (kind, list) in lists {
            self.rebuild(name, kind, list, true).await;
        }
    }

    async fn update(&mut self, job: &str, kind: Kind, list: TargetList) {
        self.rebuild(job, kind, list, false).await;
    }

    /// Brings the targets of one kind of one job in line with a list.
    async fn rebuild(&mut self, name: &str, kind: Kind, list: TargetList, new_rules: bool) {
        let Some(job) = self.jobs.get_mut(name).filter(|job| job.config.discovery.has(kind)) else { return };
        let (factory, state) = (Arc::clone(&job.state.factory), Arc::clone(&job.state));
        let mut running = job.kinds.remove(&kind).unwrap_or_default();
        let metrics = self.metrics.kind(kind);
        let begun = Instant::now();
        let old = std::mem::take(&mut running.entries);
        // The list before this one keeps these objects alive, so an address is one object.
        let mut by_pointer: HashMap<usize, Outcome> = HashMap::new();
        let mut by_target: HashMap<u64, Vec<Arc<ActiveTarget>>> = HashMap::new();
        for entry in old {
            if let Outcome::Active(active) = &entry.outcome {
                by_target.entry(key(&active.target)).or_default().push(Arc::clone(active));
            }
            if !new_rules {
                by_pointer.insert(Arc::as_ptr(&entry.found).addr(), entry.outcome);
            }
        }
        let mut taken: HashMap<u64, Vec<Arc<ActiveTarget>>> = HashMap::new();
        let mut fresh = Vec::new();
        for found in list.iter() {
            let known = by_pointer.get(&Arc::as_ptr(found).addr()).cloned();
            let is_kept = |outcome: &Outcome| !matches!(outcome, Outcome::Dropped(dropped) if dropped.reason == Dropped::Duplicate);
            let outcome = match known.filter(is_kept) {
                Some(outcome) => outcome,
                None => match factory.target(found, &mut self.labels) {
                    Ok(target) => self.adopt(kind, target, found, &by_target, &mut fresh),
                    Err(reason) => self.dropped(found, reason),
                },
            };
            let outcome = self.refuse_duplicate(outcome, found, &mut taken);
            running.entries.push(Entry { found: Arc::clone(found), outcome });
        }
        metrics.relabel_duration.update_duration(begun.elapsed());
        running.list = Some(list);
        let ending = gone(&mut running.handles, &taken);
        *state.kinds().entry(kind).or_default() =
            shown(&running.entries, if self.options.drop_original_labels { 0 } else { self.options.max_dropped });
        metrics.changes.add(ending.len() as u64);
        self.end(ending.into_iter().map(|handle| (kind, handle)).collect()).await;
        for active in fresh {
            if taken.get(&key(&active.target)).is_some_and(|targets| targets.iter().any(|known| known.id == active.id))
            {
                metrics.active.inc();
                metrics.started.inc();
                metrics.changes.inc();
                running.handles.insert(active.id, self.workers.add(active));
            }
        }
        if let Some(job) = self.jobs.get_mut(name) {
            job.kinds.insert(kind, running);
        }
    }

    /// The running target that is equal to a new one, or the new one.
    fn adopt(
        &self,
        kind: Kind,
        target: Target,
        found: &Arc<TargetLabels>,
        running: &HashMap<u64, Vec<Arc<ActiveTarget>>>,
        fresh: &mut Vec<Arc<ActiveTarget>>,
    ) -> Outcome {
        let kept_found = (!self.options.drop_original_labels).then(|| Arc::clone(found));
        let equal = running.get(&key(&target)).and_then(|targets| targets.iter().find(|known| known.target == target));
        if let Some(known) = equal {
            known.set_found(kept_found);
            return Outcome::Active(Arc::clone(known));
        }
        if let Some(known) = fresh.iter().find(|known| known.target == target) {
            return Outcome::Active(Arc::clone(known));
        }
        let active = Arc::new(ActiveTarget::new(self.state.new_id(), kind, target, kept_found));
        fresh.push(Arc::clone(&active));
        Outcome::Active(active)
    }

    fn dropped(&self, found: &Arc<TargetLabels>, reason: Dropped) -> Outcome {
        if let Dropped::Invalid(message) = &reason {
            vmkit::error!("skipping a target because of its labels: {message}");
        }
        Outcome::Dropped(Arc::new(DroppedTarget { found: Arc::clone(found), reason, id: self.state.new_id() }))
    }

    /// The second of two equal targets is dropped.
    fn refuse_duplicate(
        &self,
        outcome: Outcome,
        found: &Arc<TargetLabels>,
        taken: &mut HashMap<u64, Vec<Arc<ActiveTarget>>>,
    ) -> Outcome {
        let Outcome::Active(active) = &outcome else { return outcome };
        let same = taken.entry(key(&active.target)).or_default();
        if !same.iter().any(|known| known.target == active.target) {
            same.push(Arc::clone(active));
            return outcome;
        }
        if !self.options.suppress_duplicates {
            vmkit::error!(
                "skipping duplicate scrape target with identical labels; endpoint={}, labels={}; make sure that \
                 discovery and relabeling give each target labels of its own",
                active.target.url,
                active.target.labels
            );
        }
        self.dropped(found, Dropped::Duplicate)
    }

    async fn end(&self, handles: Vec<(Kind, TargetHandle)>) {
        for (kind, _) in &handles {
            let metrics = self.metrics.kind(*kind);
            metrics.active.dec();
            metrics.stopped.inc();
        }
        let mut ending: Vec<_> = handles.into_iter().map(|(_, handle)| Box::pin(handle.end())).collect();
        // All at once: each future tells its target first and then waits.
        std::future::poll_fn(|context| {
            ending.retain_mut(|handle| handle.as_mut().poll(context).is_pending());
            if ending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Passes lists of one channel on.
async fn follow(
    job: String,
    kind: Kind,
    mut targets: watch::Receiver<Published>,
    lists: mpsc::UnboundedSender<(String, Kind, TargetList)>,
) {
    targets.mark_changed();
    while targets.changed().await.is_ok() {
        let list = targets.borrow_and_update().clone();
        if let Some(list) = list
            && lists.send((job.clone(), kind, list)).is_err()
        {
            return;
        }
    }
}

/// Handles of targets that are not among those that go on.
fn gone(handles: &mut HashMap<u64, TargetHandle>, taken: &HashMap<u64, Vec<Arc<ActiveTarget>>>) -> Vec<TargetHandle> {
    let kept: std::collections::HashSet<u64> = taken.values().flatten().map(|active| active.id).collect();
    let ids: Vec<u64> = handles.keys().filter(|id| !kept.contains(id)).copied().collect();
    ids.iter().filter_map(|id| handles.remove(id)).collect()
}

/// Looks targets up before they are compared.
fn key(target: &Target) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    target.url.hash(&mut hasher);
    target.labels.hash(&mut hasher);
    hasher.finish()
}

fn shown(entries: &[Entry], max_dropped: usize) -> KindTargets {
    let mut targets = KindTargets::default();
    for entry in entries {
        match &entry.outcome {
            Outcome::Active(active) => targets.active.push(Arc::clone(active)),
            Outcome::Dropped(dropped) => {
                targets.dropped_total += 1;
                if targets.dropped.len() < max_dropped {
                    targets.dropped.push(Arc::clone(dropped));
                }
            }
        }
    }
    targets
}
