//! Checks of configs that load and may still not mean what they say (docs/reference/lint.md).
//!
//! Each rule has an id, a severity and one function; findings have place, line, column and what to write, as errors have.
//! `vmauth lint` and `-dryRun` run them all, a (re)load those that are marked for it, so that a mistake is in the log
//! before it is in production. Nothing here changes what a config means, and no finding shows a secret.

mod credentials;
mod routes;
mod rule;
mod rules;
mod source;
mod texts;

use std::fmt;

use vmkit::yaml::Mark;

use crate::config::AuthConfig;

pub use rule::{Rule, Severity};
pub use rules::RULES;
pub use source::Source;

/// What the rules look at.
pub struct Input<'a> {
    /// The file, with variables replaced.
    pub source: &'a Source<'a>,
    /// The file as it was written, if it is YAML without its variables, too.
    pub written: Option<&'a Source<'a>>,
    /// What it means.
    pub config: &'a AuthConfig,
    /// What flags say.
    pub flags: Flags,
    /// Whether a file can be read; asked for certificates.
    pub is_readable: &'a dyn Fn(&str) -> bool,
}

/// Flags that change what a config means.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// `-maxConcurrentRequests`
    pub max_concurrent_requests: usize,
    /// Whether any listener asks for client certificates.
    pub has_mtls: bool,
}

/// Something that may not be meant.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// Path of the value; empty for the whole file.
    pub place: String,
    /// Where it stands.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, place, mark, message, hint } = self;
        let place = if place.is_empty() { "top level" } else { place };
        write!(f, "{message} ({place}, line {}, column {}", mark.line, mark.column)?;
        if !hint.is_empty() {
            write!(f, "; {hint}")?;
        }
        write!(f, ") [{}]", rule.id)
    }
}

/// Collects findings for one rule after the other.
#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn push(
        &mut self,
        rule: &'static Rule,
        source: &Source<'_>,
        place: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push_at(rule, place, source.mark(place), message, hint);
    }

    fn push_at(
        &mut self,
        rule: &'static Rule,
        place: &str,
        mark: Mark,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (message, hint) = (message.into(), hint.into());
        self.list.push(Finding { rule, place: place.to_owned(), mark, message, hint });
    }
}

/// `1 warning`, `2 warnings`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// All findings of the rules that `wants` selects, by line. Rules that a comment `lint-off: ID` of the file names are
/// left out.
pub fn lint(input: &Input<'_>, wants: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let off = input.source.switched_off();
    let mut findings = Findings::default();
    for rule in RULES.iter().filter(|rule| wants(rule) && !off.contains(&rule.id)) {
        (rule.check)(rule, input, &mut findings);
    }
    findings.list.sort_by_key(|finding| finding.mark);
    findings.list
}

/// The same for the bytes of a config that was loaded.
pub fn lint_file(
    bytes: &[u8],
    expand: &dyn Fn(&str) -> String,
    config: &AuthConfig,
    flags: Flags,
    is_readable: &dyn Fn(&str) -> bool,
    wants: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let text = String::from_utf8_lossy(bytes);
    let expanded = expand(&text);
    let Some(source) = Source::new(&expanded) else { return Vec::new() };
    let written = Source::new(&text);
    lint(&Input { source: &source, written: written.as_ref(), config, flags, is_readable }, wants)
}

#[cfg(test)]
mod tests;
