//! Relabeling: rules that rewrite, keep or drop the labels of a target or of a sample.
//!
//! Rules are read and compiled once ([`RelabelRules`]); applying them to a [`LabelBuf`] allocates nothing once its
//! buffers have grown. Actions and their edges are those of `docs/reference/vmagent-relabeling.md`; patterns are Go's
//! and go through `vmkit::go_regex`, which runs in linear time whatever the pattern.

mod action;
mod apply;
mod graphite;
mod rule;
mod rule_spec;
mod selector;
mod sources;
#[cfg(test)]
mod tests;
mod value;
mod yaml_text;

use crate::labels::{LabelBuf, Labels};

pub use rule::RuleError;
pub use rule_spec::RuleSpec;
pub use selector::{Selector, SelectorError};

use rule::Rule;

/// A list of rules in the order in which they are applied.
#[derive(Debug, Default)]
pub struct RelabelRules {
    rules: Box<[Rule]>,
}

/// What one rule did, for the debug pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// The rule as YAML.
    pub rule: String,
    /// The labels before it.
    pub before: Labels,
    /// The labels after it; empty when the rule dropped the entry.
    pub after: Labels,
}

impl RelabelRules {
    /// Compiles rules.
    ///
    /// # Errors
    /// All rules that are wrong, each with its index.
    pub fn build<'s>(specs: impl IntoIterator<Item = &'s RuleSpec>) -> Result<Self, Vec<(usize, RuleError)>> {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for (index, spec) in specs.into_iter().enumerate() {
            match Rule::build(spec) {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push((index, error)),
            }
        }
        if errors.is_empty() { Ok(Self { rules: rules.into() }) } else { Err(errors) }
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Applies all rules. False: the entry is dropped, and the labels are of no use.
    ///
    /// Labels with an empty name or value are removed at the end; an entry without labels is dropped.
    pub fn apply(&self, labels: &mut LabelBuf) -> bool {
        apply::with_scratch(|scratch| {
            if !self.rules.iter().all(|rule| rule.apply(labels, scratch)) {
                return false;
            }
            labels.remove_empty();
            !labels.is_empty()
        })
    }

    /// Applies the rules one by one and tells what each did. Ends with the rule that drops the entry, if one does.
    ///
    /// Empty labels stay until the end of the list, as in [`RelabelRules::apply`], but are not shown.
    pub fn trace(&self, labels: &mut LabelBuf) -> Vec<TraceStep> {
        let mut steps = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let before = shown(labels);
            let kept = apply::with_scratch(|scratch| rule.apply(labels, scratch));
            let after = if kept { shown(labels) } else { Labels::default() };
            steps.push(TraceStep { rule: rule.yaml().to_owned(), before, after });
            if !kept {
                labels.clear();
                break;
            }
        }
        labels.remove_empty();
        steps
    }

    /// The rules as a YAML list, in the form in which they were compiled.
    pub fn to_yaml(&self) -> String {
        self.rules.iter().map(|rule| yaml_text::list_item(rule.yaml())).collect()
    }
}

/// Two lists are equal when their rules are written alike.
impl PartialEq for RelabelRules {
    fn eq(&self, other: &Self) -> bool {
        self.rules.iter().map(Rule::yaml).eq(other.rules.iter().map(Rule::yaml))
    }
}

impl Eq for RelabelRules {}

fn shown(labels: &LabelBuf) -> Labels {
    let mut labels = labels.clone();
    labels.remove_empty();
    labels.to_labels()
}
