//! From a written rule to a compiled one: which fields an action needs, which it must not have.
//!
//! [`RuleSpec`] has the fields of the file; [`Rule::build`] checks and compiles them. Error texts name the field and
//! the action as upstream does.

use vmkit::go_regex::{GoPattern, GoRegex, GoRegexError};

use super::action::{Action, Match, Replace};
use super::graphite::{GraphitePattern, GraphiteTemplate};
use super::rule_spec::RuleSpec;
use super::selector::{Selector, SelectorError};
use super::sources::Sources;
use super::value::NewValue;
use super::yaml_text;

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A field that the action cannot do without.
    #[error("missing `{field}` for `action={action}`")]
    Missing {
        /// Name of the field.
        field: &'static str,
        /// Name of the action.
        action: String,
    },
    /// A field that the action has no use for.
    #[error("`{field}` cannot be used for `action={action}`")]
    Unwanted {
        /// Name of the field.
        field: &'static str,
        /// Name of the action.
        action: String,
    },
    /// Fewer than two labels to compare.
    #[error("`source_labels` must contain at least two entries for `action={0}`")]
    TooFewSources(String),
    /// Zero or no number.
    #[error("unexpected `modulus` for `action=hashmod`; write an integer bigger than 0")]
    BadModulus,
    /// No such action.
    #[error("unknown `action` \"{0}\"")]
    UnknownAction(String),
    /// Go would refuse the pattern.
    #[error("cannot parse `regex` {}: {error}", vmkit::go_text::quote(.text))]
    BadRegex {
        /// The pattern.
        text: String,
        /// What is wrong.
        error: GoRegexError,
    },
    /// `if` is no selector.
    #[error("cannot parse `if`: {0}")]
    BadCondition(SelectorError),
}

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// One of these has to match, otherwise the rule is skipped.
    pub(super) conditions: Box<[Selector]>,
    pub(super) action: Action,
    yaml: Box<str>,
}

const ANY: &str = "(.*)";

impl Rule {
    pub(super) fn build(spec: &RuleSpec) -> Result<Self, RuleError> {
        let conditions = spec.conditions.iter().map(|text| Selector::parse(text)).collect::<Result<_, _>>();
        Ok(Self {
            conditions: conditions.map_err(RuleError::BadCondition)?,
            action: Fields(spec).action()?,
            yaml: yaml_text::of_rule(spec).into(),
        })
    }

    pub(super) fn yaml(&self) -> &str {
        &self.yaml
    }
}

/// The fields of a rule while an action picks its own.
struct Fields<'s>(&'s RuleSpec);

