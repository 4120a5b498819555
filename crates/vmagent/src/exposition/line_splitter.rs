//! Lines of a page that arrives in pieces.
//!
//! A line that lies within one piece is handed out where it is; only one that is cut by a border is copied. The copy
//! is bounded by the size that the caller allows for the whole page.

/// Puts lines together over the borders of pieces.
#[derive(Debug, Default)]
pub struct LineSplitter {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

/// Memory above this is given back between pages.
const KEPT_BYTES: usize = 64 << 10;

impl LineSplitter {
    /// Hands every line that ends in `piece` to `line`, without its line feed and a carriage return before it.
    pub fn feed(&mut self, piece: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = piece;
        if !self.begun.is_empty() {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.begun.extend_from_slice(rest);
                return;
            };
            let (head, tail) = rest.split_at(end);
            self.begun.extend_from_slice(head);
            line(without_return(&self.begun));
            self.begun.clear();
            rest = tail.get(1..).unwrap_or_default();
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            line(without_return(rest.get(start..end).unwrap_or_default()));
            start = end + 1;
        }
        self.begun.extend_from_slice(rest.get(start..).unwrap_or_default());
    }

    /// Ends the page: hands out a last line without line feed and makes ready for another page.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            line(without_return(&self.begun));
        }
        self.reset();
    }

    /// Forgets a line that was begun.
    pub fn reset(&mut self) {
        self.begun.clear();
        self.begun.shrink_to(KEPT_BYTES);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_the_borders() {
        let page = b"a 1\r\n\nlong line 2\nlast";
        let want = ["a 1", "", "long line 2", "last"];
        for size in 1..=page.len() {
            let (mut lines, mut splitter) = (Vec::new(), LineSplitter::default());
            for piece in page.chunks(size) {
                splitter.feed(piece, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
            }
            splitter.finish(|line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
            assert_eq!(lines, want, "{size}");
        }
    }

    #[test]
    fn a_reset_forgets_what_was_begun() {
        let mut splitter = LineSplitter::default();
        splitter.feed(b"half", |_| panic!());
        splitter.reset();
        splitter.finish(|_| panic!());
    }
}
