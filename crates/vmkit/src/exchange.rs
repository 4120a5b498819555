//! The seam between HTTP on the wire and everything that decides about a request.
//!
//! Authentication, routing, rewriting, balancing and limits see only the types of this module: a request head, a
//! response head and the two halves that read and write one exchange. Which codec stands behind a half is not
//! visible from outside, so a protocol can be added without touching a stage of the pipeline.
//!
//! This module must never know users, routes or backends.

mod head_lines;
mod request_head;

pub use head_lines::{HeaderId, HeaderLine};
pub use request_head::{BodyKind, HeadError, RequestHead, Version};
