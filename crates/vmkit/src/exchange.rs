//! The seam between HTTP on the wire and everything that decides about a request.
//!
//! Authentication, routing, rewriting, balancing and limits see only the types of this module: heads, bodies with
//! trailers, and one writer of header fields. Which protocol carries an exchange is not visible from outside, so another
//! one can be added without touching a stage of the pipeline.
//!
//! ```text
//! client ► Http1Server ┐                                                        ┌ HTTP/1 connection ► backend
//!                      ├► Exchange { head, body, reply } ► stages ► ClientExchange ┤
//! client ► ServerCodec ┘                                                        └ SharedConnection  ► backend
//! ```
//!
//! A *connection* carries one exchange after another (HTTP/1) or many at once; a *stream* is what carries one exchange.
//! Deadlines, the client's leaving, stalled writes and the end of a reply belong to the stream. HTTP/1 is known to these
//! types by name, so that its path has no indirect call; other codecs stand behind the traits of `stream.rs`.
//! This module must never know users, routes or backends.

mod body_error;
mod client_exchange;
mod date;
mod deadline;
mod draining;
mod framing;
pub mod grpc;

pub(crate) mod handover;
mod hang_up;
mod head_budget;
mod head_error;
mod head_lines;
mod head_syntax;
mod header_list;
mod header_writer;
mod http1;
mod http1_server;
mod http2;
mod message;
mod reply_error;
mod reply_reader;
mod reply_writer;
mod request_body;
mod request_head;
mod response_head;
mod server_codec;
mod stall;
mod status;
mod stream;
mod stream_reply;
mod stream_sender;
mod wire;

pub use body_error::BodyError;
pub use client_exchange::{ClientExchange, ReplyReader, RequestWriter};
pub use deadline::Deadline;
pub use draining::Draining;
pub use framing::{BodyKind, Version};
pub use hang_up::PeerWatch;
pub use head_budget::HeadBudget;
pub use head_error::HeadError;
pub use head_lines::{HeaderId, HeaderLine, same_or_twin, tokens};
pub use header_list::HeaderList;
pub use header_writer::HeaderWriter;
pub use http1_server::{Exchange, Http1Server, NoRequest};
pub use http2::{Http2Client, Http2Server, Http2Settings, Http2Stats};
pub use message::{Chunk, HeadOut, ReplyBody, RequestLine};
pub use reply_error::{Refusal, ReplyError};
pub use reply_writer::ReplyWriter;
pub use request_body::RequestBody;
pub use request_head::{MAX_HEADERS, RequestHead, RequestParts};
pub use response_head::{ResponseHead, ResponseParts};
pub use server_codec::{Exchanges, ServerCodec, StreamExchange};
pub use status::reason;
pub use stream::{ClientCodec, RecvReply, RecvStream, SendStream, SharedConnection};
pub use wire::{Stream, Wire, WireStats};

/// Appends decimal digits.
pub fn push_decimal(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}
