//! From accepted samples to the remote: batches, a queue that survives the process, and the senders.
//!
//! ```text
//! producer ─► SeriesBlock ─► Sink ─► fan-out (relabel, limits, shards) ─► per URL: labels, rounding, batch ─► queue ─► client
//! ```
//!
//! Producers (scrapes and push handlers) fill a [`SeriesBlock`] and hand it to the [`Sink`]. They never wait for a disk
//! or a remote, only for room in memory. What the sink has taken is either delivered, on disk, or counted as dropped.

mod series_block;
mod sink;

pub use series_block::{Metadata, MetricKind, Sample, Series, SeriesBlock};
pub use sink::{Intake, PushError, Sink};
