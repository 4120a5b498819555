//! Sends the page to configured URLs at a fixed interval (`-pushmetrics.*`).
//!
//! [`Pusher::new`] checks all options, so that mistakes stop the start. [`Pusher::run`] is one task a URL on the control
//! thread: it renders, adds labels, compresses and hands the request to the sender of the application; this file has no
//! HTTP client. Failures are counted and printed on stderr, not logged, and never end the task. Passwords of URLs appear
//! neither in labels nor in messages.

mod body;
mod target;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::prometheus_text::push_label_value;
use super::{Counter, Histogram, Set};
use crate::flags::FlagSet;
use body::add_labels;
use target::Target;

/// Method of a push; the body goes with it.
pub const METHOD: &str = "GET";

/// The flags `-pushmetrics.*`, as given.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// May hold credentials.
    pub urls: Vec<String>,
    /// Time between pushes; the first comes after one interval. Must be positive when there are URLs.
    pub interval: Duration,
    /// Items `label="value"`, put first on each sample.
    pub extra_labels: Vec<String>,
    /// Items `Name: value`; may hold credentials.
    pub headers: Vec<String>,
    /// Send plain text instead of gzip.
    pub disable_compression: bool,
}

impl PushOptions {
    /// Reads the flags.
    pub fn from_flags(flags: &FlagSet) -> Self {
        let texts = |name: &str| flags.texts(name).iter().filter(|item| !item.is_empty()).cloned().collect();
        Self {
            urls: texts("pushmetrics.url"),
            interval: flags.duration("pushmetrics.interval").as_std(),
            extra_labels: texts("pushmetrics.extraLabel"),
            headers: texts("pushmetrics.header"),
            disable_compression: flags.bool("pushmetrics.disableCompression"),
        }
    }
}

impl std::fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (urls, headers) = (self.urls.len(), self.headers.len());
        write!(f, "PushOptions({urls} secret urls, {headers} secret headers, every {:?})", self.interval)
    }
}

/// Why the options were refused. The application prints it behind `cannot initialize pushmetrics: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is described by its text; URLs are shown without password")]
pub enum PushError {
    #[error("cannot parse pushURL={url:?}: {reason}")]
    InvalidUrl { url: String, reason: &'static str },
    #[error("unsupported scheme in pushURL={url:?}; expecting 'http' or 'https'")]
    UnsupportedScheme { url: String },
    #[error("missing host in pushURL={url:?}")]
    MissingHost { url: String },
    #[error("invalid extraLabels={labels:?}: {reason}")]
    InvalidExtraLabels { labels: String, reason: String },
    #[error("missing `:` delimiter in the header {header:?}")]
    MissingHeaderDelimiter { header: String },
    #[error("interval must be positive; got 0s")]
    ZeroInterval,
}

/// One request for the sender. The method is [`METHOD`]; success is any 2xx.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "headers carry credentials")]
pub struct PushRequest {
    /// Absolute URL without user information.
    pub url: String,
    /// Names and values, credentials included.
    pub headers: Vec<(String, String)>,
    /// The page, compressed if the headers say so.
    pub body: Bytes,
}

/// The status of the reply, or why there is none.
pub type SendFuture = Pin<Box<dyn Future<Output = Result<u16, String>> + Send>>;

/// Metrics of the pushes to one URL.
#[derive(Debug)]
struct PushMetrics {
    pushes: Arc<Counter>,
    errors: Arc<Counter>,
    bytes: Arc<Counter>,
    block_size: Arc<Histogram>,
    duration: Arc<Histogram>,
}

impl PushMetrics {
    fn new(set: &Set, shown_url: &str, interval: Duration) -> Self {
        let mut url = Vec::new();
        push_label_value(&mut url, shown_url);
        let url = String::from_utf8_lossy(&url).into_owned();
        let name = |name: &str| format!("metrics_push_{name}{{url=\"{url}\"}}");
        set.callback_gauge(&name("interval_seconds"), move || interval.as_secs_f64());
        Self {
            pushes: set.counter(&name("total")),
            errors: set.counter(&name("errors_total")),
            bytes: set.counter(&name("bytes_pushed_total")),
            block_size: set.histogram(&name("block_size_bytes")),
            duration: set.histogram(&name("duration_seconds")),
        }
    }
}

/// Pushes the page to one URL.
#[allow(missing_debug_implementations, reason = "holds credentials")]
pub struct Pusher {
    target: Target,
    interval: Duration,
    extra_labels: String,
    headers: Vec<(String, String)>,
    compress: bool,
    metrics: PushMetrics,
}

impl Pusher {
    /// Checks the options for one URL and registers the metrics of its pushes in `set`.
    pub fn new(url: &str, options: &PushOptions, set: &Set) -> Result<Self, PushError> {
        let extra_labels = options.extra_labels.join(",");
        if let Err(reason) = body::check_labels(&extra_labels) {
            return Err(PushError::InvalidExtraLabels { labels: extra_labels, reason });
        }
        let target = Target::parse(url)?;
        let headers = request_headers(&target, options)?;
        if options.interval.is_zero() {
            return Err(PushError::ZeroInterval);
        }
        let metrics = PushMetrics::new(set, target.shown(), options.interval);
        let compress = !options.disable_compression;
        Ok(Self { target, interval: options.interval, extra_labels, headers, compress, metrics })
    }

