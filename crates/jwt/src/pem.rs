//! The first PEM block of a text (RFC 7468, and RFC 1421 for headers inside), as leniently as people's files need it.
//!
//! Text around blocks, headers such as `Proc-Type`, blanks within lines, lines of any length and any line end are fine.
//! A damaged block is passed over like other text; a label is a word, what the bytes are is found out by its reader.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Padding must be there, bits behind the last byte may be anything.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A decoded block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'t> {
    /// The words between `BEGIN` and the dashes.
    pub(crate) label: &'t str,
    /// The content.
    pub(crate) der: Vec<u8>,
}

/// The first whole block.
pub(crate) fn first_block(text: &str) -> Option<Block<'_>> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(label) = label_of(line, BEGIN)
            && let Some(der) = content(label, lines.clone())
        {
            return Some(Block { label, der });
        }
    }
    None
}

fn label_of<'t>(line: &'t str, mark: &str) -> Option<&'t str> {
    line.trim_end().strip_prefix(mark)?.strip_suffix(DASHES)
}

fn content<'t>(label: &str, lines: impl Iterator<Item = &'t str>) -> Option<Vec<u8>> {
    let mut base64 = String::new();
    for line in lines.skip_while(|line| line.contains(':')) {
        if line.starts_with(END) {
            return (label_of(line, END) == Some(label)).then(|| BASE64.decode(&base64).ok())?;
        }
        base64.extend(line.chars().filter(|letter| !matches!(letter, ' ' | '\t' | '\r')));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let f = |text: &str, want: Option<(&str, &[u8])>| {
            let got = first_block(text);
            assert_eq!(got.as_ref().map(|block| (block.label, block.der.as_slice())), want, "{text:?}");
        };
        let abc: Option<(&str, &[u8])> = Some(("X Y", b"abc"));
        f("-----BEGIN X Y-----\nYWJj\n-----END X Y-----", abc);
        f("-----BEGIN X Y-----\r\nYWJj\r\n-----END X Y-----\r\n", abc);
        f("-----BEGIN X Y----- \t\nY WJ\tj\n\n-----END X Y-----  \nmore", abc);
        f("comment\n-----BEGIN X Y-----\nProc-Type: 4\nA: b\n\nYW\nJj\n-----END X Y-----\n", abc);
        f("-----BEGIN Z-----\n!\n-----END Z-----\n-----BEGIN X Y-----\nYWJj\n-----END X Y-----", abc);
        f("-----BEGIN Z-----\n-----BEGIN X Y-----\nYWJj\n-----END X Y-----", abc);
        f("-----BEGIN Z-----\n-----END Z-----\n", Some(("Z", b"")));
        f("-----BEGIN Z-----\nYR==\n-----END Z-----\n", Some(("Z", b"a")));
        f("", None);
        f(" -----BEGIN X-----\nYWJj\n-----END X-----", None);
        f("-----BEGIN X-----\nYWJj", None);
        f("-----BEGIN X-----\nYWJj\n-----END Y-----", None);
        f("-----BEGIN X-----\nYWJj\n-----END X----- y", None);
        f("-----BEGIN X-----\nYQ\n-----END X-----", None);
        f("-----BEGIN X-----\nYW...Jj\n-----END X-----", None);
    }
}
