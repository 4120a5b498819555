//! HTTP/2 on either side of the seam (RFC 9113), with frames, HPACK and flow control by the `h2` crate.
//!
//! ```text
//! server.rs         one connection of a client: its streams, its limits, its end
//! server_stream.rs  one exchange: the body that is read, the reply that is sent
//! exchange_tasks.rs tasks that serve one exchange of a connection after another
//! held_heads.rs     the heads that a connection holds
//! websocket.rs      extended CONNECT as an upgrade of HTTP/1 (RFC 8441)
//! frame_meter.rs    what no stream holds is bounded here; metered_io.rs lets all bytes pass it
//! client.rs         one connection to a backend, with its first frames (greeting.rs), its end (life.rs) and pings (ping.rs)
//! client_stream.rs  one exchange with it
//! fields.rs         heads and trailers, for clients and for backends
//! ```
//!
//! Limits are set by us and never left to the defaults of the crate, which are made for clients.

mod client;
mod client_stream;
mod exchange_tasks;
pub(super) mod fields;
mod frame_heads;
mod frame_meter;
mod greeting;
mod held_heads;
mod life;
mod metered_io;
mod ping;
mod reply_frames;
mod server;
mod server_stream;
mod small_frames;
mod unread_frames;
mod websocket;

pub use client::Http2Client;
pub(super) use frame_meter::PREFACE;
pub use life::Http2Stats;
pub use server::{Http2Server, Http2Settings};
