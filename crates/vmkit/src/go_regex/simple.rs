//! Patterns that need no automaton: literals, small sets of literals, and prefixes followed by `.*` or `.+`.
//!
//! Most patterns of real configs are of this kind. The analysis works on the finished tree, so `/node[12]/.*`,
//! `/a|/b` and `/?` are found whatever way they were written; it gives up on anything larger.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// More alternatives than this are left to the automaton.
const MAX_ALTERNATIVES: usize = 64;
/// Bytes of all alternatives together.
const MAX_BYTES: usize = 16 << 10;
/// A class of more characters is not spelled out.
const MAX_CLASS: u32 = 16;

/// A text, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simple {
    /// The text that must come first.
    pub text: Box<[u8]>,
    /// What may follow it.
    pub tail: Tail,
}

/// What may follow the text of a [`Simple`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The text is all.
    Nothing,
    /// `.*`, or `.+` when `non_empty`; with `newline` the dot matches line feeds too.
    Any {
        /// Whether at least one character must follow.
        non_empty: bool,
        /// Whether a line feed may be among them.
        newline: bool,
    },
}

impl Tail {
    /// Whether `rest`, what follows the text, is allowed.
    pub fn accepts(self, rest: &[u8]) -> bool {
        match self {
            Self::Nothing => rest.is_empty(),
            Self::Any { non_empty, newline } => {
                (!non_empty || !rest.is_empty()) && (newline || memchr::memchr(b'\n', rest).is_none())
            }
        }
    }
}

impl Simple {
    /// Whether the whole text matches.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        text.strip_prefix(&*self.text).is_some_and(|rest| self.tail.accepts(rest))
    }
}

/// All alternatives of an unanchored tree, or `None` when it is not that simple.
pub(super) fn expand(hir: &Hir) -> Option<Vec<Simple>> {
    let found = alternatives(without_anchors(hir))?;
    // Bytes outside UTF-8 count as U+FFFD, which comparing bytes would miss.
    if found.iter().any(|one| memchr::memmem::find(&one.0, "\u{FFFD}".as_bytes()).is_some()) {
        return None;
    }
    Some(found.into_iter().map(|(text, tail)| Simple { text: text.into(), tail }).collect())
}

/// The items of a tree without `^` in front and `$` at the end, which the whole match implies.
fn without_anchors(hir: &Hir) -> &[Hir] {
    let mut items = match hir.kind() {
        HirKind::Concat(items) => items.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    while let [first, rest @ ..] = items
        && matches!(first.kind(), HirKind::Look(Look::Start))
    {
        items = rest;
    }
    while let [rest @ .., last] = items
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        items = rest;
    }
    items
}

type Alternatives = Vec<(Vec<u8>, Tail)>;

/// All texts of a sequence.
fn alternatives(items: &[Hir]) -> Option<Alternatives> {
    let mut all: Alternatives = vec![(Vec::new(), Tail::Nothing)];
    for item in items {
        let next = of_item(item)?;
        if all.len().saturating_mul(next.len()) > MAX_ALTERNATIVES || all.iter().any(|one| one.1 != Tail::Nothing) {
            return None;
        }
        all = all
            .iter()
            .flat_map(|(head, _)| next.iter().map(|(text, tail)| ([&head[..], text].concat(), *tail)))
            .collect();
        if all.iter().map(|one| one.0.len()).sum::<usize>() > MAX_BYTES {
            return None;
        }
    }
    Some(all)
}

fn of_item(hir: &Hir) -> Option<Alternatives> {
    match hir.kind() {
        HirKind::Empty => Some(vec![(Vec::new(), Tail::Nothing)]),
        HirKind::Literal(literal) => Some(vec![(literal.0.to_vec(), Tail::Nothing)]),
        HirKind::Concat(items) => alternatives(items),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(of_item(branch)?);
                if all.len() > MAX_ALTERNATIVES {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Class(Class::Unicode(class)) => {
            let mut all = Vec::new();
            for range in class.ranges() {
                if range.end() as u32 - range.start() as u32 >= MAX_CLASS || all.len() as u32 >= MAX_CLASS {
                    return None;
                }
                all.extend((range.start()..=range.end()).map(|c| (c.to_string().into_bytes(), Tail::Nothing)));
            }
            Some(all)
        }
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, Some(1)) => {
                let mut all = of_item(&repetition.sub)?;
                all.push((Vec::new(), Tail::Nothing));
                Some(all)
            }
            (min @ (0 | 1), None) => {
                let newline = dot(&repetition.sub)?;
                Some(vec![(Vec::new(), Tail::Any { non_empty: min == 1, newline })])
            }
            _ => None,
        },
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) | HirKind::Capture(_) => None,
    }
}

/// For a dot: whether it matches line feeds too. `None` for anything else.
fn dot(hir: &Hir) -> Option<bool> {
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return None };
    let is = |want: &[(char, char)]| class.ranges().iter().map(|r| (r.start(), r.end())).eq(want.iter().copied());
    if is(&[('\0', char::MAX)]) {
        Some(true)
    } else if is(&[('\0', '\x09'), ('\x0B', char::MAX)]) {
        Some(false)
    } else {
        None
    }
}