    /// Pushes every interval until cancelled; a push under way is dropped then. `page` renders the page, `send` does
    /// the exchange. Pushes that take longer than an interval skip those they run into.
    pub async fn run(
        &self,
        page: impl Fn() -> Bytes,
        send: impl Fn(PushRequest) -> SendFuture,
        cancel: &CancellationToken,
    ) {
        let first = tokio::time::Instant::now() + self.interval;
        let mut ticks = tokio::time::interval_at(first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let page = page();
            let result = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                result = self.push(&page, &send) => result,
            };
            if let Err(text) = result {
                print_failure(&text);
            }
        }
    }

    /// One push; the error is the text to print.
    async fn push(&self, page: &[u8], send: &impl Fn(PushRequest) -> SendFuture) -> Result<(), String> {
        let shown = self.target.shown();
        let text = add_labels(page, &self.extra_labels);
        let body = if self.compress { crate::gzip::compress(&text) } else { text };
        self.metrics.pushes.inc();
        self.metrics.bytes.add(body.len() as u64);
        self.metrics.block_size.update(body.len() as f64);

        let request =
            PushRequest { url: self.target.url().to_owned(), headers: self.headers.clone(), body: Bytes::from(body) };
        let started = Instant::now();
        // A second of grace, so that the reply to a slow push is still counted as what it was.
        let limit = self.interval.saturating_add(Duration::from_secs(1));
        let reply = tokio::time::timeout(limit, send(request)).await;
        self.metrics.duration.update_duration(started.elapsed());
        let failure = match reply {
            Ok(Ok(200..=299)) => return Ok(()),
            Ok(Ok(status)) => {
                format!("unexpected status code in response from {shown:?}: {status}; expecting 2xx")
            }
            Ok(Err(reason)) => format!("cannot push metrics to {shown:?}: {reason}"),
            Err(_) => format!("cannot push metrics to {shown:?}: no reply in {limit:?}"),
        };
        self.metrics.errors.inc();
        Err(failure)
    }
}

fn request_headers(target: &Target, options: &PushOptions) -> Result<Vec<(String, String)>, PushError> {
    let mut headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    if !options.disable_compression {
        headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
    }
    if let Some(authorization) = target.authorization() {
        headers.push(("Authorization".to_owned(), authorization.to_owned()));
    }
    let own = headers.len();
    for header in &options.headers {
        let Some((name, value)) = header.split_once(':') else {
            return Err(PushError::MissingHeaderDelimiter { header: header.clone() });
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        match headers.iter_mut().take(own).find(|(present, _)| present.eq_ignore_ascii_case(&name)) {
            Some(present) => present.1 = value,
            None => headers.push((name, value)),
        }
    }
    Ok(headers)
}

/// Prints a failed push on stderr, past the logger: a broken push target must not show as errors of the application.
fn print_failure(text: &str) {
    crate::logger::stderr_line(&failure_line(&jiff::Zoned::now(), text));
}

fn failure_line(now: &jiff::Zoned, text: &str) -> String {
    format!("{} ERROR: metrics.push: {text}\n", now.strftime("%Y/%m/%d %H:%M:%S"))
}

#[cfg(test)]
mod tests;
