//! Units that flags and the config file are written in: durations and byte sizes.
//!
//! Both types read the grammar users already have in their files and print the canonical form that the log, `/flags`
//! and the `flag` metric show. Amounts of things in messages are written here, too. Pure: no clock, no allocation limits; a bad text is an error, never a panic.

mod bytes;
mod duration;

pub(crate) use bytes::parse_float;
pub use bytes::{ByteSize, SizeError};
pub use duration::{DurationError, GoDuration};

/// `1 warning`, `2 warnings`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
