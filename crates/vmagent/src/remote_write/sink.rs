//! Where producers hand over their blocks, and how they are held back.
//!
//! A [`Sink`] is a bounded channel: bounded in bytes over all blocks that were handed over and are not processed yet.
//! A producer waits for room in memory only; the [`Intake`] at the other end is emptied by a thread that never waits
//! for a remote. Blocks go back and forth, so their capacity is used again.
//!
//! When samples can be neither sent nor kept (`-remoteWrite.disableOnDiskQueue`), the sink is blocked: push handlers
//! ask [`Sink::is_blocked`] before they take a request, everything else pushes on and the loss is counted.

use super::SeriesBlock;
use super::rate_limit::RateLimit;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use vmkit::metrics::Counter;

/// Empty blocks that are kept for reuse.
const MAX_SPARE: usize = 16;
/// Granularity of the memory account, so that a permit count fits in 32 bits.
const UNIT: usize = 1024;

/// Why a block was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The block is still the caller's.
    #[error("the agent is stopping")]
    Stopping,
    /// Its samples could be neither sent nor kept.
    #[error("remote storage systems cannot keep up with the data ingestion rate; retry the request later")]
    Overloaded,
}

/// Takes blocks of series. Cheap to clone; one per process, shared by all producers.
///
/// In tests, [`Sink::new`] gives the other end as well: read what was pushed from the [`Intake`].
#[derive(Clone)]
pub struct Sink {
    blocks: mpsc::UnboundedSender<Taken>,
    shared: Arc<Shared>,
}

/// The other end of a [`Sink`].
pub struct Intake {
    blocks: mpsc::UnboundedReceiver<Taken>,
    shared: Arc<Shared>,
}

struct Taken {
    block: SeriesBlock,
    room: Room,
}

/// Room in memory that a block takes, given back when this is dropped.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
    /// Somebody waits for what becomes of the block.
    told: Option<oneshot::Sender<bool>>,
    refused: bool,
}

impl Room {
    /// Samples of the block were dropped, because they could be neither sent nor kept.
    pub fn set_refused(&mut self, refused: bool) {
        self.refused = refused;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            // The request may be gone.
            let _ = told.send(self.refused);
        }
    }
}

struct Shared {
    room: Arc<Semaphore>,
    units: u32,
    blocked: AtomicBool,
    /// Producers may be told to come again.
    refuses: bool,
    spare: Mutex<Vec<SeriesBlock>>,
    closed: Notify,
    rate: RateLimit,
    rate_reached: Arc<Counter>,
}

impl Sink {
    /// A sink that holds about `max_bytes` of blocks which nobody has processed yet.
    pub fn new(max_bytes: usize) -> (Self, Intake) {
        Self::with_limits(max_bytes, false, 0, Arc::default())
    }

    /// As [`Self::new`]; with `refuses`, [`Self::push_or_refuse`] tells when samples are dropped. `max_rate` is in
    /// samples a second, 0 for no limit; producers wait beyond it, which is counted.
    pub fn with_limits(max_bytes: usize, refuses: bool, max_rate: u64, rate_reached: Arc<Counter>) -> (Self, Intake) {
        let rate = RateLimit::new(max_rate);
        let units = u32::try_from(max_bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new((units as usize).min(Semaphore::MAX_PERMITS)));
        let shared = Shared {
            room,
            units,
            blocked: AtomicBool::new(false),
            refuses,
            spare: Mutex::default(),
            closed: Notify::new(),
            rate,
            rate_reached,
        };
        let shared = Arc::new(shared);
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { blocks: sender, shared: Arc::clone(&shared) }, Intake { blocks: receiver, shared })
    }

    /// Hands over all series and metadata of `block` and leaves it empty, ready to be filled again.
    ///
    /// Waits while the memory of the sink is used up; cancelling the wait leaves the block as it is. Blocks of one
    /// producer keep their order. An empty block is not passed on.
    ///
    /// # Errors
    /// [`PushError::Stopping`] after the other end is gone; the block keeps its content.
    pub async fn push(&self, block: &mut SeriesBlock) -> Result<(), PushError> {
        self.send(block, None).await
    }

    /// As [`Self::push`], for producers that can be told to come again: with `-remoteWrite.disableOnDiskQueue` it waits
    /// until the block has been processed.
    ///
    /// # Errors
    /// [`PushError::Overloaded`] if samples were dropped for want of room, [`PushError::Stopping`] as in [`Self::push`].
    pub async fn push_or_refuse(&self, block: &mut SeriesBlock) -> Result<(), PushError> {
        if !self.shared.refuses {
            return self.push(block).await;
        }
        if self.is_blocked() {
            return Err(PushError::Overloaded);
        }
        let (sender, receiver) = oneshot::channel();
        self.send(block, Some(sender)).await?;
        match receiver.await {
            Ok(true) => Err(PushError::Overloaded),
            // An empty block is not passed on, and nobody tells.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    async fn send(&self, block: &mut SeriesBlock, told: Option<oneshot::Sender<bool>>) -> Result<(), PushError> {
        if block.is_empty() {
            return Ok(());
        }
        if self.shared.rate.wait(block.sample_count()).await {
            self.shared.rate_reached.inc();
        }
        // A block larger than the whole account takes all of it, alone.
        let units = u32::try_from(block.size_bytes().div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.shared.units);
        let permit = Arc::clone(&self.shared.room).acquire_many_owned(units).await;
        let permit = permit.map_err(|_| PushError::Stopping)?;
        let room = Room { _permit: permit, told, refused: false };
        let spare = self.shared.take_spare();
        let taken = Taken { block: std::mem::replace(block, spare), room };
        self.blocks.send(taken).map_err(|mpsc::error::SendError(taken)| {
            *block = taken.block;
            PushError::Stopping
        })
    }

    /// Whether a request should be refused with 429, because its samples could only be dropped.
    pub fn is_blocked(&self) -> bool {
        self.shared.blocked.load(Ordering::Relaxed)
    }

    /// Takes nothing more: the other end receives what was taken, then nothing.
    pub fn close(&self) {
        self.shared.room.close();
        self.shared.closed.notify_one();
    }

    /// An empty block, with the capacity of one that was processed if there is one.
    pub fn block(&self) -> SeriesBlock {
        self.shared.take_spare()
    }
}

