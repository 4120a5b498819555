//! The framing of one piece of a chunked body (RFC 9112 §7.1), ready for one vectored write.

use std::io::{IoSlice, Write};

use super::super::header_list::HeaderList;

/// Sixteen digits and a line end.
const MAX_SIZE_LINE: usize = 18;

/// A piece of a body with what stands before and behind it.
pub(super) struct ChunkOut<'a> {
    size: [u8; MAX_SIZE_LINE],
    size_len: usize,
    data: &'a [u8],
    /// What follows the data up to the trailers.
    end: &'static [u8],
    trailers: &'a [u8],
    /// What follows the trailers.
    close: &'static [u8],
}

impl<'a> ChunkOut<'a> {
    /// `data` may be empty: nothing, or the end of the body alone.
    pub(super) fn new(data: &'a [u8], last: bool, trailers: Option<&'a HeaderList>) -> Self {
        let mut size = [0; MAX_SIZE_LINE];
        let size_len = if data.is_empty() { 0 } else { size_line(&mut size, data.len()) };
        let trailers = trailers.map(HeaderList::as_http1).unwrap_or_default();
        let (end, close): (&[u8], &[u8]) = match (data.is_empty(), last, trailers.is_empty()) {
            (true, true, true) => (b"0\r\n\r\n", b""),
            (false, true, true) => (b"\r\n0\r\n\r\n", b""),
            (true, true, false) => (b"0\r\n", b"\r\n"),
            (false, true, false) => (b"\r\n0\r\n", b"\r\n"),
            (true, false, _) => (b"", b""),
            (false, false, _) => (b"\r\n", b""),
        };
        let trailers = if last { trailers } else { &[] };
        Self { size, size_len, data, end, trailers, close }
    }

    /// The parts in order, behind a head that was not sent yet.
    pub(super) fn parts<'p>(&'p mut self, head: &'p [u8]) -> [IoSlice<'p>; 6] {
        let size = self.size.get(..self.size_len).unwrap_or_default();
        [head, size, self.data, self.end, self.trailers, self.close].map(IoSlice::new)
    }
}

/// Writes `hex CRLF`; returns its length.
fn size_line(buffer: &mut [u8; MAX_SIZE_LINE], len: usize) -> usize {
    let mut rest = &mut buffer[..];
    // Sixteen digits and a line end always fit.
    let _ = write!(rest, "{len:x}\r\n");
    MAX_SIZE_LINE - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        let mut list = HeaderList::default();
        list.push("X-T", b"1");
        let f = |data: &str, last: bool, trailers: Option<&HeaderList>, want: &str| {
            let mut chunk = ChunkOut::new(data.as_bytes(), last, trailers);
            let wire: Vec<u8> = chunk.parts(b"head|").iter().flat_map(|part| part.iter().copied()).collect();
            assert_eq!(String::from_utf8(wire).unwrap().replace("\r\n", "~"), want);
        };
        f("", false, None, "head|");
        f("", true, None, "head|0~~");
        f("abc", false, Some(&list), "head|3~abc~");
        f("abc", true, None, "head|3~abc~0~~");
        f("abc", true, Some(&list), "head|3~abc~0~X-T: 1~~");
        f("", true, Some(&list), "head|0~X-T: 1~~");
    }

    #[test]
    fn sizes() {
        let f = |len: usize, want: &str| {
            let mut buffer = [0; MAX_SIZE_LINE];
            let end = size_line(&mut buffer, len);
            assert_eq!(&buffer[..end], want.as_bytes());
        };
        f(1, "1\r\n");
        f(usize::MAX, "ffffffffffffffff\r\n");
    }
}
