//! What is odd about how flags were given, although each of them has a value: said once in the log at start.
//!
//! Only what is most likely a mistake is named, so that a command line of a chart or an operator says nothing here.
//! Nothing here shows a value.

use super::definition::Notice;
use super::environment::{ENABLE, PREFIX, variable_name};
use super::flag_set::FlagSet;
use super::value::Value;
use crate::env_template::Environment;
use crate::go_text::edit_distance;

/// Most variables that are named.
const MAX_VARIABLES: usize = 5;

/// What the command line alone tells.
pub(super) fn of_command_line(flags: &FlagSet) -> Vec<Notice> {
    let mistake = |text| Notice { text, is_mistake: true };
    let repeated = flags.defs().iter().enumerate().filter(|(index, _)| flags.is_repeated_at(*index));
    let mut notices: Vec<_> = repeated
        .map(|(_, def)| mistake(format!("-{} is given more than once; the last one counts", def.name)))
        .collect();
    let is_readable = |index: usize| match flags.value_at(index) {
        Value::Password(password) => flags.is_set_at(index) && password.is_set() && !password.is_from_outside(),
        _ => false,
    };
    let names: Vec<_> = flags.defs().iter().enumerate().filter(|(index, _)| is_readable(*index)).collect();
    if let Some((_, first)) = names.first() {
        let all: Vec<_> = names.iter().map(|(_, def)| format!("-{}", def.name)).collect();
        let text = format!(
            "{}: other users of this machine can read command lines; write the secret into a file and -{}=file:///path/of/it",
            all.join(", "),
            first.name
        );
        notices.push(Notice { text, is_mistake: false });
    }
    notices
}

/// Variables that were most likely meant to be flags.
pub(super) fn of_environment(flags: &FlagSet, environment: &Environment) -> Vec<Notice> {
    if flags.index_of(ENABLE).is_none() || !flags.bool(ENABLE) {
        return Vec::new();
    }
    let prefix = flags.text(PREFIX);
    let names: Vec<String> = flags
        .defs()
        .iter()
        .flat_map(|def| std::iter::once(def.name).chain(def.aliases.iter().copied()))
        .map(|name| variable_name("", name))
        .collect();
    let meant = |variable: &str| {
        let rest = variable.strip_prefix(prefix)?;
        let near = |name: &&String| edit_distance(rest, name) <= 2.min(name.len() / 4) || bare(rest) == bare(name);
        let is_known = names.iter().any(|name| name == rest);
        let name = names.iter().find(near).filter(|_| !is_known)?;
        let text = format!("the environment variable {variable} is no flag; did you mean {prefix}{name}?");
        Some(Notice { text, is_mistake: true })
    };
    environment.names().filter_map(meant).take(MAX_VARIABLES).collect()
}

/// The name without case and underscores.
fn bare(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}
