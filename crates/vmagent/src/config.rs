//! The scrape config: from the text of `-promscrape.config` to jobs that can be started.
//!
//! ```text
//! text ─► %{ENV} ─► YAML tree ─► decoder (all problems, with line and column) ─► Global + JobConfig
//! ```
//!
//! Two kinds of mistakes: those of the file (syntax, types, unknown fields, durations, two jobs of one name) refuse it
//! as a whole, those of one job (a wrong regular expression, two kinds of credentials) only skip that job. Building is
//! pure: no socket, no task, no file but those that the config itself consists of, so that `-dryRun` is safe.

mod duration;
mod fields;
mod global;
mod http_options;
mod job;
mod kind;
mod load;
mod paths;
mod relabel_rules;
mod sd;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use vmkit::yaml::{ProblemList, Stage};

use crate::labels::Labels;
use crate::relabel::RelabelRules;

pub use duration::{DurationTextError, parse_duration};
pub use http_options::{Credentials, HttpOptions, OAuth2Options, ProxyOptions, SecretSource, TlsOptions};
pub use kind::Kind;
pub use load::{LoadError, ReadFile, Source, load, load_text, parse_rules};
pub use sd::{
    AttachMetadata, DnsSd, DnsType, FileSd, HttpSd, KubernetesSd, KubernetesSelector, SdConfigs, StaticTargets,
};

/// A scrape config whose jobs can be started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScrapeConfig {
    /// Jobs in order of the file, those of `scrape_config_files` behind them.
    pub jobs: Vec<Arc<JobConfig>>,
    /// Jobs that are left out because of a mistake of their own.
    pub skipped: Vec<SkippedJob>,
    /// The texts that the config was read from, placeholders resolved: the file and each of `scrape_config_files`.
    pub sources: Vec<Source>,
    /// Labels that are added to everything that is scraped.
    pub external_labels: Labels,
}

impl ScrapeConfig {
    /// Whether another config means the same; texts may differ.
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.jobs == other.jobs && self.skipped == other.skipped && self.external_labels == other.external_labels
    }
}

/// A job that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedJob {
    /// `job_name`; empty when that is missing.
    pub name: String,
    /// What is wrong, with place, line and column.
    pub reason: String,
}

/// One entry of `scrape_configs` with the defaults of `global` and of the flags filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobConfig {
    /// `job_name`, the default of the label `job`.
    pub name: String,
    /// Longer than zero.
    pub scrape_interval: Duration,
    /// Not longer than the interval.
    pub scrape_timeout: Duration,
    /// Begins with a slash; may carry args.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Args by name, each with its values.
    pub params: Vec<(String, Vec<String>)>,
    /// Labels of pages win over those of the target.
    pub honor_labels: bool,
    /// Timestamps of pages are kept.
    pub honor_timestamps: bool,
    /// Rules for targets: those of `global`, then those of the job.
    pub relabel: Arc<RelabelRules>,
    /// Rules for samples: those of `global`, then those of the job.
    pub metric_relabel: Arc<RelabelRules>,
    /// `external_labels` of `global`.
    pub external_labels: Labels,
    /// How targets are reached.
    pub http: Arc<HttpOptions>,
    /// Most samples of a page after relabeling; `None` for no limit.
    pub sample_limit: Option<u64>,
    /// Most labels of a sample; `None` for no limit.
    pub label_limit: Option<u64>,
    /// Most series of a target in a day; `None` for no limit.
    pub series_limit: Option<u64>,
    /// Largest page in bytes.
    pub max_scrape_size: u64,
    /// Whether targets are asked for compressed pages.
    pub compression: bool,
    /// Whether connections are kept.
    pub keep_alive: bool,
    /// Whether samples are passed on while the page is still being read.
    pub stream_parse: bool,
    /// Whether series that disappear are marked.
    pub stale_markers: bool,
    /// Scrapes come at multiples of this.
    pub scrape_align_interval: Option<Duration>,
    /// Scrapes come this much behind multiples of the interval.
    pub scrape_offset: Option<Duration>,
    /// Where targets come from.
    pub discovery: SdConfigs,
}

/// Defaults of jobs that flags decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDefaults {
    /// `-promscrape.maxScrapeSize` in bytes.
    pub max_scrape_size: u64,
    /// `-promscrape.seriesLimitPerTarget`; zero and less mean none.
    pub series_limit: i64,
    /// `-promscrape.streamParse`.
    pub stream_parse: bool,
    /// `-promscrape.noStaleMarkers`.
    pub no_stale_markers: bool,
    /// `-promscrape.disableCompression`.
    pub disable_compression: bool,
    /// `-promscrape.disableKeepAlive`.
    pub disable_keep_alive: bool,
    /// `-promscrape.config.strictParse`.
    pub strict: bool,
}

impl Default for JobDefaults {
    fn default() -> Self {
        Self {
            max_scrape_size: 16 << 20,
            series_limit: 0,
            stream_parse: false,
            no_stale_markers: false,
            disable_compression: false,
            disable_keep_alive: false,
            strict: true,
        }
    }
}

/// In which order problems are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigStage {
    /// No YAML.
    Syntax,
    /// Wrong types, unknown fields.
    Types,
    /// Values that make no sense.
    Values,
}

impl Stage for ConfigStage {
    const SYNTAX: Self = Self::Syntax;
    const TYPES: Self = Self::Types;

    fn prefix(self) -> &'static str {
        ""
    }

    fn is_by_line(self) -> bool {
        true
    }
}

/// Problems of a scrape config or a file of rules.
pub type ConfigProblems = ProblemList<ConfigStage>;

/// Kinds of discovery that exist upstream and are refused here.
pub(crate) const OTHER_KINDS: &[&str] = &[
    "azure_sd_configs",
    "consul_sd_configs",
    "consulagent_sd_configs",
    "digitalocean_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "kuma_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "vultr_configs",
    "yandexcloud_sd_configs",
];

/// Keys of kinds of discovery that exist upstream and not here; they show in metrics with zero.
pub(crate) fn other_kinds() -> impl Iterator<Item = &'static str> {
    OTHER_KINDS.iter().map(|&kind| if kind == "vultr_configs" { "vultr_sd_configs" } else { kind })
}

impl JobConfig {
    /// The kinds of discovery that the job uses.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|&kind| self.discovery.has(kind))
    }
}
