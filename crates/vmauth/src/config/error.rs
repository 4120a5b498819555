//! Problems of a config: what is wrong, where, and what to write instead.
//!
//! Texts keep the literal wording that users search their logs for (`config.md` §2 and §4), with the place appended in
//! parentheses. Whoever reports a problem must have removed secrets from it already (see `redact`); this file only
//! orders, deduplicates and prints. The number of problems kept is bounded.

use super::place::{Mark, Place};
use std::borrow::Cow;
use std::fmt;

/// How many problems are kept; the rest is only counted.
const MAX_PROBLEMS: usize = 100;

/// Which check found the problem; decides its prefix and its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The text is no YAML.
    Syntax,
    /// A value has the wrong type or a field is unknown.
    Types,
    /// A value cannot be parsed: URL, regex, header, address.
    Values,
    /// `unauthorized_user`, and what concerns the whole file.
    UnauthorizedUser,
    /// Users with `jwt`.
    JwtUsers,
    /// All other users.
    Users,
}

impl Stage {
    fn prefix(self) -> &'static str {
        match self {
            Self::Syntax | Self::Values => "failed to parse auth config: cannot unmarshal AuthConfig data: ",
            Self::Types => "  ",
            Self::UnauthorizedUser => "failed to parse auth config: ",
            Self::JwtUsers => "failed to parse JWT users from auth config: ",
            Self::Users => "failed to parse users from auth config: ",
        }
    }
}

/// One problem of a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Which check found it.
    pub stage: Stage,
    /// Path of the value, such as `users[3].url_map[0].src_paths[1]`; empty for the whole file.
    pub place: String,
    /// Line of the value, from 1.
    pub line: u32,
    /// Column of the value in characters, from 1.
    pub column: u32,
    /// What is wrong, without prefix and place.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: Cow<'static, str>,
}

impl ConfigError {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.prefix())?;
        match self.stage {
            Stage::Syntax => write!(f, "yaml: line {}: {} (column {}", self.line, self.message, self.column)?,
            Stage::Types => {
                write!(f, "line {}: {} ({}, column {}", self.line, self.message, self.place(), self.column)?
            }
            _ => write!(f, "{} ({}, line {}, column {}", self.message, self.place(), self.line, self.column)?,
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        f.write_str(")")
    }

    fn place(&self) -> &str {
        if self.place.is_empty() { "top level" } else { &self.place }
    }
}

/// All problems of a config, in the order of the checks.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    problems: Vec<ConfigError>,
    omitted: usize,
}

impl ConfigErrors {
    /// The problems; never empty, at most a hundred.
    pub fn problems(&self) -> &[ConfigError] {
        &self.problems
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous = None;
        for problem in &self.problems {
            if previous.is_some() {
                f.write_str("\n")?;
            }
            if problem.stage == Stage::Types && previous != Some(Stage::Types) {
                f.write_str(
                    "failed to parse auth config: cannot unmarshal AuthConfig data: yaml: unmarshal errors:\n",
                )?;
            }
            problem.write(f)?;
            previous = Some(problem.stage);
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more problems", self.omitted)?;
        }
        Ok(())
    }
}

/// Collects problems while a config is read.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<ConfigError>,
    total: usize,
}

impl Problems {
    /// Reports a problem at `place`.
    pub(super) fn push(
        &mut self,
        stage: Stage,
        place: &Place<'_>,
        mark: Mark,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) {
        self.total += 1;
        // Twice the limit: duplicates are removed at the end.
        if self.found.len() < 2 * MAX_PROBLEMS {
            self.found.push(ConfigError {
                stage,
                place: place.to_string(),
                line: mark.line,
                column: mark.column,
                message: message.into(),
                hint: hint.into(),
            });
        }
    }

    /// Reports that the text is no YAML.
    pub(super) fn syntax(&mut self, mark: Mark, message: &str) {
        self.push(Stage::Syntax, &super::ROOT, mark, message, "");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many were reported so far.
    pub(super) fn count(&self) -> usize {
        self.total
    }

    /// Orders by stage, then problems of YAML by line and others as reported; drops what an anchor repeats.
    pub(super) fn into_errors(self) -> ConfigErrors {
        let mut problems: Vec<ConfigError> = Vec::with_capacity(self.found.len());
        for problem in self.found {
            let repeated = |known: &&ConfigError| {
                known.stage <= Stage::Values
                    && (known.line, known.column) == (problem.line, problem.column)
                    && known.message == problem.message
            };
            if !problems.iter().any(|known| repeated(&known)) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| {
            let by_line = problem.stage <= Stage::Values;
            (problem.stage, if by_line { (problem.line, problem.column) } else { (0, 0) })
        });
        problems.truncate(MAX_PROBLEMS);
        let omitted = if self.total > 2 * MAX_PROBLEMS || problems.len() == MAX_PROBLEMS {
            self.total.saturating_sub(problems.len())
        } else {
            0
        };
        ConfigErrors { problems, omitted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed_in_the_order_of_the_checks() {
        let root = Place::root();
        let users = root.field("users");
        let user = users.index(1);
        let mark = Mark::new(3, 5);
        let mut problems = Problems::default();
        problems.push(Stage::Users, &user, mark, "missing x", "add `x`");
        problems.push(Stage::Types, &user.field("foo"), mark, "field foo not found in type main.UserInfo", "");
        problems.push(Stage::Types, &user.field("foo"), mark, "field foo not found in type main.UserInfo", "");
        problems.push(Stage::Values, &user, Mark::new(9, 1), "bad url", "");
        problems.push(Stage::UnauthorizedUser, &root, mark, "no good", "");
        assert_eq!(
            problems.into_errors().to_string(),
            "failed to parse auth config: cannot unmarshal AuthConfig data: yaml: unmarshal errors:\n  \
             line 3: field foo not found in type main.UserInfo (users[1].foo, column 5)\n\
             failed to parse auth config: cannot unmarshal AuthConfig data: bad url (users[1], line 9, column 1)\n\
             failed to parse auth config: no good (top level, line 3, column 5)\n\
             failed to parse users from auth config: missing x (users[1], line 3, column 5; add `x`)"
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let mut problems = Problems::default();
        for line in 0..1_000 {
            problems.push(Stage::Users, &Place::root(), Mark::new(line, 1), "x", "");
        }
        let errors = problems.into_errors();
        assert_eq!((errors.problems().len(), errors.omitted()), (100, 900));
        assert!(errors.to_string().ends_with("\nand 900 more problems"));
    }
}
