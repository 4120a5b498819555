//! The walk over the words of a command line.
//!
//! Stands between the raw arguments and the values: finds names, decides which word belongs to which flag, and words
//! the errors. Unknown flags and bad values end the process with code 2 and a usage text on stdout, words left over
//! with code 1 on stderr, as start scripts expect.

use super::definition::{AppInfo, FlagDef, Kind};
use super::flag_exit::FlagExit;
use super::flag_set::FlagSet;
use super::help;
use super::value::Value;
use crate::go_text::{edit_distance, quote};

/// Program name and words behind it, with references to the environment already replaced.
pub(super) struct CommandLine {
    pub(super) program: String,
    pub(super) words: Vec<String>,
}

enum Stop {
    /// `-help`, which is no error.
    Help,
    Error(String),
}

impl CommandLine {
    pub(super) fn apply(&self, flags: &mut FlagSet, app: &AppInfo) -> Result<(), FlagExit> {
        let (code, message) = match self.walk(flags) {
            Ok([]) => return Ok(()),
            Ok(left) => return Err(leftovers(flags, &self.words, left)),
            Err(Stop::Help) => (0, String::new()),
            Err(Stop::Error(message)) => (2, message + "\n"),
        };
        let usage = help::usage(flags.defs(), app, &self.program, self.asks_for_help());
        Err(FlagExit { code, stdout: message + &usage, stderr: String::new() })
    }

    /// Sets flags until the first word that is none; returns the words from there.
    fn walk(&self, flags: &mut FlagSet) -> Result<&[String], Stop> {
        let mut rest = self.words.as_slice();
        while let Some((word, tail)) = rest.split_first() {
            if word == "--" {
                return Ok(tail);
            }
            let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|_| word.len() > 1)
            else {
                return Ok(rest);
            };
            rest = apply_flag(flags, word, body, tail)?;
        }
        Ok(rest)
    }

    fn asks_for_help(&self) -> bool {
        self.words.iter().any(|word| matches!(word.as_str(), "-h" | "--h" | "-help" | "--help"))
    }
}

/// Sets one flag, from its own word or from the next one; returns the words that remain.
fn apply_flag<'a>(flags: &mut FlagSet, word: &str, body: &str, tail: &'a [String]) -> Result<&'a [String], Stop> {
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(Stop::Error(format!("bad flag syntax: {word}")));
    }
    let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
    let Some(index) = flags.index_of(name) else {
        if name == "help" || name == "h" {
            return Err(Stop::Help);
        }
        return Err(Stop::Error(format!("flag provided but not defined: -{name}{}", suggestion(flags.defs(), name))));
    };
    if matches!(flags.value_at(index), Value::Bool(_) | Value::Bools(_)) {
        let text = value.unwrap_or("true");
        let wrong = |cause| Stop::Error(format!("invalid boolean value {} for -{name}: {cause}", quote(text)));
        return flags.set(index, text).map_err(wrong).map(|()| tail);
    }
    let (text, tail) = match (value, tail.split_first()) {
        (Some(value), _) => (value, tail),
        (None, Some((next, tail))) => (next.as_str(), tail),
        (None, None) => return Err(Stop::Error(format!("flag needs an argument: -{name}"))),
    };
    let shown = if flags.is_masked(index) { "secret" } else { text };
    let hint = flags.defs().get(index).map_or("", |def| what_to_write(def.kind));
    let wrong = |cause| Stop::Error(format!("invalid value {} for flag -{name}: {cause}{hint}", quote(shown)));
    flags.set(index, text).map_err(wrong).map(|()| tail)
}

/// A line of its own behind the error, so that the first one stays what scripts know.
fn what_to_write(kind: Kind) -> &'static str {
    match kind {
        Kind::Duration | Kind::DurationList => "\nwrite numbers with units: 30s, 5m, 1h30m",
        Kind::Bytes | Kind::BytesList => "\nwrite a number of bytes, or one with KB, MB, GB, TB, KiB, MiB, GiB or TiB",
        Kind::Bool
        | Kind::Int
        | Kind::Float
        | Kind::Text
        | Kind::Password
        | Kind::TextList
        | Kind::IntList
        | Kind::BoolList => "",
    }
}

/// The flag that may have been meant, in a line of its own.
fn suggestion(defs: &[FlagDef], name: &str) -> String {
    let wanted = name.to_lowercase();
    let near = defs.iter().map(|def| (edit_distance(&wanted, &def.name.to_lowercase()), def.name));
    match near.min_by_key(|(distance, _)| *distance) {
        Some((distance, near)) if distance <= 2.min(near.len() / 3) => format!("\ndid you mean -{near}?"),
        _ => String::new(),
    }
}

fn leftovers(flags: &FlagSet, all: &[String], left: &[String]) -> FlagExit {
    // `-tls true`: the word in front of the first one left is the flag that did not take it.
    let before = all.len().checked_sub(left.len() + 1).and_then(|at| all.get(at));
    let flag = before.and_then(|word| word.strip_prefix("--").or_else(|| word.strip_prefix('-')));
    let is_bool = |name: &&str| {
        let index = flags.index_of(name);
        index.is_some_and(|index| matches!(flags.value_at(index), Value::Bool(_) | Value::Bools(_)))
    };
    let advice = match (flag.filter(is_bool), left.first()) {
        (Some(flag), Some(word)) if matches!(word.as_str(), "true" | "false" | "1" | "0") => {
            format!("; write -{flag}={word}")
        }
        _ => String::new(),
    };
    FlagExit::failure(&format!(
        "unprocessed command-line args left: [{}]; the most likely reason is missing `=` between boolean flag name and \
         value; see https://pkg.go.dev/flag#hdr-Command_line_flag_syntax{advice}",
        left.join(" ")
    ))
}
