//! Remote write 1.0: one packed message, taken as a whole or not at all.
//!
//! The encoding is what the bytes say, because senders mislabel it: the one of `Content-Encoding` is tried first, then
//! the other. Sizes are bounded before and after unpacking. Remote write 2.0 is another message that would read as an
//! empty one: it is refused with 415, upon which senders fall back.

use super::target::{Protocol, Target};
use super::{Labelling, PushIn, Refusal, query};
use crate::remote_write::{DecodeError, Encoding, Metadata, SeriesBlock, UnpackError, Visitor, decode, unpack};
use std::time::{Duration, Instant};
use vmkit::http_server::{ReadBodyError, Request};

/// Larger bodies are unpacked and decoded off the worker.
const INLINE: usize = 64 * 1024;
/// Decoding is quick; this is for a machine that stands still.
const DECODE_LIMIT: Duration = Duration::from_secs(60);

/// What a message held.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) blocks: Vec<SeriesBlock>,
    pub(super) native_histograms: u64,
}

/// Why a body is no message.
#[derive(Debug)]
pub(super) enum BodyFault {
    Packed(String),
    Message(String),
}

impl PushIn {
    pub(super) async fn write(&self, request: &mut Request<'_>, target: &Target) -> Result<(), Refusal> {
        let counters = self.metrics.of(Protocol::Write);
        if is_version_2(request.header("content-type"), request.header("x-prometheus-remote-write-version")) {
            self.metrics.refused_v2.inc();
            return Err(Refusal::new(
                415,
                "remote write 2.0 is not supported; send remote write 1.0 (prometheus.WriteRequest)",
            ));
        }
        let zstd_first = request.header("content-encoding").is_some_and(|name| name.eq_ignore_ascii_case("zstd"));
        let started = Instant::now();
        let _slot = self.slot().await?;
        let limit = self.options.max_request_size;
        counters.read_calls.inc();
        let body = match request.read_body(limit).await {
            Ok(body) => body,
            Err(error) => {
                counters.read_errors.inc();
                let text = match &error {
                    ReadBodyError::TooLarge(_) => {
                        format!("too big data size exceeding -maxInsertRequestSize={limit} bytes")
                    }
                    ReadBodyError::TooSlow | ReadBodyError::Broken(_) => error.to_string(),
                };
                let status = if let ReadBodyError::TooLarge(_) = error { 400 } else { error.status() };
                return Err(Refusal::new(status, in_time(started, &text)));
            }
        };
        let (labelling, metadata) = (target.labelling.clone(), self.options.metadata);
        let decoded = if body.len() <= INLINE {
            read_message(&body, zstd_first, limit, &labelling, metadata)
        } else {
            let work = move || read_message(&body, zstd_first, limit, &labelling, metadata);
            let done = vmkit::blocking::off_thread(DECODE_LIMIT, work).await;
            done.map_err(|err| Refusal::new(503, format!("cannot decode the request: {err}")))?
        };
        let decoded = decoded.map_err(|fault| match fault {
            BodyFault::Packed(text) => {
                counters.read_errors.inc();
                Refusal::new(400, in_time(started, &text))
            }
            BodyFault::Message(text) => {
                counters.read_errors.inc();
                counters.unmarshal_errors.inc();
                Refusal::new(400, in_time(started, &text))
            }
        })?;
        self.metrics.native_histograms.add(decoded.native_histograms);
        for mut block in decoded.blocks {
            let (samples, entries) = (block.sample_count(), block.metadata_count());
            self.push(&mut block).await?;
            counters.taken(samples, entries);
        }
        Ok(())
    }
}

/// Whether the sender asks, as old ones do, if VictoriaMetrics' protocol is spoken here. It is.
pub(super) fn asks_version(request: &Request<'_>) -> bool {
    let asked = request.exchange.head.query().unwrap_or_default();
    query::args(asked, "get_vm_proto_version").any(|version| version == b"1")
}

fn in_time(started: Instant, text: &str) -> String {
    format!("cannot read prometheus remote_write data from client in {} seconds: {text}", started.elapsed().as_secs())
}

/// Whether the sender speaks remote write 2.0.
pub(super) fn is_version_2(content_type: Option<&str>, version: Option<&str>) -> bool {
    content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("io.prometheus.write.v2"))
        || version.is_some_and(|version| version.trim().starts_with("2."))
}

/// The series of a body. Of a faulty one, nothing is kept.
pub(super) fn read_message(
    body: &[u8],
    zstd_first: bool,
    limit: usize,
    labelling: &Labelling,
    metadata: bool,
) -> Result<Decoded, BodyFault> {
    if body.is_empty() {
        return Ok(Decoded::default());
    }
    let message = unpack_either(body, zstd_first, limit).map_err(BodyFault::Packed)?;
    let mut taker =
        Taker { labelling, metadata, block: SeriesBlock::new(), has_labels: false, decoded: Decoded::default() };
    decode(&message, &mut taker).map_err(|err: DecodeError| {
        BodyFault::Message(format!("cannot unmarshal prompb.WriteRequest with size {} bytes: {err}", message.len()))
    })?;
    taker.next_block();
    Ok(taker.decoded)
}

fn unpack_either(body: &[u8], zstd_first: bool, limit: usize) -> Result<Vec<u8>, String> {
    let (first, second) =
        if zstd_first { (Encoding::Zstd, Encoding::Snappy) } else { (Encoding::Snappy, Encoding::Zstd) };
    let failed = match unpack(first, body, limit) {
        Ok(message) => return Ok(message),
        Err(UnpackError::TooLarge(limit)) if Encoding::of(body) == first => {
            return Err(format!("too big data: decompressed size exceeds -maxInsertRequestSize={limit} bytes"));
        }
        Err(failed) => failed,
    };
    match unpack(second, body, limit) {
        Ok(message) => Ok(message),
        Err(UnpackError::TooLarge(limit)) if Encoding::of(body) == second => {
            Err(format!("too big data: decompressed size exceeds -maxInsertRequestSize={limit} bytes"))
        }
        Err(_) => {
            Err(format!("cannot decompress {}-encoded request with length {}: {failed}", first.name(), body.len()))
        }
    }
}

/// Puts what it is told into blocks that are not too large.
struct Taker<'a> {
    labelling: &'a Labelling,
    metadata: bool,
    block: SeriesBlock,
    has_labels: bool,
    decoded: Decoded,
}

impl Taker<'_> {
    fn next_block(&mut self) {
        if !self.block.is_empty() {
            self.decoded.blocks.push(std::mem::take(&mut self.block));
        }
    }
}

impl Visitor for Taker<'_> {
    fn begin_series(&mut self) {
        self.block.begin_series();
        self.has_labels = false;
    }

    fn label(&mut self, name: &[u8], value: &[u8]) {
        if self.labelling.keeps(name, value) {
            self.block.push_label(name, value);
            self.has_labels = true;
        }
    }

    fn sample(&mut self, timestamp_ms: i64, value: f64) {
        self.block.push_sample(timestamp_ms, value);
    }

    fn histogram(&mut self) {
        self.decoded.native_histograms += 1;
    }

    fn end_series(&mut self) {
        // Nobody can find a series that nothing tells apart.
        if !self.has_labels {
            return self.block.cancel_series();
        }
        self.labelling.finish(&mut self.block);
        self.block.end_series();
        if self.block.is_full() {
            self.next_block();
        }
    }

    fn metadata(&mut self, metadata: Metadata<'_>) {
        if self.metadata {
            let tenant = self.labelling.tenant.unwrap_or(metadata.tenant);
            self.block.push_metadata(Metadata { tenant, ..metadata });
        }
    }
}
