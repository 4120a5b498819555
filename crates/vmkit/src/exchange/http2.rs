//! HTTP/2 on either side of the seam (RFC 9113), with frames, HPACK and flow control by the `h2` crate.
//!
//! `fields.rs` translates heads and trailers for both sides. The limits are set
//! here and never left to the defaults of the crate, which are made for clients.

#[allow(dead_code, reason = "the codecs that use it follow")]
pub(super) mod fields;
