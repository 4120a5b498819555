//! A page on its way from bytes to blocks of series, piece by piece.
//!
//! Everything that is bound to one target's page happens here: parsing, labels, rules, limits, the memory of series,
//! stale markers. Finished blocks are put aside; when they leave is decided by the worker: at once while streaming, at
//! the end of a good page otherwise.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};

use super::auto_metrics::STALE_NAN;
use super::label_assembly::{Assembled, LabelAssembly};
use super::series_memory::{PageSeries, SeriesMemory};
use super::target::Target;
use crate::exposition::{Line, LineParser, LineSplitter, SampleLine};
use crate::remote_write::{Metadata, MetricKind, SeriesBlock};

/// Buffers for one page; used again for another target's.
#[derive(Debug, Default)]
pub struct PageBuffers {
    splitter: LineSplitter,
    parser: LineParser,
    labels: crate::labels::LabelBuf,
    series: PageSeries,
    metadata: Description,
    block: SeriesBlock,
    /// Blocks that are full.
    pub ready: Vec<SeriesBlock>,
}

impl PageBuffers {
    /// The block that is being filled.
    pub fn block(&mut self) -> &mut SeriesBlock {
        &mut self.block
    }
}

/// What a target keeps from page to page.
#[derive(Debug, Default)]
pub struct TargetMemory {
    /// Series of the last page.
    pub series: SeriesMemory,
    /// Series of the day, when they are limited.
    pub day: DaySeries,
}

/// The series that a target had in a day, as hashes; at most as many as the limit.
#[derive(Debug, Default)]
pub struct DaySeries {
    seen: HashSet<u64, RandomState>,
    day: u64,
}

/// Why a page fails although all of it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// More samples than `sample_limit`.
    Samples(u64),
    /// A sample with more labels than `label_limit`.
    Labels(u64),
}

/// Numbers of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageTotals {
    /// Samples on the page.
    pub scraped: u64,
    /// Samples left by the rules.
    pub post_relabeling: u64,
    /// Samples dropped because of `series_limit`.
    pub over_series_limit: u64,
    /// Lines that make no sense.
    pub invalid_lines: u64,
}

/// Reads one page of a target.
#[derive(Debug)]
pub struct PageReader<'p> {
    target: &'p Target,
    assembly: &'p LabelAssembly,
    memory: &'p mut TargetMemory,
    buffers: &'p mut PageBuffers,
    timestamp_ms: i64,
    with_metadata: bool,
    /// Numbers so far.
    pub totals: PageTotals,
    /// The limit that the page has exceeded.
    pub limit_error: Option<LimitError>,
    /// Series of a complete page that the page before did not have.
    pub series_added: u64,
    /// A line that makes no sense, for the log.
    pub invalid_line: Option<String>,
}

impl DaySeries {
    /// Whether a series is known or still fits; forgets all series when a new day has begun.
    fn admits(&mut self, series: &[u8], limit: u64, timestamp_ms: i64) -> bool {
        let day = u64::try_from(timestamp_ms).unwrap_or(0) / 86_400_000;
        if day != self.day {
            self.seen.clear();
            self.day = day;
        }
        let hash = FixedState::default().hash_one(series);
        if self.seen.contains(&hash) {
            return true;
        }
        (self.seen.len() as u64) < limit && self.seen.insert(hash)
    }

    /// Number of series.
    pub fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

impl<'p> PageReader<'p> {
    /// Begins a page that is scraped at `timestamp_ms`.
    pub fn new(
        target: &'p Target,
        assembly: &'p LabelAssembly,
        memory: &'p mut TargetMemory,
        buffers: &'p mut PageBuffers,
        timestamp_ms: i64,
        with_metadata: bool,
    ) -> Self {
        buffers.splitter.reset();
        buffers.block.clear();
        buffers.ready.clear();
        buffers.metadata.clear();
        memory.series.begin(&mut buffers.series);
        Self {
            target,
            assembly,
            memory,
            buffers,
            timestamp_ms,
            with_metadata,
            totals: PageTotals::default(),
            limit_error: None,
            series_added: 0,
            invalid_line: None,
        }
    }

