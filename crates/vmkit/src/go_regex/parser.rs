//! Parser of Go's regular expression dialect (RE2 as in Go's `regexp/syntax` with Perl extensions).
//!
//! Builds the syntax tree of the Rust engine, so that no text of the config is ever read by another dialect's rules.
//! Refuses what Go refuses, with Go's wording. It works with an explicit stack: nesting is bounded, and so is the
//! size of the tree. Groups are kept for patterns whose groups are asked for; elsewhere only "does it match" is.

mod escapes;

use std::borrow::Cow;

use regex_syntax::hir::{Capture, Class, ClassUnicode, Dot, Hir, Look, Repetition};

use super::classes;

/// Depth of the tree and of parentheses beyond this is refused.
const MAX_DEPTH: u32 = 250;
/// Ranges of all character sets of a pattern together.
const MAX_RANGES: usize = 200_000;
/// Items of a pattern together.
const MAX_PATTERN: usize = 256 << 10;

/// Why a pattern was refused, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{fragment}`")]
pub struct GoRegexError {
    reason: &'static str,
    fragment: String,
}

impl GoRegexError {
    fn new(reason: &'static str, fragment: &str) -> Self {
        Self { reason, fragment: fragment.to_owned() }
    }

    pub(super) fn too_large(pattern: &str) -> Self {
        let shown = pattern.char_indices().nth(64).map_or(pattern, |(at, _)| pattern.get(..at).unwrap_or_default());
        Self::new("expression too large", shown)
    }
}

const BAD_COUNT: &str = "invalid repeat count";
const NO_PAREN: &str = "missing closing )";
const STRAY_PAREN: &str = "unexpected )";
const TOO_DEEP: &str = "expression nests too deeply";

/// Name of a group, if it has one.
pub(super) type GroupName = Option<Box<str>>;

/// What a tree has to keep and how the dot begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    /// Whether groups become part of the tree.
    pub(super) groups: bool,
    /// Whether the dot matches line feeds from the start, as behind `(?s)`.
    pub(super) dot_newline: bool,
}

/// Tree of `pattern`, which errors quote as `^(?:pattern)$`.
pub(super) fn parse_wrapped(pattern: &str, reading: Reading) -> Result<Hir, GoRegexError> {
    let text = format!("^(?:{pattern})$");
    let mut parser = Parser::new(&text, reading);
    parser.outer_close = Some(text.len() - 2);
    let mut items = parser.run()?;
    // The anchors are ours: only what stands between them is wanted.
    items.truncate(2);
    Ok(items.pop().map_or_else(Hir::empty, |item| item.hir))
}

/// Tree of `pattern`, which errors quote as it is.
pub(super) fn parse_bare(pattern: &str, reading: Reading) -> Result<Hir, GoRegexError> {
    let items = Parser::new(pattern, reading).run()?;
    Ok(Hir::concat(items.into_iter().map(|item| item.hir).collect()))
}

/// Tree of `pattern` with its groups, and their names. An anchored one is quoted by errors as `^(?:pattern)$`.
pub(super) fn parse_groups(pattern: &str, anchored: bool) -> Result<(Hir, Vec<GroupName>), GoRegexError> {
    let text = if anchored { Cow::Owned(format!("^(?:{pattern})$")) } else { Cow::Borrowed(pattern) };
    let mut parser = Parser::new(&text, Reading { groups: true, dot_newline: false });
    parser.outer_close = anchored.then(|| text.len() - 2);
    let items = parser.run()?;
    let hir = Hir::concat(items.into_iter().map(|item| item.hir).collect());
    Ok((hir, std::mem::take(&mut parser.groups)))
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    non_greedy: bool,
}

/// A finished piece of the tree with what Go's limits need to know about it.
struct Item {
    hir: Hir,
    /// Product of nested repeat counts.
    repeats: u64,
    depth: u32,
}

impl Item {
    fn leaf(hir: Hir) -> Self {
        Self { hir, repeats: 0, depth: 1 }
    }
}

