//! Lists of `Name: value` in the config.

use super::stage::{Problems, Stage};
use crate::rewrite::header_rules::HeaderRule;
use vmkit::yaml::{Place, Text, TextList};

/// The rules of a list of headers.
pub(super) fn headers(list: &TextList<'_>, place: &Place<'_>, problems: &mut Problems) -> Vec<HeaderRule> {
    let mut rules = Vec::with_capacity(list.items.len());
    for &(index, Text { value: item, mark }) in &list.items {
        match HeaderRule::parse(item) {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                problems.push(Stage::Values, &place.index(index), mark, error.to_string(), error.hint());
            }
        }
    }
    rules
}
