//! What a rule is.

use super::{Findings, Input};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; never fails a command.
    Note,
    /// Most likely a mistake, or unsafe.
    Warning,
}

impl Severity {
    /// `note` or `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

/// A rule.
pub struct Rule {
    /// What switches it off.
    pub id: &'static str,
    /// How much its findings matter.
    pub severity: Severity,
    /// What it finds, in one sentence.
    pub summary: &'static str,
    /// Whether a (re)load logs its findings.
    pub at_load: bool,
    pub(super) check: fn(&'static Self, &Input<'_>, &mut Findings),
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}
