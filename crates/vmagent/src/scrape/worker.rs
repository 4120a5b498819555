//! Threads that scrape: each target is a task on one of them, with its timer, its connection and its memory.
//!
//! A task is small while it waits, because there may be ten thousand. What a scrape needs beyond that (buffers, a
//! decoder, labels as they are written) is taken when it begins and given back when it ends; futures of scrapes and of
//! the end are boxed, so that the task has no room for them. A task never waits for a remote, only for room in the sink.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::auto_metrics::ScrapeResult;
use super::cluster::Cluster;
use super::connection::Network;
use super::fetch::{FetchError, Fetched, Fetcher, PageSink, timeout_text};
use super::label_assembly::LabelAssembly;
use super::page::{LimitError, PageBuffers, PageReader, TargetMemory, write_last_markers};
use super::schedule::{Timestamps, first_delay};
use super::state::ActiveTarget;
use crate::http_identity::Identities;
use crate::remote_write::{SeriesBlock, Sink};

/// What flags decide about scraping.
#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    /// This member of the cluster.
    pub cluster: Arc<Cluster>,
    /// `-promscrape.minResponseSizeForStreamParse` in bytes.
    pub min_stream_size: u64,
    /// `-promscrape.maxResponseHeadersSize` in bytes.
    pub max_head: usize,
    /// `-promscrape.suppressScrapeErrors`.
    pub suppress_errors: bool,
    /// `-promscrape.suppressScrapeErrorsDelay`.
    pub suppress_errors_delay: Duration,
    /// `-promscrape.suppressDuplicateScrapeTargetErrors`.
    pub suppress_duplicates: bool,
    /// `-promscrape.dropOriginalLabels`.
    pub drop_original_labels: bool,
    /// `-promscrape.maxDroppedTargets`.
    pub max_dropped: usize,
    /// `-enableMetadata`.
    pub metadata: bool,
    /// `-enableTCP6`.
    pub ipv6: bool,
}

/// How often the descriptions of a page's metrics are sent.
const METADATA_INTERVAL: Duration = Duration::from_secs(60);
/// Buffers that a thread keeps for the next scrapes.
const SPARE_BUFFERS: usize = 4;

/// A running target. Dropping it without [`TargetHandle::end`] stops the target without markers.
#[derive(Debug)]
pub struct TargetHandle {
    end: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl TargetHandle {
    /// Ends the target: its series get markers. Waits for that.
    pub async fn end(mut self) {
        if let Some(end) = self.end.take() {
            // The task is gone already when the receiver is.
            let _ = end.send(());
        }
        let _ = self.ended.await;
    }
}

/// Threads that targets are spread over.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<mpsc::UnboundedSender<Start>>,
    ends: Vec<oneshot::Receiver<()>>,
    next: usize,
}

struct Start {
    active: Arc<ActiveTarget>,
    end: oneshot::Receiver<()>,
    ended: oneshot::Sender<()>,
}

/// What all targets of a thread use.
#[derive(Debug)]
pub struct WorkerContext {
    /// Settings.
    pub options: Arc<ScrapeOptions>,
    /// Where samples go.
    pub sink: Sink,
    /// Names and sockets.
    pub network: Rc<Network>,
    /// Shared credentials and TLS.
    pub identities: Arc<Identities>,
    spare: RefCell<Vec<PageBuffers>>,
}

