//! What compiled rules do, as data; `apply.rs` does it.

use vmkit::go_regex::{GoPattern, GoRegex};

use super::graphite::{GraphitePattern, GraphiteTemplate};
use super::sources::Sources;
use super::value::NewValue;

/// A compiled action.
#[derive(Debug)]
pub(super) enum Action {
    Replace(Replace),
    ReplaceAll { sources: Sources, pattern: GoPattern, value: NewValue, target: Box<[u8]> },
    Keep(Filter),
    Drop(Filter),
    KeepIfEqual(Sources),
    DropIfEqual(Sources),
    KeepEqual { sources: Sources, target: Box<[u8]> },
    DropEqual { sources: Sources, target: Box<[u8]> },
    KeepIfContains { sources: Sources, target: Box<[u8]> },
    DropIfContains { sources: Sources, target: Box<[u8]> },
    HashMod { sources: Sources, modulus: u64, target: Box<[u8]> },
    LabelMap { pattern: GoPattern, value: NewValue },
    LabelMapAll { pattern: GoPattern, value: NewValue },
    LabelDrop(GoRegex),
    LabelKeep(GoRegex),
    ChangeCase { sources: Sources, target: Box<[u8]>, upper: bool },
    Graphite { pattern: GraphitePattern, labels: Box<[(Box<[u8]>, GraphiteTemplate)]> },
}

/// Sources that a pattern decides about.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) sources: Sources,
    pub(super) decision: Match,
}

/// A pattern that matches or not.
#[derive(Debug)]
pub(super) enum Match {
    Everything,
    Regex(GoRegex),
}

impl Match {
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// The action `replace`.
#[derive(Debug)]
pub(super) struct Replace {
    pub(super) sources: Sources,
    pub(super) decision: Match,
    /// The same pattern with its groups; its dot does not match line feeds.
    pub(super) pattern: GoPattern,
    pub(super) value: NewValue,
    pub(super) target: NewValue,
    /// Whether the joined sources are the new value.
    pub(super) copies: bool,
    /// Whether groups have to be found at all.
    pub(super) pattern_decides: bool,
}
