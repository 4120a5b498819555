//! A sender: takes blocks from the queue of one URL and does not let go of one before it is delivered or refused.
//!
//! The rules for replies are in [`Outcome::of`] and nowhere else. Waits between attempts belong to the block in hand; a
//! stop ends them at once, and the block goes back to the queue.

use super::backoff::{Backoff, parse_retry_after, with_jitter};
use super::compression::{Encoding, Packer, UnpackError, unpack};
use super::connection::{Connection, Endpoint, NoReply, Reply};
use super::credentials::Credentials;
use super::log_limit::LogLimit;
use super::metrics::UrlMetrics;
use super::queue::{Lease, Queue};
use super::rate_limit::RateLimit;
use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A zstd block unpacked to be sent as snappy; blocks of ours are much smaller.
const MAX_UNPACKED: usize = 256 << 20;

/// What senders of one URL share.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Label in metrics and logs: `1:secret-url`.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    /// Configured headers and the fixed ones.
    pub(crate) headers: HeaderMap,
    pub(crate) send_limit: Duration,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) rate_limit: RateLimit,
    pub(crate) protocol: Protocol,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: UrlMetrics,
    pub(crate) warnings: LogLimit,
    pub(crate) rejections: LogLimit,
    pub(crate) answers: LogLimit,
    /// Senders whose last attempt has failed.
    pub(crate) failing: AtomicUsize,
}

/// Which encoding new blocks get.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// `-remoteWrite.forceVMProto`: a refusal changes nothing for later blocks.
    pub(crate) always_zstd: bool,
    pub(crate) snappy: AtomicBool,
    /// The remote has refused zstd since the start, so blocks that wait are not offered as such any more.
    pub(crate) zstd_refused: AtomicBool,
}

impl Protocol {
    pub(crate) fn encoding(&self) -> Encoding {
        if self.snappy.load(Ordering::Relaxed) { Encoding::Snappy } else { Encoding::Zstd }
    }
}

/// What a reply means for the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// The remote does not take this encoding.
    TryOther,
    /// The remote will never take this block.
    Rejected,
    Retry,
}

impl Outcome {
    /// docs/reference/vmagent-remote-write.md has the table.
    pub(crate) fn of(status: u16, encoding: Encoding) -> Self {
        match (status, encoding) {
            (200..300, _) => Self::Delivered,
            (400 | 415, Encoding::Zstd) => Self::TryOther,
            (400 | 409 | 415, _) => Self::Rejected,
            _ => Self::Retry,
        }
    }
}

