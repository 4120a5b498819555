//! Places in a config: the path of a value and its line and column.
//!
//! A [`Place`] is a chain of borrowed steps on the stack, so that naming places costs nothing until a problem is
//! reported. It is only ever rendered, never parsed.

use std::fmt;

/// Line and column of a value, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl Mark {
    /// The place `column` in `line`, both from 1.
    pub fn new(line: usize, column: usize) -> Self {
        Self { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
    }
}

/// The path of a value, such as `users[3].url_map[0].src_paths[1]`.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    File(&'p str),
    Field(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    /// The whole file.
    pub const fn root() -> Self {
        Self { parent: None, step: Step::Root }
    }

    /// The whole file of this name, where there are several: its places read `NAME:users[3]`. No name = [`Self::root`].
    pub const fn file(name: &'p str) -> Self {
        if name.is_empty() { Self::root() } else { Self { parent: None, step: Step::File(name) } }
    }

    /// The field `name` of the object at this place.
    pub fn field<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place { parent: Some(self), step: Step::Field(name) }
    }

    /// The item `index`, from 0, of the list at this place.
    pub fn index(&self, index: usize) -> Place<'_> {
        Place { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent.map(|parent| parent.step)) {
            (Step::Root, _) => Ok(()),
            (Step::File(name), _) => f.write_str(name),
            (Step::Field(name), None | Some(Step::Root)) => f.write_str(name),
            (Step::Field(name), Some(Step::File(_))) => write!(f, ":{name}"),
            (Step::Field(name), Some(Step::Field(_) | Step::Index(_))) => write!(f, ".{name}"),
            (Step::Index(index), _) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_rendered() {
        let root = Place::root();
        let (users, user) = (root.field("users"), 3);
        let user = users.index(user);
        let map = user.field("url_map");
        let entry = map.index(0);
        assert_eq!(root.to_string(), "");
        assert_eq!(users.to_string(), "users");
        assert_eq!(Place::file("b.yml").to_string(), "b.yml");
        assert_eq!(Place::file("b.yml").field("users").index(1).to_string(), "b.yml:users[1]");
        assert_eq!(entry.field("src_paths").index(1).to_string(), "users[3].url_map[0].src_paths[1]");
    }
}