/// An open parenthesis, or the whole pattern at the bottom.
struct Frame {
    /// Number of the group that the parenthesis opened, from one, if groups are kept.
    group: Option<u32>,
    /// Flags to return to at the closing parenthesis.
    outer_flags: Flags,
    branches: Vec<Item>,
    items: Vec<Item>,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    flags: Flags,
    frames: Vec<Frame>,
    ranges: usize,
    /// Whether groups become part of the tree.
    keep_groups: bool,
    /// Names of the groups so far.
    groups: Vec<GroupName>,
    /// Where the parenthesis around a wrapped pattern has to close.
    outer_close: Option<usize>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, reading: Reading) -> Self {
        let flags = Flags { dot_newline: reading.dot_newline, ..Flags::default() };
        let bottom = Frame { group: None, outer_flags: flags, branches: Vec::new(), items: Vec::new() };
        Self {
            text,
            at: 0,
            flags,
            frames: vec![bottom],
            ranges: 0,
            keep_groups: reading.groups,
            groups: Vec::new(),
            outer_close: None,
        }
    }

    /// The items of the whole pattern.
    fn run(&mut self) -> Result<Vec<Item>, GoRegexError> {
        if self.text.len() > MAX_PATTERN {
            return Err(GoRegexError::too_large(self.text));
        }
        let mut last_repeat = None;
        while let Some(byte) = self.peek() {
            let start = self.at;
            let repeated = match byte {
                b'*' | b'+' | b'?' => {
                    self.at += 1;
                    let (min, max) = match byte {
                        b'*' => (0, None),
                        b'+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(min, max, start, last_repeat, false)?;
                    true
                }
                b'{' => match self.repeat_counts() {
                    Some((min, max)) => {
                        self.counted(min, max, start, last_repeat)?;
                        true
                    }
                    None => {
                        self.at += 1;
                        self.literal('{')?;
                        false
                    }
                },
                _ => {
                    self.item(byte)?;
                    false
                }
            };
            last_repeat = repeated.then_some(start);
        }
        let text = self.text;
        let (Some(mut bottom), true) = (self.frames.pop(), self.frames.is_empty()) else {
            return Err(GoRegexError::new(NO_PAREN, text));
        };
        if bottom.branches.is_empty() {
            return Ok(bottom.items);
        }
        Ok(vec![self.finish(&mut bottom)?])
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn span(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn fail<T>(&self, reason: &'static str, from: usize) -> Result<T, GoRegexError> {
        Err(GoRegexError::new(reason, self.span(from)))
    }

    fn top(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("BUG: the bottom frame is popped at the end only")
    }

    fn push(&mut self, hir: Hir) {
        self.top().items.push(Item::leaf(hir));
    }

    fn push_set(&mut self, class: ClassUnicode) -> Result<(), GoRegexError> {
        self.count_ranges(class.ranges().len())?;
        self.push(Hir::class(Class::Unicode(class)));
        Ok(())
    }

    fn count_ranges(&mut self, count: usize) -> Result<(), GoRegexError> {
        self.ranges += count;
        if self.ranges > MAX_RANGES { Err(GoRegexError::too_large(self.text)) } else { Ok(()) }
    }

    fn literal(&mut self, c: char) -> Result<(), GoRegexError> {
        self.rune(u32::from(c))
    }

    /// A single character, given as number because escapes may name a surrogate, which never matches.
    fn rune(&mut self, rune: u32) -> Result<(), GoRegexError> {
        let mut class = classes::set([(rune, rune)]);
        if self.flags.fold_case {
            classes::fold(&mut class);
        }
        self.push_set(class)
    }

    /// Anything but a repetition.
    fn item(&mut self, byte: u8) -> Result<(), GoRegexError> {
        let look = |parser: &mut Self, look| {
            parser.at += 1;
            parser.push(Hir::look(look));
            Ok(())
        };
        match byte {
            b'(' if self.rest().starts_with("(?") => self.open_special(),
            b'(' => {
                self.at += 1;
                self.open_group(None)
            }
            b'|' => {
                self.at += 1;
                let branch = self.concat_top()?;
                self.top().branches.push(branch);
                Ok(())
            }
            b')' => self.close(),
            b'^' => look(self, if self.flags.multi_line { Look::StartLF } else { Look::Start }),
            b'$' => look(self, if self.flags.multi_line { Look::EndLF } else { Look::End }),
            b'.' => {
                self.at += 1;
                self.push(Hir::dot(if self.flags.dot_newline { Dot::AnyChar } else { Dot::AnyCharExceptLF }));
                Ok(())
            }
            b'[' => self.class(),
            b'\\' => self.backslash(),
            _ => match self.next_char() {
                Some(c) => self.literal(c),
                None => Ok(()),
            },
        }
    }

    fn open_group(&mut self, name: Option<&str>) -> Result<(), GoRegexError> {
        self.open(self.flags)?;
        if self.keep_groups {
            self.groups.push(name.map(Into::into));
            self.top().group = u32::try_from(self.groups.len()).ok();
        }
        Ok(())
    }

    fn open(&mut self, inner: Flags) -> Result<(), GoRegexError> {
        if self.frames.len() as u32 > MAX_DEPTH {
            return Err(GoRegexError::new(TOO_DEEP, self.text));
        }
        self.frames.push(Frame { group: None, outer_flags: self.flags, branches: Vec::new(), items: Vec::new() });
        self.flags = inner;
        Ok(())
    }

    fn close(&mut self) -> Result<(), GoRegexError> {
        let outermost = self.frames.len() <= 2;
        if self.frames.len() < 2 || (outermost && self.outer_close.is_some_and(|at| at != self.at)) {
            return Err(GoRegexError::new(STRAY_PAREN, self.text));
        }
        self.at += 1;
        if let Some(mut frame) = self.frames.pop() {
            self.flags = frame.outer_flags;
            let mut item = self.finish(&mut frame)?;
            if let Some(index) = frame.group {
                item.depth += 1;
                // Go lets names repeat, the engine does not: names stay outside.
                item.hir = Hir::capture(Capture { index, name: None, sub: Box::new(item.hir) });
            }
            self.top().items.push(item);
        }
        Ok(())
    }

    /// The alternation of all branches of a frame.
    fn finish(&self, frame: &mut Frame) -> Result<Item, GoRegexError> {
        let last = self.join(std::mem::take(&mut frame.items), Hir::concat)?;
        if frame.branches.is_empty() {
            return Ok(last);
        }
        frame.branches.push(last);
        self.join(std::mem::take(&mut frame.branches), Hir::alternation)
    }

    fn concat_top(&mut self) -> Result<Item, GoRegexError> {
        let items = std::mem::take(&mut self.top().items);
        self.join(items, Hir::concat)
    }

    fn join(&self, mut items: Vec<Item>, build: fn(Vec<Hir>) -> Hir) -> Result<Item, GoRegexError> {
        if items.len() == 1
            && let Some(only) = items.pop()
        {
            return Ok(only);
        }
        let repeats = items.iter().map(|item| item.repeats).max().unwrap_or(0);
        let depth = items.iter().map(|item| item.depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            return Err(GoRegexError::new(TOO_DEEP, self.text));
        }
        Ok(Item { hir: build(items.into_iter().map(|item| item.hir).collect()), repeats, depth })
    }

    /// `(?:`, `(?i)`, `(?i:`, `(?P<name>`, `(?<name>`.
    fn open_special(&mut self) -> Result<(), GoRegexError> {
        const BAD: &str = "invalid or unsupported Perl syntax";
        let start = self.at;
        let rest = self.rest();
        if rest.starts_with("(?P<") || rest.starts_with("(?<") {
            return self.open_named(rest);
        }
        self.at += 2;
        let mut flags = self.flags;
        let (mut value, mut seen) = (true, false);
        while let Some(c) = self.next_char() {
            match c {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.non_greedy = value,
                '-' if value => value = false,
                ':' | ')' if value || seen => {
                    if c == ':' {
                        return self.open(flags);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = c != '-';
        }
        self.fail(BAD, start)
    }

    fn open_named(&mut self, rest: &'a str) -> Result<(), GoRegexError> {
        const BAD: &str = "invalid named capture";
        let Some(end) = rest.find('>') else { return Err(GoRegexError::new(BAD, rest)) };
        let whole = rest.get(..=end).unwrap_or_default();
        let name = rest.get(..end).and_then(|text| text.split_once('<')).map_or("", |(_, name)| name);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(GoRegexError::new(BAD, whole));
        }
        self.at += end + 1;
        self.open_group(Some(name))
    }

    /// Counts of `{n}`, `{n,}`, `{n,m}` at the current place, moving behind them. `None`: the brace is a literal.
    fn repeat_counts(&mut self) -> Option<(Option<u32>, Option<Option<u32>>)> {
        let body = self.rest().strip_prefix('{')?;
        let end = body.find('}')?;
        let body = body.get(..end)?;
        let (min, max) = match body.split_once(',') {
            None => (number(body)?, None),
            Some((min, "")) => (number(min)?, Some(None)),
            Some((min, max)) => (number(min)?, Some(Some(number(max)?))),
        };
        self.at += end + 2;
        // A number that is too big is reported by the caller as a missing minimum.
        Some(match max {
            None => (min, Some(min)),
            Some(None) => (min, None),
            Some(Some(None)) => (None, None),
            Some(Some(max)) => (min, Some(max)),
        })
    }

    fn counted(
        &mut self,
        min: Option<u32>,
        max: Option<Option<u32>>,
        start: usize,
        last_repeat: Option<usize>,
    ) -> Result<(), GoRegexError> {
        let max = max.flatten();
        match min {
            Some(min) if min <= 1000 && max.is_none_or(|max| max <= 1000 && min <= max) => {
                self.repeat(min, max, start, last_repeat, true)
            }
            _ => self.fail(BAD_COUNT, start),
        }
    }

    /// Repeats the last item; the operator began at `start` and the place is behind it.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        start: usize,
        last_repeat: Option<usize>,
        counted: bool,
    ) -> Result<(), GoRegexError> {
        let mut greedy = !self.flags.non_greedy;
        if self.peek() == Some(b'?') {
            self.at += 1;
            greedy = !greedy;
        }
        if let Some(before) = last_repeat {
            return self.fail("invalid nested repetition operator", before);
        }
        let Some(Item { hir, mut repeats, depth }) = self.top().items.pop() else {
            return self.fail("missing argument to repetition operator", start);
        };
        if counted {
            let count = u64::from(max.unwrap_or(min));
            // A count of zero hides what is inside, as in Go.
            repeats = count * repeats.max(1);
            if (min >= 2 || count >= 2) && repeats > 1000 {
                return self.fail(BAD_COUNT, start);
            }
        }
        if depth >= MAX_DEPTH {
            return Err(GoRegexError::new(TOO_DEEP, self.text));
        }
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(hir) });
        self.top().items.push(Item { hir, repeats, depth: depth + 1 });
        Ok(())
    }

    fn backslash(&mut self) -> Result<(), GoRegexError> {
        let look = match self.text.as_bytes().get(self.at + 1) {
            Some(b'A') => Some(Look::Start),
            Some(b'b') => Some(Look::WordAscii),
            Some(b'B') => Some(Look::WordAsciiNegate),
            Some(b'z') => Some(Look::End),
            Some(b'Q') => return self.quoted(),
            _ => None,
        };
        if let Some(look) = look {
            self.at += 2;
            self.push(Hir::look(look));
            return Ok(());
        }
        if let Some(class) = self.class_escape()? {
            return self.push_set(class);
        }
        let rune = self.escape()?;
        self.rune(rune)
    }

    /// `\Q…\E`, or to the end when there is no `\E`.
    fn quoted(&mut self) -> Result<(), GoRegexError> {
        self.at += 2;
        let rest = self.rest();
        let text = rest.split_once(r"\E").map_or(rest, |(text, _)| text);
        self.at = (self.at + text.len() + 2).min(self.text.len());
        text.chars().try_for_each(|c| self.literal(c))
    }
}

/// A count without leading zeros: `None` if it is none at all, `Some(None)` if it is too big.
fn number(digits: &str) -> Option<Option<u32>> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || (digits.len() > 1 && digits.starts_with('0'))
    {
        return None;
    }
    Some(digits.parse().ok())
}
