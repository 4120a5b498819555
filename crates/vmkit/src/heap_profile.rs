//! The memory profile behind `/debug/pprof/heap`.
//!
//! jemalloc notes the stack of about one allocation in 512 KiB and forgets it when the memory is freed; the profile says who
//! holds what is left, estimated from those notes. It is the gzipped protobuf that `go tool pprof` reads, with the names of
//! functions, so that the program's file is not needed. jemalloc can write its record to a file only: that file is in memory,
//! because images have no folder for temporary ones. Looking up names takes a second: never call this on a worker or on the
//! control thread.

#[cfg(feature = "heap-profile")]
mod jemalloc;

#[cfg(feature = "heap-profile")]
pub use jemalloc::collect;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum HeapProfileError {
    /// Another profile is being collected; answer 503.
    #[error("another heap profile is being collected")]
    Busy,
    /// The program was built without it; answer 501.
    #[error("the heap profile is not available: this program was built without the feature heap-profile")]
    Absent,
    /// The environment of the process switches the record off; answer 501.
    #[error("the heap profile is not available: jemalloc was told by _RJEM_MALLOC_CONF not to keep a record")]
    Off,
    /// The record could not be written or read.
    #[error("cannot collect heap profile: {0}")]
    Failed(String),
}

/// Says that this program has no profile.
#[cfg(not(feature = "heap-profile"))]
pub fn collect() -> Result<Vec<u8>, HeapProfileError> {
    Err(HeapProfileError::Absent)
}