impl Workers {
    /// Starts `count` threads. `network` is called on each of them.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        count: usize,
        options: &Arc<ScrapeOptions>,
        sink: &Sink,
        identities: &Arc<Identities>,
        network: impl Fn() -> Network + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let (mut threads, mut ends) = (Vec::new(), Vec::new());
        for index in 0..count.max(1) {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (options, sink, identities) = (Arc::clone(options), sink.clone(), Arc::clone(identities));
            let network = network.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (end_sender, end) = oneshot::channel();
            ends.push(end);
            std::thread::Builder::new().name(format!("scrape-{index}")).spawn(move || {
                let spare = RefCell::default();
                let network = Rc::new(network());
                let context = Rc::new(WorkerContext { options, sink, network, identities, spare });
                LocalSet::new().block_on(&runtime, run_thread(context, receiver));
                // The tasks and their sinks are gone.
                drop(end_sender);
                // A read of a file that hangs would keep the runtime from being dropped.
                std::mem::forget(runtime);
            })?;
            threads.push(sender);
        }
        Ok(Self { threads, ends, next: 0 })
    }

    /// Ends the threads with all targets, without markers, and waits for that.
    pub async fn join(self) {
        drop(self.threads);
        for end in self.ends {
            // The sender is dropped, never used.
            let _ = end.await;
        }
    }

    /// Starts a target on one of the threads.
    pub fn add(&mut self, active: Arc<ActiveTarget>) -> TargetHandle {
        let (end, end_receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        self.next = (self.next + 1) % self.threads.len();
        if let Some(thread) = self.threads.get(self.next) {
            // A thread ends only when the process does.
            let _ = thread.send(Start { active, end: end_receiver, ended: ended_sender });
        }
        TargetHandle { end: Some(end), ended }
    }
}

async fn run_thread(context: Rc<WorkerContext>, mut starts: mpsc::UnboundedReceiver<Start>) {
    while let Some(Start { active, end, ended }) = starts.recv().await {
        let context = Rc::clone(&context);
        tokio::task::spawn_local(async move {
            let mut scraper = Scraper::new(&context, active);
            if scraper.run(end).await {
                Box::pin(scraper.write_end()).await;
            }
            drop(ended);
        });
    }
}

/// One target at work.
struct Scraper {
    context: Rc<WorkerContext>,
    active: Arc<ActiveTarget>,
    memory: TargetMemory,
    fetcher: Fetcher,
    timestamps: Timestamps,
    last_result: Option<ScrapeResult>,
    metadata_sent: Option<Instant>,
    errors: ErrorLog,
}

/// Failures that were not logged yet.
struct ErrorLog {
    since: Instant,
    failures: u64,
    attempts: u64,
}

impl Scraper {
    fn new(context: &Rc<WorkerContext>, active: Arc<ActiveTarget>) -> Self {
        let identity = context.identities.get(&active.target.settings.http);
        let fetcher = Fetcher::new(Rc::clone(&context.network), identity, context.options.max_head);
        Self {
            context: Rc::clone(context),
            active,
            memory: TargetMemory::default(),
            fetcher,
            timestamps: Timestamps::default(),
            last_result: None,
            metadata_sent: None,
            errors: ErrorLog { since: Instant::now(), failures: 0, attempts: 0 },
        }
    }

    /// Scrapes until the end. True when the target has gone, false when the process stops.
    async fn run(&mut self, mut end: oneshot::Receiver<()>) -> bool {
        let interval = self.active.target.interval;
        let mut next = Instant::now() + first_delay(&self.active.target, &self.context.options.cluster, since_epoch());
        loop {
            tokio::select! {
                biased;
                ended = &mut end => return ended.is_ok(),
                () = tokio::time::sleep_until(next) => {}
            }
            let late = next.elapsed();
            self.context.network.metrics.delay.update_duration(late);
            let scrape = Box::pin(self.scrape());
            let gone = tokio::select! {
                biased;
                ended = &mut end => Some(ended.is_ok()),
                () = scrape => None,
            };
            if let Some(gone) = gone {
                return gone;
            }
            next += interval;
            let behind = next.elapsed();
            if !behind.is_zero() {
                // Missed ticks are left out.
                let missed = behind.as_nanos().div_ceil(interval.as_nanos().max(1));
                next += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            }
        }
    }