impl Intake {
    /// The next block and the room it takes, which is free again when the room is dropped. `None` when every sink is
    /// gone or one was closed, and nothing is left.
    pub async fn recv(&mut self) -> Option<(SeriesBlock, Room)> {
        loop {
            let taken = tokio::select! {
                biased;
                taken = self.blocks.recv() => taken,
                () = self.shared.closed.notified() => {
                    self.blocks.close();
                    continue;
                }
            };
            return taken.map(|taken| (taken.block, taken.room));
        }
    }

    /// As [`Self::recv`], for a thread without a runtime; only the end of all sinks ends it.
    pub fn blocking_recv(&mut self) -> Option<(SeriesBlock, Room)> {
        self.blocks.blocking_recv().map(|taken| (taken.block, taken.room))
    }

    /// The next block if one is there.
    pub fn try_recv(&mut self) -> Option<(SeriesBlock, Room)> {
        self.blocks.try_recv().ok().map(|taken| (taken.block, taken.room))
    }

    /// Lets producers use the capacity of a block again.
    pub fn recycle(&self, block: SeriesBlock) {
        self.shared.recycle(block);
    }

    /// What [`Sink::is_blocked`] answers.
    pub fn set_blocked(&self, blocked: bool) {
        self.shared.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Takes nothing more: pushes fail from now on, what was taken can still be received.
    pub fn close(&mut self) {
        self.shared.room.close();
        self.blocks.close();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn take_spare(&self) -> SeriesBlock {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn recycle(&self, mut block: SeriesBlock) {
        block.clear();
        block.shrink();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE {
            spare.push(block);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("blocked", &self.is_blocked()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("free_units", &self.shared.room.available_permits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(samples: usize) -> SeriesBlock {
        let mut block = SeriesBlock::new();
        for at in 0..samples {
            block.begin_series();
            block.push_label(b"__name__", b"m");
            block.push_sample(at as i64, 1.0);
            assert!(block.end_series());
        }
        block
    }

    #[tokio::test]
    async fn blocks_arrive_in_order_and_come_back_empty() {
        let (sink, mut intake) = Sink::new(1 << 20);
        for samples in 1..=3 {
            let mut pushed = block(samples);
            sink.push(&mut pushed).await.unwrap();
            assert!(pushed.is_empty());
        }
        sink.push(&mut SeriesBlock::new()).await.unwrap();
        for samples in 1..=3 {
            let (received, _room) = intake.recv().await.unwrap();
            assert_eq!(received.sample_count(), samples);
            intake.recycle(received);
        }
        assert!(intake.try_recv().is_none());
        drop(sink);
        assert!(intake.recv().await.is_none());
    }

    #[tokio::test]
    async fn producers_wait_for_room() {
        let (sink, mut intake) = Sink::new(4096);
        let mut large = block(1000);
        sink.push(&mut large).await.unwrap();
        let mut second = block(1);
        {
            let mut waiting = std::pin::pin!(sink.push(&mut second));
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        assert_eq!(second.sample_count(), 1, "a cancelled push leaves the block alone");
        let (first, room) = intake.recv().await.unwrap();
        assert_eq!(first.sample_count(), 1000);
        drop(room);
        sink.push(&mut second).await.unwrap();
        assert_eq!(intake.recv().await.unwrap().0.sample_count(), 1);
    }

    #[tokio::test]
    async fn a_closed_sink_gives_the_block_back() {
        let (sink, mut intake) = Sink::new(4096);
        sink.push(&mut block(1)).await.unwrap();
        intake.close();
        let mut late = block(2);
        assert_eq!(sink.push(&mut late).await, Err(PushError::Stopping));
        assert_eq!(late.sample_count(), 2);
        assert_eq!(intake.recv().await.unwrap().0.sample_count(), 1, "what was taken is still there");
        assert!(intake.recv().await.is_none());
    }

    #[test]
    fn blocked_is_seen_by_producers() {
        let (sink, intake) = Sink::new(1);
        assert!(!sink.is_blocked());
        intake.set_blocked(true);
        assert!(sink.is_blocked());
    }
}
