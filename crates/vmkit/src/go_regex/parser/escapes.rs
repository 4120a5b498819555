//! Escapes and bracketed classes of Go's dialect: `\n`, `\x{263A}`, `\101`, `\d`, `\pL`, `[a-z[:digit:]]`.
//!
//! Inside a class Go knows members, ranges and named sets only; there are no set operators, so `&&`, `--` and a
//! second `[` are ordinary members.

use regex_syntax::hir::ClassUnicode;

use super::{GoRegexError, Parser, classes};

const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_RANGE: &str = "invalid character class range";

impl Parser<'_> {
    /// `\d`, `\pL` and the like; `None` when something else stands here.
    pub(super) fn class_escape(&mut self) -> Result<Option<ClassUnicode>, GoRegexError> {
        let bytes = self.text.as_bytes();
        if self.peek() != Some(b'\\') {
            return Ok(None);
        }
        let Some(&letter) = bytes.get(self.at + 1) else { return Ok(None) };
        if letter == b'p' || letter == b'P' {
            return self.property(letter == b'P').map(Some);
        }
        let Some((class, negated)) = classes::perl(letter) else { return Ok(None) };
        self.at += 2;
        Ok(Some(self.folded(class, negated)))
    }

    fn folded(&self, mut class: ClassUnicode, negated: bool) -> ClassUnicode {
        if self.flags.fold_case {
            classes::fold(&mut class);
        }
        if negated {
            class.negate();
        }
        class
    }

    fn property(&mut self, mut negated: bool) -> Result<ClassUnicode, GoRegexError> {
        let start = self.at;
        self.at += 2;
        let name = match self.next_char() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    return Err(GoRegexError::new(BAD_RANGE, self.text.get(start..).unwrap_or_default()));
                };
                self.at += end + 1;
                self.span(start + 3).trim_end_matches('}')
            }
            _ => self.span(start + 2),
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negated = !negated;
                name
            }
            None => name,
        };
        match classes::unicode(name) {
            Some(class) => {
                self.count_ranges(class.ranges().len())?;
                Ok(self.folded(class, negated))
            }
            None => self.fail(BAD_RANGE, start),
        }
    }

    /// The character an escape such as `\n`, `\x{263A}`, `\101` or `\.` stands for.
    pub(super) fn escape(&mut self) -> Result<u32, GoRegexError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.next_char() else {
            return Err(GoRegexError::new("trailing backslash at end of expression", ""));
        };
        let octal = |byte: Option<u8>| byte.filter(|b| matches!(b, b'0'..=b'7'));
        match c {
            // A single digit would be a back-reference.
            '1'..='7' if octal(self.peek()).is_none() => {}
            '0'..='7' => {
                let mut rune = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    rune = rune * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                return Ok(rune);
            }
            'x' => {
                if let Some(rune) = self.hex() {
                    return Ok(rune);
                }
            }
            'a' => return Ok(0x07),
            'f' => return Ok(0x0C),
            'n' => return Ok(0x0A),
            'r' => return Ok(0x0D),
            't' => return Ok(0x09),
            'v' => return Ok(0x0B),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(u32::from(c)),
            _ => {}
        }
        self.fail(BAD_ESCAPE, start)
    }

    /// What follows `\x`: two digits, or any number of them in braces.
    fn hex(&mut self) -> Option<u32> {
        let first = self.next_char()?;
        if first != '{' {
            let high = first.to_digit(16);
            let low = self.next_char()?.to_digit(16);
            return Some(high? * 16 + low?);
        }
        let mut rune: Option<u32> = None;
        loop {
            let c = self.next_char()?;
            if c == '}' {
                return rune;
            }
            let value = rune.unwrap_or(0) * 16 + c.to_digit(16)?;
            if value > 0x10_FFFF {
                return None;
            }
            rune = Some(value);
        }
    }

    /// `[…]`.
    pub(super) fn class(&mut self) -> Result<(), GoRegexError> {
        let start = self.at;
        self.at += 1;
        let negated = self.peek() == Some(b'^');
        if negated {
            self.at += 1;
        }
        let mut members: Vec<(u32, u32)> = Vec::new();
        let mut sets: Vec<ClassUnicode> = Vec::new();
        let mut first = true;
        while first || self.peek() != Some(b']') {
            first = false;
            if let Some(class) = self.posix_class()? {
                sets.push(class);
            } else if let Some(class) = self.class_escape()? {
                sets.push(class);
            } else {
                members.push(self.class_range(start)?);
            }
        }
        self.at += 1;
        let mut class = classes::set(members);
        if self.flags.fold_case {
            classes::fold(&mut class);
        }
        let all = sets.iter().flat_map(|set| set.ranges()).chain(class.ranges());
        let mut class = ClassUnicode::new(all.copied().collect::<Vec<_>>());
        if negated {
            class.negate();
        }
        self.push_set(class)
    }

    /// `[:alpha:]` inside a class.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>, GoRegexError> {
        let Some(rest) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some(end) = rest.find(":]") else { return Ok(None) };
        let start = self.at;
        self.at += end + 4;
        let name = rest.get(..end).unwrap_or_default();
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        match classes::posix(name) {
            Some(class) => Ok(Some(self.folded(class, negated))),
            None => self.fail(BAD_RANGE, start),
        }
    }

    /// `a` or `a-z` inside the class that began at `class_start`.
    fn class_range(&mut self, class_start: usize) -> Result<(u32, u32), GoRegexError> {
        let start = self.at;
        let low = self.class_char(class_start)?;
        let bytes = self.text.as_bytes();
        // `[a-]` holds a hyphen.
        if self.peek() != Some(b'-') || matches!(bytes.get(self.at + 1), None | Some(b']')) {
            return Ok((low, low));
        }
        self.at += 1;
        let high = self.class_char(class_start)?;
        if high < low {
            return self.fail(BAD_RANGE, start);
        }
        Ok((low, high))
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, GoRegexError> {
        if self.peek() == Some(b'\\') {
            return self.escape();
        }
        match self.next_char() {
            Some(c) => Ok(u32::from(c)),
            None => Err(GoRegexError::new("missing closing ]", self.text.get(class_start..).unwrap_or_default())),
        }
    }
}