impl Remote {
    /// Whether a block is being sent again and again.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) > 0
    }

    /// Runs until the queue is closed.
    pub(crate) async fn run(&self, only_fresh: bool, stop: tokio_util::sync::CancellationToken) {
        let mut connection = None;
        while let Some(lease) = self.queue.take(only_fresh).await {
            let started = Instant::now();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.deliver(lease, &mut connection) => {}
            }
            let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.metrics.send_nanos.add(nanos);
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Sends the block until it is delivered or rejected.
    async fn deliver(&self, lease: Lease, connection: &mut Option<Connection>) {
        let mut block = lease.data().clone();
        let mut encoding = Encoding::of(&block);
        if encoding == Encoding::Zstd && self.protocol.zstd_refused.load(Ordering::Relaxed) {
            let Some(repacked) = self.repack(&block) else { return lease.acknowledge() };
            (block, encoding) = (repacked, Encoding::Snappy);
        }
        let mut backoff = Backoff::new(self.retry_min, self.retry_max);
        let mut attempts = 0;
        if self.rate_limit.wait(block.len()).await {
            self.metrics.rate_limit_reached.inc();
        }
        loop {
            let started = Instant::now();
            let attempt = tokio::time::timeout(self.send_limit, self.attempt(connection, encoding, &block)).await;
            self.metrics.duration.update_duration(started.elapsed());
            let wait = match attempt.unwrap_or_else(|_| Err(self.timed_out())) {
                Ok(reply) => match self.judge(&reply, encoding, &block) {
                    Outcome::Delivered | Outcome::Rejected => return lease.acknowledge(),
                    Outcome::TryOther => {
                        self.fall_back();
                        let Some(repacked) = self.repack(&block) else { return lease.acknowledge() };
                        (block, encoding) = (repacked, Encoding::Snappy);
                        None
                    }
                    Outcome::Retry => {
                        let asked = reply.retry_after.as_ref();
                        let asked = asked.and_then(|text| parse_retry_after(text, SystemTime::now()));
                        let wait = backoff.next(asked);
                        attempts += 1;
                        self.log_retry(&reply, block.len(), attempts, wait);
                        Some(wait)
                    }
                },
                Err(no_reply) => {
                    *connection = None;
                    let wait = backoff.next(None);
                    self.metrics.errors.inc();
                    if self.warnings.allows() {
                        let (len, name, text) = (block.len(), &self.name, &no_reply.text);
                        vmkit::warn!(
                            "couldn't send a block with size {len} bytes to {name:?}: {text}; re-sending the block in {wait:?}"
                        );
                    }
                    Some(wait)
                }
            };
            if let Some(wait) = wait {
                self.failing.fetch_add(1, Ordering::Relaxed);
                let _failing = Failing(&self.failing);
                tokio::time::sleep(with_jitter(wait)).await;
            }
            self.metrics.retries.inc();
        }
    }

    fn timed_out(&self) -> NoReply {
        NoReply::new(format!("no reply within -remoteWrite.sendTimeout={:?}", self.send_limit))
    }

    /// One request, and a second one at once if the connection turned out to be closed.
    async fn attempt(
        &self,
        connection: &mut Option<Connection>,
        encoding: Encoding,
        block: &Bytes,
    ) -> Result<Reply, NoReply> {
        let header = self.credentials.header().await.map_err(NoReply::new)?;
        let (value, token) = header.map_or((None, None), |header| (Some(header.value), header.token));
        let value = match value {
            Some(secret) => {
                let mut value = HeaderValue::from_str(secret.expose())
                    .map_err(|_| NoReply::new("the credentials have characters that no header may have"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let headers = self.headers_for(encoding);
        let mut reply = self.endpoint.post(connection, &headers, value.clone(), block).await;
        if reply.as_ref().is_err_and(|err| err.is_end) {
            reply = self.endpoint.post(connection, &headers, value, block).await;
        }
        if reply.as_ref().is_ok_and(|reply| reply.status == 401) {
            self.credentials.refuse(token.as_ref());
        }
        reply
    }

    fn headers_for(&self, encoding: Encoding) -> HeaderMap {
        let mut headers = self.headers.clone();
        let (name, version) = match encoding {
            Encoding::Zstd => (HeaderName::from_static("x-victoriametrics-remote-write-version"), "1"),
            Encoding::Snappy => (HeaderName::from_static("x-prometheus-remote-write-version"), "0.1.0"),
        };
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        headers.insert(name, HeaderValue::from_static(version));
        headers
    }

    /// Counts and logs a reply.
    fn judge(&self, reply: &Reply, encoding: Encoding, block: &Bytes) -> Outcome {
        let outcome = Outcome::of(reply.status, encoding);
        let (len, name, status) = (block.len(), &self.name, reply.status);
        if outcome == Outcome::Delivered {
            self.metrics.requests_ok.inc();
            self.metrics.blocks_sent.inc();
            self.metrics.bytes_sent.add(len as u64);
            return outcome;
        }
        self.metrics.requests(status).inc();
        match outcome {
            Outcome::Rejected => {
                self.metrics.packets_dropped.inc();
                if self.rejections.allows() {
                    vmkit::error!(
                        "sending a block with size {len} bytes to {name:?} was rejected (skipping the block): status code {status}; response body: {}",
                        reply.body
                    );
                }
            }
            Outcome::Retry | Outcome::TryOther | Outcome::Delivered => {}
        }
        outcome
    }

    fn log_retry(&self, reply: &Reply, len: usize, attempt: u32, wait: Duration) {
        if self.answers.allows() {
            vmkit::error!(
                "unexpected status code received after sending a block with size {len} bytes to {:?} during retry #{attempt}: {}; response body={:?}; re-sending the block in {wait:?}",
                self.name,
                reply.status,
                reply.body
            );
        }
    }

    /// The remote does not take zstd: from now on it gets snappy, unless the flags say otherwise.
    fn fall_back(&self) {
        if self.protocol.always_zstd {
            return;
        }
        self.protocol.zstd_refused.store(true, Ordering::Relaxed);
        if !self.protocol.snappy.swap(true, Ordering::Relaxed) {
            vmkit::info!(
                "{:?} does not take VictoriaMetrics' remote write protocol; Prometheus' is used from now on",
                self.name
            );
        }
    }

    /// The block in the encoding of Prometheus. `None`, counted and logged, if it cannot be read.
    fn repack(&self, block: &Bytes) -> Option<Bytes> {
        let repacked = unpack(Encoding::Zstd, block, MAX_UNPACKED).and_then(|message| {
            let mut packer = Packer::new(0).map_err(UnpackError::Zstd)?;
            packer.pack(Encoding::Snappy, &message).map_err(UnpackError::Zstd)
        });
        match repacked {
            Ok(block) => Some(block.into()),
            Err(err) => {
                self.metrics.packets_dropped.inc();
                vmkit::error!("a block for {:?} cannot be read (skipping the block): {err}", self.name);
                None
            }
        }
    }
}

/// One of the senders that wait; ends with the wait, cancelled or not.
struct Failing<'a>(&'a AtomicUsize);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The headers of every request: the configured ones, of several with one name the last, and the fixed ones.
///
/// # Errors
/// A name or value that no header may have; the value is not shown.
pub(crate) fn fixed_headers(configured: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("invalid name of a header: {name:?}"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| format!("invalid value of the header {name:?}"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    for framing in ["content-length", "transfer-encoding", "connection", "expect"] {
        headers.remove(framing);
    }
    headers.remove("x-prometheus-remote-write-version");
    headers.remove("x-victoriametrics-remote-write-version");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(USER_AGENT, HeaderValue::from_static("vmagent"));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        use Outcome::{Delivered, Rejected, Retry, TryOther};
        let f = |status, zstd, snappy| {
            assert_eq!(Outcome::of(status, Encoding::Zstd), zstd, "{status}");
            assert_eq!(Outcome::of(status, Encoding::Snappy), snappy, "{status}");
        };
        f(200, Delivered, Delivered);
        f(204, Delivered, Delivered);
        f(299, Delivered, Delivered);
        f(400, TryOther, Rejected);
        f(415, TryOther, Rejected);
        f(409, Rejected, Rejected);
        for status in [100, 301, 302, 303, 304, 307, 308, 401, 403, 404, 408, 410, 413, 422, 429, 500, 503, 599] {
            f(status, Retry, Retry);
        }
    }

    #[test]
    fn headers() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let configured = [pair("X-A", "1"), pair("x-a", "2"), pair("User-Agent", "me"), pair("Content-Length", "9")];
        let headers = fixed_headers(&configured).unwrap();
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(headers["user-agent"], "vmagent");
        assert!(!headers.contains_key("content-length"));
        let refused = fixed_headers(&[pair("X-A", "SECRET\n")]).unwrap_err();
        assert!(!refused.contains("SECRET"), "{refused}");
    }
}
