//! A list of header fields that belongs to no message yet: rendered rules of a config, trailers, the fields that a
//! codec other than HTTP/1 is given.
//!
//! The fields stand in one buffer as HTTP/1 text, so that writing a whole list into an HTTP/1 head is one copy, and as
//! ranges of it, so that any other codec reads names and values without parsing. Bytes that could end a line never get
//! in, wherever they come from.

use smallvec::SmallVec;

use super::head_lines::{HeaderId, HeaderLine, Line};
use super::request_head::USUAL_HEAD;

/// Header fields in order; small lists take one allocation.
#[derive(Clone, Debug, Default)]
pub struct HeaderList {
    text: Vec<u8>,
    lines: SmallVec<[Line; 8]>,
}

impl HeaderList {
    /// An empty list with room for the fields of a usual head.
    pub(super) fn for_head() -> Self {
        Self { text: Vec::with_capacity(USUAL_HEAD), lines: SmallVec::new() }
    }

    /// Appends a field. Control bytes that could end the line are left out of the value.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: &[u8]) {
        let value_at = self.begin(name.as_ref());
        push_clean(&mut self.text, value);
        self.end(name.as_ref(), value_at);
    }

    /// Appends a field whose value `write` appends; nothing for an empty value or after an error.
    pub(super) fn push_with<E>(
        &mut self,
        name: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.text.len();
        let value_at = self.begin(name);
        let written = write(&mut self.text);
        if written.is_err() || self.text.len() <= value_at {
            self.text.truncate(start);
        } else {
            self.end(name, value_at);
        }
        written
    }

    /// Appends the name; returns where the value starts.
    fn begin(&mut self, name: &[u8]) -> usize {
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        self.text.len()
    }

    fn end(&mut self, name: &[u8], value_at: usize) {
        let (name_end, value_at) = (value_at as u32 - 2, value_at as u32);
        let name_at = name_end - name.len() as u32;
        let value = (value_at, self.text.len() as u32);
        self.lines.push(Line { id: HeaderId::of(name), name: (name_at, name_end), value });
        self.text.extend_from_slice(b"\r\n");
    }

    /// Appends all fields of another list.
    pub fn extend(&mut self, other: &Self) {
        let shift = self.text.len() as u32;
        let moved = |range: (u32, u32)| (range.0 + shift, range.1 + shift);
        self.text.extend_from_slice(&other.text);
        self.lines.extend(other.lines.iter().map(|line| Line {
            id: line.id,
            name: moved(line.name),
            value: moved(line.value),
        }));
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderLine<'_>> + Clone {
        self.lines.iter().map(|line| line.of(&self.text))
    }

    /// All fields as HTTP/1 text, each `name: value CRLF`.
    pub fn as_http1(&self) -> &[u8] {
        &self.text
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether a field has this name; case does not matter.
    pub fn has(&self, name: &[u8]) -> bool {
        self.iter().any(|line| line.name.eq_ignore_ascii_case(name))
    }

    /// Forgets all fields and keeps the storage.
    pub fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }
}

/// Appends the bytes that cannot end a line.
pub(super) fn push_clean(out: &mut Vec<u8>, value: &[u8]) {
    if memchr::memchr3(b'\r', b'\n', 0, value).is_none() {
        out.extend_from_slice(value);
    } else {
        out.extend(value.iter().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_text_and_ranges() {
        let mut list = HeaderList::default();
        list.push("X-A", b"1");
        list.push(b"date", b"a\r\nEvil: b\0");
        let mut more = HeaderList::default();
        more.push("X-B", b"");
        list.extend(&more);
        assert_eq!(list.as_http1(), b"X-A: 1\r\ndate: aEvil: b\r\nX-B: \r\n");
        let got: Vec<_> = list.iter().map(|line| (line.id, line.name, line.value)).collect();
        let want: [(HeaderId, &[u8], &[u8]); 3] =
            [(HeaderId::Other, b"X-A", b"1"), (HeaderId::Date, b"date", b"aEvil: b"), (HeaderId::Other, b"X-B", b"")];
        assert_eq!(got, want);
        assert!(list.has(b"x-b") && !list.has(b"Evil") && list.len() == 3);
        list.clear();
        assert!(list.is_empty() && list.as_http1().is_empty());
    }
}