    async fn scrape(&mut self) {
        let context = Rc::clone(&self.context);
        let active = Arc::clone(&self.active);
        let (target, metrics) = (&active.target, &context.network.metrics);
        metrics.requests.inc();
        let begun_at = SystemTime::now();
        let begun = Instant::now();
        let timestamp_ms = self.timestamps.next(now_ms(), target.interval);
        let with_metadata =
            context.options.metadata && self.metadata_sent.is_none_or(|at| at.elapsed() >= METADATA_INTERVAL);
        let assembly = LabelAssembly::new(target);
        let mut buffers = context.take_buffers();
        let reader = PageReader::new(target, &assembly, &mut self.memory, &mut buffers, timestamp_ms, with_metadata);
        let mut page = Page {
            reader,
            sink: &context.sink,
            received: 0,
            streams: target.stream_parse,
            stream_from: (target.sample_limit.is_none()).then_some(context.options.min_stream_size),
            passed_on: false,
        };
        let fetched = match tokio::time::timeout(target.timeout, self.fetcher.fetch(target, &mut page)).await {
            Ok(fetched) => fetched.map_err(|error| (error.text(target), Some(error))),
            Err(_) => {
                metrics.timed_out.inc();
                Err((timeout_text(target), None))
            }
        };
        let duration = begun.elapsed();
        if fetched.is_err() {
            self.fetcher.reset();
        }
        let (result, error) = page.finish(fetched, duration, metrics);
        let pushing = Instant::now();
        let mut block = page.last_block();
        result.write(timestamp_ms, assembly.automatic_labels(), &mut block);
        let ready = std::mem::take(page.reader.ready());
        for mut full in ready {
            // The agent stops: nobody takes samples any more.
            let _ = context.sink.push(&mut full).await;
        }
        let _ = context.sink.push(&mut block).await;
        *page.reader.block() = block;
        metrics.push_duration.update_duration(pushing.elapsed());
        if with_metadata && result.up {
            self.metadata_sent = Some(Instant::now());
        }
        context.give_back(buffers);
        self.note(&result, error, begun_at);
        self.last_result = Some(result);
    }

    /// Counts and logs a scrape, and shows it on pages.
    fn note(&mut self, result: &ScrapeResult, error: Option<String>, begun_at: SystemTime) {
        let (metrics, options) = (&self.context.network.metrics, &self.context.options);
        metrics.duration.update_duration(result.duration);
        metrics.response_size.update(result.response_size as f64);
        metrics.samples.update(result.samples_scraped as f64);
        metrics.rows_read.add(result.samples_scraped);
        self.active.update(|status| {
            status.up = result.up;
            status.last_scrape = Some(begun_at);
            status.duration = result.duration;
            status.response_size = result.response_size;
            status.samples_scraped = result.samples_scraped;
            status.scrapes_total += 1;
            status.scrapes_failed += u64::from(!result.up);
            status.last_error = error.clone().unwrap_or_default();
        });
        self.errors.attempts += 1;
        let Some(error) = error else { return };
        metrics.failed.inc();
        self.errors.failures += 1;
        if options.suppress_errors || self.errors.since.elapsed() < options.suppress_errors_delay {
            return;
        }
        let ErrorLog { failures, attempts, .. } = self.errors;
        let delay = vmkit::units::GoDuration::from(options.suppress_errors_delay);
        let target = &self.active.target;
        vmkit::warn!(
            "cannot scrape target {:?} ({}) {failures} out of {attempts} times during \
             -promscrape.suppressScrapeErrorsDelay={delay}; the last error: {error}",
            target.url.to_string(),
            target.labels
        );
        self.errors = ErrorLog { since: Instant::now(), failures: 0, attempts: 0 };
    }

    /// Markers for everything that the target ever sent.
    async fn write_end(&mut self) {
        let active = Arc::clone(&self.active);
        if !active.target.settings.stale_markers {
            return;
        }
        let context = Rc::clone(&self.context);
        let assembly = LabelAssembly::new(&active.target);
        let mut buffers = context.take_buffers();
        let now = now_ms();
        let mut markers = write_last_markers(&active.target, &assembly, &mut self.memory, &mut buffers, now);
        for mut full in std::mem::take(&mut buffers.ready) {
            let _ = context.sink.push(&mut full).await;
        }
        let mut block = std::mem::take(buffers.block());
        if let Some(result) = &self.last_result {
            let before = block.series_count();
            result.write_stale(now, assembly.automatic_labels(), &mut block);
            markers += (block.series_count() - before) as u64;
        }
        let _ = context.sink.push(&mut block).await;
        context.network.metrics.stale_markers.add(markers);
        context.give_back(buffers);
    }
}

