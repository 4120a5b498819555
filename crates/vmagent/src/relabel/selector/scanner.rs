//! Words of a selector: names, quoted strings and signs, with blanks between them skipped.

/// Reads a text from left to right.
pub(super) struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text.trim_start() }
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether a sign comes next.
    pub(super) fn comes(&self, sign: char) -> bool {
        self.rest.starts_with(sign)
    }

    /// Moves behind a sign if it comes next.
    pub(super) fn take(&mut self, sign: char) -> bool {
        self.comes(sign) && self.skip(sign.len_utf8())
    }

    /// Moves behind a text if it comes next.
    pub(super) fn take_text(&mut self, text: &str) -> bool {
        self.rest.starts_with(text) && self.skip(text.len())
    }

    /// Moves behind a word if it comes next, in letters of any case.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let same = self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let ends = self.rest.get(word.len()..).is_some_and(|rest| !rest.starts_with(name_char));
        same && ends && self.skip(word.len())
    }

    /// A name: letters, digits, `_`, `:`, `.`, and any character behind a backslash.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => name.extend(chars.next().map(|(_, c)| c)),
                Some((_, c)) if name_char(c) => name.push(c),
                Some((at, _)) => break at,
                None => break self.rest.len(),
            }
        };
        (!name.is_empty() && self.skip(end)).then_some(name)
    }

    /// A string in double or single quotes with escapes, or in backquotes without.
    pub(super) fn string(&mut self) -> Result<String, String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
        let Some(quote) = quote else { return Err(self.expected("a string in quotes")) };
        let inner = self.rest.get(1..).unwrap_or_default();
        let mut escaped = false;
        let end = inner.char_indices().find(|&(_, c)| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped && quote != '`';
            closes
        });
        let Some((end, _)) = end else {
            return Err(format!("a quote is never closed at {}", self.rest_quoted()));
        };
        let content = inner.get(..end).unwrap_or_default();
        let text = match quote {
            '`' => Some(content.to_owned()),
            '"' => vmkit::go_text::unquote(&format!("\"{content}\"")),
            _ => {
                let doubled = content.replace("\\'", "'").replace('"', "\\\"");
                vmkit::go_text::unquote(&format!("\"{doubled}\""))
            }
        };
        let Some(text) = text else { return Err(format!("bad escapes in {}", self.rest_quoted())) };
        self.skip(end + 2);
        Ok(text)
    }

    pub(super) fn expected(&self, what: &str) -> String {
        format!("write {what} at {}", self.rest_quoted())
    }

    pub(super) fn rest_quoted(&self) -> String {
        vmkit::go_text::quote(self.rest)
    }

    fn skip(&mut self, bytes: usize) -> bool {
        self.rest = self.rest.get(bytes..).unwrap_or_default().trim_start();
        true
    }
}

fn name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.')
}
