//! One entry of `scrape_configs`: read, checked, and filled up with defaults.

use std::sync::Arc;
use std::time::Duration;

use vmkit::yaml::{Field, NodeId, Place};

use super::fields::{self, Reader, field};
use super::global::Global;
use super::http_options::{self, Context, HttpOptions};
use super::kind::Kind;
use super::{JobConfig, JobDefaults, OTHER_KINDS, SdConfigs, SkippedJob, relabel_rules};
use crate::relabel::RelabelRules;

const OWN_FIELDS: &[&str] = &[
    "job_name",
    "scrape_interval",
    "scrape_timeout",
    "metrics_path",
    "scheme",
    "params",
    "honor_labels",
    "honor_timestamps",
    "relabel_configs",
    "metric_relabel_configs",
    "sample_limit",
    "label_limit",
    "series_limit",
    "max_scrape_size",
    "disable_compression",
    "enable_compression",
    "disable_keepalive",
    "stream_parse",
    "no_stale_markers",
    "scrape_align_interval",
    "scrape_offset",
];

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a job. The name is returned even when the job is skipped.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    id: NodeId,
    place: &Place<'_>,
    directory: &str,
    global: &Global,
    defaults: &JobDefaults,
) -> Option<Result<JobConfig, SkippedJob>> {
    let kinds = Kind::ALL.iter().map(|kind| kind.key());
    let known = OWN_FIELDS.iter().chain(http_options::FIELDS).chain(OTHER_KINDS).copied().chain(kinds);
    let known: Vec<&'static str> = known.collect();
    let fields = reader.fields(id, place, "promscrape.ScrapeConfig", &known)?;
    let mut mistakes = Vec::new();
    let mut context = Context { directory, mistakes: &mut mistakes };
    let http = Arc::new(HttpOptions::read(reader, &fields, place, &mut context));
    let discovery = SdConfigs::read(reader, &fields, place, &mut context);
    for kind in OTHER_KINDS {
        if let Some(id) = field(&fields, kind) {
            let (known, position) =
                (Kind::ALL.map(Kind::key).join(", "), fields::position(reader, id, &place.field(kind)));
            mistakes.push(format!("`{kind}` is not supported; what there is: {known} ({position})"));
        }
    }
    let name = fields::text(reader, &fields, place, "job_name").unwrap_or_default();
    if name.is_empty() {
        mistakes.push(format!("missing `job_name` ({})", fields::position(reader, id, place)));
    }
    let mut job = Draft { reader, fields: &fields, place, mistakes: &mut mistakes };
    let rules = |job: &mut Draft<'_, '_, '_, '_>, name, inherited: &[_]| job.rules(name, inherited);
    let relabel = rules(&mut job, "relabel_configs", &global.relabel);
    let metric_relabel = rules(&mut job, "metric_relabel_configs", &global.metric_relabel);
    let scheme = job.scheme();
    let interval = job.duration("scrape_interval").or(global.scrape_interval).unwrap_or(DEFAULT_INTERVAL);
    let timeout = job.duration("scrape_timeout").or(global.scrape_timeout).unwrap_or(DEFAULT_TIMEOUT);
    let config = JobConfig {
        name: name.clone(),
        scrape_interval: interval,
        scrape_timeout: timeout.min(interval),
        metrics_path: job.metrics_path(),
        scheme,
        params: job.params(),
        honor_labels: job.boolean("honor_labels").unwrap_or(false),
        honor_timestamps: job.boolean("honor_timestamps").unwrap_or(false),
        relabel,
        metric_relabel,
        external_labels: global.external_labels.clone(),
        http,
        sample_limit: job.limit("sample_limit", global.sample_limit),
        label_limit: job.limit("label_limit", global.label_limit),
        series_limit: job.limit("series_limit", u64::try_from(defaults.series_limit).ok().filter(|&limit| limit > 0)),
        max_scrape_size: fields::size(job.reader, job.fields, place, "max_scrape_size")
            .unwrap_or(defaults.max_scrape_size),
        compression: job.compression(defaults),
        keep_alive: !job.boolean("disable_keepalive").unwrap_or(defaults.disable_keep_alive),
        stream_parse: job.boolean("stream_parse").unwrap_or(false) || defaults.stream_parse,
        stale_markers: !job.boolean("no_stale_markers").unwrap_or(defaults.no_stale_markers),
        scrape_align_interval: job.duration("scrape_align_interval"),
        scrape_offset: fields::zero_or_duration(job.reader, job.fields, place, "scrape_offset"),
        discovery,
    };
    if mistakes.is_empty() {
        return Some(Ok(config));
    }
    Some(Err(SkippedJob { name, reason: mistakes.join("; ") }))
}

