//! Single keys from a terminal, and the terminal as it was at the end.
//!
//! Only line editing and echo are switched off; Ctrl-C stays a signal. Keys are read on a thread of their own, because a
//! terminal cannot be waited for otherwise; that thread ends with the process.

use std::io::{IsTerminal, Read, stdin, stdout};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::output::Output;

/// Keys that may wait to be looked at.
const MAX_KEYS: usize = 16;
/// Another screen beside that of the shell, without a cursor and without long lines that go on in the next row.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Back to the shell's.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that gives single keys; dropping it restores it.
#[derive(Debug)]
pub struct Keyboard {
    before: Termios,
    keys: mpsc::Receiver<char>,
    output: Output,
}

impl Keyboard {
    /// Takes the terminal; `None` when input or output is none.
    pub fn take(output: &Output) -> Option<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut single = before.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &single).ok()?;
        output.print(ENTER);
        let (sender, keys) = mpsc::channel(MAX_KEYS);
        let reads = move || {
            for byte in stdin().lock().bytes().map_while(Result::ok) {
                // Keys that nobody has looked at in time are dropped.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(char::from(byte)) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("keyboard".to_owned()).spawn(reads).ok()?;
        Some(Self { before, keys, output: output.clone() })
    }

    /// Rows of the terminal as it is now.
    pub fn rows(&self) -> usize {
        tcgetwinsize(stdout()).map_or(24, |size| usize::from(size.ws_row)).max(2)
    }

    /// The next key; never ends when there will be none.
    pub async fn next(&mut self) -> char {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.output.print(LEAVE);
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
