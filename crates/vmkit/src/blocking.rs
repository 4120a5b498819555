//! Work that may block (files that hang on NFS or are FIFOs, parsing of large configs) kept off the thread that asks.
//!
//! Everything runs on the blocking threads of the runtime, with a time limit for whoever waits. What does not end in
//! time goes on by itself; [`Repeated`] makes sure that one hanging file costs one thread, not one a try.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::go_text::os_error;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum NoResult {
    /// It has not ended in time.
    #[error("no answer in {0:?}")]
    TooLate(Duration),
    /// The same work, begun earlier, has not ended yet.
    #[error("the last try has not ended yet")]
    Busy,
    /// It panicked.
    #[error("the work has failed")]
    Failed,
}

/// Runs `work` on a thread of its own and waits for it at most `limit`.
pub async fn off_thread<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    match tokio::time::timeout(limit, spawn_blocking(work)).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(NoResult::Failed),
        Err(_) => Err(NoResult::TooLate(limit)),
    }
}

/// Work of one kind, of which at most one piece runs: what hangs costs one thread, not one a try.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<AtomicBool>);

impl Slot {
    /// As [`off_thread`], unless an earlier piece of work still runs.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        if self.0.swap(true, Ordering::SeqCst) {
            return Err(NoResult::Busy);
        }
        let taken = Taken(self.0.clone());
        off_thread(limit, move || {
            let _taken = taken;
            work()
        })
        .await
    }
}

struct Taken(Arc<AtomicBool>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Work that is asked for again and again: what hangs since the last time is waited for instead of begun once more.
#[derive(Debug)]
pub struct Repeated<T>(Option<JoinHandle<T>>);

impl<T> Default for Repeated<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Repeated<T> {
    /// Runs `work` on a thread of its own, or goes on with what has not ended; waits for it at most `limit`.
    ///
    /// # Errors
    /// There is no result yet, or the work has panicked.
    pub async fn run(&mut self, limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoResult> {
        let running = self.0.get_or_insert_with(|| spawn_blocking(work));
        let result = match tokio::time::timeout(limit, running).await {
            Err(_) => return Err(NoResult::TooLate(limit)),
            Ok(result) => result.map_err(|_| NoResult::Failed),
        };
        self.0 = None;
        result
    }
}

/// Reads one file again and again.
#[derive(Debug)]
pub struct FileReader {
    path: PathBuf,
    reads: Repeated<io::Result<Vec<u8>>>,
}

impl FileReader {
    /// Nothing is opened before the first read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reads: Repeated::default() }
    }

    /// The content of the file. A read that hangs since the last call is waited for again instead of starting another.
    ///
    /// # Errors
    /// `open PATH: no such file or directory` and the like, and when there is no answer within `limit`.
    pub async fn read(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        let path = self.path.clone();
        let result = self.reads.run(limit, move || std::fs::read(path)).await;
        let result = result.map_err(|error| error.to_string()).and_then(|read| read.map_err(|error| os_error(&error)));
        result.map_err(|cause| format!("open {}: {cause}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fifo_without_a_writer_costs_time_and_one_thread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut reader = FileReader::new(&path);
        for _ in 0..3 {
            let error = reader.read(Duration::from_millis(30)).await.unwrap_err();
            assert_eq!(error, format!("open {}: no answer in 30ms", path.display()));
        }
        // One writer ends the one read that waits; a second reader would leave it waiting.
        let writer = spawn_blocking(move || std::fs::write(path, "late"));
        assert_eq!(reader.read(Duration::from_secs(20)).await.unwrap(), b"late");
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn work_that_hangs_is_not_begun_twice() {
        let slot = Slot::default();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let late = slot.run(Duration::from_millis(20), move || wait.recv().is_err()).await;
        assert!(matches!(late, Err(NoResult::TooLate(_))));
        assert!(matches!(slot.run(Duration::from_secs(20), || ()).await, Err(NoResult::Busy)));
        drop(go_on);
        while matches!(slot.run(Duration::from_secs(20), || ()).await, Err(NoResult::Busy)) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn results_and_errors_come_through() {
        assert_eq!(off_thread(Duration::from_secs(20), || 7).await.unwrap(), 7);
        let missing = FileReader::new("missing").read(Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(missing, "open missing: no such file or directory");
    }
}
