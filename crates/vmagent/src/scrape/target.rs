//! From what was discovered to what is scraped: relabeling, the URL, the labels, the settings of one target.
//!
//! Pure: nothing is opened. The same input gives an equal [`Target`], by which the pool tells that a target goes on
//! over a reload.

mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vmkit::secret::Secret;
use vmkit::units::{ByteSize, GoDuration};

use super::cluster::Cluster;
use crate::config::{HttpOptions, JobConfig, parse_duration};
use crate::discovery::{SharedLabel, TargetLabels};
use crate::labels::{LabelBuf, Labels};
use crate::relabel::RelabelRules;

pub use url::ScrapeUrl;

/// What all targets of a job have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct JobSettings {
    /// `honor_labels`.
    pub honor_labels: bool,
    /// `honor_timestamps`.
    pub honor_timestamps: bool,
    /// Rules for samples.
    pub metric_relabel: Arc<RelabelRules>,
    /// Labels that are added to all samples, after relabeling.
    pub external_labels: Labels,
    /// How targets are reached.
    pub http: Arc<HttpOptions>,
    /// Whether targets are asked for compressed pages.
    pub compression: bool,
    /// Whether connections are kept.
    pub keep_alive: bool,
    /// Whether series that disappear are marked.
    pub stale_markers: bool,
    /// `scrape_align_interval`.
    pub align: Option<Duration>,
    /// `scrape_offset`.
    pub offset: Option<Duration>,
}

/// One target as it is scraped.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// `job_name` of its job.
    pub job: String,
    /// Settings of its job.
    pub settings: Arc<JobSettings>,
    /// Where its page is.
    pub url: ScrapeUrl,
    /// User name and password of the address, if it has them.
    pub user_info: Option<(String, Secret)>,
    /// Its labels, sorted.
    pub labels: Labels,
    /// Longer than zero.
    pub interval: Duration,
    /// Not longer than the interval.
    pub timeout: Duration,
    /// Largest page in bytes.
    pub max_scrape_size: u64,
    /// Most samples of a page; `None` for no limit.
    pub sample_limit: Option<u64>,
    /// Most labels of a sample; `None` for no limit.
    pub label_limit: Option<u64>,
    /// Most series in a day; `None` for no limit.
    pub series_limit: Option<u64>,
    /// Whether samples are passed on while the page is still being read.
    pub stream_parse: bool,
    /// Account and project that samples belong to.
    pub tenant: Option<(u32, u32)>,
}

/// Why something that was discovered is not scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A rule dropped it, or no label is left.
    Relabeling,
    /// It has no address.
    MissingUrl,
    /// These other members of the cluster scrape it.
    Sharding(Vec<u64>),
    /// Another target is equal to it.
    Duplicate,
    /// A special label has a value that makes no sense.
    Invalid(String),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relabeling => "relabeling",
            Self::MissingUrl => "missing scrape URL",
            Self::Sharding(_) => "sharding",
            Self::Duplicate => "duplicate",
            Self::Invalid(_) => "invalid labels",
        })
    }
}

/// Makes targets of one job.
#[derive(Debug)]
pub struct TargetFactory {
    job: Arc<JobConfig>,
    settings: Arc<JobSettings>,
    defaults: Vec<SharedLabel>,
    cluster: Arc<Cluster>,
}

impl TargetFactory {
    /// For a job, in a cluster.
    pub fn new(job: Arc<JobConfig>, cluster: Arc<Cluster>) -> Self {
        let settings = Arc::new(JobSettings {
            honor_labels: job.honor_labels,
            honor_timestamps: job.honor_timestamps,
            metric_relabel: Arc::clone(&job.metric_relabel),
            external_labels: job.external_labels.clone(),
            http: Arc::clone(&job.http),
            compression: job.compression,
            keep_alive: job.keep_alive,
            stale_markers: job.stale_markers,
            align: job.scrape_align_interval,
            offset: job.scrape_offset,
        });
        let defaults = default_labels(&job);
        Self { job, settings, defaults, cluster }
    }

    /// The labels that every target of the job begins with.
    pub fn defaults(&self) -> &[SharedLabel] {
        &self.defaults
    }

    /// Its job.
    pub fn job(&self) -> &Arc<JobConfig> {
        &self.job
    }

    /// The labels before relabeling, as pages show them.
    pub fn original_labels(&self, found: &TargetLabels) -> Labels {
        Labels::from_pairs(found.to_pairs(&self.defaults))
    }

