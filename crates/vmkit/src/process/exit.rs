//! Orderly ends of the process.
//!
//! The only place besides `fatal!` that may end it. Whatever waits to be logged is written first.

use std::io::Write as _;

use crate::flags::FlagExit;

/// Prints what an exit has to say and ends the process with its code.
pub fn leave(exit: &FlagExit) -> ! {
    crate::logger::flush();
    // A closed stdout or stderr must not change the exit code.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(exit.stdout.as_bytes()).and_then(|()| stdout.flush());
    let _ = std::io::stderr().write_all(exit.stderr.as_bytes());
    std::process::exit(exit.code)
}

/// Writes the waiting log lines and ends the process.
pub fn with_code(code: i32) -> ! {
    crate::logger::flush();
    std::process::exit(code)
}
