//! `vmauth completions` and `vmauth man`: what shells and readers know of the command line, from the same tables that parse it.

use std::fmt::Write as _;

use vmkit::flags::{FlagDef, Kind};

use super::commands::{COMMANDS, Command};
use super::words::Words;
use super::{CommandError, Output};
use crate::flags::{app_info, groups};

/// A completion script for `bash`, `zsh` or `fish`.
pub(super) fn completions(words: &Words) -> Result<Output, CommandError> {
    let flags = app_info().table(&groups());
    let stdout = match words.operands.first().map(String::as_str) {
        Some("bash") => bash(&flags),
        Some("zsh") => zsh(&flags),
        Some("fish") => fish(&flags),
        _ => return Err(CommandError::Usage("which shell? Write bash, zsh or fish".to_owned(), "completions")),
    };
    Ok(Output { code: 0, stdout })
}

fn is_switch(flag: &FlagDef) -> bool {
    matches!(flag.kind, Kind::Bool | Kind::BoolList)
}

/// Flags as words: those with a value end with `=`.
fn flag_words(flags: &[FlagDef]) -> Vec<String> {
    flags.iter().map(|flag| format!("-{}{}", flag.name, if is_switch(flag) { "" } else { "=" })).collect()
}

fn option_words(command: &Command) -> Vec<String> {
    command.options.iter().map(|option| format!("-{}", option.name)).collect()
}

fn bash(flags: &[FlagDef]) -> String {
    let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
    let mut out =
        String::from("# bash completion of vmauth: source it, or put it into /etc/bash_completion.d.\n_vmauth() {\n");
    let _ = writeln!(out, "    local flags=\"{}\"\n    local words=\"$flags\"", flag_words(flags).join(" "));
    out.push_str("    case ${COMP_WORDS[1]} in\n");
    for command in COMMANDS {
        let own = option_words(command).join(" ");
        let flags = if command.takes_flags { " $flags" } else { "" };
        let _ = writeln!(out, "        {}) words=\"{own}{flags}\" ;;", command.name);
    }
    let _ = writeln!(
        out,
        "    esac\n    [ \"$COMP_CWORD\" = 1 ] && words=\"{} $words\"\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    \
         if [[ $word == -* || $COMP_CWORD == 1 ]]; then\n        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n        \
         [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace\n    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}}\n\
         complete -F _vmauth vmauth",
        names.join(" ")
    );
    out
}

/// A text in single quotes for zsh and fish.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "'\\''"))
}

fn zsh(flags: &[FlagDef]) -> String {
    // `:` separates a word from its description.
    let described = |word: &str, text: &str| quoted(&format!("{}:{}", word.replace(':', "\\:"), text));
    let mut out = String::from("#compdef vmauth\n_vmauth() {\n    local -a commands flags options\n    commands=(\n");
    for command in COMMANDS {
        let _ = writeln!(out, "        {}", described(command.name, command.summary));
    }
    out.push_str("    )\n    flags=(\n");
    for flag in flags {
        let word = format!("-{}{}", flag.name, if is_switch(flag) { "" } else { "=" });
        let _ = writeln!(out, "        {}", described(&word, &help_of(flag)));
    }
    out.push_str("    )\n    options=()\n    case ${words[2]} in\n");
    for command in COMMANDS {
        let options: Vec<_> =
            command.options.iter().map(|option| described(&format!("-{}", option.name), option.help)).collect();
        let _ = writeln!(out, "        {}) options=({}) ;;", command.name, options.join(" "));
    }
    out.push_str(
        "    esac\n    if (( CURRENT == 2 )); then _describe command commands; fi\n    \
         if [[ ${words[CURRENT]} == -* ]]; then\n        _describe option options\n        _describe flag flags -S ''\n    \
         else\n        _files\n    fi\n}\n_vmauth \"$@\"\n",
    );
    out
}

