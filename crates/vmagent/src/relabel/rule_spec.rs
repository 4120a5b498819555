//! A relabeling rule as it is written.

/// The fields of a rule as they are written; `None` and empty lists are fields that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// `action`; `replace` when missing. Letters of any case.
    pub action: Option<String>,
    /// `if`: selectors of which one has to match.
    pub conditions: Vec<String>,
    /// `source_labels`.
    pub source_labels: Vec<String>,
    /// `separator`; `;` when missing.
    pub separator: Option<String>,
    /// `target_label`.
    pub target_label: Option<String>,
    /// `regex`; a list is joined with `|`.
    pub regex: Option<String>,
    /// `modulus`.
    pub modulus: Option<u64>,
    /// `replacement`; `$1` when missing.
    pub replacement: Option<String>,
    /// `match` of the action `graphite`.
    pub graphite_match: Option<String>,
    /// `labels` of the action `graphite`.
    pub graphite_labels: Vec<(String, String)>,
}
