//! Patterns whose groups matter: finding them in a text, and replacing what was found.
//!
//! Relabeling builds new values from groups. A search works on the text as Go decodes it, in linear time, and keeps
//! its places in a buffer of the caller, so that nothing is allocated for a sample.

use std::fmt;

use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, meta};

use super::parser::{self, GroupName};
use super::template::Template;
use super::{GoRegexError, PROGRAM_LIMIT, build, replace_bad_bytes};

/// A compiled pattern with its groups.
#[derive(Clone)]
pub struct GoPattern {
    source: Box<str>,
    program: meta::Regex,
    names: Box<[GroupName]>,
}

/// Places of the groups of one match; reused from search to search.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    slots: Vec<Option<NonMaxUsize>>,
}

impl Groups {
    /// Start and end of a group in the text that was searched; number 0 is the whole match.
    pub fn place(&self, group: usize) -> Option<std::ops::Range<usize>> {
        let at = |slot: usize| self.slots.get(slot).copied().flatten().map(NonMaxUsize::get);
        Some(at(group * 2)?..at(group * 2 + 1)?)
    }
}

impl GoPattern {
    /// A pattern that has to match the whole text.
    ///
    /// # Errors
    /// What Go refuses, with Go's wording for `^(?:P)$`, and patterns that are too large.
    pub fn whole(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, true)
    }

    /// A pattern that is looked for anywhere in a text.
    ///
    /// # Errors
    /// What Go refuses, with Go's wording, and patterns that are too large.
    pub fn anywhere(pattern: &str) -> Result<Self, GoRegexError> {
        Self::compile(pattern, false)
    }

    fn compile(pattern: &str, anchored: bool) -> Result<Self, GoRegexError> {
        let (hir, names) = parser::parse_groups(pattern, anchored)?;
        let program = build(std::slice::from_ref(&hir), PROGRAM_LIMIT);
        let program = program.ok_or_else(|| GoRegexError::too_large(pattern))?;
        Ok(Self { source: pattern.into(), program, names: names.into() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.program.is_match(&*replace_bad_bytes(text))
    }

    /// Finds the leftmost match that begins at `start` or later in valid UTF-8 and notes its groups.
    fn find(&self, text: &[u8], start: usize, groups: &mut Groups) -> bool {
        groups.slots.clear();
        groups.slots.resize((self.names.len() + 1) * 2, None);
        let input = Input::new(text).range(start..).anchored(Anchored::No);
        self.program.search_slots(&input, &mut groups.slots).is_some()
    }

    /// Number of the group that a template's name means in the match, if there is one that took part.
    fn group_named(&self, name: &str, groups: &Groups) -> Option<usize> {
        let by_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
        if by_number {
            return name.parse().ok();
        }
        let of = |(index, group): (usize, &GroupName)| (group.as_deref() == Some(name)).then_some(index + 1);
        self.names.iter().enumerate().filter_map(of).find(|&group| groups.place(group).is_some())
    }

    /// Text of the group that a template's name means.
    fn group_text<'t>(&self, name: &str, text: &'t [u8], groups: &Groups) -> Option<&'t [u8]> {
        text.get(groups.place(self.group_named(name, groups)?)?)
    }

    /// Appends the template with the groups of the whole-text match to `out`; false and nothing without a match.
    pub fn expand(&self, text: &[u8], template: &Template, groups: &mut Groups, out: &mut Vec<u8>) -> bool {
        let text = replace_bad_bytes(text);
        let found = self.find(&text, 0, groups);
        if found {
            template.expand(|name| self.group_text(name, &text, groups), out);
        }
        found
    }

    /// Appends the text to `out` with every match replaced by the template; false when there was no match.
    pub fn replace_all(&self, text: &[u8], template: &Template, groups: &mut Groups, out: &mut Vec<u8>) -> bool {
        let text = &*replace_bad_bytes(text);
        let (mut at, mut copied, mut any) = (0, 0, false);
        while at <= text.len() && self.find(text, at, groups) {
            let Some(place) = groups.place(0) else { break };
            out.extend_from_slice(text.get(copied..place.start).unwrap_or_default());
            // An empty match right behind another match is none.
            if place.end > copied || place.start == 0 {
                template.expand(|name| self.group_text(name, text, groups), out);
                any = true;
            }
            copied = place.end;
            at = next_place(text, at, place.end);
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        any
    }
}

