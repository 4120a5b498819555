//! What pages and metrics show about targets: a picture that the manager changes and everybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use vmkit::metrics::Page;

use super::target::{Dropped, Target, TargetFactory};
use crate::discovery::{Kind, TargetLabels, kubernetes};
use crate::labels::Labels;

/// All jobs with their targets.
#[derive(Debug, Default)]
pub struct ScrapeState {
    jobs: RwLock<Vec<Arc<JobState>>>,
    next_id: AtomicU64,
}

/// One job.
#[derive(Debug)]
pub struct JobState {
    /// Makes its targets; has its config.
    pub factory: Arc<TargetFactory>,
    kinds: Mutex<BTreeMap<Kind, KindTargets>>,
}

/// The targets of one kind of one job.
#[derive(Clone, Debug, Default)]
pub struct KindTargets {
    /// Those that are scraped, in order of discovery.
    pub active: Vec<Arc<ActiveTarget>>,
    /// Those that are not, as far as they are remembered.
    pub dropped: Vec<Arc<DroppedTarget>>,
    /// How many there are, remembered or not.
    pub dropped_total: usize,
}

/// A target that is not scraped.
#[derive(Debug)]
pub struct DroppedTarget {
    /// What was discovered.
    pub found: Arc<TargetLabels>,
    /// Why it is not scraped.
    pub reason: Dropped,
    /// For links of pages.
    pub id: u64,
}

/// A target that is scraped.
#[derive(Debug)]
pub struct ActiveTarget {
    /// For links of pages; 16 hexadecimal digits.
    pub id: u64,
    /// Where it was discovered.
    pub kind: Kind,
    /// How it is scraped.
    pub target: Target,
    found: Mutex<Option<Arc<TargetLabels>>>,
    status: Mutex<TargetStatus>,
}

/// How the last scrape went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetStatus {
    /// Whether it was a success.
    pub up: bool,
    /// When it began; `None` before the first.
    pub last_scrape: Option<SystemTime>,
    /// How long it took.
    pub duration: Duration,
    /// Size of the page in bytes.
    pub response_size: u64,
    /// Samples of the page.
    pub samples_scraped: u64,
    /// Scrapes so far.
    pub scrapes_total: u64,
    /// Scrapes so far that failed.
    pub scrapes_failed: u64,
    /// What went wrong; empty after a success.
    pub last_error: String,
}

