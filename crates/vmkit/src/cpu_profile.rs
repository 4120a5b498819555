//! The CPU profile behind `/debug/pprof/profile`.
//!
//! Samples all threads 100 times a CPU second by walking frame pointers, and gives the gzipped protobuf that
//! `go tool pprof` reads. One profile at a time in the whole process. Stacks are complete only in builds with frame
//! pointers. Called from the control thread; what may block (the profiler's file, looking up symbols) runs on blocking
//! threads.
//!
//! The profiler keeps a temporary file for stacks that do not fit into its table, from its first use to the end of the
//! process, and never removes it. So the file loses its name as soon as a profile is over, and the next profile begins
//! with a new one. Only a process that is killed in the middle of a profile leaves a file. It lies where temporary files
//! do, and where there is no such folder, as in an image that is read-only, in shared memory.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pprof::ProfilerGuard;
use pprof::protos::Message;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::go_text::os_error;
use crate::gzip;

/// Samples a second of CPU time.
const FREQUENCY: i32 = 100;
/// Can be written to in containers whose file system cannot.
const SHARED_MEMORY: &str = "/dev/shm";

static RUNNING: AtomicBool = AtomicBool::new(false);
/// Whether the file of the profiler has no name any more.
static NAMELESS: AtomicBool = AtomicBool::new(false);

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
    let died = |error: tokio::task::JoinError| CpuProfileError::Profiler(error.to_string());
    let sampler = spawn_blocking(move || Sampler::start(turn)).await.map_err(died)??;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds.max(1))) => {}
        () = cancel.cancelled() => {
            spawn_blocking(move || sampler.end()).await.map_err(died)?;
            return Err(CpuProfileError::Cancelled);
        }
    }
    let encode = move || {
        let profile = sampler.profile();
        sampler.end();
        Ok(gzip::compress(&profile?.encode_to_vec()))
    };
    spawn_blocking(encode).await.map_err(died)?
}

fn failed(error: pprof::Error) -> CpuProfileError {
    CpuProfileError::Profiler(error.to_string())
}

/// A profile that is being collected.
struct Sampler(Option<(ProfilerGuard<'static>, Turn)>);

impl Sampler {
    fn start(turn: Turn) -> Result<Self, CpuProfileError> {
        have_a_folder()?;
        let guard = || pprof::ProfilerGuardBuilder::default().frequency(FREQUENCY).build().map_err(failed);
        if NAMELESS.load(Ordering::Acquire) {
            // A profiler that stops opens a new file.
            drop(guard()?);
            NAMELESS.store(false, Ordering::Release);
        }
        Ok(Self(Some((guard()?, turn))))
    }

    fn profile(&self) -> Result<pprof::protos::Profile, CpuProfileError> {
        let (guard, _) = self.0.as_ref().expect("BUG: it has ended already");
        guard.report().build().and_then(|report| report.pprof()).map_err(failed)
    }

    /// Sampling ends here; the turn is given back after the profiler is gone.
    fn end(mut self) {
        if let Some(running) = self.0.take() {
            end(running);
        }
    }
}

impl Drop for Sampler {
    /// Whoever waited for the profile has left.
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || end(running))),
            Err(_) => end(running),
        }
    }
}

fn end((guard, turn): (ProfilerGuard<'static>, Turn)) {
    drop(guard);
    NAMELESS.store(true, Ordering::Release);
    spill_files().iter().for_each(|path| {
        let _ = fs::remove_file(path);
    });
    drop(turn);
}

/// Sees to it that the profiler's file has a place: the profiler tries once in the life of a process and fails for ever.
fn have_a_folder() -> Result<(), CpuProfileError> {
    let folder = tempfile::env::temp_dir();
    let Err(error) = tempfile::tempfile_in(&folder) else { return Ok(()) };
    if tempfile::tempfile_in(SHARED_MEMORY).is_ok()
        && tempfile::env::override_temp_dir(Path::new(SHARED_MEMORY)).is_ok()
    {
        return Ok(());
    }
    let (folder, why) = (folder.display(), os_error(&error));
    Err(CpuProfileError::Profiler(format!("no temporary file can be made in {folder}: {why}; set TMPDIR to a folder")))
}

/// Files that this process has open and that are named as the profiler's is: `.tmp` and six letters and digits, among
/// the temporary files.
fn spill_files() -> Vec<PathBuf> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let is_name = |name: &str| {
        let rest = name.strip_prefix(".tmp");
        rest.is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let is_spill = |path: &Path| {
        path.parent() == Some(&*tempfile::env::temp_dir())
            && path.file_name().and_then(OsStr::to_str).is_some_and(is_name)
            && fs::symlink_metadata(path).is_ok_and(|file| file.is_file())
    };
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).filter(|path| is_spill(path)).collect()
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
        assert!(spill_files().is_empty(), "no temporary file is left");
        assert!(collect(1, &CancellationToken::new()).await.is_ok(), "the next profile has one of its own");
        assert!(spill_files().is_empty());
        assert!(Turn::take().is_ok(), "the turn is given back");
    }
}
