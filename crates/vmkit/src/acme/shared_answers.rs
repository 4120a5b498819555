//! Answers to validation servers that processes with one folder keep for each other.
//!
//! Behind a balancer the authority may ask another process than the one that has ordered. Reads are made off the workers,
//! a few at once, because anybody may ask; whoever comes later waits, as long as a validation server would.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::cache::{Answer, Cache};

/// Reads at once: each takes a thread, for ever if the folder hangs.
const READS: usize = 4;
/// For a read and its turn.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct SharedAnswers {
    cache: Arc<Cache>,
    control: Handle,
    reads: Arc<Semaphore>,
}

impl SharedAnswers {
    /// Blocking work is done on threads of this runtime.
    pub(super) fn new(cache: Arc<Cache>, control: Handle) -> Self {
        Self { cache, control, reads: Arc::new(Semaphore::new(READS)) }
    }

    /// Other processes see it from now on.
    ///
    /// # Errors
    /// The file cannot be written; then this process alone can answer.
    pub(super) async fn put(&self, answer: Answer, content: String) -> Result<(), String> {
        let cache = self.cache.clone();
        let written = self.control.spawn_blocking(move || cache.store_answer(&answer, &content));
        match tokio::time::timeout(LIMIT, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => Err(format!("no answer of the folder in {LIMIT:?}")),
        }
    }

    /// The validation is over. Does not wait.
    pub(super) fn remove(&self, answer: Answer) {
        let cache = self.cache.clone();
        drop(self.control.spawn_blocking(move || cache.remove_answer(&answer)));
    }

    /// What another process has put there.
    pub(super) async fn get(&self, answer: Answer) -> Option<Vec<u8>> {
        let read = async {
            let turn = self.reads.clone().acquire_owned().await.ok()?;
            let cache = self.cache.clone();
            let read = self.control.spawn_blocking(move || {
                let _turn = turn;
                cache.answer(&answer)
            });
            read.await.ok().flatten()
        };
        tokio::time::timeout(LIMIT, read).await.ok().flatten()
    }
}
