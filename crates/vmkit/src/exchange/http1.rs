//! HTTP/1.0 and HTTP/1.1: our own codec over httparse; see `docs/request-path.md` for why, and for what it refuses.

pub(super) mod body;
pub(super) mod body_decoder;
mod chunk;
pub(super) mod client;
mod head_buffer;
pub(super) mod message_reader;
mod parse;
mod read_buffer;
pub(super) mod reply;
