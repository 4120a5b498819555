//! The way of log lines from the threads that log to the one thread that writes.
//!
//! Whoever logs copies his line into a buffer and goes on; the writer takes whole buffers and makes one write of each.
//! Access-log lines are spread over a few buffers, ordinary lines share one and so keep their order. While lines keep
//! coming the writer looks every few milliseconds by itself, so that under load no line costs a wake-up. The buffers
//! are bounded: when nobody reads the log, lines are lost and counted, and everything else goes on.
//!
//! Nothing on the sender's side may wait for output.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::sink::LineWriter;
use super::site::Site;

/// Buffers of access-log lines: enough that the workers of a usual machine seldom meet.
const SHARDS: usize = 8;
/// Waiting bytes a buffer, the record of each line included.
const SHARD_LIMIT: usize = 1 << 20;
/// Pause between two looks while lines keep coming.
const BATCH: Duration = Duration::from_millis(5);

static DROPPED_ACCESS: AtomicU64 = AtomicU64::new(0);
static DROPPED_LOG: AtomicU64 = AtomicU64::new(0);
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN_SHARD: Cell<usize> = Cell::new(NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS);
}

/// Access-log lines that were lost.
pub(super) fn dropped_access() -> u64 {
    DROPPED_ACCESS.load(Ordering::Relaxed)
}

/// Ordinary lines that were lost.
pub(super) fn dropped_log() -> u64 {
    DROPPED_LOG.load(Ordering::Relaxed)
}

/// Sender's side; the writer thread ends when this is dropped, after a last look.
#[derive(Debug)]
pub(super) struct LineQueue {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    access: [Mutex<Shard>; SHARDS],
    log: Mutex<Shard>,
    writer: Arc<LineWriter>,
    idle: AtomicBool,
    closed: AtomicBool,
    passes: Mutex<Passes>,
    pass_ended: Condvar,
}

/// How often the writer has gone through all buffers.
#[derive(Debug, Default)]
struct Passes {
    begun: u64,
    ended: u64,
}

#[derive(Debug, Default)]
struct Shard {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// `None` is a line for stderr that is complete already.
    site: Option<&'static Site>,
    millis: u64,
    /// Where the line ends in `bytes`; it begins where the one before ends.
    end: usize,
}

impl Shard {
    /// `false` when the line does not fit.
    fn push(&mut self, site: Option<&'static Site>, message: &[u8], millis: u64) -> bool {
        let waiting = self.bytes.len() + self.records.len() * size_of::<Record>();
        if waiting + message.len() + size_of::<Record>() > SHARD_LIMIT {
            return false;
        }
        self.bytes.extend_from_slice(message);
        self.records.push(Record { site, millis, end: self.bytes.len() });
        true
    }
}

impl LineQueue {
    /// `None` when the system gives no thread.
    pub(super) fn start(writer: Arc<LineWriter>) -> Option<Self> {
        let shared = Arc::new(Shared::new(writer));
        let own = shared.clone();
        let handle = thread::Builder::new().name("log-writer".to_string()).spawn(move || own.run()).ok()?;
        Some(Self { shared, thread: handle.thread().clone() })
    }

    /// Queues a line of the access log; it counts as printed once it is written.
    pub(super) fn push_access(&self, site: &'static Site, message: &[u8], millis: u64) {
        if lock(&self.shared.access[OWN_SHARD.get()]).push(Some(site), message, millis) {
            return self.wake();
        }
        DROPPED_ACCESS.fetch_add(1, Ordering::Relaxed);
        site.count(false, 1);
    }

    /// Queues an ordinary line.
    pub(super) fn push_log(&self, site: &'static Site, message: &[u8], millis: u64) {
        let fits = lock(&self.shared.log).push(Some(site), message, millis);
        site.count(fits, 1);
        self.pushed(fits);
    }

    /// Queues a line for stderr that has its form already.
    pub(super) fn push_raw(&self, line: &[u8]) {
        let fits = lock(&self.shared.log).push(None, line, 0);
        self.pushed(fits);
    }

