//! One line: a sample with its name, labels, value and timestamp, or something else.

use super::metadata::comment;
use super::{Line, SeriesLayout, is_blank, number, skip_blanks};

/// Parses lines; keeps its buffers from line to line.
#[derive(Debug, Default)]
pub struct LineParser {
    labels: Vec<RawLabel>,
    /// Names and values that had escapes, and descriptions.
    unescaped: Vec<u8>,
}

/// Where a text is.
#[derive(Clone, Copy, Debug)]
enum Text {
    /// In the line.
    Line { start: u32, end: u32 },
    /// Among the unescaped texts.
    Unescaped { start: u32, end: u32 },
}

#[derive(Clone, Copy, Debug)]
struct RawLabel {
    name: Text,
    value: Text,
}

/// A sample of a page.
#[derive(Clone, Copy, Debug)]
pub struct SampleLine<'a> {
    line: &'a [u8],
    unescaped: &'a [u8],
    labels: &'a [RawLabel],
    name: Text,
    series_end: usize,
    /// Its value.
    pub value: f64,
    /// Its own time in milliseconds since the epoch, if it has one.
    pub timestamp_ms: Option<i64>,
}

impl<'a> SampleLine<'a> {
    /// Name of the metric; never empty.
    pub fn name(&self) -> &'a [u8] {
        self.text(self.name)
    }

    /// Labels in order of the page, those with empty names and values included.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let this = *self;
        this.labels.iter().map(move |label| (this.text(label.name), this.text(label.value)))
    }

    /// Name and labels as they are written: parsing this text and a value gives the same series.
    pub fn series_text(&self) -> &'a [u8] {
        self.line.get(..self.series_end).unwrap_or_default()
    }

    /// Appends the layout of [`Self::series_text`], nothing if there is none.
    pub fn write_layout(&self, out: &mut Vec<u8>) {
        let place = |text: Text| match text {
            Text::Line { start, end } => Some(start as usize..end as usize),
            Text::Unescaped { .. } => None,
        };
        let labels = self.labels.iter().map(|label| Some((place(label.name)?, place(label.value)?)));
        SeriesLayout::write(place(self.name), labels, self.series_end, out);
    }

    fn text(&self, text: Text) -> &'a [u8] {
        let (from, start, end) = match text {
            Text::Line { start, end } => (self.line, start, end),
            Text::Unescaped { start, end } => (self.unescaped, start, end),
        };
        from.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Lines of this size and longer are invalid; places are kept in 32 bits.
const MAX_LINE: usize = u32::MAX as usize;

