//! Where lines end up.
//!
//! Every call is one write of whole lines. A closed or full output loses lines; it never stops the process.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::line_format::LineFormat;

/// Buffers above this size are given back after a burst.
const KEPT_CAPACITY: usize = 256 << 10;

/// Target of the log.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Stderr,
    Stdout,
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Sink {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// Holds up whoever writes to memory, as a reader that has stopped does.
    #[cfg(test)]
    pub(super) fn stall(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        match self {
            Self::Memory(bytes) => bytes.lock().unwrap(),
            Self::Stderr | Self::Stdout => unreachable!("only memory can be held up"),
        }
    }

    /// What was written to memory.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Memory(bytes) => {
                String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
            }
            Self::Stderr | Self::Stdout => String::new(),
        }
    }

    fn write(&self, lines: &[u8]) {
        // There is nobody left to tell that the log cannot be written.
        let _ = match self {
            Self::Stderr => write_stderr(lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            Self::Memory(bytes) => {
                bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
                Ok(())
            }
        };
    }
}

fn write_stderr(lines: &[u8]) -> io::Result<()> {
    io::stderr().lock().write_all(lines)
}

/// Formats lines and writes them, one caller at a time.
#[derive(Debug)]
pub(crate) struct LineWriter {
    sink: Sink,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    format: LineFormat,
    out: Vec<u8>,
    to_stderr: Vec<u8>,
}

impl LineWriter {
    pub(crate) fn new(format: LineFormat, sink: Sink) -> Self {
        Self { sink, state: Mutex::new(State { format, out: Vec::new(), to_stderr: Vec::new() }) }
    }

    /// Writes in one piece what `fill` appends to the first buffer, and to stderr what it appends to the second.
    /// `fill` must not log.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut LineFormat, &mut Vec<u8>, &mut Vec<u8>)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { format, out, to_stderr } = &mut *state;
        fill(format, out, to_stderr);
        if !out.is_empty() {
            self.sink.write(out);
        }
        if !to_stderr.is_empty() {
            // As above: nobody is left to tell.
            let _ = write_stderr(to_stderr);
        }
        for buffer in [out, to_stderr] {
            buffer.clear();
            buffer.shrink_to(KEPT_CAPACITY);
        }
    }
}
