//! A picture of jobs and targets for pages; the one place that knows where it comes from.

use crate::labels::Labels;
use crate::scrape::state::{ActiveTarget, DroppedTarget, JobState, ScrapeState};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One job.
#[derive(Debug)]
pub struct JobView {
    /// `job_name`.
    pub name: String,
    /// Targets that are scraped.
    pub targets: Vec<TargetView>,
    /// Targets that are not, as far as they are remembered.
    pub dropped: Vec<DroppedView>,
    /// How many are not scraped.
    pub dropped_total: usize,
}

/// One target that is scraped.
#[derive(Debug)]
pub struct TargetView {
    /// For links.
    pub id: u64,
    /// Where its page is.
    pub url: String,
    /// Labels after relabeling.
    pub labels: Labels,
    /// Labels before it.
    pub original: Original,
    /// Whether the last scrape was a success.
    pub up: bool,
    /// When it began; `None` before the first.
    pub last_scrape: Option<SystemTime>,
    /// How long it took.
    pub duration: Duration,
    /// Size of the page in bytes.
    pub response_size: u64,
    /// Samples of the page.
    pub samples: u64,
    /// Scrapes so far.
    pub scrapes: u64,
    /// Scrapes so far that failed.
    pub failed: u64,
    /// What went wrong; empty after a success.
    pub error: String,
}

/// One target that is not scraped.
#[derive(Debug)]
pub struct DroppedView {
    /// For links.
    pub id: u64,
    /// Labels before relabeling.
    pub original: Original,
    /// In the words of the page: `relabeling`, `duplicate`, `missing scrape URL`, `sharding`.
    pub reason: String,
    /// Members of the cluster that scrape it.
    pub members: Vec<u64>,
}

/// Labels before relabeling, put together when they are shown.
#[derive(Clone)]
pub struct Original(Arc<dyn Fn() -> Labels + Send + Sync>);

impl Original {
    /// Labels that `make` puts together.
    pub fn new(make: impl Fn() -> Labels + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// The labels; none if they are not kept.
    pub fn labels(&self) -> Labels {
        (self.0)()
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels().fmt(f)
    }
}

/// All jobs in order of the config.
pub fn jobs(state: &ScrapeState) -> Vec<JobView> {
    state.jobs().iter().map(job).collect()
}

fn job(state: &Arc<JobState>) -> JobView {
    let kinds = state.kinds();
    JobView {
        name: state.name().to_owned(),
        targets: kinds.values().flat_map(|kind| &kind.active).map(|active| target(state, active)).collect(),
        dropped: kinds.values().flat_map(|kind| &kind.dropped).map(|target| dropped(state, target)).collect(),
        dropped_total: kinds.values().map(|kind| kind.dropped_total).sum(),
    }
}

fn target(job: &Arc<JobState>, active: &Arc<ActiveTarget>) -> TargetView {
    let status = active.status();
    let (job, found) = (Arc::clone(job), Arc::clone(active));
    TargetView {
        id: active.id,
        url: active.target.url.to_string(),
        labels: active.target.labels.clone(),
        original: Original::new(move || found.original_labels(&job)),
        up: status.up,
        last_scrape: status.last_scrape,
        duration: status.duration,
        response_size: status.response_size,
        samples: status.samples_scraped,
        scrapes: status.scrapes_total,
        failed: status.scrapes_failed,
        error: status.last_error,
    }
}

fn dropped(job: &Arc<JobState>, target: &Arc<DroppedTarget>) -> DroppedView {
    use crate::scrape::target::Dropped;
    let members = match &target.reason {
        Dropped::Sharding(members) => members.clone(),
        Dropped::Relabeling | Dropped::MissingUrl | Dropped::Duplicate | Dropped::Invalid(_) => Vec::new(),
    };
    let (id, reason) = (target.id, target.reason.to_string());
    let (job, target) = (Arc::clone(job), Arc::clone(target));
    DroppedView { id, original: Original::new(move || target.original_labels(&job)), reason, members }
}
