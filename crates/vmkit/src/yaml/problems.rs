//! Problems of a config: what is wrong, where, and what to write instead.
//!
//! Which checks there are, in which order and under which prefix they speak, is the program's: its [`Stage`]. This file
//! only orders, deduplicates and prints. Whoever reports a problem must have removed secrets from it already. The
//! number of problems kept is bounded.

use super::place::{Mark, Place};
use std::borrow::Cow;
use std::fmt;

/// How many problems are kept; the rest is only counted.
const MAX_PROBLEMS: usize = 100;

/// The checks of one program's config, in the order in which their problems are listed.
pub trait Stage: Copy + Ord + fmt::Debug + 'static {
    /// The text is no YAML.
    const SYNTAX: Self;
    /// A value has the wrong type or a field is unknown.
    const TYPES: Self;
    /// Whether a problem begins with its place and ends with what others may look for, instead of a prefix.
    const PLACE_FIRST: bool = false;

    /// Stands before each problem of this stage.
    fn prefix(self) -> &'static str;

    /// A line of its own before the first problem of this stage.
    fn heading(self) -> Option<&'static str> {
        None
    }

    /// Whether problems are listed by line, once even if an anchor repeats them; otherwise as they were reported.
    fn is_by_line(self) -> bool {
        self <= Self::TYPES
    }
}

/// One problem of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<S> {
    /// Which check found it.
    pub stage: S,
    /// Path of the value, such as `users[3].url_map[0].src_paths[1]`; empty for the whole file. With several files it
    /// begins with the name of its own: `b.yml:users[3]`, `b.yml`.
    pub place: String,
    /// Number of its file, from 0.
    pub file: usize,
    /// Line of the value, from 1.
    pub line: u32,
    /// Column of the value in characters, from 1.
    pub column: u32,
    /// What is wrong, without prefix and place.
    pub message: String,
    /// The same without the names of another program's types; empty = `message` has none.
    pub plain: String,
    /// What to write instead; may be empty.
    pub hint: Cow<'static, str>,
}

impl<S: Stage> Problem<S> {
    /// Place, what is wrong, what to write; at last the words of the original where they differ.
    fn place_first(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, line, column, message, plain, hint, .. } = self;
        match *stage == S::SYNTAX {
            true if self.place.is_empty() => write!(f, "line {line}, column {column}: yaml: ")?,
            true => write!(f, "{} (line {line}, column {column}): yaml: ", self.place)?,
            false => write!(f, "{} (line {line}, column {column}): ", self.place())?,
        }
        f.write_str(if plain.is_empty() { message } else { plain })?;
        if !hint.is_empty() {
            write!(f, "; {hint}")?;
        }
        if plain.is_empty() { Ok(()) } else { write!(f, " [{message}]") }
    }

    fn place(&self) -> &str {
        if self.place.is_empty() { "top level" } else { &self.place }
    }
}

impl<S: Stage> fmt::Display for Problem<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if S::PLACE_FIRST {
            return self.place_first(f);
        }
        let Self { stage, line, column, message, hint, .. } = self;
        f.write_str(stage.prefix())?;
        if *stage == S::SYNTAX {
            write!(f, "yaml: line {line}: {message} (column {column}")?;
        } else if *stage == S::TYPES {
            write!(f, "line {line}: {message} ({}, column {column}", self.place())?;
        } else {
            write!(f, "{message} ({}, line {line}, column {column}", self.place())?;
        }
        if !hint.is_empty() {
            write!(f, "; {hint}")?;
        }
        f.write_str(")")
    }
}

/// All problems of a config, in the order of the checks; never empty.
#[derive(Debug)]
pub struct ProblemList<S> {
    problems: Vec<Problem<S>>,
    omitted: usize,
}

impl<S: Stage> ProblemList<S> {
    /// The problems; at most a hundred.
    pub fn problems(&self) -> &[Problem<S>] {
        &self.problems
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<S: Stage> fmt::Display for ProblemList<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous = None;
        for problem in &self.problems {
            if previous.is_some() {
                f.write_str("\n")?;
            }
            if !S::PLACE_FIRST
                && previous != Some(problem.stage)
                && let Some(heading) = problem.stage.heading()
            {
                writeln!(f, "{heading}")?;
            }
            problem.fmt(f)?;
            previous = Some(problem.stage);
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more problems", self.omitted)?;
        }
        Ok(())
    }
}

impl<S: Stage> std::error::Error for ProblemList<S> {}

/// Collects problems while a config is read.
#[derive(Debug)]
pub struct Problems<S> {
    found: Vec<Problem<S>>,
    total: usize,
    file: usize,
}

impl<S> Default for Problems<S> {
    fn default() -> Self {
        Self { found: Vec::new(), total: 0, file: 0 }
    }
}

impl<S: Stage> Problems<S> {
    /// What is reported from now on concerns the file of this number.
    pub fn in_file(&mut self, file: usize) {
        self.file = file;
    }

