//! From the sink to the queues of all URLs: what is common to them first, then each URL's own rules, labels and blocks.
//!
//! Runs on a thread of its own and is the only place where samples are encoded. What no rule touches is copied from
//! block to request body as it is. URLs never see what another URL's rules have done.

use super::batch::{Batch, BlockLimits, Counts, Emit};
use super::compression::Packer;
use super::external_labels::ExternalLabels;
use super::metrics::GlobalMetrics;
use super::queue::Pushed;
use super::sender::Remote;
use super::{Intake, Rounding, Sample, Series, SeriesBlock, SeriesLimit, Shards, decode};
use crate::labels::LabelBuf;
use crate::relabel::RelabelRules;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A blocked sink is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Longest packed block that the queue's files can hold.
const MAX_PACKED: usize = 32 << 20;

/// Rules that a reload replaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RuleSets {
    /// `-remoteWrite.relabelConfig`.
    pub global: RelabelRules,
    /// `-remoteWrite.urlRelabelConfig`, by URL; may be shorter than the list of URLs.
    pub by_url: Vec<RelabelRules>,
}

/// Limits of what a series may be, 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelLimits {
    /// `-maxLabelsPerTimeseries`.
    pub labels: usize,
    /// `-maxLabelNameLen`.
    pub name_len: usize,
    /// `-maxLabelValueLen`.
    pub value_len: usize,
}

/// What is done to series before they are spread.
pub(crate) struct CommonRules {
    pub(crate) limits: LabelLimits,
    pub(crate) sort_labels: bool,
    pub(crate) plain_names: bool,
    pub(crate) hourly: Option<Arc<SeriesLimit>>,
    pub(crate) daily: Option<Arc<SeriesLimit>>,
}

/// The way of one URL's samples.
pub(crate) struct UrlPipe {
    pub(crate) remote: Arc<Remote>,
    pub(crate) batch: Batch,
    pub(crate) rounding: Rounding,
    pub(crate) without_metadata: bool,
}

/// All of it.
pub(crate) struct FanOut {
    pub(crate) intake: Intake,
    pub(crate) pipes: Vec<UrlPipe>,
    pub(crate) shards: Option<Shards>,
    pub(crate) common: CommonRules,
    pub(crate) external: ExternalLabels,
    pub(crate) rules: Arc<ArcSwap<RuleSets>>,
    pub(crate) packer: Packer,
    pub(crate) flush_interval: Duration,
    pub(crate) metrics: Arc<GlobalMetrics>,
    pub(crate) scratch: Scratch,
    pub(crate) blocked: bool,
}

/// Memory that is used again for each block.
#[derive(Default)]
pub(crate) struct Scratch {
    labels: LabelBuf,
    common: SeriesBlock,
    own: SeriesBlock,
    samples: Vec<Sample>,
    message: Vec<u8>,
}

impl FanOut {
    /// Runs until the sink is closed and empty; then everything that waits is flushed.
    pub(crate) async fn run(mut self) {
        loop {
            let due =
                self.pipes.iter().filter_map(|pipe| pipe.batch.since()).min().map(|since| since + self.flush_interval);
            // Senders make room without a word.
            let due = if self.blocked { Some(due.unwrap_or_else(far).min(Instant::now() + LOOK_AGAIN)) } else { due };
            let received = match due {
                Some(due) => tokio::time::timeout_at(due.into(), self.intake.recv()).await.ok(),
                None => Some(self.intake.recv().await),
            };
            match received {
                Some(Some((block, mut room))) => {
                    let refused = self.process(&block);
                    room.set_refused(refused);
                    self.intake.recycle(block);
                }
                Some(None) => break,
                None => {}
            }
            self.flush_due(Instant::now());
            let blocked = self.pipes.len() == 1 && self.pipes.iter().any(|pipe| pipe.remote.queue.is_blocked());
            self.blocked = blocked;
            self.intake.set_blocked(blocked);
        }
        for pipe in &mut self.pipes {
            pipe.batch.flush(&mut Emitter::new(&pipe.remote, &mut self.packer, &self.metrics));
        }
    }

    fn flush_due(&mut self, now: Instant) {
        for pipe in &mut self.pipes {
            if pipe.batch.since().is_some_and(|since| now.duration_since(since) >= self.flush_interval) {
                pipe.batch.flush(&mut Emitter::new(&pipe.remote, &mut self.packer, &self.metrics));
            }
        }
    }