impl WorkerContext {
    fn take_buffers(&self) -> PageBuffers {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, buffers: PageBuffers) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }
}

/// A page while it arrives.
struct Page<'p> {
    reader: PageReader<'p>,
    sink: &'p Sink,
    received: u64,
    streams: bool,
    /// Size from which a page is streamed.
    stream_from: Option<u64>,
    passed_on: bool,
}

impl PageSink for Page<'_> {
    fn piece(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        self.reader.feed(piece);
    }

    async fn pass_on(&mut self) -> Result<(), FetchError> {
        self.streams |= self.stream_from.is_some_and(|size| self.received >= size);
        if !self.streams || self.reader.ready().is_empty() {
            return Ok(());
        }
        for mut full in std::mem::take(self.reader.ready()) {
            self.passed_on = true;
            self.sink.push(&mut full).await.map_err(|_| FetchError::Stopped)?;
        }
        Ok(())
    }
}

impl Page<'_> {
    /// Judges the page; gives the result and the text of the error, if it failed.
    fn finish(
        &mut self,
        fetched: Result<Fetched, (String, Option<FetchError>)>,
        duration: Duration,
        metrics: &super::metrics::ScrapeMetrics,
    ) -> (ScrapeResult, Option<String>) {
        let target = self.reader.target();
        let mut result = ScrapeResult {
            duration,
            timeout: target.timeout,
            sample_limit: target.sample_limit,
            label_limit: target.label_limit,
            ..ScrapeResult::default()
        };
        let mut error = None;
        let now = now_ms();
        let mut markers = 0;
        match fetched {
            Ok(fetched) => {
                markers += self.reader.finish(now);
                result.up = true;
                result.response_size = fetched.size;
            }
            Err((text, cause)) => {
                error = Some(text);
                match cause {
                    Some(FetchError::TooLarge { .. }) => metrics.too_large.inc(),
                    Some(FetchError::Gunzip(_)) => metrics.gunzip_failed.inc(),
                    _ => {}
                }
            }
        }
        let totals = self.reader.totals;
        metrics.invalid_rows.add(totals.invalid_lines);
        let url = target.url.to_string();
        if let Some(line) = self.reader.invalid_line.take() {
            vmkit::error!("skipping {} lines of {url:?} that cannot be parsed, such as {line:?}", totals.invalid_lines);
        }
        if let (Some(limit), None) = (self.reader.limit_error, &error) {
            let (text, counter) = match limit {
                LimitError::Samples(limit) => (
                    format!(
                        "the response from {url:?} exceeds sample_limit={limit}; either reduce the number of samples of the target, or raise sample_limit"
                    ),
                    &metrics.over_sample_limit,
                ),
                LimitError::Labels(limit) => (
                    format!(
                        "the response from {url:?} has a sample with more labels than label_limit={limit} (label_limit exceeded)"
                    ),
                    &metrics.over_label_limit,
                ),
            };
            counter.inc();
            error = Some(text);
            result.samples_scraped = totals.scraped;
            result.samples_post_relabeling = totals.post_relabeling;
        }
        if error.is_some() {
            result.up = false;
            result.response_size = 0;
            markers += self.reader.fail(self.passed_on, now);
        } else {
            result.samples_scraped = totals.scraped;
            result.samples_post_relabeling = totals.post_relabeling;
            result.series_added = self.reader.series_added;
        }
        if let Some(limit) = target.series_limit {
            result.series_limit = Some((limit, self.reader.day_series(), totals.over_series_limit));
        }
        metrics.stale_markers.add(markers);
        (result, error)
    }

    fn last_block(&mut self) -> SeriesBlock {
        std::mem::take(self.reader.block())
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}
