//! The seam between HTTP on the wire and everything that decides about a request.
//!
//! Authentication, routing, rewriting, balancing and limits see only the types of this module: a request head, a
//! reply head, and the two halves that read and write one exchange. Which protocol stands behind a half is not
//! visible from outside, so another one can be added without touching a stage of the pipeline.
//!
//! The HTTP/1 codec is our own over httparse: see `docs/request-path.md` for why, and for what it refuses.
//! This module must never know users, routes or backends.

mod body_decoder;
mod client_half;
mod deadline;
mod head_lines;
mod message_reader;
mod read_buffer;
mod reply_writer;
mod request_head;
mod response_head;
mod server_half;
mod status;
mod wire;

pub use body_decoder::BodyError;
pub use client_half::{ClientHalf, ReplyError, ReplyReader, RequestWriter};
pub use deadline::Deadline;
pub use head_lines::{HeaderId, HeaderLine};
pub use message_reader::Chunk;
pub use reply_writer::{ReplyBody, ReplyWriter, push_decimal};
pub use request_head::{BodyKind, HeadError, MAX_HEADERS, RequestHead, Version, tokens};
pub use response_head::ResponseHead;
pub use server_half::{Exchange, NoRequest, RequestBody, ServerHalf};
pub use status::reason;
pub use wire::{Stream, Wire, WireStats};
