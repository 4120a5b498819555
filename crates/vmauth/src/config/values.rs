//! Durations and counts in the config that must lie within a range, reported where they stand.

use super::stage::{Problems, Stage};
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::time::Duration;
use vmkit::go_text::quote;
use vmkit::units::GoDuration;
use vmkit::yaml::{At, Mark, Place, Text};

/// What to write for a duration.
pub(super) const DURATION: &str = "write a duration such as 5s";

/// Reads values of one object and reports those that are out of range; what was reported counts as left out.
pub(super) struct Values<'p> {
    pub(super) place: &'p Place<'p>,
    pub(super) stage: Stage,
    pub(super) problems: &'p mut Problems,
}

impl Values<'_> {
    /// Reports a problem of a field.
    pub(super) fn report(&mut self, field: &str, mark: Mark, message: impl Into<String>, hint: &'static str) {
        self.problems.push(self.stage, &self.place.field(field), mark, message, hint);
    }

    /// A duration.
    pub(super) fn duration(
        &mut self,
        field: &str,
        text: Option<Text<'_>>,
        range: impl RangeBounds<Duration>,
        hint: &'static str,
    ) -> Option<Duration> {
        let Text { value, mark } = text?;
        let message = match value.parse::<GoDuration>() {
            Ok(found) if found.0 >= 0 && range.contains(&found.as_std()) => return Some(found.as_std()),
            Ok(_) => format!("cannot use {} as `{field}`: want {}", quote(value), words(&range)),
            Err(error) => format!("cannot parse `{field}`: {error}"),
        };
        self.report(field, mark, message, hint);
        None
    }

    /// A number.
    pub(super) fn count(
        &mut self,
        field: &str,
        number: Option<At<i64>>,
        usual: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let Some(At { value, mark }) = number else { return usual };
        if let Some(found) = u32::try_from(value).ok().filter(|found| range.contains(found)) {
            return found;
        }
        let message = format!("cannot use {value} as `{field}`: want {} to {}", range.start(), range.end());
        self.report(field, mark, message, "");
        usual
    }
}

/// A range of durations as messages name it.
fn words(range: &impl RangeBounds<Duration>) -> String {
    let shown = |duration: &Duration| GoDuration::from(*duration);
    match (range.start_bound(), range.end_bound()) {
        (Bound::Excluded(least), _) => format!("more than {}", shown(least)),
        (Bound::Included(least), Bound::Included(most)) => format!("{} to {}", shown(least), shown(most)),
        (Bound::Included(least), _) => format!("{} or more", shown(least)),
        (Bound::Unbounded, _) => "a duration".to_owned(),
    }
}
