//! Asks jemalloc for its record of who holds memory.

mod encode;
mod record;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, TryLockError};
use std::time::SystemTime;

use rustix::fs::MemfdFlags;
use tikv_jemalloc_ctl::{profiling, raw};

use super::HeapProfileError;
use crate::gzip;
use record::Record;

/// Where jemalloc writes to, opened by the first profile. Kept, because jemalloc wants a path that lives as long as the process.
static RECORD_FILE: Mutex<Option<RecordFile>> = Mutex::new(None);

struct RecordFile {
    file: File,
    /// Ends with NUL.
    path: &'static [u8],
}

/// Collects the profile as gzipped pprof protobuf: objects and bytes in use by stack. Blocks. The program must have jemalloc as
/// its allocator, otherwise nothing is in the profile.
pub fn collect() -> Result<Vec<u8>, HeapProfileError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| HeapProfileError::Failed(format!("{what}: {error}"));
    let mut slot = match RECORD_FILE.try_lock() {
        Ok(slot) => slot,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(HeapProfileError::Busy),
    };
    if !profiling::prof::read().is_ok_and(|on| on) {
        return Err(HeapProfileError::Off);
    }
    if slot.is_none() {
        *slot = Some(RecordFile::open().map_err(|error| failed("no file in memory", &error))?);
    }
    let Some(record_file) = slot.as_mut() else { unreachable!("BUG: it was opened just now") };
    raw::write_str(b"prof.dump\0", record_file.path)
        .map_err(|error| failed("jemalloc cannot write its record", &error))?;
    let text = record_file.take().map_err(|error| failed("cannot read the record", &error))?;
    let record =
        Record::parse(&text).ok_or_else(|| HeapProfileError::Failed("jemalloc's record is malformed".to_owned()))?;
    let profile = encode::encode(&record, SystemTime::now());
    // Tables of debug information, which can be larger than all the rest of the process.
    backtrace::clear_symbol_cache();
    Ok(gzip::compress(&profile))
}

impl RecordFile {
    fn open() -> std::io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("heap-profile", MemfdFlags::CLOEXEC)?);
        let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        Ok(Self { file, path: path.into_bytes().leak() })
    }

    /// What jemalloc has written; gives its memory back.
    fn take(&mut self) -> std::io::Result<String> {
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        self.file.set_len(0)?;
        // Only paths of mapped files could be something else than ASCII, and nobody reads those.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
