//! `vmauth hash-password`: from a secret on stdin to the text that stands in the config in its place.
//!
//! The secret is never an argument, since those are seen by everybody on the machine; typed at a terminal it is not echoed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::words::Words;
use super::{CommandError, Output};
use crate::password_hash;

/// Longest secret that is read; a header takes no longer one.
const MAX_SECRET: u64 = 16 * 1024;

pub(super) fn run(words: &Words) -> Result<Output, CommandError> {
    if words.is_set("random") {
        let token = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let stdout = format!("{token}\n{}\n", password_hash::hash_random(token.as_bytes()));
        return Ok(Output { code: 0, stdout });
    }
    let stdin = io::stdin().lock();
    let secret = if stdin.is_terminal() { typed(stdin)? } else { line(stdin)? };
    if secret.is_empty() {
        return Err(CommandError::Other("there is no password on stdin".to_owned()));
    }
    let hash = match words.is_set("sha256") {
        true => password_hash::hash_random(&secret),
        false => password_hash::hash(&secret, random()?)?,
    };
    Ok(Output { code: 0, stdout: format!("{hash}\n") })
}

fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CommandError::Other("the system has no randomness".to_owned()))?;
    Ok(bytes)
}

/// The first line without its end.
fn line(stdin: impl BufRead) -> Result<Vec<u8>, CommandError> {
    let mut secret = Vec::new();
    let read = stdin.take(MAX_SECRET).read_until(b'\n', &mut secret);
    read.map_err(|error| CommandError::Other(format!("cannot read stdin: {error}")))?;
    if secret.len() as u64 == MAX_SECRET {
        return Err(CommandError::Other(format!("the password is longer than {MAX_SECRET} bytes")));
    }
    let end = secret.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest).len());
    secret.truncate(end.unwrap_or(secret.len()));
    Ok(secret)
}

/// Asks for the secret and does not show it.
fn typed(stdin: impl BufRead + AsFd) -> Result<Vec<u8>, CommandError> {
    let failed = |error: rustix::io::Errno| CommandError::Other(format!("cannot switch the terminal's echo: {error}"));
    let terminal = stdin.as_fd().try_clone_to_owned();
    let terminal = terminal.map_err(|error| CommandError::Other(format!("cannot use the terminal: {error}")))?;
    let before = tcgetattr(&terminal).map_err(failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // A prompt that cannot be written is no reason to stop.
    let _ = write!(io::stderr(), "password: ");
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(failed)?;
    let secret = line(stdin);
    tcsetattr(&terminal, OptionalActions::Flush, &before).map_err(failed)?;
    let _ = writeln!(io::stderr());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_secret() {
        let f = |text: &[u8], want: &[u8]| assert_eq!(line(text).unwrap(), want);
        f(b"hunter2", b"hunter2");
        f(b"hunter2\nmore\n", b"hunter2");
        f(b" with blanks \r\n", b" with blanks ");
        f(b"\xff\r\r\n", b"\xff\r");
        f(b"", b"");
        assert!(line(&[b'x'; 20_000][..]).is_err());
    }
}
