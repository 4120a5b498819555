//! The `vmauth` program: flags, logger, then either a check of the config or the server.

use vmauth::app::{Start, dry_run, run};
use vmauth::options::Options;
use vmkit::env_template::Environment;
use vmkit::flags::{FlagExit, FlagSet};
use vmkit::process::exit;

fn main() {
    match start() {
        Ok(start) if start.options.config.dry_run => finish(dry_run(&start)),
        Ok(start) => finish(run(start)),
        Err(exit) => exit::leave(&exit),
    }
}

fn start() -> Result<Start, FlagExit> {
    let variables = Environment::from_process();
    let args: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let flags = FlagSet::parse(vmauth::flags::TABLE, &vmauth::flags::app_info(), args, &variables)?;
    vmkit::logger::init(&vmkit::logger::LoggerOptions::from_flags(&flags))?;
    vmkit::logger::log_start(&vmkit::process::build_info::version("vmauth"), &flags);
    let options = Options::from_flags(&flags).unwrap_or_else(|problems| vmkit::fatal!("{}", problems.join("; ")));
    Ok(Start { flags, options, variables })
}

fn finish(result: Result<(), String>) {
    if let Err(message) = result {
        vmkit::fatal!("{message}");
    }
    exit::with_code(0);
}
