//! Command-line flags: a table of definitions in, typed values or an orderly exit out.
//!
//! A binary states its flags as groups of [`FlagDef`], one row a flag. [`FlagSet::parse`] reads the command line (and,
//! on demand, the environment) by the rules users' scripts rely on, answers `-help` and `-version`, and hands out typed
//! values. The same table renders `-help`, the documentation page, `/flags` and the `flag` metric.
//!
//! This module must never exit the process, print by itself, or show the value of a secret flag.

mod array;
mod command_line;
mod definition;
mod environment;
mod flag_exit;
mod flag_set;
mod help;
mod listing;
mod notices;
mod parse;
mod password;
mod value;

#[cfg(test)]
mod tests;

pub use definition::{AppInfo, FlagDef, Kind, Notice, Support};
pub use flag_exit::FlagExit;
pub(crate) use flag_exit::local_time;
pub use flag_set::FlagSet;
pub use help::markdown_page;
pub use listing::FlagLine;
pub use password::{Password, Source};