    /// Reports a problem at `place`.
    pub fn push(
        &mut self,
        stage: S,
        place: &Place<'_>,
        mark: Mark,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) {
        self.push_plain(stage, place, mark, "", message, hint);
    }

    /// The same for a message with names of another program's types, and its words without them.
    pub fn push_plain(
        &mut self,
        stage: S,
        place: &Place<'_>,
        mark: Mark,
        plain: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) {
        self.total += 1;
        // Twice the limit: duplicates are removed at the end.
        if self.found.len() < 2 * MAX_PROBLEMS {
            self.found.push(Problem {
                stage,
                place: place.to_string(),
                file: self.file,
                line: mark.line,
                column: mark.column,
                message: message.into(),
                plain: plain.into(),
                hint: hint.into(),
            });
        }
    }

    /// Reports that the text is no YAML.
    pub fn syntax(&mut self, root: &Place<'_>, mark: Mark, message: &str) {
        self.push(S::SYNTAX, root, mark, message, "");
    }

    /// Forgets unknown and repeated fields, for configs that are read without strictness.
    pub fn forgive_fields(&mut self) {
        let before = self.found.len();
        self.found.retain(|problem| problem.stage != S::TYPES || !problem.message.starts_with("field "));
        self.total -= before - self.found.len();
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many were reported so far.
    pub fn count(&self) -> usize {
        self.total
    }

    /// Orders by stage and file, then by line or as reported; drops what an anchor repeats.
    pub fn into_list(self) -> ProblemList<S> {
        let mut problems: Vec<Problem<S>> = Vec::with_capacity(self.found.len());
        for problem in self.found {
            let repeated = |known: &&Problem<S>| {
                known.stage.is_by_line()
                    && (known.file, known.line, known.column) == (problem.file, problem.line, problem.column)
                    && known.message == problem.message
            };
            if !problems.iter().any(|known| repeated(&known)) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| {
            let by_line = problem.stage.is_by_line();
            (problem.stage, problem.file, if by_line { (problem.line, problem.column) } else { (0, 0) })
        });
        problems.truncate(MAX_PROBLEMS);
        let omitted = if self.total > 2 * MAX_PROBLEMS || problems.len() == MAX_PROBLEMS {
            self.total.saturating_sub(problems.len())
        } else {
            0
        };
        ProblemList { problems, omitted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Check {
        Syntax,
        Types,
        Values,
        Users,
    }

    impl Stage for Check {
        const SYNTAX: Self = Self::Syntax;
        const TYPES: Self = Self::Types;

        fn prefix(self) -> &'static str {
            match self {
                Self::Syntax | Self::Values => "cannot parse: ",
                Self::Types => "  ",
                Self::Users => "bad users: ",
            }
        }

        fn heading(self) -> Option<&'static str> {
            (self == Self::Types).then_some("cannot parse: wrong types:")
        }

        fn is_by_line(self) -> bool {
            self <= Self::Values
        }
    }

    #[test]
    fn all_problems_are_listed_in_the_order_of_the_checks() {
        let root = Place::root();
        let users = root.field("users");
        let user = users.index(1);
        let mark = Mark::new(3, 5);
        let mut problems = Problems::default();
        problems.push(Check::Users, &user, mark, "missing x", "add `x`");
        problems.push(Check::Types, &user.field("foo"), mark, "field foo not found in type main.UserInfo", "");
        problems.push(Check::Types, &user.field("foo"), mark, "field foo not found in type main.UserInfo", "");
        problems.push(Check::Values, &user, Mark::new(9, 1), "bad url", "");
        problems.push(Check::Users, &root, Mark::new(1, 1), "no good", "");
        assert_eq!(
            problems.into_list().to_string(),
            "cannot parse: wrong types:\n  \
             line 3: field foo not found in type main.UserInfo (users[1].foo, column 5)\n\
             cannot parse: bad url (users[1], line 9, column 1)\n\
             bad users: missing x (users[1], line 3, column 5; add `x`)\n\
             bad users: no good (top level, line 1, column 1)"
        );
    }

    #[test]
    fn unknown_fields_can_be_forgiven() {
        let mut problems = Problems::default();
        let mark = Mark::new(1, 1);
        problems.push(Check::Types, &Place::root(), mark, "field x not found in type T", "");
        problems.push(Check::Types, &Place::root(), mark, "cannot unmarshal !!str `y` into int", "");
        problems.forgive_fields();
        assert_eq!(problems.count(), 1);
        assert!(problems.into_list().to_string().contains("into int"));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut problems = Problems::default();
        for line in 0..1_000 {
            problems.push(Check::Users, &Place::root(), Mark::new(line, 1), "x", "");
        }
        let errors = problems.into_list();
        assert_eq!((errors.problems().len(), errors.omitted()), (100, 900));
        assert!(errors.to_string().ends_with("\nand 900 more problems"));
    }
}