    /// True if samples were dropped for want of room.
    fn process(&mut self, block: &SeriesBlock) -> bool {
        let now = Instant::now();
        self.metrics.rows_before_relabel.add(block.sample_count() as u64);
        let rules = self.rules.load_full();
        let mut scratch = std::mem::take(&mut self.scratch);
        let spread = if self.is_untouched(&rules) {
            block
        } else {
            scratch.common.clear();
            for series in block.iter() {
                self.apply_common(&rules.global, &series, &mut scratch.labels, &mut scratch.common);
            }
            &scratch.common
        };
        let mut refused = false;
        for (index, pipe) in self.pipes.iter_mut().enumerate() {
            let mut emitter = Emitter::new(&pipe.remote, &mut self.packer, &self.metrics);
            let own_rules = rules.by_url.get(index).filter(|rules| !rules.is_empty());
            let mut rows = 0;
            for series in spread.iter() {
                if let Some(shards) = &mut self.shards
                    && !shards.urls_of(&series).any(|chosen| chosen == index)
                {
                    continue;
                }
                let samples = round(&pipe.rounding, series.samples(), &mut scratch.samples);
                let kept = match own_rules {
                    None => Some(series),
                    Some(rules) => {
                        scratch.own.clear();
                        relabel(rules, &series, &mut scratch.labels, false, &mut scratch.own);
                        scratch.own.iter().next()
                    }
                };
                let Some(kept) = kept else {
                    pipe.remote.metrics.relabel_dropped.add(series.samples().len() as u64);
                    continue;
                };
                rows += samples.len() as u64;
                let labels = self.external.apply(&kept, &mut scratch.message);
                let count = kept.labels().len() + self.external.len();
                pipe.batch.add(labels, count, samples, now, &mut emitter);
            }
            pipe.remote.metrics.rows_after_relabel.add(rows);
            if !pipe.without_metadata {
                block.metadata().for_each(|metadata| pipe.batch.add_metadata(&metadata, now, &mut emitter));
            }
            refused |= emitter.refused;
        }
        self.scratch = scratch;
        refused
    }

    fn is_untouched(&self, rules: &RuleSets) -> bool {
        let common = &self.common;
        rules.global.is_empty()
            && common.limits == LabelLimits::default()
            && !common.sort_labels
            && !common.plain_names
            && common.hourly.is_none()
            && common.daily.is_none()
    }

    fn apply_common(&self, rules: &RelabelRules, series: &Series<'_>, labels: &mut LabelBuf, out: &mut SeriesBlock) {
        let samples = series.samples().len();
        let before = out.series_count();
        let has_rules = !rules.is_empty() || self.common.plain_names;
        if has_rules {
            labels.clear();
            series.labels().for_each(|(name, value)| labels.push(name, value));
            if self.common.plain_names {
                plain_names(labels);
            }
            if !rules.is_empty() && !finish_relabel(rules, labels) {
                self.metrics.relabel_dropped.add(samples as u64);
                return;
            }
            if self.common.sort_labels {
                labels.sort();
            }
            copy(labels, series, out);
        } else if self.common.sort_labels {
            labels.clear();
            series.labels().for_each(|(name, value)| labels.push(name, value));
            labels.sort();
            copy(labels, series, out);
        } else {
            out.begin_series();
            out.push_labels_of(series);
            series.samples().iter().for_each(|sample| out.push_sample(sample.timestamp_ms, sample.value));
            out.end_series();
        }
        let Some(result) = out.iter().nth(before) else { return };
        if !self.admits(&result) {
            out.pop_series();
        }
    }

    /// Whether a series is within all limits; one that is not is counted.
    fn admits(&self, series: &Series<'_>) -> bool {
        let limits = &self.common.limits;
        if limits.labels > 0 && series.labels().len() > limits.labels {
            self.metrics.too_many_labels.inc();
            return false;
        }
        if limits.name_len > 0 && series.labels().any(|(name, _)| name.len() > limits.name_len) {
            self.metrics.too_long_name.inc();
            return false;
        }
        if limits.value_len > 0 && series.labels().any(|(_, value)| value.len() > limits.value_len) {
            self.metrics.too_long_value.inc();
            return false;
        }
        let limits = [&self.common.hourly, &self.common.daily];
        if limits.iter().all(|limit| limit.is_none()) {
            return true;
        }
        let hash = xxhash_rust::xxh64::xxh64(series.label_messages(), 0);
        limits.iter().all(|limit| limit.as_ref().is_none_or(|limit| limit.admits(hash, series.samples().len())))
    }
}

/// Applies rules and removes what is only for rules: labels that begin with two underscores.
fn finish_relabel(rules: &RelabelRules, labels: &mut LabelBuf) -> bool {
    if !rules.apply(labels) {
        return false;
    }
    labels.retain(|name, _| !name.starts_with(b"__") || name == b"__name__");
    !labels.is_empty()
}

