//! The text format: read line by line as it arrives, good lines taken, bad ones skipped and counted.
//!
//! Blocks go on while the body is still coming, so a body may be of any length. An error of the encoding refuses the
//! request; what was taken before stays taken, as the sender will repeat all of it.

use super::reader::Reader;
use super::target::{Protocol, Target};
use super::{Labelling, PushIn, Refusal, query};
use crate::exposition::{Line, LineParser, LineSplitter};
use crate::remote_write::{Metadata, MetricKind, SeriesBlock};
use std::time::{SystemTime, UNIX_EPOCH};
use vmkit::http_server::Request;

/// Longer lines refuse the request.
const MAX_LINE: usize = 262_144;

/// What came of a body, or of a part of it.
#[derive(Debug)]
pub(super) struct Lines {
    labelling: Labelling,
    default_ms: i64,
    takes_metadata: bool,
    splitter: LineSplitter,
    parser: LineParser,
    /// Bytes since the last line feed.
    open_line: usize,
    family: Option<Family>,
    pub(super) block: SeriesBlock,
    pub(super) full: Vec<SeriesBlock>,
    pub(super) invalid: u64,
    /// The first bad line, for the log.
    pub(super) bad_line: Option<Vec<u8>>,
}

/// What adjacent comments say about one metric.
#[derive(Debug)]
struct Family {
    name: Vec<u8>,
    kind: MetricKind,
    help: Vec<u8>,
}

impl PushIn {
    pub(super) async fn text(&self, request: &mut Request<'_>, target: &Target) -> Result<(), Refusal> {
        let counters = self.metrics.of(Protocol::Text);
        let default_ms = default_time(request.exchange.head.query().unwrap_or_default(), now_ms())
            .map_err(|text| Refusal::new(400, text))?;
        let encoding = request.header("content-encoding").unwrap_or_default().to_owned();
        let mut reader =
            Reader::new(&encoding, self.options.max_request_size).map_err(|text| Refusal::new(400, text))?;
        let _slot = self.slot().await?;
        counters.read_calls.inc();
        let mut lines = Lines::new(target.labelling.clone(), default_ms, self.options.metadata);
        let unreadable = |text: String| {
            counters.read_errors.inc();
            Refusal::new(400, format!("cannot read Prometheus text data: {text}"))
        };
        loop {
            let piece = request.next_piece().await.map_err(|err| {
                counters.read_errors.inc();
                Refusal::new(err.status(), format!("cannot read Prometheus text data: {err}"))
            })?;
            let Some(piece) = piece else { break };
            reader.feed(piece, |text| lines.feed(text)).map_err(unreadable)?;
            self.pass_on(&mut lines, false).await?;
        }
        reader.finish(|text| lines.feed(text)).map_err(unreadable)?;
        lines.finish();
        self.pass_on(&mut lines, true).await
    }

    async fn pass_on(&self, lines: &mut Lines, all: bool) -> Result<(), Refusal> {
        let counters = self.metrics.of(Protocol::Text);
        counters.invalid.add(std::mem::take(&mut lines.invalid));
        if let Some(line) = lines.bad_line.take() {
            vmkit::error!("cannot unmarshal Prometheus line {}", vmkit::go_text::quote(&line[..line.len().min(512)]));
        }
        if all {
            lines.full.push(std::mem::take(&mut lines.block));
        }
        for mut block in lines.full.drain(..) {
            let (samples, entries) = (block.sample_count(), block.metadata_count());
            self.push(&mut block).await?;
            counters.taken(samples, entries);
        }
        Ok(())
    }
}

impl Lines {
    pub(super) fn new(labelling: Labelling, default_ms: i64, takes_metadata: bool) -> Self {
        Self {
            labelling,
            default_ms,
            takes_metadata,
            splitter: LineSplitter::default(),
            parser: LineParser::default(),
            open_line: 0,
            family: None,
            block: SeriesBlock::new(),
            full: Vec::new(),
            invalid: 0,
            bad_line: None,
        }
    }

    /// Takes a piece of text.
    ///
    /// # Errors
    /// A line is too long.
    pub(super) fn feed(&mut self, text: &[u8]) -> Result<(), String> {
        let longest = self.longest_line(text);
        if longest > MAX_LINE {
            return Err(format!("too long line: more than {MAX_LINE} bytes"));
        }
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(text, |line| self.line(line));
        self.splitter = splitter;
        Ok(())
    }

    /// The text has ended.
    pub(super) fn finish(&mut self) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.finish(|line| self.line(line));
        self.end_family();
    }

    fn longest_line(&mut self, text: &[u8]) -> usize {
        let mut longest = 0;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            longest = longest.max(self.open_line + end - start);
            (self.open_line, start) = (0, end + 1);
        }
        self.open_line += text.len() - start;
        longest.max(self.open_line)
    }

    fn line(&mut self, line: &[u8]) {
        let mut parser = std::mem::take(&mut self.parser);
        match parser.parse(line) {
            Line::Nothing => {}
            Line::Sample(sample) => {
                self.end_family();
                self.block.begin_series();
                self.block.push_label(b"__name__", sample.name());
                for (name, value) in sample.labels().filter(|(name, value)| self.labelling.keeps(name, value)) {
                    self.block.push_label(name, value);
                }
                self.labelling.finish(&mut self.block);
                self.block.push_sample(sample.timestamp_ms.unwrap_or(self.default_ms), sample.value);
                self.block.end_series();
                if self.block.is_full() {
                    self.full.push(std::mem::take(&mut self.block));
                }
            }
            Line::Help { family, text } if self.takes_metadata => self.family(family).help = text.to_vec(),
            Line::Type { family, kind } if self.takes_metadata => self.family(family).kind = kind,
            Line::Help { .. } | Line::Type { .. } => {}
            Line::Invalid => {
                self.invalid += 1;
                self.bad_line.get_or_insert_with(|| line.to_vec());
            }
        }
        self.parser = parser;
    }

    fn family(&mut self, name: &[u8]) -> &mut Family {
        if self.family.as_ref().is_some_and(|family| family.name != name) {
            self.end_family();
        }
        let begin = || Family { name: name.to_vec(), kind: MetricKind::UNKNOWN, help: Vec::new() };
        self.family.get_or_insert_with(begin)
    }

    fn end_family(&mut self) {
        if let Some(Family { name, kind, help }) = self.family.take() {
            let tenant = self.labelling.tenant.unwrap_or_default();
            self.block.push_metadata(Metadata { kind, family: &name, help: &help, unit: b"", tenant });
        }
    }
}

/// Time of samples that have none: `timestamp` in milliseconds, or now.
fn default_time(asked: &[u8], now_ms: i64) -> Result<i64, String> {
    let Some(text) = query::args(asked, "timestamp").next().filter(|text| !text.is_empty()) else { return Ok(now_ms) };
    let text = String::from_utf8_lossy(&text);
    match text.parse::<i64>() {
        Ok(time) if time > 0 => Ok(time),
        Ok(_) => Ok(now_ms),
        Err(_) => Err(format!("cannot parse `timestamp={text}` query arg: want milliseconds")),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
