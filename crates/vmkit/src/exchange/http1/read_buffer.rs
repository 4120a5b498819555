//! Bytes read from a peer and not used yet.
//!
//! Storage is borrowed from a pool of the worker only while there are bytes to keep: an idle connection, or one that
//! waits for a slow peer, holds no buffer at all. That is what keeps a thousand waiting connections small.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::BufMut;

use super::super::head_budget::{HeadBudget, HeadClaim};
use super::super::wire::Wire;

/// Size of a pooled buffer; pages that are never touched cost no memory.
const BUFFER_SIZE: usize = 64 * 1024;
/// Buffers a worker keeps for reuse; more are returned to the allocator.
const POOLED: usize = 32;
/// Most by which a larger buffer grows at once.
const GROWTH: usize = 256 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take() -> Vec<u8> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_SIZE))
}

fn give(mut data: Vec<u8>) {
    if data.capacity() != BUFFER_SIZE {
        return;
    }
    data.clear();
    // A thread that is ending has no pool any more.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED {
            pool.push(data);
        }
    });
}

/// Unused bytes of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct ReadBuffer {
    data: Vec<u8>,
    start: usize,
    budget: HeadBudget,
    /// What is counted of the storage beyond a pooled buffer.
    claim: Option<HeadClaim>,
}

impl ReadBuffer {
    pub(super) fn new(budget: HeadBudget) -> Self {
        Self { data: Vec::new(), start: 0, budget, claim: None }
    }

    /// Grows step by step, as bytes arrive; false when that is too much for all connections together.
    fn grow(&mut self, limit: usize) -> bool {
        let more = self.data.len().min(GROWTH).min(limit.saturating_sub(self.data.len()).max(1));
        let is_left = match &mut self.claim {
            Some(claim) => claim.grow(more),
            None => {
                self.claim = self.budget.claim(more);
                self.claim.is_some()
            }
        };
        if is_left {
            self.data.reserve_exact(more);
        }
        is_left
    }

    /// The unused bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start >= self.data.len()
    }

    /// Marks `n` bytes as used; gives the storage back when none are left.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            self.start = 0;
            if self.data.capacity() > 0 {
                give(std::mem::take(&mut self.data));
                self.claim = None;
            }
        }
    }

    /// Reads once. `Ok(0)` is the end of the stream; more than `limit` unused bytes are an error.
    pub(super) fn poll_fill(&mut self, wire: &Wire, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        if self.data.capacity() == 0 {
            self.data = take();
        }
        if self.data.len() == self.data.capacity() {
            if self.start > 0 {
                self.data.drain(..self.start);
                self.start = 0;
            } else if self.data.len() >= limit || !self.grow(limit) {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
        }
        let room = self.data.capacity() - self.data.len();
        let result = wire.poll_read_buf(cx, &mut (&mut self.data).limit(room));
        if self.is_empty() && !matches!(result, Poll::Ready(Ok(1..))) {
            self.consume(0);
        }
        Poll::Ready(ready!(result))
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if self.data.capacity() > 0 {
            give(std::mem::take(&mut self.data));
        }
    }
}
