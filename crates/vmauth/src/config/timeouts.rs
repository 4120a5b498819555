//! `connect_timeout`, `response_timeout` and `request_timeout` of users and `url_map` entries.
//!
//! A field that is not written leaves what is around it in force. Zero lifts a limit, where there can be none.

use super::raw::RawTimeouts;
use super::stage::{Problems, Stage};
use super::values::Values;
use crate::upstream::timeouts::Timeouts;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;
use vmkit::yaml::Place;

const HINT: &str = "write a duration such as 30s; 0s is no limit";
const CONNECT_HINT: &str = "write a duration such as 2s";

/// The limits of an object inside one that has those of `outer`. Zeros of `request` are kept: an inner object may have a
/// limit again.
pub(super) fn inner(
    outer: Timeouts,
    raw: &RawTimeouts<'_>,
    place: &Place<'_>,
    stage: Stage,
    problems: &mut Problems,
) -> Timeouts {
    let mut values = Values { place, stage, problems };
    let above_zero = (Excluded(Duration::ZERO), Unbounded);
    Timeouts {
        connect: values.duration("connect_timeout", raw.connect, above_zero, CONNECT_HINT).or(outer.connect),
        response: values.duration("response_timeout", raw.response, Duration::ZERO.., HINT).or(outer.response),
        request: values.duration("request_timeout", raw.request, Duration::ZERO.., HINT).or(outer.request),
    }
}

/// What a target keeps of them: no limit of the whole request is the same as none written.
pub(super) fn of_target(timeouts: Timeouts) -> Timeouts {
    Timeouts { request: timeouts.request.filter(|limit| !limit.is_zero()), ..timeouts }
}
