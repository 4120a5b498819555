//! `%{NAME}` references to environment variables in flags and config files.
//!
//! The environment is read once at the start of the process, so a reload substitutes the same values. Substitution is
//! textual and comes before any parsing: a value may carry YAML structure. Unknown and unclosed references stay as
//! they are, so that the parser behind can complain about the place.
//!
//! This file must never print a value: variables often hold credentials.

use std::collections::BTreeMap;
use std::fmt;

/// A value that refers to itself or doubles with each pass stops growing here.
const MAX_VALUE_LEN: usize = 1 << 20;

/// Environment variables with the references among themselves resolved.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// Variables of this process. Names and values that are no UTF-8 are taken with replacement characters.
    pub fn from_process() -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self::from_pairs(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    /// Variables from a list; a later pair wins over an earlier one of the same name.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut environment = Self { values };
        environment.resolve();
        environment
    }

    /// Value of a variable, references in it already replaced.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Names of all variables, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// `text` with each `%{NAME}` of a known variable replaced.
    pub fn expand(&self, text: &str) -> String {
        self.expand_within(text, usize::MAX).unwrap_or_default()
    }

    /// `None` as soon as the result would be longer than `limit`.
    fn expand_within(&self, text: &str, limit: usize) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = next_reference(rest) {
            out.push_str(before);
            match self.values.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["%{", name, "}"]),
            }
            if out.len() > limit {
                return None;
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// Repeats until nothing changes; as many passes as variables are enough for any chain without a cycle.
    fn resolve(&mut self) {
        for _ in 0..self.values.len() {
            let mut changed = Vec::new();
            for (name, value) in self.values.iter().filter(|(_, value)| value.contains("%{")) {
                match self.expand_within(value, MAX_VALUE_LEN) {
                    Some(expanded) if expanded != *value => changed.push((name.clone(), expanded)),
                    _ => {}
                }
            }
            if changed.is_empty() {
                return;
            }
            self.values.extend(changed);
        }
    }
}

/// Text before the first closed reference, its name, and the text behind it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("%{")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_known_names_only() {
        let environment = Environment::from_pairs([("A", "1"), ("B_2", "x y"), (" S ", "spaced"), ("EMPTY", "")]);
        let f = |text: &str, want: &str| assert_eq!(environment.expand(text), want);
        f("", "");
        f("plain % { } text", "plain % { } text");
        f("%{A}", "1");
        f("a%{A}b%{B_2}c", "a1bx yc");
        f("%{EMPTY}", "");
        f("%{UNKNOWN}%{A}", "%{UNKNOWN}1");
        f("%{A", "%{A");
        f("%{A}%{A", "1%{A");
        f("%{ A }%{ S }", "%{ A }spaced");
        f("%{}", "%{}");
        f("%{x%{A}}", "%{x%{A}}");
    }

    #[test]
    fn values_are_expanded_repeatedly() {
        let environment = Environment::from_pairs([("A", "a%{B}"), ("B", "b%{C}"), ("C", "c"), ("D", "%{NO}")]);
        let f = |name: &str, want: Option<&str>| assert_eq!(environment.get(name), want);
        f("A", Some("abc"));
        f("B", Some("bc"));
        f("D", Some("%{NO}"));
        f("E", None);
    }

    #[test]
    fn cycles_end() {
        let environment = Environment::from_pairs([("A", "x%{A}"), ("B", "%{B}")]);
        assert!(environment.get("A").is_some_and(|value| value.starts_with("xx") && value.ends_with("%{A}")));
        assert_eq!(environment.get("B"), Some("%{B}"));
        let doubling = (0..10).map(|i| (format!("V{i}"), format!("%{{V{0}}}%{{V{0}}}", (i + 1) % 10)));
        let environment = Environment::from_pairs(doubling);
        assert!(environment.get("V0").is_some_and(|value| value.len() <= 2 * MAX_VALUE_LEN));
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Environment::from_pairs([("A", "hunter2")])), "Environment(1 variables)");
    }
}
