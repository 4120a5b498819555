//! The auth config: bytes of `-auth.config` in, an inert and fully typed description of all users out.
//!
//! First stage of a (re)load, in front of everything that starts something: `%{ENV}` → YAML events → node tree → raw
//! fields with yaml.v2's typing → [`AuthConfig`] with every inheritance resolved. [`parse`] opens no socket, starts no
//! task and reads no file but public keys (through the given closure), so `-dryRun` may call it freely.
//! It reports all problems of a file at once, each with its place, line and column, and never prints a secret.

mod build_jwt;
mod build_routes;
mod build_users;
mod builder;
mod dump;
mod fields;
mod inherit;
mod ip_filters;
mod model;
mod placeholders;
mod raw;
mod redact;
mod src_query_arg;
mod stage;

pub use dump::dump;
pub use model::{
    AccessLogSpec, AuthConfig, ConfigDefaults, Credential, IpFilterSpec, JwtSpec, KeySource, MatchClaim, MtlsSpec,
    QueryValue, RouteSpec, SrcHeader, SrcQueryArg, TargetSpec, UserSpec,
};
pub use stage::{ConfigError, ConfigErrors, Stage};

use stage::Problems;
use std::io;
use vmkit::yaml;

/// What the pure parser may ask of the outside.
pub struct Inputs<'a> {
    /// Replaces `%{NAME}` placeholders; applied to the whole text before YAML sees it.
    pub expand: &'a dyn Fn(&str) -> String,
    /// What flags decide.
    pub defaults: &'a ConfigDefaults,
    /// Reads a file of `public_key_files`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

/// Parses and checks a config. An empty text is a valid config without users.
///
/// # Errors
/// All problems found, in the order of the checks: YAML, `unauthorized_user`, JWT users, other users.
pub fn parse(bytes: &[u8], inputs: &Inputs<'_>) -> Result<AuthConfig, ConfigErrors> {
    let mut problems = Problems::default();
    let text = yaml::utf8(bytes, &mut problems).map(|text| (inputs.expand)(text));
    let tree = text.as_deref().and_then(|text| yaml::parse(text, &mut problems));
    let config = tree.map(|tree| build_users::build(&tree, inputs, &mut problems));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => Err(problems.into_list()),
    }
}

#[cfg(test)]
mod tests;
