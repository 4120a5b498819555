//! The commands and their options in one table: the parser, `-help`, completions and man pages are made from it.

use std::fmt::Write as _;

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) summary: &'static str,
    /// Words behind the options, such as `[METHOD] URL`.
    pub(super) operands: &'static str,
    /// How many of them there may be.
    pub(super) most_operands: usize,
    pub(super) options: &'static [CommandOption],
    /// Whether the flags of vmauth may be given, too.
    pub(super) takes_flags: bool,
}

/// An option of a command, written with one dash or two.
#[derive(Debug)]
pub(super) struct CommandOption {
    pub(super) name: &'static str,
    /// Another spelling, mostly curl's letter.
    pub(super) alias: &'static str,
    /// Name of its value; empty for a switch.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

const fn option(name: &'static str, alias: &'static str, value: &'static str, help: &'static str) -> CommandOption {
    CommandOption { name, alias, value, help }
}

const JSON: CommandOption = option("json", "", "", "Print JSON.");
const OFFLINE: CommandOption = option(
    "offline",
    "",
    "",
    "Ask no identity provider and no name server; signatures of providers' tokens are believed.",
);

/// All commands.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "explain",
        summary: "Say whether a request is allowed, why, and what would be sent where. Exit status 0 = allowed, 1 = denied, 2 = error.",
        operands: "[METHOD] URL",
        most_operands: 2,
        options: &[
            option("method", "X", "METHOD", "Method of the request."),
            option("header", "H", "LINE", "A header, `Name: value`. May be repeated."),
            option("user", "u", "USER:PASSWORD", "Basic credentials."),
            option("bearer", "", "TOKEN", "A token behind `Authorization: Bearer`."),
            option("data", "d", "TEXT", "A body."),
            option("client", "", "ADDRESS", "IP address of the client; 127.0.0.1 by default."),
            option("cert", "", "SUBJECT", "Subject of the client's certificate: `CN=bob,O=Acme,OU=finance`."),
            OFFLINE,
            option("secrets", "", "", "Show secrets in URLs and headers."),
            JSON,
        ],
        takes_flags: true,
    },
    Command {
        name: "hash-password",
        summary: "Read a password from stdin and print its hash for `password_hash`: argon2id with a random salt.",
        operands: "",
        most_operands: 0,
        options: &[
            option("sha256", "", "", "SHA-256 instead, for random passwords and for `bearer_token_hash`."),
            option("random", "", "", "Make a random token instead of reading one: prints it, then its SHA-256."),
        ],
        takes_flags: false,
    },
    Command {
        name: "lint",
        summary: "Find what loads and is most likely a mistake, or unsafe. Exit status 0 = nothing, 1 = warnings, 2 = error.",
        operands: "",
        most_operands: 0,
        options: &[
            option("off", "", "RULE,…", "Leave out these rules."),
            option("only", "", "RULE,…", "Use these rules alone."),
            option("strict", "", "", "Let notes fail, too."),
            option("rules", "", "", "List the rules."),
            JSON,
        ],
        takes_flags: true,
    },
    Command {
        name: "test",
        summary: "Run the requests of a file through the config and compare what comes out. Exit status 0 = all as expected, 1 = not, 2 = error.",
        operands: "FILE",
        most_operands: 1,
        options: &[option("coverage", "", "", "Fail when a route is never reached."), OFFLINE, JSON],
        takes_flags: true,
    },
    Command {
        name: "schema",
        summary: "Print the JSON schema of the config, for editors.",
        operands: "",
        most_operands: 0,
        options: &[],
        takes_flags: false,
    },
    Command {
        name: "completions",
        summary: "Print a completion script for a shell.",
        operands: "bash|zsh|fish",
        most_operands: 1,
        options: &[],
        takes_flags: false,
    },
    Command {
        name: "man",
        summary: "Print the man page.",
        operands: "",
        most_operands: 0,
        options: &[],
        takes_flags: false,
    },
];

/// The command of this name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    /// The option of this spelling.
    pub(super) fn option(&self, name: &str) -> Option<&'static CommandOption> {
        self.options.iter().find(|option| option.name == name || (!option.alias.is_empty() && option.alias == name))
    }

    /// What `-help` prints.
    pub(super) fn help(&self) -> String {
        let flags = if self.takes_flags { "[flags of vmauth] " } else { "" };
        let mut out = format!("vmauth {} {flags}[options] {}\n\n{}\n", self.name, self.operands, self.summary);
        if !self.options.is_empty() {
            out.push_str("\nOptions\n");
        }
        for option in self.options {
            let mut left = format!("-{}", option.name);
            if !option.alias.is_empty() {
                left = format!("-{}, {left}", option.alias);
            }
            if !option.value.is_empty() {
                left = format!("{left} {}", option.value);
            }
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {left:<26} {}", option.help);
        }
        if self.takes_flags {
            out.push_str(
                "\nFlags of vmauth, such as -auth.config, mean what they mean for the process; see `vmauth -help`.\n",
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{app_info, groups};

    #[test]
    fn options_are_no_flags() {
        let flags = app_info().table(&groups());
        for command in COMMANDS {
            for option in command.options {
                assert!(option.help.ends_with('.'), "{}", option.name);
                for flag in &flags {
                    assert!(flag.name != option.name && flag.name != option.alias, "-{}", flag.name);
                }
            }
        }
    }
}
