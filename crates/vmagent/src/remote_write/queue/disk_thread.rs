//! The thread that moves blocks between memory and files, and syncs them.
//!
//! It sleeps until there is work or a second has passed. One round: write what memory should not keep, read ahead what
//! senders will ask for, sync once a second. The books are locked between these steps only.

use super::directory::claim;
use super::file_queue::{FileQueue, FileQueueOptions};
use super::layout::{HEADER_LEN, Layout};
use super::salvage::IsWhole;
use super::state::Fresh;
use super::storage::{Lock, Storage};
use super::{QueueOptions, Shared};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use vmkit::metrics::Counter;

/// Older blocks do not stay in memory alone.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Between two syncs.
const SYNC_INTERVAL: Duration = Duration::from_millis(900);
/// Between two looks at the free space when there is nothing to sync.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// After an error of the disk.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that are read ahead at most, beside the first block.
const READ_AHEAD_BYTES: usize = 16 << 20;

pub(super) struct DiskThread {
    files: FileQueue,
    storage: Arc<dyn Storage>,
    options: QueueOptions,
    shared: Arc<Shared>,
    stop_requests: Receiver<()>,
    is_stopped: Cell<bool>,
    _lock: Lock,
    last_sync: Instant,
    write_after: Option<Instant>,
    read_after: Option<Instant>,
    last_log: Option<Instant>,
}

