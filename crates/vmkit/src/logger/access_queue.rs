//! The way of access-log lines from the workers to a thread that writes them.
//!
//! A worker copies its line into one of a few buffers and goes on; the writer takes all buffers at once and makes one
//! write of them. While lines keep coming the writer looks every few milliseconds by itself, so that under load no
//! line costs a wake-up. The buffers are bounded; what does not fit is dropped and counted.
//!
//! Nothing on the worker's side may wait for output.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::sink::LineWriter;
use super::site::Site;

/// Enough that the workers of a usual machine seldom meet.
const SHARDS: usize = 8;
/// Waiting bytes a shard, the record of each line included.
const SHARD_LIMIT: usize = 1 << 20;
/// Pause between two looks while lines keep coming.
const BATCH: Duration = Duration::from_millis(5);

static DROPPED: AtomicU64 = AtomicU64::new(0);
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN_SHARD: Cell<usize> = Cell::new(NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS);
}

pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

pub(crate) fn count_drop(site: &'static Site) {
    DROPPED.fetch_add(1, Ordering::Relaxed);
    site.count(false, 1);
}

/// Sender's side; the writer thread ends when this is dropped, after a last look.
#[derive(Debug)]
pub(crate) struct AccessQueue {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    shards: [Mutex<Shard>; SHARDS],
    writer: Arc<LineWriter>,
    /// Buffers of the last batch, for reuse; held while a batch is written, so batches keep their order.
    spare: Mutex<Shard>,
    idle: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    site: &'static Site,
    millis: u64,
    /// Where the line ends in `bytes`; it begins where the one before ends.
    end: usize,
}

impl AccessQueue {
    /// `None` when the system gives no thread.
    pub(crate) fn start(writer: Arc<LineWriter>) -> Option<Self> {
        let shared = Arc::new(Shared::new(writer));
        let own = shared.clone();
        let handle = thread::Builder::new().name("access-log".to_string()).spawn(move || own.run()).ok()?;
        Some(Self { shared, thread: handle.thread().clone() })
    }

    pub(crate) fn push(&self, site: &'static Site, message: &[u8], millis: u64) {
        if !self.shared.push(site, message, millis) {
            return count_drop(site);
        }
        if self.shared.idle.load(Ordering::SeqCst) && self.shared.idle.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    pub(crate) fn drain(&self) {
        self.shared.drain();
    }
}

impl Drop for AccessQueue {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn new(writer: Arc<LineWriter>) -> Self {
        Self {
            shards: Default::default(),
            writer,
            spare: Mutex::default(),
            idle: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// `false` when the line does not fit.
    fn push(&self, site: &'static Site, message: &[u8], millis: u64) -> bool {
        let mut shard = lock(&self.shards[OWN_SHARD.get()]);
        let waiting = shard.bytes.len() + shard.records.len() * size_of::<Record>();
        if waiting + message.len() + size_of::<Record>() > SHARD_LIMIT {
            return false;
        }
        shard.bytes.extend_from_slice(message);
        let end = shard.bytes.len();
        shard.records.push(Record { site, millis, end });
        true
    }

    fn run(&self) {
        loop {
            let closed = self.closed.load(Ordering::SeqCst);
            let drained = self.drain();
            if closed {
                return;
            }
            if drained {
                thread::sleep(BATCH);
                continue;
            }
            self.idle.store(true, Ordering::SeqCst);
            // A line pushed before the store found the writer awake, so look once more before sleeping.
            if self.is_empty() && !self.closed.load(Ordering::SeqCst) {
                thread::park();
            }
            self.idle.store(false, Ordering::SeqCst);
        }
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| lock(shard).records.is_empty())
    }

    /// Writes everything that waits; `false` when there was nothing.
    fn drain(&self) -> bool {
        let mut spare = lock(&self.spare);
        let mut drained = false;
        for shard in &self.shards {
            spare.bytes.clear();
            spare.records.clear();
            {
                let mut shard = lock(shard);
                if shard.records.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *shard, &mut *spare);
            }
            drained = true;
            self.write(&spare);
        }
        drained
    }

    fn write(&self, batch: &Shard) {
        self.writer.write(|format, out| {
            let mut start = 0;
            for record in &batch.records {
                let message = batch.bytes.get(start..record.end).unwrap_or_default();
                format.push_line(out, record.millis, record.site, message);
                start = record.end;
            }
        });
        for record in &batch.records {
            record.site.count(true, 1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::line_format::LineFormat;
    use super::super::sink::Sink;
    use super::*;

    fn shared() -> (Shared, Sink) {
        let sink = Sink::memory();
        (Shared::new(Arc::new(LineWriter::new(LineFormat::new(None, None), sink.clone()))), sink)
    }

    #[test]
    fn lines_keep_their_order_and_are_written_once() {
        let (shared, sink) = shared();
        let site = crate::location!();
        for line in ["one", "two", ""] {
            assert!(shared.push(site, line.as_bytes(), 0));
        }
        assert!(shared.drain());
        assert!(!shared.drain() && shared.is_empty());
        let prefix = format!("info\t{}\t", site.location());
        assert_eq!(sink.text(), format!("{prefix}one\n{prefix}two\n{prefix}\n"));
    }

    #[test]
    fn a_full_queue_takes_no_more_until_it_is_written() {
        let (shared, _) = shared();
        let site = crate::location!();
        let line = [b'x'; 1000];
        let taken = (0..10_000).take_while(|_| shared.push(site, &line, 0)).count();
        assert!((900..SHARD_LIMIT / 1000).contains(&taken), "{taken}");
        assert!(!shared.push(site, &line, 0));
        shared.drain();
        assert!(shared.push(site, &line, 0));
    }

    #[test]
    fn every_line_of_many_threads_is_written_without_a_flush() {
        let sink = Sink::memory();
        let queue = AccessQueue::start(Arc::new(LineWriter::new(LineFormat::new(None, None), sink.clone()))).unwrap();
        let site = crate::location!();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| queue.push(site, b"line", 0)));
            }
        });
        let written = || sink.text().lines().count() == 2000;
        while !written() {
            thread::yield_now();
        }
        // From idle, one line is enough to wake the writer.
        queue.push(site, b"line", 0);
        while written() {
            thread::yield_now();
        }
    }
}
