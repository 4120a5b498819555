//! New values: replacement texts with groups of the match and `{{label}}` references.

use vmkit::go_regex::{GoPattern, Groups, Template};

use crate::labels::LabelBuf;

/// A replacement text.
#[derive(Debug)]
pub(super) struct NewValue {
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Template(Template),
    /// The value of this label.
    Label(Box<[u8]>),
}

impl NewValue {
    /// A text in which both groups and `{{label}}` are replaced.
    pub(super) fn with_labels(text: &str) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { break };
            if !before.is_empty() {
                parts.push(Part::Template(Template::new(before)));
            }
            parts.push(Part::Label(name.as_bytes().into()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Template(Template::new(rest)));
        }
        Self { parts: parts.into() }
    }

    /// A text in which groups are replaced.
    pub(super) fn plain(text: &str) -> Self {
        Self { parts: Box::new([Part::Template(Template::new(text))]) }
    }

    /// Whether groups of the match are part of it.
    pub(super) fn has_groups(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Template(template) if template.literal().is_none()))
    }

    /// The text itself when there is no reference to a label.
    pub(super) fn template(&self) -> Option<&Template> {
        match &*self.parts {
            [Part::Template(template)] => Some(template),
            _ => None,
        }
    }

    /// Whether it is the whole match of the default pattern: `$1` alone.
    pub(super) fn is_first_group(&self) -> bool {
        matches!(&*self.parts, [Part::Template(template)] if *template == Template::new("$1"))
    }

    /// Appends the value where the pattern matches the whole of `text`; false where it does not.
    pub(super) fn expand(
        &self,
        pattern: &GoPattern,
        text: &[u8],
        labels: &LabelBuf,
        groups: &mut Groups,
        out: &mut Vec<u8>,
    ) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Label(name) => {
                out.extend_from_slice(labels.get(name).unwrap_or_default());
                true
            }
            Part::Template(template) => match template.literal() {
                Some(literal) => {
                    out.extend_from_slice(literal.as_bytes());
                    true
                }
                None => pattern.expand(text, template, groups, out),
            },
        })
    }

    /// Appends the value of a text without groups.
    pub(super) fn write(&self, labels: &LabelBuf, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Label(name) => out.extend_from_slice(labels.get(name).unwrap_or_default()),
                Part::Template(template) => {
                    out.extend_from_slice(template.literal().unwrap_or_default().as_bytes());
                }
            }
        }
    }
}