    /// Reads a piece of the page.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut splitter = std::mem::take(&mut self.buffers.splitter);
        let mut parser = std::mem::take(&mut self.buffers.parser);
        splitter.feed(piece, |line| self.line(&mut parser, line));
        self.buffers.splitter = splitter;
        self.buffers.parser = parser;
    }

    /// The page is complete: its last line, then markers for the series that it lacks, stamped `now_ms`.
    /// Returns the number of markers.
    pub fn finish(&mut self, now_ms: i64) -> u64 {
        let mut splitter = std::mem::take(&mut self.buffers.splitter);
        let mut parser = std::mem::take(&mut self.buffers.parser);
        splitter.finish(|line| self.line(&mut parser, line));
        self.buffers.splitter = splitter;
        self.flush_metadata();
        if self.limit_error.is_some() || !self.target.settings.stale_markers {
            self.buffers.parser = parser;
            return 0;
        }
        let mut markers = 0;
        let (target, assembly, buffers) = (self.target, self.assembly, &mut *self.buffers);
        let TargetMemory { series, day } = &mut *self.memory;
        let page = std::mem::take(&mut buffers.series);
        self.series_added = page.added(series) as u64;
        series.finish(&page, |text| {
            markers += u64::from(write_marker(target, assembly, day, buffers, &mut parser, text, now_ms));
        });
        buffers.series = page;
        buffers.parser = parser;
        markers
    }

    /// The page has failed: markers for the series of the last good one, stamped `now_ms`. `passed_on` tells whether
    /// blocks of this page went out already; those that did not are thrown away. Returns the number of markers.
    pub fn fail(&mut self, passed_on: bool, now_ms: i64) -> u64 {
        self.buffers.splitter.reset();
        self.buffers.block.clear();
        self.buffers.ready.clear();
        if !self.target.settings.stale_markers {
            return 0;
        }
        let mut parser = std::mem::take(&mut self.buffers.parser);
        let mut markers = 0;
        let (target, assembly, buffers) = (self.target, self.assembly, &mut *self.buffers);
        let TargetMemory { series, day } = &mut *self.memory;
        let page = std::mem::take(&mut buffers.series);
        series.fail(&page, passed_on, |text| {
            markers += u64::from(write_marker(target, assembly, day, buffers, &mut parser, text, now_ms));
        });
        buffers.series = page;
        buffers.parser = parser;
        markers
    }

    /// Number of series of the day.
    pub fn day_series(&self) -> u64 {
        self.memory.day.len()
    }