fn fish(flags: &[FlagDef]) -> String {
    let mut out = String::new();
    for command in COMMANDS {
        let (name, summary) = (command.name, quoted(command.summary));
        let _ = writeln!(out, "complete -c vmauth -n __fish_use_subcommand -a {name} -d {summary}");
        for option in command.options {
            let takes = if option.value.is_empty() { "" } else { " -r" };
            let help = quoted(option.help);
            let _ = writeln!(
                out,
                "complete -c vmauth -n '__fish_seen_subcommand_from {name}' -o {}{takes} -d {help}",
                option.name
            );
        }
    }
    for flag in flags {
        let takes = if is_switch(flag) { "" } else { " -r" };
        let _ = writeln!(out, "complete -c vmauth -o {}{takes} -d {}", flag.name, quoted(&help_of(flag)));
    }
    out
}

fn help_of(flag: &FlagDef) -> String {
    flag.help.replace("{app}", "vmauth")
}

/// A line of roff: leading dots and backslashes mean something there.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The man page, as roff.
pub(super) fn man() -> Output {
    let mut out =
        String::from(".TH VMAUTH 1\n.SH NAME\nvmauth \\- authenticates, routes, balances and proxies HTTP requests\n");
    out.push_str(".SH SYNOPSIS\n.B vmauth\n\\-auth.config=\\fIFILE\\fR [\\fIflags\\fR]\n");
    for command in COMMANDS {
        let flags = if command.takes_flags { "[\\fIflags\\fR] " } else { "" };
        let _ = writeln!(out, ".br\n.B vmauth {}\n{flags}[\\fIoptions\\fR] {}", command.name, roff(command.operands));
    }
    out.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        let _ = writeln!(out, ".SS {}\n{}", command.name, roff(command.summary));
        for option in command.options {
            let _ = writeln!(out, ".TP\n\\fB\\-{}\\fR {}\n{}", option.name, roff(option.value), roff(option.help));
        }
    }
    out.push_str(".SH FLAGS\nWritten with one dash or two, as \\-name=value or \\-name value.\n");
    for flag in app_info().table(&groups()) {
        let _ = writeln!(out, ".TP\n\\fB\\-{}\\fR\n{}", roff(flag.name), roff(&help_of(&flag)));
        if !flag.default.is_empty() {
            let _ = writeln!(out, ".br\nDefault: {}", roff(flag.default));
        }
    }
    out.push_str(
        ".SH SIGNALS\nSIGHUP loads the config again; SIGTERM and SIGINT stop the process when its requests are done.\n",
    );
    Output { code: 0, stdout: out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::find;

    fn script(shell: &str) -> String {
        completions(&Words::split(find("completions").unwrap(), &[shell.to_owned()]).unwrap()).unwrap().stdout
    }

    #[test]
    fn all_flags_and_commands_are_known_to_shells_and_readers() {
        for text in [script("bash"), script("zsh"), script("fish"), man().stdout.replace("\\-", "-")] {
            for flag in app_info().table(&groups()) {
                assert!(text.contains(flag.name), "{}", flag.name);
            }
            for command in COMMANDS {
                assert!(text.contains(command.name), "{}", command.name);
                assert!(command.options.iter().all(|option| text.contains(option.name)), "{}", command.name);
            }
        }
    }

    /// The shell itself reads the script.
    #[test]
    fn bash_completes_flags_and_commands() {
        let ask = |words: &str, index: usize| {
            let test = format!(
                "{}\ncompopt() {{ :; }}\nCOMP_WORDS=({words}); COMP_CWORD={index}; _vmauth; echo \"${{COMPREPLY[*]}}\"",
                script("bash")
            );
            let output = std::process::Command::new("bash").args(["-c", &test]).output().expect("bash can be started");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(ask("vmauth expl", 1), "explain");
        assert_eq!(ask("vmauth explain -bea", 2), "-bearer");
        assert_eq!(ask("vmauth -dryRun.s", 1), "-dryRun.strict");
        assert_eq!(ask("vmauth lint -auth.c", 2), "-auth.config=");
    }
}
