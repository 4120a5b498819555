//! Stand-in: a regular expression of the config, matched against whole texts.

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};

/// A compiled pattern.
#[derive(Debug)]
pub struct GoRegex {
    text: String,
    regex: Regex,
}

/// Why a pattern is refused.
#[derive(Debug, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct GoRegexError(String);

impl GoRegex {
    /// Compiles a pattern for full matches.
    ///
    /// # Errors
    /// The pattern is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, GoRegexError> {
        let mut text = String::new();
        for (at, char) in pattern.char_indices() {
            let repeats = pattern[at + char.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
            if char == '{' && !repeats && !pattern[..at].ends_with("\\p") {
                text.push('\\');
            }
            text.push(char);
        }
        let regex = Regex::new(&format!("^(?:{text})$"))
            .map_err(|_| GoRegexError(format!("invalid or unsupported syntax: `{pattern}`")))?;
        Ok(Self { text: pattern.to_owned(), regex })
    }

    /// Whether the whole of `haystack` matches.
    pub fn is_match(&self, haystack: &[u8]) -> bool {
        self.regex.is_match(Input::new(haystack).anchored(Anchored::Yes))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
