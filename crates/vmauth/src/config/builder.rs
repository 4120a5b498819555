//! What all users of one config share while they are built: the tree, the problems, and what was compiled already.
//!
//! Users, their routes and their tokens are built by files of their own, each with its part of [`Builder`].

use super::Inputs;
use super::inherit::Level;
use super::stage::{Problems, Stage};
use jwt::KeySet;
use std::collections::HashMap;
use std::sync::Arc;
use vmkit::go_regex::{GoRegex, GoRegexError};
use vmkit::yaml::{Mark, Place, Tree};

/// What to do about fields that exclude each other.
pub(super) const KEEP_ONE: &str = "keep one of them, or write two users";

/// What a pattern is matched against.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A path. A line feed is an ordinary character there: `%0A` must not slip past `.*`.
    Path,
    /// Anything else.
    Text,
}

/// How messages name the user that has a credential already.
#[derive(Clone, Copy)]
pub(super) struct Owner<'t> {
    pub(super) username: &'t str,
    pub(super) name: &'t str,
    /// Name of its file, if there are several.
    pub(super) file: &'t str,
    /// Its number in that file.
    pub(super) index: usize,
    pub(super) mark: Mark,
}

impl Owner<'_> {
    /// Where the user stands.
    pub(super) fn place(&self) -> String {
        let root = Place::file(self.file);
        let Mark { line, column } = self.mark;
        format!("{} (line {line}, column {column})", root.field("users").index(self.index))
    }
}

/// A file of the config.
pub(super) struct FileTree<'t> {
    /// Its number among all, from 0.
    pub(super) number: usize,
    /// Its name; empty if it is the only one.
    pub(super) name: &'t str,
    pub(super) tree: Tree,
}

/// State that all users of one config share while it is built.
pub(super) struct Builder<'t, 'b> {
    /// The file whose users are built.
    pub(super) file: &'t FileTree<'t>,
    pub(super) inputs: &'b Inputs<'b>,
    pub(super) problems: &'b mut Problems,
    /// One compilation a pattern and subject.
    pub(super) regexes: HashMap<Subject, HashMap<String, Result<Arc<GoRegex>, GoRegexError>>>,
    pub(super) claim_sets: HashMap<(String, String), Owner<'t>>,
    /// One set for equal lists of keys.
    pub(super) key_sets: HashMap<Vec<String>, Arc<KeySet>>,
    pub(super) owners: HashMap<String, Owner<'t>>,
    /// How many slow hashes a user name has.
    pub(super) hashes: HashMap<String, usize>,
    pub(super) flags: Level,
    pub(super) real_ip_header: Option<String>,
}

/// Where a user stands and under which prefix its problems are reported.
#[derive(Clone, Copy)]
pub(super) struct UserContext<'p> {
    pub(super) place: &'p Place<'p>,
    pub(super) stage: Stage,
    pub(super) is_jwt: bool,
}

impl<'t, 'b> Builder<'t, 'b> {
    pub(super) fn new(
        file: &'t FileTree<'t>,
        inputs: &'b Inputs<'b>,
        real_ip_header: Option<String>,
        problems: &'b mut Problems,
    ) -> Self {
        let flags = Level::of_flags(inputs.defaults);
        Self {
            file,
            inputs,
            problems,
            regexes: HashMap::new(),
            claim_sets: HashMap::new(),
            key_sets: HashMap::new(),
            owners: HashMap::new(),
            hashes: HashMap::new(),
            flags,
            real_ip_header,
        }
    }
}
