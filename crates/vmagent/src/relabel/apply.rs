//! Doing what a rule says to the labels of one entry.
//!
//! Runs for every sample that is scraped or pushed: texts are put together in buffers that a thread keeps.

use std::cell::RefCell;

use vmkit::go_regex::Groups;
use xxhash_rust::xxh64::xxh64;

use super::action::{Action, Filter, Replace};
use super::graphite::{GraphitePattern, GraphiteTemplate, Stars};
use super::rule::Rule;
use super::sources::{Sources, change_case};
use super::value::NewValue;
use crate::labels::LabelBuf;

/// Buffers that rules work in.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    joined: Vec<u8>,
    value: Vec<u8>,
    target: Vec<u8>,
    groups: Groups,
    stars: Stars,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs `work` with the buffers of this thread.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| work(&mut scratch.borrow_mut()))
}

impl Rule {
    /// Applies the rule; false drops the entry.
    pub(super) fn apply(&self, labels: &mut LabelBuf, scratch: &mut Scratch) -> bool {
        if !self.conditions.is_empty() && !self.conditions.iter().any(|condition| condition.matches_buf(labels)) {
            // What `keep` does not look at is not kept.
            return !matches!(self.action, Action::Keep(_));
        }
        match &self.action {
            Action::Replace(replace) => replace.apply(labels, scratch),
            Action::Keep(filter) => return filter.is_match(labels, scratch),
            Action::Drop(filter) => return !filter.is_match(labels, scratch),
            Action::KeepIfEqual(sources) => return sources.all_equal(labels),
            Action::DropIfEqual(sources) => return !sources.all_equal(labels),
            Action::KeepEqual { sources, target } => return equals(sources, target, labels, scratch),
            Action::DropEqual { sources, target } => return !equals(sources, target, labels, scratch),
            Action::KeepIfContains { sources, target } => return contains(sources, target, labels),
            Action::DropIfContains { sources, target } => return !contains(sources, target, labels),
            Action::ReplaceAll { sources, pattern, value, target } => {
                let Scratch { joined, value: out, groups, .. } = scratch;
                out.clear();
                if value.replace_all(pattern, sources.join(labels, joined), groups, out) {
                    set(labels, target, out);
                }
            }
            Action::HashMod { sources, modulus, target } => {
                let hash = xxh64(sources.join(labels, &mut scratch.joined), 0) % modulus;
                set(labels, target, itoa::Buffer::new().format(hash).as_bytes());
            }
            Action::ChangeCase { sources, target, upper } => {
                let changed = change_case(sources.join(labels, &mut scratch.joined), *upper).into_owned();
                set(labels, target, &changed);
            }
            Action::LabelMap { pattern, value } => {
                for index in 0..labels.len() {
                    scratch.value.clear();
                    let found =
                        value.expand(pattern, labels.name(index), labels, &mut scratch.groups, &mut scratch.value);
                    if !found || !pattern.is_match(labels.name(index)) {
                        continue;
                    }
                    match labels.find(&scratch.value) {
                        Some(target) => labels.copy_value(index, target),
                        None => labels.push_copy(&scratch.value, index),
                    }
                }
            }
            Action::LabelMapAll { pattern, value } => {
                for index in 0..labels.len() {
                    scratch.value.clear();
                    if value.replace_all(pattern, labels.name(index), &mut scratch.groups, &mut scratch.value) {
                        labels.set_name(index, &scratch.value);
                    }
                }
            }
            Action::LabelDrop(regex) => labels.retain(|name, _| !regex.is_match(name)),
            Action::LabelKeep(regex) => labels.retain(|name, _| regex.is_match(name)),
            Action::Graphite { pattern, labels: wanted } => graphite(pattern, wanted, labels, scratch),
        }
        true
    }
}

impl Filter {
    fn is_match(&self, labels: &LabelBuf, scratch: &mut Scratch) -> bool {
        self.decision.is_match(self.sources.join(labels, &mut scratch.joined))
    }
}

impl Replace {
    fn apply(&self, labels: &mut LabelBuf, scratch: &mut Scratch) {
        let Scratch { joined, value, target, groups, .. } = scratch;
        let text = self.sources.join(labels, joined);
        if !self.decision.is_match(text) {
            return;
        }
        value.clear();
        target.clear();
        if self.copies {
            value.extend_from_slice(text);
        } else if !self.pattern_decides {
            self.value.write(labels, value);
        } else if !self.value.expand(&self.pattern, text, labels, groups, value) {
            value.clear();
            value.extend_from_slice(text);
        }
        // A text with line feeds is matched by the decision alone and stays as it is.
        if memchr::memchr(b'\n', text).is_some() && !self.pattern.is_match(text) {
            value.clear();
            value.extend_from_slice(text);
        }
        if !self.target.expand(&self.pattern, text, labels, groups, target) {
            return;
        }
        set(labels, target, value);
    }
}

impl NewValue {
    fn replace_all(
        &self,
        pattern: &vmkit::go_regex::GoPattern,
        text: &[u8],
        groups: &mut Groups,
        out: &mut Vec<u8>,
    ) -> bool {
        self.template().is_some_and(|template| pattern.replace_all(text, template, groups, out))
    }
}

/// Gives a label a value; an empty one counts as removed.
fn set(labels: &mut LabelBuf, name: &[u8], value: &[u8]) {
    match labels.find(name) {
        Some(index) => labels.set_value(index, value),
        None if value.is_empty() => {}
        None => labels.push(name, value),
    }
}

fn equals(sources: &Sources, target: &[u8], labels: &LabelBuf, scratch: &mut Scratch) -> bool {
    sources.join(labels, &mut scratch.joined) == labels.get(target).unwrap_or_default()
}

fn contains(sources: &Sources, target: &[u8], labels: &LabelBuf) -> bool {
    let whole = labels.get(target).unwrap_or_default();
    sources.values(labels).all(|value| memchr::memmem::find(whole, value).is_some())
}

fn graphite(
    pattern: &GraphitePattern,
    wanted: &[(Box<[u8]>, GraphiteTemplate)],
    labels: &mut LabelBuf,
    scratch: &mut Scratch,
) {
    let Scratch { joined, value, stars, .. } = scratch;
    joined.clear();
    joined.extend_from_slice(labels.get(b"__name__").unwrap_or_default());
    if !pattern.matches(joined, stars) {
        return;
    }
    for (name, template) in wanted {
        value.clear();
        template.expand(joined, stars, value);
        set(labels, name, value);
    }
}
