//! Remote write as a whole: started from its options, stopped without loss.
//!
//! Threads: one encodes ([`super::fan_out`]), one runs all senders, one for each queue does its disk I/O. A stop goes
//! the way of the samples: what was pushed is encoded, senders go on for a few seconds while the remote takes blocks,
//! and the rest is written to the queues.

use super::batch::{Batch, BlockLimits};
use super::compression::Packer;
use super::external_labels::ExternalLabels;
use super::fan_out::{CommonRules, FanOut, RuleSets, Scratch, UrlPipe};
use super::log_limit::LogLimit;
use super::metrics::{GlobalMetrics, UrlLabels, UrlMetrics};
use super::options::{RemoteWriteOptions, UrlOptions};
use super::queue::{OsStorage, QUEUES_DIR, Queue, QueueOptions, Storage, adopt_moved, queue_dir_name, remove_dangling};
use super::rate_limit::RateLimit;
use super::sender::{Protocol, Remote, fixed_headers};
use super::{SeriesLimit, Shards, Sink};
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use vmkit::metrics::Set;
use vmkit::net::dns::Resolver;

/// Blocks that were pushed and not encoded yet.
const SINK_BYTES: usize = 32 << 20;
/// Senders may go on for so long at a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Exists while the process runs.
const RUNNING_MARK: &str = ".vm_app_running";

/// Running remote write.
#[derive(Debug)]
pub struct RemoteWrite {
    sink: Sink,
    rules: Arc<ArcSwap<RuleSets>>,
    remotes: Vec<Arc<Remote>>,
    fan_out: JoinHandle<()>,
    stop_senders: CancellationToken,
    senders: JoinHandle<()>,
    mark: PathBuf,
    after_crash: bool,
}

impl RemoteWrite {
    /// Opens the queues and starts to send what they hold. `memory_bytes` is what the process may use for buffers.
    ///
    /// # Errors
    /// For the user: a directory that cannot be used, or is used by another process.
    pub fn start(
        options: &RemoteWriteOptions,
        rules: RuleSets,
        memory_bytes: u64,
        set: &Arc<Set>,
    ) -> Result<Self, String> {
        for warning in &options.warnings {
            vmkit::warn!("{warning}");
        }
        let root = options.data_path.join(QUEUES_DIR);
        let storage = OsStorage;
        storage
            .create_dir_all(&root)
            .map_err(|err| format!("cannot create the directory {}: {err}", root.display()))?;
        let names = queue_names(options)?;
        report(adopt_moved(&storage, &root, &names), &root);
        let metrics = Arc::new(GlobalMetrics::new(set));
        let resolver = Arc::new(Resolver::from_system().reporting(|warning| vmkit::warn!("{warning}")));
        let mut remotes = Vec::with_capacity(options.urls.len());
        for (url, dir) in options.urls.iter().zip(&names) {
            remotes.push(Arc::new(open_remote(
                options,
                url,
                &root.join(dir),
                memory_bytes,
                (&metrics, set),
                &resolver,
            )?));
        }
        if !options.keep_dangling_queues {
            report(remove_dangling(&storage, &root, &names), &root);
        }
        let mark = options.data_path.join(RUNNING_MARK);
        let after_crash = set_mark(&mark);
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let refuses = matches!(&options.urls[..], [only] if only.memory_only) && !options.drop_on_overload;
        let rate_reached = match options.max_ingestion_rate {
            0 => Arc::default(),
            _ => set.counter("vmagent_max_ingestion_rate_limit_reached_total"),
        };
        let (sink, intake) = Sink::with_limits(SINK_BYTES, refuses, options.max_ingestion_rate, rate_reached);
        let shards = options.shard_by_url.then(|| {
            let urls: Vec<&str> = options.urls.iter().map(|url| url.url.as_str()).collect();
            Shards::new(&urls, options.shard_copies, options.shard_labels.clone())
        });
        let fan_out = FanOut {
            intake,
            pipes: options.urls.iter().zip(&remotes).map(|(url, remote)| pipe(options, url, remote)).collect(),
            shards: shards.flatten(),
            common: common_rules(options, &metrics, set),
            external: ExternalLabels::new(&options.labels),
            rules: Arc::clone(&rules),
            packer: Packer::new(options.compress_level).map_err(|err| format!("cannot set up zstd: {err}"))?,
            flush_interval: options.flush_interval,
            metrics,
            scratch: Scratch::default(),
            blocked: false,
        };
        let fan_out = spawn("remote-write", move || fan_out.run())?;
        let stop_senders = CancellationToken::new();
        let workers: Vec<(Arc<Remote>, usize, usize)> = remotes
            .iter()
            .zip(&options.urls)
            .map(|(remote, url)| (Arc::clone(remote), url.queues, url.fresh_queues))
            .collect();
        let stop = stop_senders.clone();
        let senders = spawn("senders", move || run_senders(workers, stop))?;
        Ok(Self { sink, rules, remotes, fan_out, stop_senders, senders, mark, after_crash })
    }

