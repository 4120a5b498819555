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
            Self::Stderr => io::stderr().lock().write_all(lines),
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

/// Formats lines and writes them, one caller at a time.
#[derive(Debug)]
pub(crate) struct LineWriter {
    sink: Sink,
    state: Mutex<(LineFormat, Vec<u8>)>,
}

impl LineWriter {
    pub(crate) fn new(format: LineFormat, sink: Sink) -> Self {
        Self { sink, state: Mutex::new((format, Vec::new())) }
    }

    /// Writes in one piece what `fill` appends. `fill` must not log.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut LineFormat, &mut Vec<u8>)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (format, out) = &mut *state;
        out.clear();
        fill(format, out);
        self.sink.write(out);
        out.clear();
        out.shrink_to(KEPT_CAPACITY);
    }
}
