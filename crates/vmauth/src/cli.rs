//! Commands beside serving: `vmauth explain`, `test`, `lint`, `hash-password`, `schema`, `completions` and `man`.
//!
//! A first word that is a command's name leads here, everything else is the flag style of upstream and none of this
//! room's business. Commands take all flags of vmauth, so that they see the config as the process would; what they
//! print goes to stdout, what went wrong to stderr. Nothing here listens or serves.

mod commands;
mod explain;
mod hash_password;
mod lint;
mod shell;
mod test;
mod words;

use vmkit::env_template::Environment;
use vmkit::flags::{FlagExit, FlagSet};
use vmkit::logger::LoggerOptions;
use vmkit::service::ServiceOptions;

use crate::app::Start;
use crate::flags::{app_info, groups};
use crate::options::Options;
use commands::Command;
use words::Words;

/// Exit status of a command that could not do its work.
const FAILED: i32 = 2;

/// What a command has to say.
#[derive(Debug)]
struct Output {
    code: i32,
    stdout: String,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// The words of the command line make no sense.
    #[error("{0}; see `vmauth {1} -help`")]
    Usage(String, &'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

/// Runs a command if the command line names one; the process ends with what is returned.
pub fn run(args: &[String]) -> Option<FlagExit> {
    let command = commands::find(args.get(1)?)?;
    Some(match perform(command, args) {
        Ok(output) => FlagExit { code: output.code, stdout: output.stdout, stderr: String::new() },
        Err(error) => {
            let stderr = format!("vmauth {}: {error}\n", command.name);
            FlagExit { code: FAILED, stdout: String::new(), stderr }
        }
    })
}

fn perform(command: &'static Command, args: &[String]) -> Result<Output, CommandError> {
    let words = Words::split(command, &args[2..]).map_err(|text| CommandError::Usage(text, command.name))?;
    if words.asks_for_help {
        return Ok(Output { code: 0, stdout: command.help() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        match command.name {
            "lint" if words.is_set("rules") => Ok(lint::list()),
            "lint" => lint::run(&start(command, &words)?, &words).await,
            "hash-password" => hash_password::run(&words),
            "schema" => Ok(Output { code: 0, stdout: format!("{:#}\n", crate::config::schema()) }),
            "completions" => shell::completions(&words),
            "man" => Ok(shell::man()),
            "test" => test::run(&start(command, &words)?, &words).await,
            "explain" => explain::run(&start(command, &words)?, &words).await,
            other => Err(CommandError::Other(format!("BUG: nobody runs {other}"))),
        }
    })
}

/// The flags that a command was given, with the meaning they have for the process.
fn start(command: &'static Command, words: &Words) -> Result<Start, CommandError> {
    let usage = |text: String| CommandError::Usage(text, command.name);
    let variables = Environment::from_process();
    let app = app_info();
    let args = std::iter::once("vmauth".to_owned()).chain(words.flags.iter().cloned());
    let flags = FlagSet::parse(&groups(), &app, args, &variables).map_err(|exit| {
        // Of a usage text of two hundred lines the first ones say what is wrong.
        let text = if exit.stdout.is_empty() { exit.stderr } else { exit.stdout };
        usage(text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("; "))
    })?;
    let mut logging = LoggerOptions::from_flags(&flags);
    // Results go to stdout; of the log only what went wrong is worth a line beside them.
    logging.output = "stderr".to_owned();
    if logging.level == "INFO" {
        logging.level = "WARN".to_owned();
    }
    vmkit::logger::init(&logging).map_err(|exit| usage(exit.stderr.trim_end().to_owned()))?;
    match (ServiceOptions::from_flags(&flags), Options::from_flags(&flags)) {
        (Ok(service), Ok(options)) => Ok(Start { app, flags, service, options, variables }),
        (service, options) => {
            let problems: Vec<_> = [service.err(), options.err()].into_iter().flatten().flatten().collect();
            Err(usage(problems.join("; ")))
        }
    }
}