    fn pushed(&self, fits: bool) {
        if fits {
            self.wake();
        } else {
            DROPPED_LOG.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        if self.shared.idle.load(Ordering::SeqCst) && self.shared.idle.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Waits until everything queued so far is written, at most `limit`; false when it is not.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut passes = lock(&self.shared.passes);
        // The pass that is under way may have taken its buffers already.
        let wanted = passes.begun + 1;
        while passes.ended < wanted {
            self.thread.unpark();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Unparking is repeated, for the writer may have been just about to sleep.
            let wait = self.shared.pass_ended.wait_timeout(passes, left.min(BATCH));
            passes = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for LineQueue {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn new(writer: Arc<LineWriter>) -> Self {
        Self {
            access: Default::default(),
            log: Mutex::default(),
            writer,
            idle: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            passes: Mutex::default(),
            pass_ended: Condvar::new(),
        }
    }

    fn run(&self) {
        let mut batch = Shard::default();
        loop {
            let closed = self.closed.load(Ordering::SeqCst);
            let found = self.pass(&mut batch);
            if closed {
                return;
            }
            if found {
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
        self.shards().all(|shard| lock(shard).records.is_empty())
    }

    /// Access lines first: what a fatal line ends stands before it.
    fn shards(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.access.iter().chain(std::iter::once(&self.log))
    }

    /// Writes everything that waits; `false` when there was nothing. `batch` is storage.
    fn pass(&self, batch: &mut Shard) -> bool {
        lock(&self.passes).begun += 1;
        let mut found = false;
        for (index, shard) in self.shards().enumerate() {
            batch.bytes.clear();
            batch.records.clear();
            {
                let mut shard = lock(shard);
                if shard.records.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *shard, batch);
            }
            found = true;
            self.write(batch);
            if index < SHARDS {
                batch.records.iter().filter_map(|record| record.site).for_each(|site| site.count(true, 1));
            }
        }
        let mut passes = lock(&self.passes);
        passes.ended = passes.begun;
        self.pass_ended.notify_all();
        found
    }

    fn write(&self, batch: &Shard) {
        let mut start = 0;
        let lines = batch.records.iter().map(|record| {
            let message = batch.bytes.get(start..record.end).unwrap_or_default();
            start = record.end;
            (record, message)
        });
        self.writer.write(|format, out, to_stderr| {
            for (record, message) in lines {
                match record.site {
                    Some(site) => format.push_line(out, record.millis, site, message),
                    None => to_stderr.extend_from_slice(message),
                }
            }
        });
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

    const LIMIT: Duration = Duration::from_secs(20);

    fn writer() -> (Arc<LineWriter>, Sink) {
        let sink = Sink::memory();
        (Arc::new(LineWriter::new(LineFormat::new(None, None), sink.clone())), sink)
    }

    #[test]
    fn lines_keep_their_order_and_are_written_once() {
        let (writer, sink) = writer();
        let shared = Shared::new(writer);
        let site = crate::location!();
        for line in ["one", "two", ""] {
            assert!(lock(&shared.log).push(Some(site), line.as_bytes(), 0));
        }
        let mut batch = Shard::default();
        assert!(shared.pass(&mut batch));
        assert!(!shared.pass(&mut batch) && shared.is_empty());
        let prefix = format!("info\t{}\t", site.location());
        assert_eq!(sink.text(), format!("{prefix}one\n{prefix}two\n{prefix}\n"));
    }

    #[test]
    fn a_full_buffer_takes_no_more_until_it_is_written() {
        let shared = Shared::new(writer().0);
        let line = [b'x'; 1000];
        let push = || lock(&shared.log).push(Some(crate::location!()), &line, 0);
        let taken = (0..10_000).take_while(|_| push()).count();
        assert!((900..SHARD_LIMIT / 1000).contains(&taken), "{taken}");
        assert!(!push());
        shared.pass(&mut Shard::default());
        assert!(push());
    }

    #[test]
    fn a_flush_waits_for_every_line_of_many_threads() {
        let (writer, sink) = writer();
        let queue = LineQueue::start(writer).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| queue.push_access(crate::location!(), b"line", 0)));
            }
        });
        assert!(queue.flush(LIMIT));
        assert_eq!(sink.text().lines().count(), 2000);
        assert!(queue.flush(LIMIT), "with nothing to write too");
    }

    #[test]
    fn one_line_wakes_an_idle_writer() {
        let (writer, sink) = writer();
        let queue = LineQueue::start(writer).unwrap();
        assert!(queue.flush(LIMIT));
        queue.push_log(crate::location!(), b"line", 0);
        let until = Instant::now() + LIMIT;
        while sink.text().is_empty() {
            assert!(Instant::now() < until, "the writer sleeps on");
            thread::yield_now();
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_no_time() {
        let (writer, sink) = writer();
        let queue = LineQueue::start(writer).unwrap();
        let stalled = sink.stall();
        let (line, lost) = ([b'x'; 1000], dropped_log());
        (0..5_000).for_each(|_| queue.push_log(crate::location!(), &line, 0));
        assert!(dropped_log() - lost >= 2_000, "{} lines lost", dropped_log() - lost);
        assert!(!queue.flush(Duration::from_millis(20)));
        drop(stalled);
        assert!(queue.flush(LIMIT));
    }
}
