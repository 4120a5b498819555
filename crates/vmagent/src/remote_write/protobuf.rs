//! The remote write message, `prometheus.WriteRequest` of remote write 1.0, written and read by hand.
//!
//! Writing is a few copies per series, straight from the arena of a block into the body of a request. Reading walks the
//! bytes once and tells a [`Visitor`] what is there; it takes nothing on trust: every length is checked against what is
//! left, and unknown fields are passed over, as other implementations do (docs/reference/vmagent-remote-write.md).

mod decode;
mod encode;
mod wire;

pub use decode::{Visitor, decode};
pub(crate) use encode::{metadata_len, push_metadata, push_series, sample_len, series_head_len};
pub use wire::DecodeError;
