//! Limits of time that a route sets for itself, in place of those of the flags (`docs/reference/balancing.md`).
//!
//! Plain values, read by the stages that wait. They never run a clock themselves.

use std::time::Duration;

use vmkit::units::GoDuration;

/// Limits of one route; `None` leaves it to the flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `connect_timeout`, positive: in place of `-dialTimeout`.
    pub connect: Option<Duration>,
    /// `response_timeout`, zero for no limit: in place of `-responseTimeout`.
    pub response: Option<Duration>,
    /// `request_timeout`, positive: from the head of the request to the last byte of the reply, all attempts together. There
    /// is no flag for it.
    pub request: Option<Duration>,
}

impl Timeouts {
    /// Those that are set, by the names of the config.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, GoDuration)> + use<> {
        let Self { connect, response, request } = *self;
        [("connect_timeout", connect), ("response_timeout", response), ("request_timeout", request)]
            .into_iter()
            .filter_map(|(name, limit)| Some((name, GoDuration::from(limit?))))
    }
}
