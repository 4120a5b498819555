//! The auth config: bytes of `-auth.config` in, an inert and fully typed description of all users out.
//!
//! First stage of a (re)load, in front of everything that starts something: `%{ENV}` → YAML events → node tree → raw
//! fields with yaml.v2's typing → [`AuthConfig`] with every inheritance resolved. [`parse`] opens no socket, starts no
//! task and reads no file but public keys (through the given closure), so `-dryRun` may call it freely.
//! It reports all problems of a file at once, each with its place, line and column, and never prints a secret.

mod build_jwt;
mod build_routes;
mod build_users;
mod decode;
mod error;
mod inherit;
mod ip_filters;
mod model;
mod place;
mod placeholders;
mod raw;
mod redact;
mod scalars;
mod src_query_arg;
mod yaml_tree;

pub use error::{ConfigError, ConfigErrors, Stage};
pub use model::{
    AccessLogSpec, AuthConfig, ClientTls, ConfigDefaults, Credential, DefaultVmAccess, HeaderPair, IpFilterSpec,
    JwtSpec, KeyOrigin, KeySource, LoadBalancingPolicy, MatchClaim, MtlsSpec, PublicKey, QueryValue, RouteSpec,
    SrcHeader, SrcQueryArg, TargetSpec, UserSpec,
};

use error::Problems;
use place::{Mark, Place};
use std::io;
use yaml_tree::Tree;

/// What the pure parser may ask of the outside.
pub struct Inputs<'a> {
    /// Replaces `%{NAME}` placeholders; applied to the whole text before YAML sees it.
    pub expand: &'a dyn Fn(&str) -> String,
    /// What flags decide.
    pub defaults: &'a ConfigDefaults,
    /// Reads a file of `public_key_files`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// Tells whether a PEM text holds a usable public key; the error is the bare cause, without the key.
    pub parse_key: &'a dyn Fn(&str) -> Result<(), String>,
}

/// Parses and checks a config. An empty text is a valid config without users.
///
/// # Errors
/// All problems found, in the order of checks of `config.md` §2 (YAML, `unauthorized_user`, JWT users, other users).
pub fn parse(bytes: &[u8], inputs: &Inputs<'_>) -> Result<AuthConfig, ConfigErrors> {
    let mut problems = Problems::default();
    let Some(text) = utf8(bytes, &mut problems) else { return Err(problems.into_errors()) };
    let text = (inputs.expand)(text.strip_prefix('\u{feff}').unwrap_or(text));
    let tree = match Tree::parse(&text) {
        Ok(tree) => tree,
        Err(error) => {
            problems.syntax(error.mark, &error.message);
            return Err(problems.into_errors());
        }
    };
    let config = build_users::build(&tree, inputs, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_errors()) }
}

fn utf8<'a>(bytes: &'a [u8], problems: &mut Problems) -> Option<&'a str> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count() + 1;
    problems.syntax(Mark::new(line, column), "invalid UTF-8; save the file as UTF-8");
    None
}

/// The place of the whole file.
const ROOT: Place<'static> = Place::root();

#[cfg(test)]
mod tests;
