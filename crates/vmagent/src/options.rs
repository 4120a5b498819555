//! The meaning of vmagent's own flags, read once at the start; all problems at once.

use std::sync::Arc;
use std::time::Duration;

use vmkit::flags::{FlagSet, Password, Support};

use crate::config::JobDefaults;
use crate::discovery::DiscoveryOptions;
use crate::discovery::kubernetes::KubernetesOptions;
use crate::flags::OWN;
use crate::remote_write::RemoteWriteOptions;
use crate::scrape::cluster::{Cluster, member_number};
use crate::scrape::worker::ScrapeOptions;

/// What vmagent was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Checks instead of running.
    pub check: Check,
    /// Where the scrape config is and how it is read.
    pub config: ConfigOptions,
    /// How targets are scraped.
    pub scrape: Arc<ScrapeOptions>,
    /// How targets are found.
    pub discovery: DiscoveryOptions,
    /// Where samples go.
    pub remote_write: RemoteWriteOptions,
    /// Threads that scrape.
    pub scrape_threads: usize,
    /// `-configAuthKey`.
    pub config_key: Password,
}

/// `-dryRun` and `-promscrape.config.dryRun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Neither: run.
    Nothing,
    /// The scrape config alone.
    ScrapeConfig,
    /// Relabeling rules of remote write, too.
    Everything,
}

/// The scrape config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOptions {
    /// `-promscrape.config`; empty for none.
    pub path: String,
    /// `-promscrape.configCheckInterval`.
    pub check_interval: Option<Duration>,
    /// Defaults of jobs.
    pub defaults: JobDefaults,
}

impl Options {
    /// Reads the flags.
    ///
    /// # Errors
    /// Everything that makes no sense.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        warn_of_ignored(flags);
        let check = match (flags.bool("dryRun"), flags.bool("promscrape.config.dryRun")) {
            (true, _) => Check::Everything,
            (false, true) => Check::ScrapeConfig,
            (false, false) => Check::Nothing,
        };
        let cluster = Arc::new(cluster(flags, &mut problems));
        let remote_write = match RemoteWriteOptions::from_flags(flags) {
            Ok(options) => options,
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        if check == Check::Nothing && remote_write.urls.is_empty() {
            problems.push("at least one `-remoteWrite.url` command-line flag must be set".to_owned());
        }
        let options = Self {
            check,
            config: ConfigOptions {
                path: flags.text("promscrape.config").to_owned(),
                check_interval: flags.duration("promscrape.configCheckInterval").positive(),
                defaults: job_defaults(flags),
            },
            scrape: Arc::new(scrape_options(flags, cluster)),
            discovery: discovery_options(flags),
            remote_write,
            scrape_threads: usize::try_from(flags.int("workers")).unwrap_or(1).max(1),
            config_key: flags.password("configAuthKey"),
        };
        if problems.is_empty() { Ok(options) } else { Err(problems) }
    }
}

fn warn_of_ignored(flags: &FlagSet) {
    for def in OWN.iter().copied().flatten() {
        if let Support::Ignored(reason) = def.support
            && flags.is_set(def.name)
            && !flags.is_idle(def.name)
        {
            vmkit::warn!("-{} has no effect: {reason}", def.name);
        }
    }
}

fn job_defaults(flags: &FlagSet) -> JobDefaults {
    JobDefaults {
        max_scrape_size: u64::try_from(flags.bytes("promscrape.maxScrapeSize").bytes()).unwrap_or(0),
        series_limit: flags.int("promscrape.seriesLimitPerTarget"),
        stream_parse: flags.bool("promscrape.streamParse"),
        no_stale_markers: flags.bool("promscrape.noStaleMarkers"),
        disable_compression: flags.bool("promscrape.disableCompression"),
        disable_keep_alive: flags.bool("promscrape.disableKeepAlive"),
        strict: flags.bool("promscrape.config.strictParse"),
    }
}

fn scrape_options(flags: &FlagSet, cluster: Arc<Cluster>) -> ScrapeOptions {
    ScrapeOptions {
        cluster,
        min_stream_size: u64::try_from(flags.bytes("promscrape.minResponseSizeForStreamParse").bytes()).unwrap_or(0),
        max_head: flags.bytes("promscrape.maxResponseHeadersSize").as_usize(),
        suppress_errors: flags.bool("promscrape.suppressScrapeErrors"),
        suppress_errors_delay: flags.duration("promscrape.suppressScrapeErrorsDelay").as_std(),
        suppress_duplicates: flags.bool("promscrape.suppressDuplicateScrapeTargetErrors"),
        drop_original_labels: flags.bool("promscrape.dropOriginalLabels"),
        max_dropped: usize::try_from(flags.int("promscrape.maxDroppedTargets")).unwrap_or(0),
        metadata: flags.bool("enableMetadata"),
        ipv6: flags.bool("enableTCP6"),
    }
}

fn discovery_options(flags: &FlagSet) -> DiscoveryOptions {
    let interval = |name: &str| flags.duration(name).as_std().max(Duration::from_secs(1));
    let mut kubernetes = KubernetesOptions::default();
    kubernetes.surroundings.attach_node = flags.bool("promscrape.kubernetes.attachNodeMetadataAll");
    kubernetes.surroundings.attach_namespace = flags.bool("promscrape.kubernetes.attachNamespaceMetadataAll");
    kubernetes.limits.watch = flags.duration("promscrape.kubernetes.apiServerTimeout").as_std();
    kubernetes.limits.relist = flags.duration("promscrape.kubernetes.relistInterval").as_std();
    DiscoveryOptions {
        kubernetes,
        file_interval: interval("promscrape.fileSDCheckInterval"),
        http_interval: interval("promscrape.httpSDCheckInterval"),
        dns_interval: interval("promscrape.dnsSDCheckInterval"),
    }
}

fn cluster(flags: &FlagSet, problems: &mut Vec<String>) -> Cluster {
    let members = flags.int("promscrape.cluster.membersCount");
    let Some(members) = u64::try_from(members).ok().filter(|&members| members > 0) else {
        problems.push(format!("-promscrape.cluster.membersCount must be at least 1; got {members}"));
        return Cluster::default();
    };
    let number = flags.text("promscrape.cluster.memberNum");
    let member = member_number(number, members).unwrap_or_else(|problem| {
        problems.push(problem);
        0
    });
    let mut shard_by = flags.texts("promscrape.cluster.shardByLabels").to_vec();
    shard_by.retain(|name| !name.is_empty());
    shard_by.sort();
    let label = flags.text("promscrape.cluster.memberLabel");
    Cluster {
        members,
        member,
        replicas: u64::try_from(flags.int("promscrape.cluster.replicationFactor")).unwrap_or(1).max(1),
        shard_by,
        name: flags.text("promscrape.cluster.name").to_owned(),
        member_label: (!label.is_empty()).then(|| (label.to_owned(), number.to_owned())),
        member_url_template: flags.text("promscrape.cluster.memberURLTemplate").to_owned(),
    }
}

#[cfg(test)]
mod tests;