/// The series after rules; nothing if they drop it.
fn relabel(rules: &RelabelRules, series: &Series<'_>, labels: &mut LabelBuf, sort: bool, out: &mut SeriesBlock) {
    labels.clear();
    series.labels().for_each(|(name, value)| labels.push(name, value));
    if finish_relabel(rules, labels) {
        if sort {
            labels.sort();
        }
        copy(labels, series, out);
    }
}

fn copy(labels: &LabelBuf, series: &Series<'_>, out: &mut SeriesBlock) {
    out.begin_series();
    labels.iter().for_each(|(name, value)| out.push_label(name, value));
    series.samples().iter().for_each(|sample| out.push_sample(sample.timestamp_ms, sample.value));
    out.end_series();
}

/// `-usePromCompatibleNaming`: other characters become underscores.
fn plain_names(labels: &mut LabelBuf) {
    let plain = |text: &[u8], colon: bool| -> Vec<u8> {
        let keeps = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colon && byte == b':');
        text.iter().map(|byte| if keeps(*byte) { *byte } else { b'_' }).collect()
    };
    for index in 0..labels.len() {
        if labels.name(index) == b"__name__" {
            let value = plain(labels.value(index), true);
            labels.set_value(index, &value);
        } else {
            let name = plain(labels.name(index), false);
            labels.set_name(index, &name);
        }
    }
}

fn round<'a>(rounding: &Rounding, samples: &'a [Sample], scratch: &'a mut Vec<Sample>) -> &'a [Sample] {
    if rounding.is_off() {
        return samples;
    }
    scratch.clear();
    scratch.extend(samples.iter().map(|sample| Sample { value: rounding.apply(sample.value), ..*sample }));
    scratch
}

/// Packs finished bodies and puts them into the queue of a URL.
struct Emitter<'a> {
    remote: &'a Remote,
    packer: &'a mut Packer,
    metrics: &'a GlobalMetrics,
    refused: bool,
}

impl<'a> Emitter<'a> {
    fn new(remote: &'a Remote, packer: &'a mut Packer, metrics: &'a GlobalMetrics) -> Self {
        Self { remote, packer, metrics, refused: false }
    }

    /// A body that is too large when packed goes in halves.
    fn halve(&mut self, body: &[u8], counts: Counts) {
        let mut block = SeriesBlock::new();
        if decode(body, &mut block).is_err() {
            return;
        }
        if counts.samples < 2 {
            vmkit::warn!("dropping a sample for {:?} that cannot be packed into {MAX_PACKED} bytes", self.remote.name);
            return;
        }
        let limits = BlockLimits { samples: counts.samples.div_ceil(2), metadata: usize::MAX, bytes: body.len() };
        let mut halves = Batch::new(limits);
        let now = Instant::now();
        for series in block.iter() {
            halves.add([series.label_messages(), b""], 0, series.samples(), now, self);
        }
        block.metadata().for_each(|metadata| halves.add_metadata(&metadata, now, self));
        halves.flush(self);
    }
}

impl Emit for Emitter<'_> {
    fn block(&mut self, body: &[u8], counts: Counts) {
        let packed = match self.packer.pack(self.remote.protocol.encoding(), body) {
            Ok(packed) => packed,
            Err(err) => {
                self.remote.metrics.samples_dropped.add(counts.samples as u64);
                vmkit::error!("a block of {} samples cannot be packed: {err}", counts.samples);
                return;
            }
        };
        if packed.len() > MAX_PACKED {
            return self.halve(body, counts);
        }
        self.metrics.block_size_bytes.update(packed.len() as f64);
        if counts.series > 0 {
            self.metrics.block_size_rows.update(counts.series as f64);
        }
        if counts.metadata > 0 {
            self.metrics.block_metadata_rows.update(counts.metadata as f64);
        }
        if self.remote.queue.push(packed) == Pushed::Dropped {
            self.refused = true;
            self.remote.metrics.push_failures.inc();
            self.remote.metrics.samples_dropped.add(counts.samples as u64);
            self.remote.metrics.metadata_dropped.add(counts.metadata as u64);
        }
    }

    fn too_large(&mut self, labels: [&[u8]; 2]) {
        let len: usize = labels.iter().map(|part| part.len()).sum();
        self.remote.metrics.samples_dropped.inc();
        if self.remote.warnings.allows() {
            vmkit::warn!("dropping a sample with {len} bytes of labels exceeding -remoteWrite.maxBlockSize");
        }
    }
}
