//! Configs in YAML: text in, typed values with lines and columns out, all problems at once.
//!
//! Every program reads its files with this one decoder: [`tree`] (events to nodes, limits against hostile files) →
//! [`decode`] (objects, lists, texts and numbers with yaml.v2's typing and its wording of mismatches, unknown fields with
//! the name they may have been meant to be) → [`problems`]. What the fields are, and which checks there are, is the
//! program's: it has a [`Stage`] of its own. Nothing here reads a file or expands the environment.

pub mod decode;
pub mod fields;
pub mod place;
pub mod problems;
pub mod scalar;
pub mod tree;

pub use decode::{At, Decoder, Elsewhere, Field, Text, TextList};
pub use fields::{FieldDef, Member, Object, ValueType};
pub use place::{Mark, Place};
pub use problems::{Problem, ProblemList, Problems, Stage};
pub use tree::{NodeId, Tree};

/// The text of a file, without a byte order mark; reports bytes that are no UTF-8 with their place.
pub fn utf8<'a, S: Stage>(bytes: &'a [u8], problems: &mut Problems<S>) -> Option<&'a str> {
    utf8_of(&Place::root(), bytes, problems)
}

/// The same for one of several files.
pub fn utf8_of<'a, S: Stage>(root: &Place<'_>, bytes: &'a [u8], problems: &mut Problems<S>) -> Option<&'a str> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => error,
    };
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count() + 1;
    problems.syntax(root, Mark::new(line, column), "invalid UTF-8; save the file as UTF-8");
    None
}

/// The first document of `text`; reports why it is none.
pub fn parse<S: Stage>(text: &str, problems: &mut Problems<S>) -> Option<Tree> {
    parse_of(&Place::root(), text, problems)
}

/// The same for one of several files.
pub fn parse_of<S: Stage>(root: &Place<'_>, text: &str, problems: &mut Problems<S>) -> Option<Tree> {
    match Tree::parse(text) {
        Ok(tree) => Some(tree),
        Err(error) => {
            problems.syntax(root, error.mark, &error.message);
            None
        }
    }
}
