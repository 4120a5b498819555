//! The table in words: `-help`, the usage text behind errors, and the documentation page.
//!
//! Only renders; what a flag does is said once, in the table. The documentation page must not depend on the machine
//! it is generated on, so computed defaults appear there as their description.

use std::fmt::Write as _;

use super::definition::{AppInfo, FlagDef, Kind, Support};
use super::value::Value;
use crate::go_text::quote;

/// What stands for the name of the program in texts that several programs share.
const APP: &str = "{app}";

/// Banner, then all flags or a hint how to see them. The table is sorted by name.
pub(super) fn usage(defs: &[FlagDef], app: &AppInfo, program: &str, full: bool) -> String {
    let banner = app.banner;
    if full {
        return format!("\n{banner}\n\n{}", flag_list(defs).replace(APP, app.name));
    }
    format!("\n{banner}\n\nRun \"{program} -help\" in order to see the description for all the available flags\n")
}

fn flag_list(defs: &[FlagDef]) -> String {
    let mut out = String::new();
    for def in defs {
        let _ = writeln!(out, "  -{}{}", def.name, type_word(def.kind));
        let text = description(def).replace('\n', "\n    \t");
        let _ = writeln!(out, "    \t{text}{}", default_note(def));
    }
    out
}

fn type_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "",
        Kind::Int => " int",
        Kind::Float => " float",
        Kind::Text => " string",
        Kind::Duration => " duration",
        Kind::Bytes => " size",
        Kind::Password => " value",
        Kind::TextList | Kind::DurationList | Kind::BytesList | Kind::IntList | Kind::BoolList => " array",
    }
}

fn description(def: &FlagDef) -> String {
    let mut text = def.help.to_string();
    match def.support {
        Support::Works => {}
        Support::Ignored(reason) => text += &format!("\nAccepted, but has no effect: {reason}"),
        Support::Refused(message) => text += &format!("\nNot supported: {}", reason(message)),
    }
    text += match def.kind {
        Kind::Bytes => "\nTakes a number with one of the optional units KB, MB, GB, TB, KiB, MiB, GiB, TiB",
        Kind::Password => "\nThe value itself, or where to read it: file:///path or http(s)://host/path",
        Kind::TextList | Kind::DurationList | Kind::BytesList | Kind::IntList => {
            "\nTakes several values, separated by commas or by repeating the flag"
        }
        Kind::BoolList => {
            "\nTakes one value for all listeners, or one a listener, separated by commas or by repeating the flag"
        }
        _ => "",
    };
    text
}

/// A message of a refused start behind the words `Not supported`, which it may begin with itself.
fn reason(message: &'static str) -> &'static str {
    message.strip_prefix("not supported: ").unwrap_or(message)
}

fn default_note(def: &FlagDef) -> String {
    let shown = Value::default_of(def).render();
    match def.kind {
        Kind::Password => String::new(),
        _ if shown.is_empty() || matches!(shown.as_str(), "0" | "0s" | "false") => String::new(),
        _ if def.computed.is_some() => format!(" (default {shown} = {})", def.default),
        Kind::Text => format!(" (default {})", quote(&shown)),
        _ => format!(" (default {shown})"),
    }
}

/// All flags of a program as a Markdown page, for `docs/`.
pub fn markdown_page(app: &AppInfo, introduction: &str, groups: &[&[FlagDef]]) -> String {
    let mut out =
        format!("# Flags of {APP}\n\n{introduction}\n\n| Flag | Type | Default | Meaning |\n|---|---|---|---|\n");
    for def in &app.table(groups) {
        let default = match def.computed {
            Some(_) => def.default.to_string(),
            None if def.default.is_empty() => String::new(),
            None => format!("`{}`", Value::default_of(def).render()),
        };
        let kind = match type_word(def.kind).trim_start() {
            "" => "bool",
            word => word,
        };
        let mut meaning = def.help.replace('\n', " ").replace('|', "\\|");
        match def.support {
            Support::Works => {}
            Support::Ignored(reason) => meaning += &format!(". **No effect**: {reason}"),
            Support::Refused(message) => meaning += &format!(". **Not supported**: {}", reason(message)),
        }
        if let [alias, ..] = def.aliases {
            meaning += &format!(". Also accepted as `-{alias}`");
        }
        let _ = writeln!(out, "| `-{}` | {kind} | {default} | {meaning} |", def.name);
    }
    out.replace(APP, app.name)
}
