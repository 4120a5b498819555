//! A text that must not be shown: passwords, tokens, keys.
//!
//! Every credential that enters the process, from a flag, a file or a header, is held in a [`Secret`], so that no log
//! line, error text or debug dump can show it. The only ways out are [`Secret::expose`], which is easy to search for,
//! and [`Secret::matches`], whose running time does not tell how many leading bytes were right.
//!
//! This file must never gain a `Display`, `Debug` or serialisation that shows the content.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Credential text; cheap to clone, prints as `secret`.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The content, for the one place that sends or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the content is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares without leaking the position of the first difference. Only the length may show in the time it takes.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if own.len() == candidate.len() {
            return verify_slices_are_equal(own, candidate).is_ok();
        }
        // A candidate of the wrong length costs the same work as one of the right length.
        let _ = verify_slices_are_equal(own, own);
        false
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_of_the_content() {
        let secret = Secret::from("hunter2".to_string());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "secret secret Some(secret)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn matches_only_the_whole_text() {
        let f = |own: &str, candidate: &str, want| assert_eq!(Secret::from(own).matches(candidate.as_bytes()), want);
        f("abc", "abc", true);
        f("abc", "abd", false);
        f("abc", "ab", false);
        f("abc", "abcd", false);
        f("", "", true);
        f("", "a", false);
    }
}
