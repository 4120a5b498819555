//! `health_check` of users and entries of `url_map`: ranges of its values, and what a file that says little means.

use super::header_lists::headers;
use super::raw::RawHealthCheck;
use super::stage::{Problems, Stage};
use super::values::{DURATION, Values};
use crate::rewrite::jwt_placeholders::Placeholder;
use crate::upstream::active_check::CheckSpec;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use vmkit::go_text::quote;
use vmkit::yaml::{At, Place, Text, TextList};

const INTERVAL: Duration = Duration::from_secs(5);
/// A shorter one would load backends instead of watching them.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const TIMEOUT: Duration = Duration::from_secs(2);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// A redirect is a good sign, as for nginx and HAProxy.
const EXPECTED: RangeInclusive<u16> = 200..=399;
const RISE: u32 = 2;
const FALL: u32 = 3;
const MOST_PROBES: u32 = 1000;

/// Names that the probe writes itself, or that frame a message.
const OWN_NAMES: [&str; 7] =
    ["connection", "content-length", "transfer-encoding", "expect", "te", "trailer", "upgrade"];

/// The check; `None` when it is switched off or cannot be used, which has been reported then.
pub(super) fn build(
    raw: &At<RawHealthCheck<'_>>,
    place: &Place<'_>,
    stage: Stage,
    problems: &mut Problems,
) -> Option<Arc<CheckSpec>> {
    let At { value: raw, mark } = raw;
    let mut values = Values { place, stage, problems };
    let interval = values.duration("interval", raw.interval, SHORTEST_INTERVAL..=LONGEST_INTERVAL, DURATION);
    let timeout = values.duration("timeout", raw.timeout, SHORTEST_TIMEOUT..=LONGEST_TIMEOUT, DURATION);
    let spec = CheckSpec {
        path: raw.path.map(|text| text.value.to_owned()).unwrap_or_default(),
        interval: interval.unwrap_or(INTERVAL),
        timeout: timeout.unwrap_or(TIMEOUT),
        expected_status: statuses(&mut values, raw.expected_status.as_ref()),
        rise: values.count("rise", raw.rise, RISE, 1..=MOST_PROBES),
        fall: values.count("fall", raw.fall, FALL, 1..=MOST_PROBES),
        headers: raw.headers.as_ref().map(|list| of_probe(&mut values, list)).unwrap_or_default(),
    };
    match raw.path {
        None if raw.damaged => None,
        None => {
            values.report("path", *mark, "missing `path` in `health_check`", "write a path such as /health");
            None
        }
        Some(path) if path.value.is_empty() => None,
        Some(path) => {
            let is_target = path.value.starts_with('/') && path.value.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_target || path.value.contains('#') {
                let hint = "write a path such as /health, without the host, and escape other characters than ASCII";
                values.report("path", path.mark, "`path` of `health_check` is no path", hint);
                return None;
            }
            Some(Arc::new(spec))
        }
    }
}

fn statuses(values: &mut Values<'_>, list: Option<&TextList<'_>>) -> Vec<RangeInclusive<u16>> {
    let mut found = Vec::new();
    for &(_, Text { value, mark }) in list.map_or(&[][..], |list| &list.items) {
        match range(value) {
            Some(range) => found.push(range),
            None => {
                let message = format!("cannot use {} as `expected_status`", quote(value));
                values.report(
                    "expected_status",
                    mark,
                    message,
                    "write a status such as 200, or a range such as 200-399",
                );
            }
        }
    }
    if found.is_empty() { vec![EXPECTED] } else { found }
}

fn of_probe(values: &mut Values<'_>, list: &TextList<'_>) -> Vec<(String, vmkit::secret::Secret)> {
    let place = values.place.field("headers");
    let rules = headers(list, &place, values.problems);
    for rule in &rules {
        let name = rule.name().to_ascii_lowercase();
        let problem = match rule.value() {
            _ if OWN_NAMES.contains(&name.as_str()) => "is written by vmauth itself",
            "" => "has no value",
            value if Placeholder::of(value).is_some() => "has a placeholder, and a probe has no token",
            _ => continue,
        };
        let message = format!("the header {} of `health_check` {problem}", quote(rule.name()));
        values.report("headers", list.mark, message, "");
    }
    rules.iter().map(|rule| (rule.name().to_owned(), rule.value().into())).collect()
}

/// `200` or `200-399`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (status(first)?, status(last)?),
        None => (status(text)?, status(text)?),
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let f = |text: &str, want: Option<RangeInclusive<u16>>| assert_eq!(range(text), want, "{text}");
        f("200", Some(200..=200));
        f("200-399", Some(200..=399));
        f("200 - 299", Some(200..=299));
        f("399-200", None);
        f("2xx", None);
        f("", None);
        f("99", None);
        f("200-", None);
        f("-1", None);
    }
}
