//! Command-line flags: a table of definitions in, typed values or an orderly exit out.
//!
//! A binary states its flags as one `static` table of [`FlagDef`]. [`FlagSet::parse`] reads the command line (and, on
//! demand, the environment) by the rules users' scripts rely on, answers `-help` and `-version`, and hands out typed
//! values. The same table renders `-help`, the documentation page, `/flags` and the `flag` metric.
//!
//! This module must never exit the process, print by itself, or show the value of a secret flag.

mod array;
mod command_line;
mod environment;
mod flag_set;
mod help;
mod listing;
mod password;
mod value;

#[cfg(test)]
mod tests;

pub use flag_set::FlagSet;
pub use help::markdown_page;
pub use listing::FlagLine;
pub use password::{FetchSecret, Password};

/// What a value may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-name` or `-name=value`; never takes the next word.
    Bool,
    /// Decimal, `0x`, `0o`, `0b` or leading-zero octal.
    Int,
    /// A float literal.
    Float,
    /// Any text.
    Text,
    /// Numbers with units `ns us µs ms s m h`.
    Duration,
    /// Number with an optional unit such as `KB` or `KiB`.
    Bytes,
    /// Literal, `file://path` or `http(s)://url`.
    Password,
    /// Comma list or repetition of texts.
    TextList,
    /// Comma list or repetition of decimal integers; an empty item is 0.
    IntList,
    /// Comma list or repetition of booleans; an empty item is `false`.
    BoolList,
}

/// What the product does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Has its effect.
    Works,
    /// Accepted without effect, for the reason given.
    Ignored(&'static str),
    /// Parses, but the application refuses to start when it is set, with this message.
    Refused(&'static str),
}

/// One row of a flag table.
#[derive(Clone, Copy, Debug)]
pub struct FlagDef {
    /// Name without dash.
    pub name: &'static str,
    /// Other spellings that mean the same flag; not listed anywhere.
    pub aliases: &'static [&'static str],
    /// Grammar of the value.
    pub kind: Kind,
    /// Value when the flag is not set, in the grammar of a command line; empty = false, 0, no item.
    /// When `computed` is there, this is only a description of how the default comes about.
    pub default: &'static str,
    /// Default that depends on the machine.
    pub computed: Option<fn() -> String>,
    /// What the flag does, for `-help` and the documentation.
    pub help: &'static str,
    /// Whether it has its effect.
    pub support: Support,
    /// Masked although the name does not tell that the value is a secret.
    pub secret: bool,
}

impl FlagDef {
    /// A working flag.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { name, aliases: &[], kind, default, computed: None, help, support: Support::Works, secret: false }
    }

    /// Other spellings of the name.
    #[must_use]
    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// A default that depends on the machine; `default` then describes it.
    #[must_use]
    pub const fn computed(self, computed: fn() -> String) -> Self {
        Self { computed: Some(computed), ..self }
    }

    /// Accepted without effect.
    #[must_use]
    pub const fn ignored(self, reason: &'static str) -> Self {
        Self { support: Support::Ignored(reason), ..self }
    }

    /// Known, but the application does not start with it.
    #[must_use]
    pub const fn refused(self, message: &'static str) -> Self {
        Self { support: Support::Refused(message), ..self }
    }

    /// Value is never shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Text of the default in the grammar of a command line.
    pub(crate) fn default_text(&self) -> String {
        self.computed.map_or_else(|| self.default.to_string(), |computed| computed())
    }
}

/// What `-help` and `-version` say about the binary.
#[derive(Clone, Debug)]
pub struct AppInfo {
    /// Name of the binary, such as `vmauth`.
    pub name: &'static str,
    /// Two sentences in front of the flags: what it is and where its documentation is.
    pub banner: &'static str,
    /// Output of `-version`.
    pub version: String,
}

/// The process must end: after `-help`, `-version`, or because of an error. [`crate::process::exit::leave`] does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagExit {
    /// Exit code.
    pub code: i32,
    /// Text for stdout, line ends included.
    pub stdout: String,
    /// Text for stderr, line ends included.
    pub stderr: String,
}

impl FlagExit {
    /// Exit code 1 with a line on stderr that begins with the local time.
    pub fn failure(message: &str) -> Self {
        Self { code: 1, stdout: String::new(), stderr: format!("{} {message}\n", local_time()) }
    }

    /// Exit code 2 with a line on stderr in the form that start scripts know from unusable logger settings.
    pub fn panic(message: &str) -> Self {
        Self { code: 2, stdout: String::new(), stderr: format!("panic: FATAL: {message}\n") }
    }
}

/// Local time in front of lines that do not go through the logger: `2026/11/21 17:02:33`.
pub(crate) fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string()
}