impl DiskThread {
    pub(super) fn open(
        options: QueueOptions,
        storage: Arc<dyn Storage>,
        layout: Layout,
        is_whole: IsWhole,
        shared: Arc<Shared>,
        stop_requests: Receiver<()>,
    ) -> Result<Self, String> {
        let dir: PathBuf = options.dir.clone();
        let lock = claim(&*storage, &dir)?;
        let file_options = FileQueueOptions {
            storage: Arc::clone(&storage),
            dir: dir.clone(),
            layout,
            name: options.name.clone(),
            is_whole,
        };
        let (files, recovered) =
            FileQueue::open(file_options).map_err(|err| format!("cannot open the queue {}: {err}", dir.display()))?;
        for complaint in &recovered.complaints {
            vmkit::error!("queue {}: {complaint}", dir.display());
        }
        if recovered.lost_bytes > 0 {
            options.counters.damages.inc();
            options.counters.damaged_bytes.add(recovered.lost_bytes);
        }
        let mut thread = Self {
            files,
            storage,
            options,
            shared,
            stop_requests,
            is_stopped: Cell::new(false),
            _lock: lock,
            last_sync: Instant::now(),
            write_after: None,
            read_after: None,
            last_log: None,
        };
        // A disk that is full now may have room later; the queue works without it.
        thread.sync();
        thread.settle_more_in_files();
        thread.publish();
        Ok(thread)
    }

    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            self.write_memory();
            self.read_ahead();
            // What was acknowledged since makes the files dirty too.
            let keep = self.shared.lock().keep_from(self.files.reader());
            self.files.keep_from(keep);
            let interval = if self.files.is_dirty() { SYNC_INTERVAL } else { IDLE_INTERVAL };
            if self.last_sync.elapsed() >= interval {
                self.sync();
            }
            self.publish();
            self.sleep();
        }
        self.finish();
    }

    fn is_stopping(&self) -> bool {
        // A request is seen once only, so it is kept. A queue that was dropped without a stop is written as well.
        if !matches!(self.stop_requests.try_recv(), Err(TryRecvError::Empty)) {
            self.is_stopped.set(true);
        }
        self.is_stopped.get()
    }

    /// Until there is something to do now.
    fn sleep(&self) {
        let state = self.shared.lock();
        if self.is_stopping() {
            return;
        }
        let now = Instant::now();
        let until = |at: Instant| at.saturating_duration_since(now);
        let mut wait = if self.files.is_dirty() { until(self.last_sync + SYNC_INTERVAL) } else { MAX_AGE };
        if !self.options.memory_only {
            let due = state.oldest_in_memory().map(|since| until(since + MAX_AGE));
            let due = if state.memory_is_full() { Some(Duration::ZERO) } else { due };
            let due = due.map(|due| self.write_after.map_or(due, |after| due.max(until(after))));
            wait = due.map_or(wait, |due| wait.min(due));
        }
        if self.files.waiting_bytes() > 0 && state.wants_read(self.options.read_ahead, READ_AHEAD_BYTES) {
            wait = self.read_after.map_or(Duration::ZERO, until).min(wait);
        }
        if !wait.is_zero() {
            // Spurious wake-ups only make a round that finds nothing to do.
            drop(self.shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Writes what memory should not keep: everything when it is full, or when the oldest has been there for a second.
    fn write_memory(&mut self) {
        let now = Instant::now();
        if self.options.memory_only || self.write_after.is_some_and(|after| now < after) {
            return;
        }
        let (hands, blocks) = {
            let mut state = self.shared.lock();
            let is_old = state.oldest_in_memory().is_some_and(|since| now.duration_since(since) >= MAX_AGE);
            if !is_old && !state.memory_is_full() {
                return;
            }
            let hands = state.hands_to_write();
            let blocks = state.take_memory();
            state.more_in_files |= !blocks.is_empty();
            (hands, blocks)
        };
        self.write_after = None;
        let hands_written = self.write_hands(hands);
        let left = self.write_blocks(blocks);
        self.shared.room.notify_all();
        if left.is_empty() && hands_written {
            self.shared.stuck.store(false, Ordering::Relaxed);
        } else {
            self.write_after = Some(now + RETRY_INTERVAL);
            let shed = {
                let mut state = self.shared.lock();
                state.put_back(left);
                state.shed()
            };
            self.options.counters.unwritten_blocks.add(shed.len() as u64);
        }
        self.settle_more_in_files();
        self.shared.ready.notify_one();
    }

    /// Blocks that senders work on are only kept for the case of a crash: the reader passes over them. False if one
    /// could not be written.
    fn write_hands(&mut self, hands: Vec<Fresh>) -> bool {
        for fresh in hands {
            let place = match self.append(&fresh) {
                Ok(Some(place)) => place,
                Ok(None) => continue,
                Err(_) => return false,
            };
            let skipped = self.files.skip_next();
            debug_assert!(matches!(skipped, Ok(Some((at, _))) if at == place), "only blocks in hands are there");
            let mut state = self.shared.lock();
            state.set_place(fresh.number, place);
            self.files.keep_from(state.keep_from(self.files.reader()));
        }
        true
    }

    /// Those that could not be written.
    fn write_blocks(&mut self, mut blocks: VecDeque<Fresh>) -> VecDeque<Fresh> {
        while let Some(fresh) = blocks.front() {
            match self.append(fresh) {
                Ok(Some(_)) => {}
                Ok(None) => self.count_dropped(1, fresh.data.len() as u64),
                Err(_) => break,
            }
            blocks.pop_front();
        }
        blocks
    }

    /// `None` for a block that is larger than all files may be.
    fn append(&mut self, fresh: &Fresh) -> io::Result<Option<u64>> {
        let len = fresh.data.len() as u64;
        let limit = self.options.max_disk_bytes;
        if limit > 0 {
            if len + HEADER_LEN > limit {
                return Ok(None);
            }
            self.make_room(len + HEADER_LEN, limit);
        }
        let started = Instant::now();
        let appended = self.files.append(&fresh.data);
        add_time(&self.options.counters.write_nanos, started);
        match &appended {
            Ok(_) => {
                self.options.counters.blocks_written.inc();
                self.options.counters.bytes_written.add(len);
            }
            Err(err) => self.complain("write a block to", err),
        }
        appended.map(Some)
    }

    /// Drops the oldest blocks until so many bytes fit.
    fn make_room(&mut self, needed: u64, limit: u64) {
        let mut dropped = (0, 0);
        while self.files.kept_bytes() + needed > limit {
            let read = self.shared.lock().drop_read().map(|len| len as u64);
            let len = read.or_else(|| self.files.skip_next().ok().flatten().map(|(_, len)| len));
            if let Some(len) = len {
                dropped = (dropped.0 + 1, dropped.1 + len);
            }
            let before = self.files.kept_bytes();
            {
                let reader = self.files.reader();
                let mut state = self.shared.lock();
                if len.is_none() || state.keep_from(reader) < state.first_waiting(reader) {
                    // What senders hold is theirs alone from now on.
                    state.forget_places();
                }
                self.files.keep_from(state.keep_from(reader));
            }
            if len.is_none() && self.files.kept_bytes() == before {
                break;
            }
        }
        self.count_dropped(dropped.0, dropped.1);
    }

    fn count_dropped(&self, blocks: u64, bytes: u64) {
        let counters = &self.options.counters;
        counters.blocks_dropped.add(blocks);
        counters.bytes_dropped.add(bytes);
        counters.blocks_read.add(blocks);
        counters.bytes_read.add(bytes);
    }

    /// Fetches blocks for senders.
    fn read_ahead(&mut self) {
        if self.read_after.is_some_and(|after| Instant::now() < after) {
            return;
        }
        self.read_after = None;
        while self.shared.lock().wants_read(self.options.read_ahead, READ_AHEAD_BYTES) {
            let started = Instant::now();
            let read = self.files.read_next();
            if !matches!(read, Ok(None)) {
                add_time(&self.options.counters.read_nanos, started);
            }
            self.report_damage();
            match read {
                Ok(Some(stored)) => {
                    self.options.counters.blocks_read.inc();
                    self.options.counters.bytes_read.add(stored.data.len() as u64);
                    self.shared.lock().push_read(stored, Instant::now());
                    self.shared.ready.notify_one();
                }
                Ok(None) => break,
                Err(err) => {
                    self.complain("read a block from", &err);
                    self.read_after = Some(Instant::now() + RETRY_INTERVAL);
                    break;
                }
            }
        }
        self.settle_more_in_files();
    }

    /// Senders may take from memory when nothing older is in the files.
    fn settle_more_in_files(&self) {
        let more = self.files.waiting_bytes() > 0;
        let mut state = self.shared.lock();
        let changed = state.more_in_files && !more;
        state.more_in_files = more;
        drop(state);
        if changed {
            self.shared.ready.notify_one();
        }
    }

    fn report_damage(&mut self) {
        for damage in self.files.take_damage() {
            self.options.counters.damages.inc();
            self.options.counters.damaged_bytes.add(damage.bytes);
            vmkit::error!(
                "queue {}: skipping {} bytes at offset {} because of {}",
                self.files.dir().display(),
                damage.bytes,
                damage.at,
                damage.reason
            );
        }
    }

    fn sync(&mut self) {
        let keep = self.shared.lock().keep_from(self.files.reader());
        self.files.keep_from(keep);
        let started = Instant::now();
        let flushed = self.files.flush();
        add_time(&self.options.counters.sync_nanos, started);
        self.options.counters.syncs.inc();
        self.last_sync = Instant::now();
        if let Err(err) = flushed {
            self.complain("sync", &err);
        }
        let free = self.storage.free_space(self.files.dir()).unwrap_or(u64::MAX);
        let mut free = i64::try_from(free).unwrap_or(i64::MAX);
        if self.options.max_disk_bytes > 0 {
            let limit = i64::try_from(self.options.max_disk_bytes).unwrap_or(i64::MAX);
            free = free.min(limit.saturating_sub_unsigned(self.files.kept_bytes()));
        }
        self.shared.levels.free_bytes.store(free, Ordering::Relaxed);
    }

    fn publish(&self) {
        let first = self.shared.lock().first_waiting(self.files.reader());
        let waiting = self.files.writer().saturating_sub(first);
        self.shared.levels.waiting_bytes.store(waiting, Ordering::Relaxed);
    }

    /// Everything that was not acknowledged goes to the files.
    fn finish(&mut self) {
        let blocks = {
            let mut state = self.shared.lock();
            state.closed = true;
            state.give_back_all();
            // Those before acknowledged ones are older than all in memory.
            let mut blocks: VecDeque<Fresh> = state.take_before_acknowledged().into();
            blocks.append(&mut state.take_memory());
            blocks
        };
        let left = self.write_blocks(blocks);
        if !left.is_empty() {
            self.options.counters.unwritten_blocks.add(left.len() as u64);
            vmkit::error!("{} blocks of the queue {} are lost", left.len(), self.files.dir().display());
        }
        self.sync();
        self.publish();
    }

    fn complain(&mut self, what: &str, err: &io::Error) {
        self.options.counters.io_errors.inc();
        if self.last_log.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.last_log = Some(Instant::now());
            vmkit::error!("cannot {what} the queue {}: {err}; it is tried again", self.files.dir().display());
        }
    }
}

fn add_time(counter: &Counter, started: Instant) {
    counter.add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
}
