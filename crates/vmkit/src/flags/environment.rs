//! Flags from environment variables, on demand by `-envflag.enable`.
//!
//! Runs after the command line, which therefore wins, and goes through the same parser. The two `-envflag.*` flags
//! themselves are only read from the command line.

use super::flag_exit::FlagExit;
use super::flag_set::FlagSet;
use crate::env_template::Environment;
use crate::go_text::quote;

pub(super) const ENABLE: &str = "envflag.enable";
pub(super) const PREFIX: &str = "envflag.prefix";

/// Looks up every flag that the command line did not set. An existing variable counts even when it is empty.
pub(super) fn apply(flags: &mut FlagSet, environment: &Environment) -> Result<(), FlagExit> {
    if flags.index_of(ENABLE).is_none() || !flags.bool(ENABLE) {
        return Ok(());
    }
    let prefix = flags.text(PREFIX).to_string();
    let defs = flags.defs().to_vec();
    for (index, def) in defs.iter().enumerate() {
        if flags.is_set(def.name) || def.name == ENABLE || def.name == PREFIX {
            continue;
        }
        let mut variables = std::iter::once(def.name).chain(def.aliases.iter().copied()).filter_map(|name| {
            let variable = variable_name(&prefix, name);
            environment.get(&variable).map(|value| (variable, value))
        });
        let Some((variable, value)) = variables.next() else { continue };
        flags.set(index, value).map_err(|cause| {
            let shown = if flags.is_masked(index) { "secret" } else { value };
            let (name, shown, variable) = (def.name, quote(shown), quote(variable));
            FlagExit::failure(&format!(
                "cannot set flag {name} to {shown}, which is read from env var {variable}: {cause}"
            ))
        })?;
    }
    Ok(())
}

/// The variable of a flag.
pub(super) fn variable_name(prefix: &str, flag: &str) -> String {
    format!("{prefix}{}", flag.replace('.', "_"))
}
