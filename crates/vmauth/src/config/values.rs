//! Durations and counts in the config that must lie within a range.

use super::stage::{Problems, Stage};
use std::ops::RangeInclusive;
use std::time::Duration;
use vmkit::go_text::quote;
use vmkit::units::GoDuration;
use vmkit::yaml::{Mark, Place, Text};

/// Reads values of one object and reports those that are out of range; what was reported counts as left out.
pub(super) struct Values<'p> {
    pub(super) place: &'p Place<'p>,
    pub(super) mark: Mark,
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
        usual: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(Text { value, mark }) = text else { return usual };
        let parsed = value.parse::<GoDuration>().ok().and_then(GoDuration::positive);
        if let Some(found) = parsed.filter(|found| range.contains(found)) {
            return found;
        }
        let (least, most) = (GoDuration::from(*range.start()), GoDuration::from(*range.end()));
        let message = format!("cannot use {} as `{field}`: want {least} to {most}", quote(value));
        self.report(field, mark, message, "write a duration such as 5s");
        usual
    }

    /// A number.
    pub(super) fn count(&mut self, field: &str, number: Option<i64>, usual: u32, range: RangeInclusive<u32>) -> u32 {
        let Some(number) = number else { return usual };
        if let Some(found) = u32::try_from(number).ok().filter(|found| range.contains(found)) {
            return found;
        }
        let message = format!("cannot use {number} as `{field}`: want {} to {}", range.start(), range.end());
        self.report(field, self.mark, message, "");
        usual
    }
}