    /// Relabels what was found and makes a target of it.
    ///
    /// # Errors
    /// Why it is not scraped.
    pub fn target(&self, found: &TargetLabels, labels: &mut LabelBuf) -> Result<Target, Dropped> {
        labels.clear();
        for (name, value) in found.to_pairs(&self.defaults) {
            labels.push(name.as_bytes(), value.as_bytes());
        }
        if !self.job.relabel.apply(labels) {
            return Err(Dropped::Relabeling);
        }
        labels.retain(|name, _| !name.starts_with(b"__meta_"));
        if labels.is_empty() {
            return Err(Dropped::Relabeling);
        }
        if !self.cluster.is_mine(labels) {
            return Err(Dropped::Sharding(self.cluster.owners(labels).collect()));
        }
        let params = url::params(&self.job.params, labels);
        let Some((url, user_info)) = ScrapeUrl::build(labels, &params).map_err(Dropped::Invalid)? else {
            return Err(Dropped::MissingUrl);
        };
        let overrides = Overrides(labels);
        let interval = overrides.duration("__scrape_interval__")?.unwrap_or(self.job.scrape_interval);
        let timeout = overrides.duration("__scrape_timeout__")?.unwrap_or(self.job.scrape_timeout);
        let mut target = Target {
            job: self.job.name.clone(),
            settings: Arc::clone(&self.settings),
            user_info,
            labels: Labels::default(),
            interval,
            timeout: timeout.min(interval),
            max_scrape_size: overrides.size("__max_scrape_size__")?.unwrap_or(self.job.max_scrape_size),
            sample_limit: overrides.limit("__sample_limit__", self.job.sample_limit)?,
            label_limit: overrides.limit("__label_limit__", self.job.label_limit)?,
            series_limit: overrides.limit("__series_limit__", self.job.series_limit)?,
            stream_parse: overrides.boolean("__stream_parse__")?.unwrap_or(self.job.stream_parse),
            tenant: overrides.tenant()?,
            url,
        };
        target.labels = self.final_labels(labels, &target.url);
        Ok(target)
    }

    fn final_labels(&self, labels: &mut LabelBuf, url: &ScrapeUrl) -> Labels {
        labels.retain(|name, _| !name.starts_with(b"__"));
        if labels.get(b"instance").is_none() {
            labels.push(b"instance", url.instance().as_bytes());
        }
        if let Some((name, value)) = &self.cluster.member_label {
            labels.set(name.as_bytes(), value.as_bytes());
        }
        labels.to_labels()
    }
}

fn default_labels(job: &JobConfig) -> Vec<SharedLabel> {
    let duration = |duration: Duration| GoDuration::from(duration).to_string();
    let mut defaults = vec![
        ("job".to_owned(), job.name.clone()),
        ("__scheme__".to_owned(), job.scheme.clone()),
        ("__metrics_path__".to_owned(), job.metrics_path.clone()),
        ("__scrape_interval__".to_owned(), duration(job.scrape_interval)),
        ("__scrape_timeout__".to_owned(), duration(job.scrape_timeout)),
    ];
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            defaults.push((format!("__param_{name}"), first.clone()));
        }
    }
    defaults.into_iter().map(|(name, value)| SharedLabel { name: name.into(), value: value.into() }).collect()
}

/// Labels that override settings of the job.
struct Overrides<'l>(&'l LabelBuf);

impl Overrides<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name.as_bytes()).and_then(|value| str::from_utf8(value).ok()).filter(|value| !value.is_empty())
    }

    fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Dropped> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Dropped::Invalid(format!("cannot parse {name}={text:?}"))),
        }
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Dropped> {
        self.parsed(name, |text| parse_duration(text).ok().filter(|duration| !duration.is_zero()))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, Dropped> {
        self.parsed(name, |text| u64::try_from(text.parse::<ByteSize>().ok()?.bytes()).ok())
    }

    fn limit(&self, name: &str, inherited: Option<u64>) -> Result<Option<u64>, Dropped> {
        let own = self.parsed(name, |text| text.parse::<i64>().ok())?;
        Ok(own.map_or(inherited, |own| u64::try_from(own).ok().filter(|&limit| limit > 0)))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Dropped> {
        self.parsed(name, |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })
    }

    fn tenant(&self) -> Result<Option<(u32, u32)>, Dropped> {
        self.parsed("__tenant_id__", |text| match text.split_once(':') {
            None => Some((text.parse().ok()?, 0)),
            Some((account, project)) => Some((account.parse().ok()?, project.parse().ok()?)),
        })
    }
}

#[cfg(test)]
pub(crate) use tests::test_target;
#[cfg(test)]
mod tests;