/// Where the next search begins: behind the match, and one character further at least.
fn next_place(text: &[u8], at: usize, end: usize) -> usize {
    let first = text.get(at).copied().unwrap_or_default();
    let width = match first {
        0x00..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    };
    end.max(at + width)
}

impl fmt::Debug for GoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoPattern({:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, template: &str, text: &str) -> String {
        let mut out = Vec::new();
        let pattern = GoPattern::anywhere(pattern).unwrap();
        pattern.replace_all(text.as_bytes(), &Template::new(template), &mut Groups::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn expanded(pattern: &str, template: &str, text: &str) -> Option<String> {
        let mut out = Vec::new();
        let pattern = GoPattern::whole(pattern).unwrap();
        let found = pattern.expand(text.as_bytes(), &Template::new(template), &mut Groups::default(), &mut out);
        found.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_match_is_replaced() {
        let f = |pattern: &str, template: &str, text: &str, want: &str| {
            assert_eq!(replaced(pattern, template, text), want, "{pattern:?} {template:?} {text:?}");
        };
        f(r"\.", "_", "a.b.c", "a_b_c");
        f("x", "_", "abc", "abc");
        f("x*", "-", "axb", "-a-b-");
        f("x*", "-", "abc", "-a-b-c-");
        f("", "-", "éa", "-é-a-");
        f("", "-", "", "-");
        f("([a-z])([0-9])", "$2$1", "x1y2,z3", "1x2y,3z");
        f("^a", "b", "aaa", "baa");
        f(r"\bfoo\b", "x", "foo foobar foo", "x foobar x");
        f("(?P<n>a)(?P<n>b)", "[$n]", "ab", "[a]");
    }

    #[test]
    fn groups_of_a_whole_match() {
        let f = |pattern: &str, template: &str, text: &str, want: Option<&str>| {
            assert_eq!(expanded(pattern, template, text).as_deref(), want, "{pattern:?} {template:?} {text:?}");
        };
        f("(.*)", "$1", "abc", Some("abc"));
        f("(.*)", "$1", "a\nb", None);
        f("(?s)(.*)", "$1", "a\nb", Some("a\nb"));
        f("([^-]+)-([^-]+)-(.*)", "$3.$2.$1", "one-two-three", Some("three.two.one"));
        f("([^-]+)-([^-]+)-(.*)", "$3.$2.$1", "one-two", None);
        f("(x)(y)?", "$0:${1}1:${2}2", "x", Some("x:x1:2"));
        f("(.+)", "$1x", "v", Some(""));
        f("(.+)", "${1}x", "v", Some("vx"));
        f("(?P<first>[a-z]+)(?P<rest>.*)", "${rest}_$first", "abc123", Some("123_abc"));
        f("(.*?)/(.*)", "$1 $2", "p/q/r", Some("p q/r"));
        f("(.*)/(.*)", "$1 $2", "p/q/r", Some("p/q r"));
        f("(?U)(.*)/(.*)", "$1 $2", "p/q/r", Some("p q/r"));
        f("(a|ab)(c|bcd)?(.*)", "$1 $2 $3", "abcd", Some("a bcd "));
        f("((a)|(b))+", "$1$2$3", "ab", Some("bab"));
        f("a|b", "$0", "ab", None);
        f("(.+)", "$01-$9", "v", Some("-"));
    }

    #[test]
    fn bytes_outside_of_utf_8_are_replacement_characters() {
        let mut out = Vec::new();
        let pattern = GoPattern::whole("a(.)b").unwrap();
        assert!(pattern.expand(b"a\xffb", &Template::new("$1"), &mut Groups::default(), &mut out));
        assert_eq!(out, "\u{FFFD}".as_bytes());
    }
}