    /// The target of the page.
    pub fn target(&self) -> &'p Target {
        self.target
    }

    /// Blocks that are full; they may leave.
    pub fn ready(&mut self) -> &mut Vec<SeriesBlock> {
        &mut self.buffers.ready
    }

    /// The block that is being filled.
    pub fn block(&mut self) -> &mut SeriesBlock {
        &mut self.buffers.block
    }

    fn line(&mut self, parser: &mut LineParser, line: &[u8]) {
        let expected = self.memory.series.expected(&self.buffers.series, line);
        let is_expected = expected.is_some();
        let parsed = match expected {
            Some(layout) => parser.parse_known(line, layout),
            None => parser.parse(line),
        };
        match parsed {
            Line::Nothing => {}
            Line::Sample(sample) => self.sample(&sample, is_expected),
            Line::Help { family, text } if self.with_metadata => self.describe(family, Some(text), None),
            Line::Type { family, kind } if self.with_metadata => self.describe(family, None, Some(kind)),
            Line::Help { .. } | Line::Type { .. } => {}
            Line::Invalid => {
                self.totals.invalid_lines += 1;
                if self.invalid_line.is_none() {
                    let shown = line.get(..line.len().min(200)).unwrap_or_default();
                    self.invalid_line = Some(String::from_utf8_lossy(shown).into_owned());
                }
            }
        }
    }

    /// `is_expected`: its series is the one that the memory names as the next.
    fn sample(&mut self, sample: &SampleLine<'_>, is_expected: bool) {
        self.totals.scraped += 1;
        let target = self.target;
        let buffers = &mut *self.buffers;
        if target.settings.stale_markers && self.limit_error.is_none() {
            let (memory, page) = (&mut self.memory.series, &mut buffers.series);
            if is_expected {
                memory.note_expected(page);
            } else {
                memory.note(page, sample.series_text(), |out| sample.write_layout(out));
            }
        }
        let assembled = self.assembly.write(target, sample, &mut buffers.labels, &mut buffers.block);
        let Assembled::Series(labels) = assembled else { return };
        self.totals.post_relabeling += 1;
        if target.sample_limit.is_some_and(|limit| self.totals.post_relabeling > limit) {
            self.limit_error = self.limit_error.or_else(|| target.sample_limit.map(LimitError::Samples));
        }
        if target.label_limit.is_some_and(|limit| labels as u64 > limit) {
            self.limit_error = self.limit_error.or_else(|| target.label_limit.map(LimitError::Labels));
        }
        if self.limit_error.is_some() {
            buffers.block.cancel_series();
            return;
        }
        if let Some(limit) = target.series_limit
            && !self.memory.day.admits(sample.series_text(), limit, self.timestamp_ms)
        {
            self.totals.over_series_limit += 1;
            buffers.block.cancel_series();
            return;
        }
        let own_time = sample.timestamp_ms.filter(|&time| target.settings.honor_timestamps && time != 0);
        buffers.block.push_sample(own_time.unwrap_or(self.timestamp_ms), canonical(sample.value));
        buffers.block.end_series();
        if buffers.block.is_full() {
            let full = std::mem::take(&mut buffers.block);
            buffers.ready.push(full);
        }
    }

    fn describe(&mut self, family: &[u8], help: Option<&[u8]>, kind: Option<MetricKind>) {
        if self.buffers.metadata.family != family {
            self.flush_metadata();
            self.buffers.metadata.family.extend_from_slice(family);
        }
        let metadata = &mut self.buffers.metadata;
        if let Some(help) = help {
            metadata.help.clear();
            metadata.help.extend_from_slice(help);
        }
        metadata.kind = kind.or(metadata.kind);
    }

    fn flush_metadata(&mut self) {
        let tenant = self.target.tenant.unwrap_or_default();
        let PageBuffers { metadata, block, .. } = &mut *self.buffers;
        if !metadata.family.is_empty() && (metadata.kind.is_some() || !metadata.help.is_empty()) {
            let kind = metadata.kind.unwrap_or(MetricKind::UNKNOWN);
            block.push_metadata(Metadata { kind, family: &metadata.family, help: &metadata.help, unit: b"", tenant });
        }
        metadata.clear();
    }
}

/// What a page says about a metric, until another metric comes.
#[derive(Debug, Default)]
struct Description {
    family: Vec<u8>,
    help: Vec<u8>,
    kind: Option<MetricKind>,
}

impl Description {
    fn clear(&mut self) {
        self.family.clear();
        self.help.clear();
        self.kind = None;
    }
}

/// Markers for all series of a target that goes. Returns their number.
pub fn write_last_markers(
    target: &Target,
    assembly: &LabelAssembly,
    memory: &mut TargetMemory,
    buffers: &mut PageBuffers,
    now_ms: i64,
) -> u64 {
    buffers.block.clear();
    buffers.ready.clear();
    let mut parser = std::mem::take(&mut buffers.parser);
    let mut markers = 0;
    let TargetMemory { series, day } = memory;
    series.end(|text| {
        markers += u64::from(write_marker(target, assembly, day, buffers, &mut parser, text, now_ms));
    });
    buffers.parser = parser;
    markers
}

fn write_marker(
    target: &Target,
    assembly: &LabelAssembly,
    day: &mut DaySeries,
    buffers: &mut PageBuffers,
    parser: &mut LineParser,
    text: &[u8],
    now_ms: i64,
) -> bool {
    let Some(sample) = parser.parse_series(text) else { return false };
    if target.series_limit.is_some_and(|limit| !day.admits(sample.series_text(), limit, now_ms)) {
        return false;
    }
    let PageBuffers { labels, block, ready, .. } = buffers;
    if assembly.write(target, &sample, labels, block) == Assembled::Dropped {
        return false;
    }
    block.push_sample(now_ms, STALE_NAN);
    block.end_series();
    if block.is_full() {
        ready.push(std::mem::take(block));
    }
    true
}

/// NaNs of a page are plain ones: their bits must not look like a marker.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

#[cfg(test)]
mod tests;
