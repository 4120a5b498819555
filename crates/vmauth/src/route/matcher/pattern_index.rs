//! Finds the first entry with a pattern that matches a text, without trying the patterns one by one.
//!
//! Literals stand in a hash table, prefixes in a sorted list where each knows the longest shorter prefix of itself,
//! and the remaining patterns in one automaton that names the first of them that matches.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use foldhash::fast::RandomState;
use vmkit::go_regex::{self, Automaton, GoRegex, Tail, TooCostly};

/// From so many patterns on they get a common automaton.
const COMMON_PROGRAM_FROM: usize = 4;
/// Bytes a common automaton may take; patterns that need more are tried one by one.
const COMMON_PROGRAM_LIMIT: usize = 32 << 20;
/// Stands for "no parent" in [`Prefix::parent`].
const NO_PARENT: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct PatternIndex {
    /// Text → entries in ascending order.
    literals: HashMap<Box<[u8]>, Vec<u32>, RandomState>,
    /// Sorted by text.
    prefixes: Vec<Prefix>,
    /// Patterns that are neither, by ascending entry.
    programs: Vec<(u32, GoRegex)>,
    /// All of `programs` at once. Boxed: it takes a kilobyte of each of ten thousand users who have none.
    common: Option<Box<Automaton>>,
}

struct Prefix {
    text: Box<[u8]>,
    /// The longest other prefix that this one begins with.
    parent: u32,
    /// Entries in ascending order and what may follow the text.
    entries: Vec<(u32, Tail)>,
}

impl PatternIndex {
    /// Builds the index of patterns with their entries, which must ascend.
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = (u32, &'a GoRegex)>) -> Self {
        let mut index = Self::default();
        let mut prefixes: BTreeMap<&[u8], Vec<(u32, Tail)>> = BTreeMap::new();
        for (entry, pattern) in patterns {
            for simple in pattern.simple().unwrap_or_default() {
                match simple.tail {
                    Tail::Nothing => index.literals.entry(simple.text.clone()).or_default().push(entry),
                    Tail::Any { .. } => prefixes.entry(&simple.text).or_default().push((entry, simple.tail)),
                }
            }
            if pattern.simple().is_none() {
                index.programs.push((entry, pattern.clone()));
            }
        }
        for (text, entries) in prefixes {
            let parent = index.ancestor(index.prefixes.len().checked_sub(1), text);
            index.prefixes.push(Prefix { text: text.into(), parent: parent.unwrap_or(NO_PARENT), entries });
        }
        if index.programs.len() >= COMMON_PROGRAM_FROM {
            let trees: Vec<_> = index.programs.iter().filter_map(|(_, pattern)| pattern.hir().cloned()).collect();
            index.common = Automaton::build(&trees, COMMON_PROGRAM_LIMIT).map(Box::new);
        }
        index
    }

    /// The prefix `text` begins with, starting the search at `from` and going up.
    fn ancestor(&self, from: Option<usize>, text: &[u8]) -> Option<u32> {
        let mut at = u32::try_from(from?).ok()?;
        loop {
            let prefix = self.prefixes.get(at as usize)?;
            if text.starts_with(&prefix.text) {
                return Some(at);
            }
            at = prefix.parent;
        }
    }

    /// Lowers `best` to the first entry below it that matches `text` and that `accepts` agrees to.
    ///
    /// # Errors
    /// A pattern cannot be decided within the bound.
    pub(super) fn first(&self, text: &[u8], best: &mut u32, accepts: impl Accepts) -> Result<(), TooCostly> {
        if let Some(entries) = self.literals.get(text) {
            lower(best, entries.iter().copied(), &accepts)?;
        }
        if !self.prefixes.is_empty() {
            self.first_prefix(text, best, &accepts)?;
        }
        if self.programs.first().is_some_and(|(entry, _)| entry < best) {
            self.first_program(text, best, &accepts)?;
        }
        Ok(())
    }

    fn first_prefix(&self, text: &[u8], best: &mut u32, accepts: &impl Accepts) -> Result<(), TooCostly> {
        // The longest prefix of a text is the last one not above it in order, or an ancestor of that one.
        let below = self.prefixes.partition_point(|prefix| &*prefix.text <= text);
        let mut found = self.ancestor(below.checked_sub(1), text);
        while let Some(prefix) = found.and_then(|at| self.prefixes.get(at as usize)) {
            let rest = text.get(prefix.text.len()..).unwrap_or_default();
            let entries = prefix.entries.iter().filter(|(_, tail)| tail.accepts(rest)).map(|(entry, _)| *entry);
            lower(best, entries, accepts)?;
            found = Some(prefix.parent);
        }
        Ok(())
    }

    fn first_program(&self, text: &[u8], best: &mut u32, accepts: &impl Accepts) -> Result<(), TooCostly> {
        let mut from = 0;
        if let Some(common) = &self.common {
            let Some(found) = common.first(&go_regex::replace_bad_bytes(text))? else { return Ok(()) };
            from = found;
            match self.programs.get(from) {
                Some((entry, _)) if entry >= best => return Ok(()),
                Some((entry, _)) if accepts(*entry)? => {
                    *best = *entry;
                    return Ok(());
                }
                _ => from += 1,
            }
        }
        for (entry, pattern) in self.programs.get(from..).unwrap_or_default() {
            if entry >= best {
                break;
            }
            if accepts(*entry)? && pattern.matches(text)? {
                *best = *entry;
                break;
            }
        }
        Ok(())
    }
}

/// Whether the other criteria of an entry match.
pub(super) trait Accepts: Fn(u32) -> Result<bool, TooCostly> {}

impl<F: Fn(u32) -> Result<bool, TooCostly>> Accepts for F {}

/// Lowers `best` to the first of some ascending entries that is accepted.
fn lower(best: &mut u32, entries: impl Iterator<Item = u32>, accepts: &impl Accepts) -> Result<(), TooCostly> {
    let below = *best;
    for entry in entries.take_while(|entry| *entry < below) {
        if accepts(entry)? {
            *best = entry;
            break;
        }
    }
    Ok(())
}

impl fmt::Debug for PatternIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = (self.literals.len(), self.prefixes.len(), self.programs.len());
        write!(f, "PatternIndex{counts:?}")
    }
}
