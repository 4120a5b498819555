//! `connect_timeout`, `response_timeout` and `request_timeout` of users and `url_map` entries.
//!
//! A field that is not written leaves what is around it in force. Zero lifts a limit, where there can be none.

use super::raw::RawTimeouts;
use super::stage::{Problems, Stage};
use crate::upstream::timeouts::Timeouts;
use std::time::Duration;
use vmkit::go_text::quote;
use vmkit::units::GoDuration;
use vmkit::yaml::{Place, Text};

const HINT: &str = "write a duration such as 30s; 0 is no limit";
const CONNECT_HINT: &str = "write a duration above zero, such as 2s";

/// The limits of an object inside one that has those of `outer`. Zeros of `request` are kept: an inner object may have a
/// limit again.
pub(super) fn inner(
    outer: Timeouts,
    raw: &RawTimeouts<'_>,
    place: &Place<'_>,
    stage: Stage,
    problems: &mut Problems,
) -> Timeouts {
    let mut read = |text: Option<Text<'_>>, field: &str, least: i64, hint: &'static str| -> Option<Duration> {
        let Text { value, mark } = text?;
        let parsed = value.parse::<GoDuration>();
        if let Ok(span) = parsed
            && span.0 >= least
        {
            return Some(span.as_std());
        }
        let message = match parsed {
            Ok(_) => {
                format!("{field} is {} and must be {}", quote(value), if least > 0 { "positive" } else { "at least 0" })
            }
            Err(error) => format!("cannot parse {field}: {error}"),
        };
        problems.push(stage, &place.field(field), mark, message, hint);
        None
    };
    Timeouts {
        connect: read(raw.connect, "connect_timeout", 1, CONNECT_HINT).or(outer.connect),
        response: read(raw.response, "response_timeout", 0, HINT).or(outer.response),
        request: read(raw.request, "request_timeout", 0, HINT).or(outer.request),
    }
}

/// What a target keeps of them: no limit of the whole request is the same as none written.
pub(super) fn of_target(timeouts: Timeouts) -> Timeouts {
    Timeouts { request: timeouts.request.filter(|limit| !limit.is_zero()), ..timeouts }
}
