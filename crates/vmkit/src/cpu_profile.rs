//! The CPU profile behind `/debug/pprof/profile`.
//!
//! Samples all threads 100 times a CPU second by walking frame pointers, and gives the gzipped protobuf that
//! `go tool pprof` reads. One profile at a time in the whole process. Stacks are complete only in builds with frame
//! pointers. Called from the control thread; the costly part, looking up symbols, runs on a blocking thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pprof::protos::Message;
use tokio_util::sync::CancellationToken;

use crate::gzip;

/// Samples a second of CPU time.
const FREQUENCY: i32 = 100;

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum CpuProfileError {
    /// Another profile is being collected; answer 503.
    #[error("cpu profiling already in use")]
    Busy,
    /// The token was cancelled before the time was over, for instance because the client left.
    #[error("cpu profiling was cancelled")]
    Cancelled,
    /// The profiler failed.
    #[error("cannot collect cpu profile: {0}")]
    Profiler(String),
}

/// Collects a profile for `seconds` (at least 1) and returns it as gzipped pprof protobuf.
pub async fn collect(seconds: u64, cancel: &CancellationToken) -> Result<Vec<u8>, CpuProfileError> {
    let turn = Turn::take()?;
    let failed = |err: pprof::Error| CpuProfileError::Profiler(err.to_string());
    let profiler = pprof::ProfilerGuardBuilder::default().frequency(FREQUENCY).build().map_err(failed)?;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds.max(1))) => {}
        () = cancel.cancelled() => return Err(CpuProfileError::Cancelled),
    }
    let encode = move || {
        let profile = profiler.report().build().and_then(|report| report.pprof()).map_err(failed);
        // Sampling ends here; the turn is given back after the profiler is gone.
        drop(profiler);
        drop(turn);
        Ok(gzip::compress(&profile?.encode_to_vec()))
    };
    tokio::task::spawn_blocking(encode).await.map_err(|err| CpuProfileError::Profiler(err.to_string()))?
}

/// The right to profile; given back when dropped.
struct Turn;

impl Turn {
    fn take() -> Result<Self, CpuProfileError> {
        if RUNNING.swap(true, Ordering::AcqRel) { Err(CpuProfileError::Busy) } else { Ok(Self) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    /// One test for all: profiles exclude each other in a process.
    #[tokio::test]
    async fn one_profile_at_a_time() {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let spinner = std::thread::spawn(move || {
            let mut turns = 0_u64;
            while !seen.load(Ordering::Relaxed) {
                turns = std::hint::black_box(turns.wrapping_add(1));
            }
        });
        let cancel = CancellationToken::new();
        let (profile, second) = tokio::join!(collect(1, &cancel), collect(1, &cancel));
        assert!(matches!(second, Err(CpuProfileError::Busy)), "{second:?}");
        stop.store(true, Ordering::Relaxed);
        spinner.join().unwrap();

        let mut raw = Vec::new();
        flate2::read::GzDecoder::new(profile.unwrap().as_slice()).read_to_end(&mut raw).unwrap();
        let profile = pprof::protos::Profile::decode(raw.as_slice()).unwrap();
        assert!(!profile.sample.is_empty());
        assert!(profile.string_table.iter().any(|text| text == "nanoseconds"));

        let cancelled = CancellationToken::new();
        cancelled.cancel();
        assert!(matches!(collect(3600, &cancelled).await, Err(CpuProfileError::Cancelled)));
        assert!(Turn::take().is_ok(), "the turn is given back");
    }
}
