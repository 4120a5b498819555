//! The auth config: bytes of `-auth.config` in, an inert and fully typed description of all users out.
//!
//! First stage of a (re)load, in front of everything that starts something: `%{ENV}` → YAML events → node tree → raw
//! fields with yaml.v2's typing → [`AuthConfig`] with every inheritance resolved. [`parse`] opens no socket, starts no
//! task and reads no file but keys and secrets (through the given closure), so `-dryRun` may call it freely.
//! It reports all problems of a file at once, each with its place, line and column, and never prints a secret.

mod build_jwt;
mod build_logins;
mod build_routes;
mod build_users;
mod builder;
mod dump;
mod fields;
mod header_lists;
mod health_checks;
mod inherit;
mod ip_filters;
mod model;
mod placeholders;
mod raw;
mod redact;
mod schema;
mod secret_files;
mod src_query_arg;
mod stage;
mod timeouts;
mod values;
mod watching;

pub use dump::dump;
pub use model::{
    AccessLogSpec, AuthConfig, ConfigDefaults, Credential, IpFilterSpec, JwtSpec, KeySource, MatchClaim, MtlsSpec,
    QueryValue, RouteSpec, SrcHeader, SrcQueryArg, TargetSpec, UserSpec, Watching,
};
pub use schema::schema;
pub use stage::{ConfigError, ConfigErrors, Stage};

use builder::FileTree;
use stage::Problems;
use std::io;
use vmkit::config_files::ConfigFile;
use vmkit::yaml::{self, Place};

/// So many variables are named when the text with their values is no YAML.
const MAX_NAMED_VARIABLES: usize = 5;

/// What the pure parser may ask of the outside.
pub struct Inputs<'a> {
    /// Replaces `%{NAME}` placeholders; applied to the whole text before YAML sees it.
    pub expand: &'a dyn Fn(&str) -> String,
    /// What flags decide.
    pub defaults: &'a ConfigDefaults,
    /// Reads a file that the config names: keys, passwords, tokens.
    pub read_file: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// Says whether the config may name a file that is read later: those of `tls_…_file`.
    pub check_file: &'a dyn Fn(&str) -> io::Result<()>,
}

/// Parses and checks a config. An empty text is a valid config without users.
///
/// # Errors
/// All problems found, in the order of the checks: YAML, `unauthorized_user`, JWT users, other users.
pub fn parse(bytes: &[u8], inputs: &Inputs<'_>) -> Result<AuthConfig, ConfigErrors> {
    parse_named(&[("", bytes)], inputs)
}

/// The same for a config of one or many files: users in the order of the files, everything else in one of them.
///
/// # Errors
/// All problems of all files; places begin with the name of their file, where there are several.
pub fn parse_files(files: &[ConfigFile], inputs: &Inputs<'_>) -> Result<AuthConfig, ConfigErrors> {
    let named: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
    parse_named(&named, inputs)
}

fn parse_named(files: &[(&str, &[u8])], inputs: &Inputs<'_>) -> Result<AuthConfig, ConfigErrors> {
    let mut problems = Problems::default();
    let mut texts = Vec::with_capacity(files.len());
    for (number, &(name, bytes)) in files.iter().enumerate() {
        problems.in_file(number);
        let text = yaml::utf8_of(&Place::file(name), bytes, &mut problems);
        texts.push(text.map(|text| (inputs.expand)(text)));
    }
    let mut trees = Vec::with_capacity(files.len());
    for (number, (&(name, bytes), text)) in files.iter().zip(&texts).enumerate() {
        problems.in_file(number);
        let root = Place::file(name);
        match text.as_deref().and_then(|text| yaml::parse_of(&root, text, &mut problems)) {
            Some(tree) => trees.push(FileTree { number, name, tree }),
            None => name_variables(&root, bytes, inputs, &mut problems),
        }
    }
    let config = build_users::build(&trees, inputs, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_list()) }
}

/// A file that is YAML until its variables are replaced: says whose value breaks it. Values are never shown.
fn name_variables(root: &Place<'_>, bytes: &[u8], inputs: &Inputs<'_>, problems: &mut Problems) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut names: Vec<&str> = text.split("%{").skip(1).filter_map(|piece| Some(piece.split_once('}')?.0)).collect();
    names.dedup();
    let breaks = |name: &&str| {
        let reference = format!("%{{{name}}}");
        let value = (inputs.expand)(&reference);
        // Alone in quotes the value is a text; as it stands it is structure.
        value != reference
            && value.contains(['\n', ':', '#', '"', '\'', '{', '[', '&', '*', '!', '|', '>', '%', '@', '`'])
    };
    for name in names.into_iter().filter(breaks).take(MAX_NAMED_VARIABLES) {
        let line = text.lines().position(|line| line.contains(&format!("%{{{name}}}"))).unwrap_or(0) + 1;
        let message = format!("the value of the variable {name} has characters that mean something in YAML");
        let hint = format!("put \"%{{{name}}}\" in quotes, or change the value");
        problems.push(Stage::Syntax, root, yaml::Mark::new(line, 1), message, hint);
    }
}

#[cfg(test)]
mod tests;
