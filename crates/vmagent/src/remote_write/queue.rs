//! The queue of one URL: in memory first, on disk when the remote is away or slow.
//!
//! ```text
//! push ─► memory ──────────────────────────────► take ─► sender ─► acknowledge
//!            └─ full, or a second old ─► files ─┘
//! ```
//!
//! A thread of its own does all I/O, so neither producers nor senders wait for a disk. What has been in memory for a
//! second is written, what was written is synced within another, and a block leaves the files only when it has been
//! acknowledged: kill -9 costs the last seconds at most. A disk that is full or broken costs new blocks, counted and
//! logged, never the queue or the process. Files are those of upstream (docs/reference/vmagent-queue.md).

mod directory;
mod disk_thread;
mod file_queue;
mod layout;
#[cfg(test)]
mod memory_storage;
mod recovery;
mod salvage;
mod state;
mod storage;
mod stored_blocks;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use vmkit::metrics::Counter;

pub(crate) use directory::{Arranged, QUEUES_DIR, adopt_moved, queue_dir_name, remove_dangling};
use layout::Layout;
use state::{Capacity, State};
pub(crate) use storage::{OsStorage, Storage};
pub use stored_blocks::StoredBlocks;

/// How long producers are held up by a disk that is slow; one that does not move at all holds nobody up twice.
const SLOW_DISK: Duration = Duration::from_secs(5);
/// How long a stop waits for the disk.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Settings of a queue.
#[derive(Clone)]
pub(crate) struct QueueOptions {
    pub(crate) dir: PathBuf,
    /// Label of the queue in metrics and in the meta file.
    pub(crate) name: String,
    /// Blocks in memory before they go to the files.
    pub(crate) memory_blocks: usize,
    /// Bytes in memory before they go to the files.
    pub(crate) memory_bytes: usize,
    /// Blocks that senders may want at once.
    pub(crate) read_ahead: usize,
    /// 0 means no limit.
    pub(crate) max_disk_bytes: u64,
    /// Files are written at the stop only.
    pub(crate) memory_only: bool,
    pub(crate) counters: QueueCounters,
}

/// What a queue counts; shared with the metrics page.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueCounters {
    pub(crate) blocks_written: Arc<Counter>,
    pub(crate) bytes_written: Arc<Counter>,
    pub(crate) blocks_read: Arc<Counter>,
    pub(crate) bytes_read: Arc<Counter>,
    /// By the size limit.
    pub(crate) blocks_dropped: Arc<Counter>,
    pub(crate) bytes_dropped: Arc<Counter>,
    /// Places of the files that could not be read as blocks, and their bytes.
    pub(crate) damages: Arc<Counter>,
    pub(crate) damaged_bytes: Arc<Counter>,
    /// New blocks that a full or broken disk had no place for.
    pub(crate) unwritten_blocks: Arc<Counter>,
    pub(crate) io_errors: Arc<Counter>,
    /// Of all queues together, in nanoseconds.
    pub(crate) read_nanos: Arc<Counter>,
    pub(crate) write_nanos: Arc<Counter>,
    pub(crate) sync_nanos: Arc<Counter>,
    pub(crate) syncs: Arc<Counter>,
}

/// What became of a pushed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Kept,
    /// There is no room; the block is gone.
    Dropped,
}

/// A queue; shared by the producer, the senders and the metrics page.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    memory_only: bool,
    stop: mpsc::Sender<()>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// The disk thread sleeps on it.
    work: Condvar,
    /// Producers that wait for a slow disk sleep on it.
    room: Condvar,
    /// Senders sleep on it.
    ready: Notify,
    /// Senders of fresh blocks sleep on it: what comes from files is not for them.
    fresh: Notify,
    levels: Levels,
    /// Set while the disk does not move, so that producers do not wait for it.
    stuck: std::sync::atomic::AtomicBool,
}

/// Figures that the disk thread publishes.
#[derive(Debug, Default)]
struct Levels {
    /// Blocks that nobody has in hands, headers included.
    waiting_bytes: AtomicU64,
    free_bytes: AtomicI64,
}

impl Queue {
    /// Opens the queue in its directory, which is created and locked.
    ///
    /// # Errors
    /// For the user: the directory cannot be used. Damaged files are no error.
    pub(crate) fn open(options: QueueOptions) -> Result<Self, String> {
        Self::open_with(options, Arc::new(OsStorage), Layout::UPSTREAM, super::block_is_whole)
    }

