//! From the words of a command line and the environment to values, or to the exit that they ask for.

use std::ffi::OsString;

use super::command_line::CommandLine;
use super::definition::{AppInfo, FlagDef};
use super::environment;
use super::flag_exit::FlagExit;
use super::flag_set::FlagSet;
use super::notices;
use crate::env_template::Environment;

impl FlagSet {
    /// Reads a command line, the first item being the name of the program, then the environment. The flags are those
    /// of all groups together, see [`AppInfo::table`].
    ///
    /// # Errors
    /// `-help`, `-version` and every wrong command line: the texts and the code the process must end with.
    pub fn parse(
        groups: &[&[FlagDef]],
        app: &AppInfo,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        environment: &Environment,
    ) -> Result<Self, FlagExit> {
        let mut flags = Self::defaults(app.table(groups));
        let mut args = args.into_iter().map(|arg| environment.expand(&arg.into().to_string_lossy()));
        let program = args.next().unwrap_or_else(|| app.name.to_string());
        let words = args.filter(|word| !word.is_empty()).collect();
        CommandLine { program, words }.apply(&mut flags, app)?;
        flags.notices = notices::of_command_line(&flags);
        environment::apply(&mut flags, environment)?;
        flags.notices.extend(notices::of_environment(&flags, environment));
        if flags.index_of("version").is_some() && flags.bool("version") {
            return Err(FlagExit { code: 0, stdout: format!("{}\n", app.version), stderr: String::new() });
        }
        Ok(flags)
    }
}
