//! Buffers for heads on their way out, on loan from the worker only until the head was sent.
//!
//! Connections come in thousands and write one head now and then; a buffer each would be most of what an idle
//! connection costs.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Buffers a worker keeps.
const KEPT: usize = 64;
/// A buffer that has grown beyond this is not worth keeping.
const MAX_KEPT: usize = 16 * 1024;
/// What is copied behind a head because the kernel takes one piece more quickly than two.
const SMALL: usize = 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan; without storage until something is written.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer(Vec<u8>);

impl HeadBuffer {
    /// An empty buffer with whatever room it had the last time.
    pub(super) fn take() -> Self {
        Self(POOL.with_borrow_mut(Vec::pop).unwrap_or_default())
    }

    /// Takes the small piece that is sent along with the head; returns what it leaves.
    pub(super) fn absorb<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        if self.0.is_empty() || data.len() > SMALL {
            return data;
        }
        self.0.extend_from_slice(data);
        &[]
    }
}

impl Deref for HeadBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for HeadBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for HeadBuffer {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.0);
        if data.capacity() == 0 || data.capacity() > MAX_KEPT {
            return;
        }
        data.clear();
        // A thread that is ending has no pool any more.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(data);
            }
        });
    }
}
