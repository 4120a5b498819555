//! Long arguments of messages, cut to their two ends by `-loggerMaxArgLen`.
//!
//! Works on the pieces in which a message is written: a text argument is one piece. Cuts fall between characters.

use std::fmt::{self, Write as _};

/// Limits below this leave no room for both ends and mean “no limit”.
const MIN_LIMIT: usize = 4;

/// The two ends of a text longer than `max` bytes, to be joined by `..`; `None` when it is printed in full.
pub fn shorten(text: &str, max: usize) -> Option<(&str, &str)> {
    if text.len() <= max || max < MIN_LIMIT {
        return None;
    }
    let keep = max / 2 - 1;
    let (head, tail) = (text.floor_char_boundary(keep), text.ceil_char_boundary(text.len() - keep));
    Some((&text[..head], &text[tail..]))
}

/// The message with long pieces shortened and without line ends behind it.
pub(crate) fn render(message: fmt::Arguments<'_>, max: usize) -> String {
    let mut writer = Shortening { out: String::new(), max };
    // Only an argument's own formatting can fail; what it wrote so far is still worth a line.
    let _ = writer.write_fmt(message);
    let mut out = writer.out;
    out.truncate(out.trim_end_matches('\n').len());
    out
}

struct Shortening {
    out: String,
    max: usize,
}

impl fmt::Write for Shortening {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        match shorten(piece, self.max) {
            Some((head, tail)) => self.out.extend([head, "..", tail]),
            None => self.out.push_str(piece),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_two_ends() {
        let f = |text: &str, max, want: Option<(&str, &str)>| assert_eq!(shorten(text, max), want);
        f("0123456789", 10, None);
        f("0123456789a", 10, Some(("0123", "789a")));
        f("0123456789a", 4, Some(("0", "a")));
        f("0123456789a", 3, None);
        f("0123456789a", 0, None);
        f("żżżżżż", 8, Some(("ż", "ż")));
        f("", 5, None);
    }

    #[test]
    fn shortens_arguments_of_messages() {
        let long = "x".repeat(30);
        assert_eq!(render(format_args!("a {long} b {}\n\n", 5), 10), "a xxxx..xxxx b 5");
        assert_eq!(render(format_args!("inner\nlines"), 5000), "inner\nlines");
    }
}