    fn open_with(
        options: QueueOptions,
        storage: Arc<dyn Storage>,
        layout: Layout,
        is_whole: salvage::IsWhole,
    ) -> Result<Self, String> {
        let capacity = Capacity { blocks: options.memory_blocks.max(1), bytes: options.memory_bytes.max(1) };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(capacity)),
            work: Condvar::new(),
            room: Condvar::new(),
            ready: Notify::new(),
            fresh: Notify::new(),
            levels: Levels::default(),
            stuck: false.into(),
        });
        let memory_only = options.memory_only;
        let (stop, stop_requests) = mpsc::channel();
        let (done, stopped) = mpsc::channel();
        let thread =
            disk_thread::DiskThread::open(options, storage, layout, is_whole, Arc::clone(&shared), stop_requests)?;
        std::thread::Builder::new()
            .name("queue-disk".into())
            .spawn(move || {
                thread.run();
                // Nobody listens when the process could not wait.
                let _ = done.send(());
            })
            .map_err(|err| format!("cannot start the thread of a queue: {err}"))?;
        Ok(Self { shared, memory_only, stop, stopped: Mutex::new(stopped) })
    }

    /// Adds a block. Waits only while a slow disk has left memory at several times its limit.
    pub(crate) fn push(&self, block: Vec<u8>) -> Pushed {
        let shared = &*self.shared;
        let mut state = shared.lock();
        if self.memory_only {
            if state.memory_is_full() || state.more_in_files {
                state.set_crowded();
                return Pushed::Dropped;
            }
        } else if state.memory_overflows() && !shared.stuck.load(Ordering::Relaxed) {
            let waited = shared.room.wait_timeout_while(state, SLOW_DISK, |state| state.memory_overflows());
            let (locked, limit) = waited.unwrap_or_else(PoisonError::into_inner);
            state = locked;
            if limit.timed_out() {
                shared.stuck.store(true, Ordering::Relaxed);
                vmkit::error!("a disk below -remoteWrite.tmpDataPath does not move; new blocks are dropped");
            }
        }
        if !self.memory_only && state.memory_overflows() {
            return Pushed::Dropped;
        }
        state.push(block.into(), Instant::now());
        let wakes_disk = !self.memory_only && (state.memory_blocks() == 1 || state.memory_is_full());
        drop(state);
        shared.ready.notify_one();
        shared.fresh.notify_one();
        if wakes_disk {
            shared.work.notify_one();
        }
        Pushed::Kept
    }

    /// The oldest block, as soon as there is one; with `only_fresh` the oldest that is in memory. `None` after
    /// [`Self::close`].
    pub(crate) async fn take(&self, only_fresh: bool) -> Option<Lease> {
        loop {
            let bell = if only_fresh { &self.shared.fresh } else { &self.shared.ready };
            let ready = bell.notified();
            let mut ready = std::pin::pin!(ready);
            // Registered before the look, so that no push is missed in between.
            ready.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some((data, number)) = state.take(only_fresh) {
                    let wakes_disk = state.more_in_files;
                    drop(state);
                    if wakes_disk {
                        self.shared.work.notify_one();
                    }
                    // There may be more for another sender.
                    bell.notify_one();
                    return Some(Lease { shared: Arc::clone(&self.shared), data, number, settled: false });
                }
                if state.closed {
                    return None;
                }
            }
            ready.await;
        }
    }

    /// Whether a push would be refused for want of room.
    pub(crate) fn is_blocked(&self) -> bool {
        if !self.memory_only {
            return false;
        }
        let mut state = self.shared.lock();
        state.memory_is_full() || state.more_in_files || state.is_crowded()
    }

    /// Whether everything has been acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.lock().is_idle()
    }

    /// Blocks in memory that nobody has in hands.
    pub(crate) fn memory_blocks(&self) -> usize {
        self.shared.lock().memory_blocks()
    }

    /// Bytes that nobody has in hands, in memory and in files.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.shared.lock().memory_bytes() as u64 + self.file_bytes()
    }

    /// Bytes that senders have in hands, most of them while the remote does not take them.
    pub(crate) fn bytes_in_hands(&self) -> u64 {
        self.shared.lock().bytes_in_hands() as u64
    }

    /// Bytes in files that nobody has in hands.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.shared.levels.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may still be written; negative when the files are over their limit.
    pub(crate) fn free_bytes(&self) -> i64 {
        self.shared.levels.free_bytes.load(Ordering::Relaxed)
    }

    /// Hands out no block any more; senders that wait get `None`.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_waiters();
        self.shared.fresh.notify_waiters();
    }

    /// Writes everything that was not acknowledged to the files. Leases count as given back. Blocks the caller.
    pub(crate) fn stop(&self) {
        self.close();
        // The thread is gone already if this fails.
        let _ = self.stop.send(());
        // The thread looks for it with the lock held, so it sleeps now or will see it.
        drop(self.shared.lock());
        self.shared.work.notify_all();
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(STOP_LIMIT) {
            vmkit::error!("a queue could not be written within {} seconds; its blocks are lost", STOP_LIMIT.as_secs());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("pending_bytes", &self.pending_bytes()).finish_non_exhaustive()
    }
}

/// A block in a sender's hands. Dropped without [`Lease::acknowledge`], it goes back to its place.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    data: Bytes,
    number: u64,
    settled: bool,
}

impl Lease {
    /// The packed block.
    pub(crate) fn data(&self) -> &Bytes {
        &self.data
    }

    /// The block was delivered, or nobody will ever take it.
    pub(crate) fn acknowledge(mut self) {
        self.settled = true;
        if self.shared.lock().acknowledge(self.number) {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.lock().give_back(self.number);
            self.shared.ready.notify_one();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("len", &self.data.len()).finish_non_exhaustive()
    }
}