/// A job while its fields are read.
struct Draft<'t, 'p, 'r, 'm> {
    reader: &'r mut Reader<'t, 'p>,
    fields: &'r [Field],
    place: &'r Place<'r>,
    mistakes: &'m mut Vec<String>,
}

impl Draft<'_, '_, '_, '_> {
    fn boolean(&mut self, name: &'static str) -> Option<bool> {
        fields::boolean(self.reader, self.fields, self.place, name)
    }

    fn duration(&mut self, name: &'static str) -> Option<Duration> {
        fields::duration(self.reader, self.fields, self.place, name)
    }

    /// An own limit, which may switch the inherited one off.
    fn limit(&mut self, name: &'static str, inherited: Option<u64>) -> Option<u64> {
        match fields::integer(self.reader, self.fields, self.place, name) {
            None => inherited,
            Some(limit) => u64::try_from(limit).ok().filter(|&limit| limit > 0),
        }
    }

    fn compression(&mut self, defaults: &JobDefaults) -> bool {
        let disabled = self.boolean("disable_compression").unwrap_or(defaults.disable_compression);
        self.boolean("enable_compression").unwrap_or(!disabled)
    }

    fn metrics_path(&mut self) -> String {
        let path = fields::text(self.reader, self.fields, self.place, "metrics_path").unwrap_or_default();
        match path.as_str() {
            "" => "/metrics".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        }
    }

    fn scheme(&mut self) -> String {
        let scheme = fields::text(self.reader, self.fields, self.place, "scheme").unwrap_or_default();
        match scheme.to_lowercase().as_str() {
            "" => "http".to_owned(),
            known @ ("http" | "https") => known.to_owned(),
            _ => {
                let place = self.place.field("scheme");
                let position = field(self.fields, "scheme").map(|id| fields::position(self.reader, id, &place));
                let position = position.unwrap_or_default();
                self.mistakes.push(format!("unexpected `scheme` {scheme:?}; write http or https ({position})"));
                scheme
            }
        }
    }

    fn rules(&mut self, name: &'static str, inherited: &[relabel_rules::PlacedSpec]) -> Arc<RelabelRules> {
        let own = field(self.fields, name).map(|id| relabel_rules::specs(self.reader, id, &self.place.field(name)));
        let specs: Vec<_> = inherited.iter().cloned().chain(own.unwrap_or_default()).collect();
        relabel_rules::build(name, &specs).map(Arc::new).unwrap_or_else(|message| {
            self.mistakes.push(message);
            Arc::default()
        })
    }

    fn params(&mut self) -> Vec<(String, Vec<String>)> {
        let Some(id) = field(self.fields, "params") else { return Vec::new() };
        let place = self.place.field("params");
        let entries = self.reader.map_entries(id, &place, "map[string][]string").unwrap_or_default();
        let mut params = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let texts = self.reader.texts(value, &place.field(key.value), "[]string").unwrap_or_default();
            params.push((key.value.to_owned(), texts.items.iter().map(|(_, text)| text.value.to_owned()).collect()));
        }
        params.sort();
        params
    }
}
