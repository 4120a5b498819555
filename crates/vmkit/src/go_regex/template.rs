//! Replacement texts with `$1`, `${name}` and `$$`, by the rules of Go's `Regexp.Expand`.
//!
//! A name is as long as letters, digits and underscores go, so `$1x` is the group named `1x`. A dollar that begins
//! nothing stays a dollar; a group that does not exist or took no part is empty.

/// A parsed replacement text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

/// A piece of a replacement text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Text(Box<str>),
    /// A group by number or name.
    Group(Box<str>),
}

impl Template {
    /// Reads a replacement text; every text is one.
    pub fn new(text: &str) -> Self {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some((name, after)) = name_at(after) {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(name.into()));
                rest = after;
            } else {
                literal.push('$');
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Self { pieces: pieces.into() }
    }

    /// Its pieces in order; two texts never follow each other.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text itself, when it has no group.
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the pieces to `out`; `group` finds the text of a group, or nothing.
    pub(super) fn expand<'t>(&self, group: impl Fn(&str) -> Option<&'t [u8]>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => out.extend_from_slice(literal.as_bytes()),
                Piece::Group(name) => out.extend_from_slice(group(name).unwrap_or_default()),
            }
        }
    }
}

/// The name behind a dollar, and what follows it.
fn name_at(text: &str) -> Option<(&str, &str)> {
    let word = |text: &str| text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => {
            let (name, rest) = inner.split_at_checked(word(inner))?;
            (name, rest.strip_prefix('}')?)
        }
        None => text.split_at_checked(word(text))?,
    };
    (!name.is_empty()).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_begin_groups() {
        let f = |text: &str, want: &[Piece]| assert_eq!(Template::new(text).pieces(), want, "{text:?}");
        let text = |text: &str| Piece::Text(text.into());
        let group = |name: &str| Piece::Group(name.into());
        f("", &[]);
        f("plain", &[text("plain")]);
        f("$1", &[group("1")]);
        f("a$1x-${2}y", &[text("a"), group("1x"), text("-"), group("2"), text("y")]);
        f("$$1 costs 5$", &[text("$1 costs 5$")]);
        f("$ ${} ${a ${a-b} $", &[text("$ ${} ${a ${a-b} $")]);
        f("${é}$_", &[group("é"), group("_")]);
    }
}