impl LineParser {
    /// Reads one line, without line feed.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Line<'a> {
        self.unescaped.clear();
        let line = skip_blanks(line);
        match line.first() {
            None => Line::Nothing,
            Some(b'#') => comment(line, &mut self.unescaped),
            Some(_) if line.len() >= MAX_LINE => Line::Invalid,
            Some(_) => self.sample(line).map_or(Line::Invalid, Line::Sample),
        }
    }

    /// Reads a line that begins with a series whose layout is known. The same as [`Self::parse`], in fewer steps.
    pub fn parse_known<'a>(&'a mut self, line: &'a [u8], layout: SeriesLayout<'_>) -> Line<'a> {
        if line.len() >= MAX_LINE {
            return Line::Invalid;
        }
        self.unescaped.clear();
        self.labels.clear();
        let name_end = layout.name_len();
        let mut end = name_end;
        for (name_len, value_len) in layout.labels() {
            // Behind the brace or the comma; then an equals sign and a quote.
            let (name, value) = (end + 1, end + 1 + name_len + 2);
            self.labels.push(RawLabel { name: place(name, name + name_len), value: place(value, value + value_len) });
            end = value + value_len + 1;
        }
        let series_end = if self.labels.is_empty() { name_end } else { end + 1 };
        self.tail(line, place(0, name_end), series_end).map_or(Line::Invalid, Line::Sample)
    }

    /// Reads a series without a value, such as [`SampleLine::series_text`].
    pub fn parse_series<'a>(&'a mut self, text: &'a [u8]) -> Option<SampleLine<'a>> {
        self.unescaped.clear();
        let (name, series_end) = self.series(text)?;
        Some(self.line(text, name, series_end, 0.0, None))
    }

    fn line<'a>(
        &'a self,
        line: &'a [u8],
        name: Text,
        series_end: usize,
        value: f64,
        timestamp_ms: Option<i64>,
    ) -> SampleLine<'a> {
        SampleLine { line, unescaped: &self.unescaped, labels: &self.labels, name, series_end, value, timestamp_ms }
    }

    fn sample<'a>(&'a mut self, line: &'a [u8]) -> Option<SampleLine<'a>> {
        let (name, series_end) = self.series(line)?;
        self.tail(line, name, series_end)
    }

    /// Reads value and time behind a series.
    fn tail<'a>(&'a self, line: &'a [u8], name: Text, series_end: usize) -> Option<SampleLine<'a>> {
        let rest = skip_blanks(line.get(series_end..)?);
        let (value, rest) = token(rest);
        let value = number::value(value)?;
        let (time, rest) = token(skip_blanks(rest));
        let timestamp_ms = if time.is_empty() { None } else { Some(number::timestamp_ms(time)?) };
        // Behind a hash there are exemplars and comments.
        matches!(skip_blanks(rest).first(), None | Some(b'#'))
            .then(|| self.line(line, name, series_end, value, timestamp_ms))
    }

    /// Reads name and labels, and tells where they end.
    fn series(&mut self, line: &[u8]) -> Option<(Text, usize)> {
        self.labels.clear();
        let end = memchr::memchr3(b'{', b' ', b'\t', line).unwrap_or(line.len());
        let mut name = (end > 0).then(|| place(0, end));
        let rest = skip_blanks(line.get(end..)?);
        let mut series_end = end;
        if rest.first() == Some(&b'{') {
            series_end = self.braces(line, line.len() - rest.len() + 1, &mut name)?;
        }
        let name = name.filter(|name| !name.is_empty())?;
        Some((name, series_end))
    }

    /// Reads labels from behind the opening brace; returns the place behind the closing one.
    fn braces(&mut self, line: &[u8], start: usize, name: &mut Option<Text>) -> Option<usize> {
        let mut at = start;
        loop {
            at = blanks_end(line, at);
            match line.get(at)? {
                b'}' => return Some(at + 1),
                b'"' => {
                    let text = self.quoted(line, &mut at)?;
                    at = blanks_end(line, at);
                    if line.get(at) == Some(&b'=') {
                        self.label_value(line, &mut at, text)?;
                    } else if name.replace(text).is_some() {
                        return None;
                    }
                }
                _ => {
                    let tail = line.get(at..)?;
                    let length = tail.iter().position(|&byte| ENDS_LABEL_NAME[usize::from(byte)])?;
                    let text = place(at, at + length);
                    at = blanks_end(line, at + length);
                    if line.get(at) != Some(&b'=') {
                        return None;
                    }
                    self.label_value(line, &mut at, text)?;
                }
            }
            at = blanks_end(line, at);
            match line.get(at)? {
                b',' => at += 1,
                b'}' => {}
                _ => return None,
            }
        }
    }

    /// Reads the value behind the equals sign at `at`.
    fn label_value(&mut self, line: &[u8], at: &mut usize, name: Text) -> Option<()> {
        *at = blanks_end(line, *at + 1);
        let value = self.quoted(line, at)?;
        self.labels.push(RawLabel { name, value });
        Some(())
    }

    /// Reads a text in double quotes at `at` and moves behind it.
    fn quoted(&mut self, line: &[u8], at: &mut usize) -> Option<Text> {
        let start = *at + 1;
        let inner = line.get(start..)?;
        if line.get(*at) != Some(&b'"') {
            return None;
        }
        let mut end = memchr::memchr2(b'"', b'\\', inner)?;
        if inner.get(end) == Some(&b'"') {
            *at = start + end + 1;
            return Some(place(start, start + end));
        }
        let from = self.unescaped.len();
        let mut copied = 0;
        loop {
            self.unescaped.extend_from_slice(inner.get(copied..end)?);
            if inner.get(end)? == &b'"' {
                break;
            }
            match inner.get(end + 1)? {
                b'n' => self.unescaped.push(b'\n'),
                escaped @ (b'"' | b'\\') => self.unescaped.push(*escaped),
                other => self.unescaped.extend_from_slice(&[b'\\', *other]),
            }
            copied = end + 2;
            end = copied + memchr::memchr2(b'"', b'\\', inner.get(copied..)?)?;
        }
        *at = start + end + 1;
        Some(Text::Unescaped { start: offset(from), end: offset(self.unescaped.len()) })
    }
}

impl Text {
    fn is_empty(self) -> bool {
        let (Self::Line { start, end } | Self::Unescaped { start, end }) = self;
        start == end
    }
}

/// The token at the beginning, up to a blank or a hash, and what follows it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    // Nothing below the blank but the tab is in a number, so one comparison passes over most bytes.
    let ends = |byte: u8| byte <= b'#' && (is_blank(byte) || byte == b'#');
    let end = text.iter().position(|&byte| ends(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn blanks_end(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|&byte| is_blank(byte)) {
        at += 1;
    }
    at
}

/// What a label name without quotes cannot hold; a table, because every byte of every name is looked at.
const ENDS_LABEL_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let ends = b"= \t{},\"";
    let mut index = 0;
    while index < ends.len() {
        table[ends[index] as usize] = true;
        index += 1;
    }
    table
};

fn place(start: usize, end: usize) -> Text {
    Text::Line { start: offset(start), end: offset(end) }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("BUG: lines are shorter than 4 GiB, and unescaping only shortens")
}