    /// Whether the process before this one did not end in order.
    pub fn is_after_crash(&self) -> bool {
        self.after_crash
    }

    /// Where samples go in.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Replaces the relabeling rules; blocks that come later are handled by the new ones.
    pub fn set_rules(&self, rules: RuleSets) {
        self.rules.store(Arc::new(rules));
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSets> {
        self.rules.load_full()
    }

    /// Encodes what was pushed, lets senders go on for up to five seconds, and writes the rest to the queues. Every
    /// producer must be gone. Blocks the caller.
    pub fn stop(self) {
        let Self { sink, rules: _, remotes, fan_out, stop_senders, senders, mark, after_crash: _ } = self;
        sink.close();
        drop(sink);
        if fan_out.join().is_err() {
            vmkit::error!("the thread that encodes samples has failed");
        }
        drain(&remotes);
        remotes.iter().for_each(|remote| remote.queue.close());
        stop_senders.cancel();
        if senders.join().is_err() {
            vmkit::error!("the thread of the senders has failed");
        }
        remotes.iter().for_each(|remote| remote.queue.stop());
        // The mark is for crashes; one that stays is only misleading.
        let _ = std::fs::remove_file(mark);
    }
}

/// Waits until everything is delivered, or until nothing was for a while.
fn drain(remotes: &[Arc<Remote>]) {
    let start = Instant::now();
    // What is being retried is not waited for: a block that has failed once at this time can wait on disk.
    let before: Vec<u64> =
        remotes.iter().map(|remote| remote.metrics.retries.get() + remote.metrics.errors.get()).collect();
    let failing = |index: usize, remote: &Remote| {
        remote.is_failing() || remote.metrics.retries.get() + remote.metrics.errors.get() > before[index]
    };
    while start.elapsed() < DRAIN_LIMIT
        && remotes.iter().enumerate().any(|(index, remote)| !remote.queue.is_idle() && !failing(index, remote))
    {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn queue_names(options: &RemoteWriteOptions) -> Result<Vec<String>, String> {
    let name = |(index, url): (usize, &UrlOptions)| {
        queue_dir_name(index + 1, &url.url).ok_or_else(|| format!("-remoteWrite.url #{}: invalid URL", index + 1))
    };
    options.urls.iter().enumerate().map(name).collect()
}

fn report(arranged: std::io::Result<super::queue::Arranged>, root: &Path) {
    match arranged {
        Ok(arranged) => {
            arranged.notes.iter().for_each(|note| vmkit::info!("{note} in {}", root.display()));
            arranged.errors.iter().for_each(|error| vmkit::error!("{error}"));
        }
        Err(err) => vmkit::error!("cannot list {}: {err}", root.display()),
    }
}

/// Tells whether the last process ended without order, and marks that this one runs.
fn set_mark(mark: &Path) -> bool {
    let unclean = mark.exists();
    if let Err(err) = std::fs::write(mark, b"") {
        vmkit::error!("cannot write {}: {err}", mark.display());
    }
    unclean
}

fn open_remote(
    options: &RemoteWriteOptions,
    url: &UrlOptions,
    dir: &Path,
    memory_bytes: u64,
    (metrics, set): (&GlobalMetrics, &Arc<Set>),
    resolver: &Arc<Resolver>,
) -> Result<Remote, String> {
    let labels = UrlLabels::new(&url.name, &dir.display().to_string());
    let own = memory_bytes / options.urls.len().max(1) as u64;
    let blocks = (own / options.max_rows_per_block as u64 / 100).min(100 * url.queues as u64).max(2);
    let queue = Arc::new(Queue::open(QueueOptions {
        dir: dir.to_owned(),
        name: url.name.clone(),
        memory_blocks: usize::try_from(blocks).unwrap_or(usize::MAX),
        memory_bytes: usize::try_from((own / 8).clamp(1 << 20, 256 << 20)).unwrap_or(usize::MAX),
        read_ahead: url.queues,
        max_disk_bytes: url.max_disk_bytes,
        memory_only: url.memory_only,
        counters: metrics.queue(set, &labels),
    })?);
    let url_metrics = UrlMetrics::new(set, &labels);
    url_metrics.show_queue(&labels, &queue, url.queues, url.rate_limit);
    Ok(Remote {
        name: url.name.clone(),
        endpoint: url.endpoint(options.ipv6, resolver, &metrics.connections)?,
        credentials: url.credentials()?,
        headers: fixed_headers(&url.headers)?,
        send_limit: url.send_timeout,
        retry_min: url.retry_min,
        retry_max: url.retry_max,
        rate_limit: RateLimit::new(url.rate_limit),
        protocol: Protocol {
            always_zstd: url.always_zstd,
            snappy: url.always_snappy.into(),
            zstd_refused: false.into(),
        },
        queue,
        metrics: url_metrics,
        warnings: LogLimit::default(),
        rejections: LogLimit::default(),
        answers: LogLimit::default(),
        failing: 0.into(),
    })
}

fn pipe(options: &RemoteWriteOptions, url: &UrlOptions, remote: &Arc<Remote>) -> UrlPipe {
    let limits = BlockLimits {
        samples: options.max_rows_per_block,
        metadata: options.max_metadata_per_block,
        bytes: options.max_block_size,
    };
    UrlPipe {
        remote: Arc::clone(remote),
        batch: Batch::new(limits),
        rounding: url.rounding,
        without_metadata: url.without_metadata,
    }
}

fn common_rules(options: &RemoteWriteOptions, metrics: &GlobalMetrics, set: &Set) -> CommonRules {
    let hour = Duration::from_secs(3600);
    let limit = |name: &str, max: i64, period: Duration, dropped| {
        let limit = Arc::new(SeriesLimit::new(max, period, dropped)?);
        let (current, most) = (Arc::clone(&limit), limit.max());
        set.callback_gauge(&format!("vmagent_{name}_series_limit_current_series"), move || current.current() as f64);
        set.callback_gauge(&format!("vmagent_{name}_series_limit_max_series"), move || most as f64);
        Some(limit)
    };
    CommonRules {
        limits: options.label_limits,
        sort_labels: options.sort_labels,
        plain_names: options.plain_names,
        hourly: limit("hourly", options.max_hourly_series, hour, Arc::clone(&metrics.hourly_dropped)),
        daily: limit("daily", options.max_daily_series, hour * 24, Arc::clone(&metrics.daily_dropped)),
    }
}

/// A thread with a runtime of its own.
fn spawn<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<JoinHandle<()>, String>
where
    F: Future<Output = ()>,
{
    let failed = |err: std::io::Error| format!("cannot start the thread {name}: {err}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let run = move || {
        runtime.block_on(work());
        // Reads of files that hang must not hold up a stop.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

async fn run_senders(workers: Vec<(Arc<Remote>, usize, usize)>, stop: CancellationToken) {
    let mut tasks = tokio::task::JoinSet::new();
    for (remote, queues, fresh_queues) in workers {
        for index in 0..queues + fresh_queues {
            let (remote, stop) = (Arc::clone(&remote), stop.clone());
            tasks.spawn(async move { remote.run(index >= queues, stop).await });
        }
    }
    while tasks.join_next().await.is_some() {}
}
