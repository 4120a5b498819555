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

use vmkit::config_files::ConfigFile;
use vmkit::yaml::Mark;

use crate::config::AuthConfig;

pub use rule::{Rule, Severity};
pub use rules::RULES;
pub use source::Source;

/// What the rules look at.
pub struct Input<'a> {
    /// The files, with variables replaced.
    pub source: &'a Source<'a>,
    /// The files as they were written; of those that are YAML without their variables, too.
    pub written: &'a Source<'a>,
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
    /// Name of its file; empty if there is only one, or none in particular.
    pub file: String,
    /// Path of the value, behind the name of its file and a colon if there are several; empty for the whole config.
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
        let Self { rule, place, mark, message, hint, .. } = self;
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
        self.list.push(Finding { rule, file: String::new(), place: place.to_owned(), mark, message, hint });
    }
}

/// All findings of the rules that `wants` selects, by file and line. Rules that a comment `lint-off: ID` of their file
/// names are left out.
pub fn lint(input: &Input<'_>, wants: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut findings = Findings::default();
    for rule in RULES.iter().filter(|rule| wants(rule)) {
        (rule.check)(rule, input, &mut findings);
    }
    let source = input.source;
    let mut list: Vec<_> = findings.list.into_iter().map(|finding| (source.file_of(&finding.place), finding)).collect();
    list.retain(|((file, _), finding)| !source.switched_off(*file).contains(&finding.rule.id));
    list.sort_by_key(|((file, _), finding)| (*file, finding.mark));
    list.into_iter().map(|((_, file), finding)| Finding { file: file.to_owned(), ..finding }).collect()
}

/// The same for the files of a config that was loaded.
pub fn lint_files(
    files: &[ConfigFile],
    expand: &dyn Fn(&str) -> String,
    config: &AuthConfig,
    flags: Flags,
    is_readable: &dyn Fn(&str) -> bool,
    wants: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let texts: Vec<_> = files.iter().map(|file| (&*file.name, String::from_utf8_lossy(&file.bytes))).collect();
    let expanded: Vec<_> = texts.iter().map(|(name, text)| (*name, expand(text))).collect();
    let source = Source::new(expanded.iter().map(|(name, text)| (*name, text.as_str())));
    let has_variables = texts.iter().zip(&expanded).any(|((_, written), (_, text))| **written != **text);
    let written = has_variables.then(|| Source::new(texts.iter().map(|(name, text)| (*name, &**text))));
    let written = written.as_ref().unwrap_or(&source);
    lint(&Input { source: &source, written, config, flags, is_readable }, wants)
}

/// What `-auth.strictVariables` refuses, one text each.
pub fn unset_variables(files: &[ConfigFile], expand: &dyn Fn(&str) -> String, config: &AuthConfig) -> Vec<String> {
    let flags = Flags { max_concurrent_requests: usize::MAX, has_mtls: true };
    let found = lint_files(files, expand, config, flags, &|_| true, |rule| rule.id == "unset-variable");
    let problem = |Finding { place, mark, message, hint, .. }: Finding| {
        format!("{place} (line {}, column {}): {message}; {hint}", mark.line, mark.column)
    };
    found.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests;
