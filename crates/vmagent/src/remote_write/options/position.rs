//! Items of list flags by the position of a URL.

use std::time::Duration;
use vmkit::flags::FlagSet;
use vmkit::units::GoDuration;

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    pub(super) fn into_result<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// The flags, read for each URL.
pub(super) struct ByUrl<'a> {
    pub(super) flags: &'a FlagSet,
    pub(super) urls: &'a [&'a str],
}

impl ByUrl<'_> {
    /// Empty when there is no item.
    pub(super) fn text(&self, name: &str, index: usize) -> &str {
        self.flags.text_at(name, index)
    }

    pub(super) fn int(&self, name: &str, index: usize) -> Option<i64> {
        match self.flags.ints(name) {
            [only] => Some(*only),
            items => items.get(index).copied(),
        }
    }

    /// Of a flag whose items have been checked as durations.
    pub(super) fn duration(&self, name: &str, index: usize, default: Duration) -> Duration {
        self.text(name, index).parse::<GoDuration>().map_or(default, GoDuration::as_std)
    }
}
