//! The one way in which stages write header fields: into the buffer of an HTTP/1 head, or into a list for any other
//! codec.
//!
//! Whoever writes cannot see which of the two it is. Names and values must be well formed; the writer joins them, and
//! never adds a field by itself. Fields about framing (`Content-Length`, `Connection`, …) are not written here: the
//! codec behind the writer adds what its protocol needs.

use super::head_lines::HeaderLine;
use super::header_list::HeaderList;

/// Takes the header fields of one head.
#[derive(Debug)]
pub enum HeaderWriter<'a> {
    /// The buffer that is sent.
    Http1(&'a mut Vec<u8>),
    /// Fields for a codec that has a form of its own.
    List(&'a mut HeaderList),
}

impl HeaderWriter<'_> {
    /// Writes one field.
    #[inline]
    pub fn line(&mut self, name: &[u8], value: &[u8]) {
        match self {
            Self::Http1(out) => push_line(out, name, value),
            Self::List(list) => list.push(name, value),
        }
    }

    /// Writes a field of another message as it came.
    #[inline]
    pub fn copy(&mut self, line: &HeaderLine<'_>) {
        match (self, line.as_http1()) {
            (Self::Http1(out), Some(text)) => out.extend_from_slice(text),
            (writer, _) => writer.line(line.name, line.value),
        }
    }

    /// Writes one field whose value `write` appends. Nothing is written for an empty value, or after an error.
    ///
    /// `write` must only append, and nothing that could end a line.
    pub fn line_with<E>(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Http1(out) => {
                let start = out.len();
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                let value = out.len();
                let written = write(out);
                if written.is_err() || out.len() <= value {
                    out.truncate(start);
                } else {
                    out.extend_from_slice(b"\r\n");
                }
                written
            }
            Self::List(list) => list.push_with(name, write),
        }
    }

    /// Writes fields that were rendered before.
    pub fn list(&mut self, fields: &HeaderList) {
        match self {
            Self::Http1(out) => out.extend_from_slice(fields.as_http1()),
            Self::List(list) => list.extend(fields),
        }
    }
}

#[inline]
fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn both_forms_hold_the_same_fields() {
        let mut rendered = HeaderList::default();
        rendered.push("X-R", b"r");
        let write = |mut writer: HeaderWriter<'_>| {
            writer.line(b"X-A", b"1");
            writer.copy(&HeaderLine::new(b"X-C", b"c"));
            rendered.iter().for_each(|line| writer.copy(&line));
            for (name, value) in [("X-F", "a, b"), ("X-Empty", "")] {
                let Ok(()) = writer.line_with(name.as_bytes(), |out| {
                    out.extend_from_slice(value.as_bytes());
                    Ok::<_, Infallible>(())
                });
            }
            let failed = writer.line_with(b"X-Bad", |out| {
                out.extend_from_slice(b"half");
                Err(())
            });
            assert_eq!(failed, Err(()));
            writer.list(&rendered);
        };
        let (mut text, mut list) = (Vec::new(), HeaderList::default());
        write(HeaderWriter::Http1(&mut text));
        write(HeaderWriter::List(&mut list));
        assert_eq!(text, b"X-A: 1\r\nX-C: c\r\nX-R: r\r\nX-F: a, b\r\nX-R: r\r\n");
        assert_eq!(list.as_http1(), text);
        assert_eq!(list.iter().nth(3).map(|line| line.value), Some(&b"a, b"[..]));
    }
}
