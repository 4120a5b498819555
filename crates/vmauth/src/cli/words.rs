//! Tells the options of a command, the flags of vmauth and the other words apart.

use std::collections::HashMap;

use vmkit::flags::{FlagDef, Kind};

use super::commands::Command;
use crate::flags::{app_info, groups};

/// The words behind a command's name.
#[derive(Debug, Default)]
pub(super) struct Words {
    options: HashMap<&'static str, Vec<String>>,
    /// Words for the flag table.
    pub(super) flags: Vec<String>,
    /// Words that are neither.
    pub(super) operands: Vec<String>,
    pub(super) asks_for_help: bool,
}

impl Words {
    /// Reads the words; an error says which one makes no sense.
    pub(super) fn split(command: &'static Command, words: &[String]) -> Result<Self, String> {
        let flags = app_info().table(&groups());
        let mut read = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                read.operands.extend(rest.by_ref().cloned());
                break;
            }
            let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|body| !body.is_empty())
            else {
                read.operands.push(word.clone());
                continue;
            };
            let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
            if matches!(name, "h" | "help") {
                read.asks_for_help = true;
            } else if let Some(option) = command.option(name) {
                let value = match (option.value.is_empty(), value) {
                    (true, None) => String::new(),
                    (true, Some(_)) => return Err(format!("-{name} takes no value")),
                    (false, Some(value)) => value.to_owned(),
                    (false, None) => {
                        rest.next().ok_or_else(|| format!("-{name} needs a value: {}", option.value))?.clone()
                    }
                };
                read.options.entry(option.name).or_default().push(value);
            } else if command.takes_flags {
                read.flags.push(word.clone());
                if value.is_none() && takes_next(&flags, name) {
                    read.flags.extend(rest.next().cloned());
                }
            } else {
                return Err(format!("there is no option -{name}"));
            }
        }
        if read.operands.len() > command.most_operands && !read.asks_for_help {
            let extra = &read.operands[command.most_operands];
            return Err(format!("{extra:?} is one word too many"));
        }
        Ok(read)
    }

    /// Whether a switch is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The last value of an option.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// All values of an option.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.options.get(name).map_or(&[], Vec::as_slice)
    }
}

fn takes_next(flags: &[FlagDef], name: &str) -> bool {
    let known = flags.iter().find(|flag| flag.name == name || flag.aliases.contains(&name));
    known.is_some_and(|flag| !matches!(flag.kind, Kind::Bool | Kind::BoolList))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::find;

    fn split(text: &str) -> Result<Words, String> {
        let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Words::split(find("explain").unwrap(), &words)
    }

    #[test]
    fn words_are_told_apart() {
        let words = split("-auth.config a.yml POST -H A:b --header=C:d -enableTCP6 http://h/ -u x:y").unwrap();
        assert_eq!(words.flags, ["-auth.config", "a.yml", "-enableTCP6"]);
        assert_eq!(words.operands, ["POST", "http://h/"]);
        assert_eq!(words.values("header"), ["A:b", "C:d"]);
        assert_eq!((words.value("user"), words.is_set("json")), (Some("x:y"), false));
        assert!(split("--json -- -x").unwrap().is_set("json"));
        assert!(split("a b c -help").unwrap().asks_for_help);
    }

    #[test]
    fn errors() {
        let f = |text: &str, want: &str| assert_eq!(split(text).unwrap_err(), want);
        f("-u", "-u needs a value: USER:PASSWORD");
        f("-json=1 /", "-json takes no value");
        f("GET / x", "\"x\" is one word too many");
    }
}
