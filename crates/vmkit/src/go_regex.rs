//! Regular expressions of the config: Go's dialect of RE2, matched against a whole text.
//!
//! Config text never reaches a Rust regex parser, because the two dialects give other meanings to the same text
//! (`\d`, `[a&&b]`, `\<`, literal braces). An own parser reads Go's dialect and builds the syntax tree directly.
//! Literals, short alternations and `prefix.*` are answered by comparing bytes; the rest runs in linear time.
//!
//! A pattern must never make a request slow, the memory large or the process panic.

mod automaton;
mod classes;
mod parser;
mod pattern;
mod simple;
mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

use parser::Reading;

pub use automaton::{Automaton, TooCostly};
pub use parser::GoRegexError;
pub use pattern::{GoPattern, Groups};
pub use simple::{Simple, Tail};
pub use template::{Piece, Template};

/// Bytes that the compiled form of one pattern may take.
const PROGRAM_LIMIT: usize = 4 << 20;

/// A compiled pattern that has to match the whole text (`^(?:P)$`, docs/reference/routing.md).
#[derive(Clone)]
pub struct GoRegex {
    source: Box<str>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// Any of some literals or prefixes.
    Simple(Box<[Simple]>),
    /// Everything else; the tree is kept for automata of many patterns.
    Program(Arc<Automaton>, Box<Hir>),
}

impl GoRegex {
    /// Compiles a pattern. Errors have Go's wording for the wrapped form `^(?:P)$`.
    pub fn new(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, parser::parse_wrapped(pattern, Reading::default())?)
    }

    /// Compiles a pattern that errors are to quote as it was written, without `^(?:` and `)$`.
    ///
    /// It matches like [`GoRegex::new`]; claims of tokens are worded so (docs/reference/config.md).
    pub fn new_bare(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, parser::parse_bare(pattern, Reading::default())?)
    }

    /// Like [`GoRegex::new`], with a dot that matches line feeds too: how relabeling decides whether a rule matches.
    pub fn new_dot_all(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, parser::parse_wrapped(pattern, Reading { groups: false, dot_newline: true })?)
    }

    /// A pattern that matches exactly this text.
    pub fn literal(text: &str) -> Self {
        let simple = Simple { text: text.as_bytes().into(), tail: Tail::Nothing };
        Self { source: text.into(), kind: Kind::Simple(Box::new([simple])) }
    }

    fn compile(pattern: &str, inner: Hir) -> Result<Self, GoRegexError> {
        let kind = match simple::expand(&inner) {
            Some(list) => Kind::Simple(list.into()),
            None => {
                let hir = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
                let program = Automaton::build(std::slice::from_ref(&hir), PROGRAM_LIMIT);
                let program = program.ok_or_else(|| GoRegexError::too_large(pattern))?;
                Kind::Program(Arc::new(program), Box::new(hir))
            }
        };
        Ok(Self { source: pattern.into(), kind })
    }

    /// Whether the whole text matches. A byte that is not part of valid UTF-8 counts as U+FFFD. Time is linear, but some
    /// patterns need microseconds a byte: see [`GoRegex::matches`] for texts of strangers.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.kind {
            Kind::Simple(list) => list.iter().any(|simple| simple.is_match(text)),
            Kind::Program(program, _) => program.first_unbounded(&replace_bad_bytes(text)).is_some(),
        }
    }

    /// The same within a few milliseconds, whatever the text.
    ///
    /// # Errors
    /// It would take longer, because the pattern is costly and the text long.
    pub fn matches(&self, text: &[u8]) -> Result<bool, TooCostly> {
        match &self.kind {
            Kind::Simple(list) => Ok(list.iter().any(|simple| simple.is_match(text))),
            Kind::Program(program, _) => Ok(program.first(&replace_bad_bytes(text))?.is_some()),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The literals and prefixes this pattern consists of, if it is that simple.
    pub fn simple(&self) -> Option<&[Simple]> {
        match &self.kind {
            Kind::Simple(list) => Some(list),
            Kind::Program(..) => None,
        }
    }

    /// The anchored syntax tree of a pattern that is not simple.
    pub fn hir(&self) -> Option<&Hir> {
        match &self.kind {
            Kind::Simple(_) => None,
            Kind::Program(_, hir) => Some(hir),
        }
    }
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoRegex({:?})", self.source)
    }
}

impl PartialEq for GoRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for GoRegex {}

/// Compiles a tree for captures; `None` when it would take more than `limit` bytes.
fn build(trees: &[Hir], limit: usize) -> Option<meta::Regex> {
    let config = meta::Config::new().nfa_size_limit(Some(limit)).hybrid_cache_capacity(1 << 20);
    meta::Builder::new().configure(config).build_many_from_hir(trees).ok()
}

/// The text as Go decodes it: every byte outside valid UTF-8 becomes U+FFFD. Valid text is borrowed.
pub fn replace_bad_bytes(text: &[u8]) -> Cow<'_, [u8]> {
    if str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut valid = Vec::with_capacity(text.len() + 8);
    for chunk in text.utf8_chunks() {
        valid.extend_from_slice(chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            valid.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
    Cow::Owned(valid)
}