impl Fields<'_> {
    fn action(&self) -> Result<Action, RuleError> {
        let name = self.name();
        Ok(match name.as_str() {
            "replace" => Action::Replace(self.replace()?),
            "replace_all" => Action::ReplaceAll {
                sources: self.needed_sources()?,
                pattern: self.anywhere()?,
                value: NewValue::plain(self.replacement()),
                target: self.target()?,
            },
            "keep" => Action::Keep(self.filter()?),
            "drop" => Action::Drop(self.filter()?),
            "keep_metrics" => Action::Keep(self.metrics()?),
            "drop_metrics" => Action::Drop(self.metrics()?),
            "keep_if_equal" => Action::KeepIfEqual(self.equal()?),
            "drop_if_equal" => Action::DropIfEqual(self.equal()?),
            "keepequal" => Action::KeepEqual { sources: self.needed_sources()?, target: self.target()? },
            "dropequal" => Action::DropEqual { sources: self.needed_sources()?, target: self.target()? },
            "keep_if_contains" => self.contains(true)?,
            "drop_if_contains" => self.contains(false)?,
            "hashmod" => {
                let (sources, target) = (self.needed_sources()?, self.target()?);
                let modulus = self.0.modulus.filter(|&modulus| modulus > 0).ok_or(RuleError::BadModulus)?;
                Action::HashMod { sources, modulus, target }
            }
            "labelmap" => {
                Action::LabelMap { pattern: self.whole(self.regex())?, value: NewValue::plain(self.replacement()) }
            }
            "labelmap_all" => {
                Action::LabelMapAll { pattern: self.anywhere()?, value: NewValue::plain(self.replacement()) }
            }
            "labeldrop" => Action::LabelDrop(self.name_regex()?),
            "labelkeep" => Action::LabelKeep(self.name_regex()?),
            "uppercase" => Action::ChangeCase { sources: self.needed_sources()?, target: self.target()?, upper: true },
            "lowercase" => Action::ChangeCase { sources: self.needed_sources()?, target: self.target()?, upper: false },
            "graphite" => self.graphite()?,
            _ => return Err(RuleError::UnknownAction(name)),
        })
    }

    fn name(&self) -> String {
        self.0.action.as_deref().filter(|name| !name.is_empty()).unwrap_or("replace").to_lowercase()
    }

    fn missing(&self, field: &'static str) -> RuleError {
        RuleError::Missing { field, action: self.name() }
    }

    fn refuse(&self, field: &'static str, present: bool) -> Result<(), RuleError> {
        if present { Err(RuleError::Unwanted { field, action: self.name() }) } else { Ok(()) }
    }

    fn sources(&self) -> Sources {
        Sources::new(&self.0.source_labels, self.0.separator.as_deref())
    }

    fn needed_sources(&self) -> Result<Sources, RuleError> {
        if self.0.source_labels.is_empty() { Err(self.missing("source_labels")) } else { Ok(self.sources()) }
    }

    fn target_text(&self) -> Result<&str, RuleError> {
        self.0.target_label.as_deref().filter(|label| !label.is_empty()).ok_or_else(|| self.missing("target_label"))
    }

    fn target(&self) -> Result<Box<[u8]>, RuleError> {
        self.target_text().map(|label| label.as_bytes().into())
    }

    fn regex(&self) -> &str {
        self.0.regex.as_deref().unwrap_or(ANY)
    }

    fn replacement(&self) -> &str {
        self.0.replacement.as_deref().unwrap_or("$1")
    }

    fn bad_regex(&self, error: GoRegexError) -> RuleError {
        RuleError::BadRegex { text: self.regex().to_owned(), error }
    }

    fn whole(&self, text: &str) -> Result<GoPattern, RuleError> {
        GoPattern::whole(text).map_err(|error| self.bad_regex(error))
    }

    fn anywhere(&self) -> Result<GoPattern, RuleError> {
        GoPattern::anywhere(self.regex()).map_err(|error| self.bad_regex(error))
    }

    /// The decision of a whole match, in which the dot matches line feeds; `None` matches everything.
    fn decision(&self) -> Result<Match, RuleError> {
        let text = self.regex();
        if matches!(text, ANY | ".*" | "") && !text.is_empty() {
            return Ok(Match::Everything);
        }
        GoRegex::new_dot_all(text).map(Match::Regex).map_err(|error| self.bad_regex(error))
    }

    fn name_regex(&self) -> Result<GoRegex, RuleError> {
        GoRegex::new_dot_all(self.regex()).map_err(|error| self.bad_regex(error))
    }

    fn replace(&self) -> Result<Replace, RuleError> {
        let target = NewValue::plain(self.target_text()?);
        let value = NewValue::with_labels(self.replacement());
        let decision = self.decision()?;
        let pattern = self.whole(self.regex())?;
        let copies = matches!(decision, Match::Everything) && self.regex() == ANY && value.is_first_group();
        let pattern_decides = value.has_groups() || target.has_groups();
        Ok(Replace { sources: self.sources(), decision, pattern, value, target, copies, pattern_decides })
    }

    fn filter(&self) -> Result<super::action::Filter, RuleError> {
        if self.0.source_labels.is_empty() && (self.0.conditions.is_empty() || self.0.regex.is_some()) {
            return Err(self.missing("source_labels"));
        }
        Ok(super::action::Filter { sources: self.sources(), decision: self.decision()? })
    }

    fn metrics(&self) -> Result<super::action::Filter, RuleError> {
        self.refuse("source_labels", !self.0.source_labels.is_empty())?;
        if self.0.regex.is_none() && self.0.conditions.is_empty() {
            return Err(self.missing("regex"));
        }
        let sources = Sources::new(&["__name__".to_owned()], None);
        Ok(super::action::Filter { sources, decision: self.decision()? })
    }

    fn equal(&self) -> Result<Sources, RuleError> {
        if self.0.source_labels.len() < 2 {
            return Err(RuleError::TooFewSources(self.name()));
        }
        self.refuse("target_label", self.0.target_label.as_deref().is_some_and(|label| !label.is_empty()))?;
        self.refuse("regex", self.0.regex.is_some())?;
        Ok(self.sources())
    }

    fn contains(&self, keep: bool) -> Result<Action, RuleError> {
        let (target, sources) = (self.target()?, self.needed_sources()?);
        self.refuse("regex", self.0.regex.is_some())?;
        Ok(if keep { Action::KeepIfContains { sources, target } } else { Action::DropIfContains { sources, target } })
    }

    fn graphite(&self) -> Result<Action, RuleError> {
        let pattern = self.0.graphite_match.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = pattern.ok_or_else(|| self.missing("match"))?;
        if self.0.graphite_labels.is_empty() {
            return Err(self.missing("labels"));
        }
        self.refuse("source_labels", !self.0.source_labels.is_empty())?;
        self.refuse("target_label", self.0.target_label.is_some())?;
        self.refuse("replacement", self.0.replacement.is_some())?;
        self.refuse("regex", self.0.regex.is_some())?;
        let label = |(name, value): &(String, String)| (name.as_bytes().into(), GraphiteTemplate::new(value));
        Ok(Action::Graphite {
            pattern: GraphitePattern::new(pattern),
            labels: self.0.graphite_labels.iter().map(label).collect(),
        })
    }
}
