//! HTTP/2 on either side of the seam (RFC 9113), with frames, HPACK and flow control by the `h2` crate.
//!
//! `fields.rs` translates heads and trailers for both sides; `client.rs` is the side of the backends. The limits are set
//! here and never left to the defaults of the crate, which are made for clients.

pub(super) mod client;
mod client_stream;
#[allow(dead_code, reason = "the codec of the clients' side uses more of it")]
pub(super) mod fields;
mod greeting;
mod life;
mod ping;
