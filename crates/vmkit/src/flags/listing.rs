//! What is shown of the flags: the start-up log, the `/flags` page and the `flag` metric.
//!
//! The one place that decides which values are masked. A flag is masked when its name smells of a credential, when
//! the table says so and no flag lifts it, or when `-secret.flags` names it; over-masking (`-tlsKeyFile`) is accepted.

use super::definition::FlagDef;
use super::flag_set::FlagSet;
use super::value::Value;
use crate::go_text::quote;
use crate::redact;

const EXTRA_NAMES: &str = "secret.flags";

/// A flag as it may be shown to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagLine {
    /// Name without dash.
    pub name: &'static str,
    /// Canonical text of the value, or `secret`.
    pub value: String,
    /// Whether the command line or the environment gave it.
    pub is_set: bool,
}

impl FlagLine {
    /// Form of the start-up log and of `/flags`: `-name="value"`.
    pub fn line(&self) -> String {
        format!("-{}={}", self.name, quote(&self.value))
    }
}

impl FlagSet {
    /// Flags that are set, sorted by name.
    pub fn listing(&self) -> Vec<FlagLine> {
        let mut lines = self.all();
        lines.retain(|line| line.is_set);
        lines
    }

    /// Every flag, sorted by name.
    pub fn all(&self) -> Vec<FlagLine> {
        let line = |(index, def): (usize, &FlagDef)| FlagLine {
            name: def.name,
            value: match self.value_at(index) {
                _ if self.is_masked(index) => "secret".to_string(),
                value if self.mask_is_lifted(def) => value.render_whole(),
                value => value.render(),
            },
            is_set: self.is_set_at(index),
        };
        let mut lines: Vec<_> = self.defs().iter().enumerate().map(line).collect();
        lines.sort_unstable_by_key(|line| line.name);
        lines
    }

    fn mask_is_lifted(&self, def: &FlagDef) -> bool {
        def.shown_by.is_some_and(|flag| self.bool(flag))
    }

    pub(super) fn is_masked(&self, index: usize) -> bool {
        let def = &self.defs()[index];
        let name = def.name.to_ascii_lowercase();
        (def.secret && !self.mask_is_lifted(def))
            || matches!(self.value_at(index), Value::Password(_))
            || redact::is_secret_name(def.name)
            || self.index_of(EXTRA_NAMES).is_some_and(|extra| match self.value_at(extra) {
                Value::Texts(names) => {
                    names.iter().any(|extra| extra.trim_start_matches('-').eq_ignore_ascii_case(&name))
                }
                _ => false,
            })
    }
}

impl std::fmt::Debug for FlagSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.all().into_iter().map(|line| (line.name, line.value))).finish()
    }
}
