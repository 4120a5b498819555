//! From accepted samples to the remote: batches, a queue that survives the process, and the senders.
//!
//! ```text
//! producer ─► SeriesBlock ─► Sink ─► fan-out (relabel, limits, shards) ─► per URL: labels, rounding, batch ─► queue ─► client
//! ```
//!
//! Producers (scrapes and push handlers) fill a [`SeriesBlock`] and hand it to the [`Sink`]. They never wait for a disk
//! or a remote, only for room in memory. What the sink has taken is either delivered, on disk, or counted as dropped.

mod backoff;
mod batch;
mod compression;
mod connection;
mod credentials;
mod external_labels;
mod fan_out;
mod flags;
mod log_limit;
mod metrics;
mod options;
mod pipeline;
mod protobuf;
mod queue;
mod rate_limit;
mod rounding;
mod sender;
mod series_block;
mod series_limit;
mod shards;
mod sink;
mod url;

pub use compression::{Encoding, Packer, UnpackError, unpack};
pub use credentials::{Credentials, SecretSource};
pub use fan_out::{LabelLimits, RuleSets};
pub use flags::FLAGS;
pub use options::{RemoteWriteOptions, UrlOptions};
pub use pipeline::RemoteWrite;
pub use protobuf::{DecodeError, Visitor, decode};
pub use queue::StoredBlocks;
pub use rounding::Rounding;
pub use series_block::{Metadata, MetricKind, Sample, Series, SeriesBlock};
pub use series_limit::SeriesLimit;
pub use shards::{ShardLabels, Shards};
pub use sink::{Intake, PushError, Room, Sink};

/// Whether bytes from a queue's files are a block that a remote can read. What is too large to look into is believed.
fn block_is_whole(block: &[u8]) -> bool {
    const LIMIT: usize = 256 << 20;
    match unpack(Encoding::of(block), block, LIMIT) {
        Ok(message) => decode(&message, &mut ()).is_ok(),
        Err(UnpackError::TooLarge(_)) => true,
        Err(UnpackError::Snappy(_) | UnpackError::Zstd(_)) => false,
    }
}
