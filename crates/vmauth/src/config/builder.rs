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
use vmkit::yaml::{Place, Tree};

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
}

/// State that all users of one config share while it is built.
pub(super) struct Builder<'t, 'b> {
    pub(super) tree: &'t Tree<'t>,
    pub(super) inputs: &'b Inputs<'b>,
    pub(super) problems: &'b mut Problems,
    /// One compilation a pattern and subject.
    pub(super) regexes: HashMap<Subject, HashMap<String, Result<Arc<GoRegex>, GoRegexError>>>,
    pub(super) claim_sets: HashMap<(String, String), &'t str>,
    /// One set for equal lists of keys.
    pub(super) key_sets: HashMap<Vec<String>, Arc<KeySet>>,
    pub(super) owners: HashMap<String, Owner<'t>>,
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
        tree: &'t Tree<'t>,
        inputs: &'b Inputs<'b>,
        real_ip_header: Option<String>,
        problems: &'b mut Problems,
    ) -> Self {
        let flags = Level::of_flags(inputs.defaults);
        Self {
            tree,
            inputs,
            problems,
            regexes: HashMap::new(),
            claim_sets: HashMap::new(),
            key_sets: HashMap::new(),
            owners: HashMap::new(),
            flags,
            real_ip_header,
        }
    }
}