impl ScrapeState {
    /// All jobs in order of the config.
    pub fn jobs(&self) -> Vec<Arc<JobState>> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the list of jobs.
    pub(super) fn set_jobs(&self, jobs: Vec<Arc<JobState>>) {
        *self.jobs.write().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// A number for links that no other target has.
    pub(super) fn new_id(&self) -> u64 {
        // Odd multiples of the golden ratio: distinct, and not guessed for numbers.
        self.next_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The target with a number, and its job.
    pub fn find_active(&self, id: u64) -> Option<(Arc<JobState>, Arc<ActiveTarget>)> {
        self.jobs().into_iter().find_map(|job| {
            let target =
                job.kinds().values().flat_map(|kind| kind.active.iter()).find(|target| target.id == id).cloned();
            target.map(|target| (job, target))
        })
    }

    /// The dropped target with a number, and its job.
    pub fn find_dropped(&self, id: u64) -> Option<(Arc<JobState>, Arc<DroppedTarget>)> {
        self.jobs().into_iter().find_map(|job| {
            let target =
                job.kinds().values().flat_map(|kind| kind.dropped.iter()).find(|target| target.id == id).cloned();
            target.map(|target| (job, target))
        })
    }

    /// Writes the metrics that count targets.
    pub fn write_metrics(&self, page: &mut Page) {
        let mut by_kind: BTreeMap<&str, [u64; 2]> = Kind::ALL
            .iter()
            .map(|kind| kind.key())
            .chain(crate::config::other_kinds())
            .map(|key| (key, [0; 2]))
            .collect();
        let (mut by_job, mut by_role) = (Vec::new(), BTreeMap::new());
        for job in self.jobs() {
            job.count_roles(&mut by_role);
            let mut of_job = [0; 2];
            for (kind, targets) in job.kinds().iter() {
                for target in &targets.active {
                    let down = usize::from(!target.status().up);
                    of_job[down] += 1;
                    by_kind.entry(kind.key()).or_default()[down] += 1;
                }
            }
            by_job.push((job.name().to_owned(), of_job));
        }
        #[allow(clippy::cast_precision_loss)]
        for (at, status) in ["up", "down"].into_iter().enumerate() {
            for (kind, counts) in &by_kind {
                let labels = [("type", *kind), ("status", status)];
                page.labeled("vm_promscrape_targets", &labels, counts[at] as f64);
            }
        }
        #[allow(clippy::cast_precision_loss)]
        for (job, counts) in &by_job {
            for (at, status) in ["up", "down"].into_iter().enumerate() {
                let labels = [("scrape_job", job.as_str()), ("status", status)];
                page.labeled("vm_promscrape_scrape_pool_targets", &labels, counts[at] as f64);
            }
        }
        #[allow(clippy::cast_precision_loss)]
        for (role, count) in &by_role {
            let labels = [("role", role.as_str())];
            page.labeled("vm_promscrape_discovery_kubernetes_scrape_works", &labels, *count as f64);
        }
    }
}

impl JobState {
    /// A job without targets.
    pub(super) fn new(factory: Arc<TargetFactory>) -> Self {
        Self { factory, kinds: Mutex::default() }
    }

    /// `job_name`.
    pub fn name(&self) -> &str {
        &self.factory.job().name
    }

    /// Adds its targets in Kubernetes to those of their roles; each role that is used is there.
    fn count_roles(&self, by_role: &mut BTreeMap<String, usize>) {
        let entries = &self.factory.job().discovery.kubernetes;
        let Some(first) = entries.first() else { return };
        for entry in entries {
            by_role.entry(entry.role.clone()).or_default();
        }
        let kinds = self.kinds();
        let Some(targets) = kinds.get(&Kind::Kubernetes) else { return };
        let is_one = entries.iter().all(|entry| entry.role == first.role);
        for target in &targets.active {
            let found = if is_one { None } else { target.found() };
            let role = found.and_then(|found| kubernetes::role_of(&found)).unwrap_or(&first.role);
            if let Some(count) = by_role.get_mut(role) {
                *count += 1;
            }
        }
    }

    /// Its targets by kind.
    pub fn kinds(&self) -> MutexGuard<'_, BTreeMap<Kind, KindTargets>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DroppedTarget {
    /// Its labels before relabeling.
    pub fn original_labels(&self, job: &JobState) -> Labels {
        job.factory.original_labels(&self.found)
    }
}

impl ActiveTarget {
    pub(super) fn new(id: u64, kind: Kind, target: Target, found: Option<Arc<TargetLabels>>) -> Self {
        Self { id, kind, target, found: Mutex::new(found), status: Mutex::default() }
    }

    /// How the last scrape went.
    pub fn status(&self) -> TargetStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known about it.
    pub(super) fn update(&self, change: impl FnOnce(&mut TargetStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was discovered; `None` with `-promscrape.dropOriginalLabels`.
    pub fn found(&self) -> Option<Arc<TargetLabels>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_found(&self, found: Option<Arc<TargetLabels>>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Its labels before relabeling; empty when they are not kept.
    pub fn original_labels(&self, job: &JobState) -> Labels {
        self.found().map(|found| job.factory.original_labels(&found)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use vmkit::env_template::Environment;

    use super::super::cluster::Cluster;
    use super::*;
    use crate::config::{JobDefaults, load_text};
    use crate::discovery::SharedLabel;
    use crate::labels::LabelBuf;

    fn job(entries: &str) -> JobState {
        let text = format!("scrape_configs:\n- {{job_name: j, kubernetes_sd_configs: [{entries}]}}\n");
        let read = |_: &str| Err("no such file".to_owned());
        let defaults = JobDefaults::default();
        let config = load_text("c.yml", text.as_bytes(), &read, &Environment::default(), &defaults).unwrap();
        JobState::new(Arc::new(TargetFactory::new(Arc::clone(&config.jobs[0]), Arc::new(Cluster::default()))))
    }

    fn add(job: &JobState, id: u64, labels: &[&str]) {
        let label = |name: &str| SharedLabel { name: name.into(), value: "x".into() };
        let names = labels.iter().copied().chain(["__address__"]);
        let found = TargetLabels::new([], names.map(label).collect::<Vec<_>>());
        let target = job.factory.target(&found, &mut LabelBuf::new()).unwrap();
        let active = ActiveTarget::new(id, Kind::Kubernetes, target, Some(Arc::new(found)));
        job.kinds().entry(Kind::Kubernetes).or_default().active.push(Arc::new(active));
    }

    #[test]
    fn targets_that_relabeling_left_are_counted_by_role() {
        let state = ScrapeState::default();
        let pods = job("{role: pod, api_server: 'http://h'}");
        add(&pods, 1, &["__meta_kubernetes_pod_name"]);
        add(&pods, 2, &["__meta_kubernetes_pod_name"]);
        let mixed = job("{role: endpoints, api_server: 'http://h'}, {role: service, api_server: 'http://h'}");
        add(&mixed, 3, &["__meta_kubernetes_service_name", "__meta_kubernetes_endpoints_name"]);
        let empty = job("{role: node, api_server: 'http://h'}");
        state.set_jobs(vec![Arc::new(pods), Arc::new(mixed), Arc::new(empty)]);
        let mut page = Page::new(false);
        state.write_metrics(&mut page);
        let text = String::from_utf8(page.into_bytes()).unwrap();
        for (role, count) in [("pod", 2), ("endpoints", 1), ("service", 0), ("node", 0)] {
            let line = format!("vm_promscrape_discovery_kubernetes_scrape_works{{role=\"{role}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
