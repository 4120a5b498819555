//! What DATA frames of a few bytes cost while nobody has read them, and the memory that they are counted against.
//!
//! The codec keeps each frame by itself, in about 256 bytes, however little it carries: windows bound bytes, not frames. A
//! few frames of a connection are as good as free; what goes beyond is claimed from memory that all connections share.

use std::cell::{Cell, RefCell};

use super::super::head_budget::{HeadBudget, HeadClaim};

/// What the codec takes for one frame; larger ones are paid for by their window.
pub(super) const FRAME_COST: usize = 256;
/// How much is claimed at once.
pub(super) const STEP: usize = 128 * 1024;

/// What a frame with so many bytes of a body costs.
pub(super) fn cost(length: usize) -> usize {
    if length == 0 { 0 } else { FRAME_COST.saturating_sub(length) }
}

/// DATA frames without a byte that end nothing. They cost nothing, but the codec ends a connection with all its streams after a
/// hundred of them in its life.
#[derive(Debug, Default)]
pub(super) struct EmptyFrames(Cell<usize>);

impl EmptyFrames {
    /// A frame brings so many bytes of a body and does not end it.
    pub(super) fn note(&self, length: usize) {
        if length == 0 {
            self.0.set(self.0.get() + 1);
        }
    }

    /// Whether another connection should take what comes next: this one has come near to the codec's limit.
    pub(super) fn are_many(&self) -> bool {
        self.0.get() >= 50
    }
}

/// The unread frames of one connection.
#[derive(Debug)]
pub(super) struct UnreadFrames {
    budget: HeadBudget,
    /// Need not be claimed.
    free: usize,
    unread: Cell<usize>,
    /// Whether they have ever cost more than what is free.
    were_many: Cell<bool>,
    /// Of `STEP` bytes each.
    claims: RefCell<Vec<HeadClaim>>,
}

impl UnreadFrames {
    /// What goes beyond `free` is claimed from `budget`.
    pub(super) fn new(budget: HeadBudget, free: usize) -> Self {
        Self { budget, free, unread: Cell::new(0), were_many: Cell::new(false), claims: RefCell::default() }
    }

    /// What all of them cost.
    pub(super) fn cost(&self) -> usize {
        self.unread.get()
    }

    /// Whether they have ever cost more than what is free.
    pub(super) fn were_many(&self) -> bool {
        self.were_many.get()
    }

    /// Counts so much more. False when there is no memory for it.
    pub(super) fn add(&self, cost: usize) -> bool {
        self.unread.set(self.unread.get() + cost);
        if self.unread.get() <= self.free {
            return true;
        }
        self.were_many.set(true);
        self.is_covered()
    }

    /// Whether there is memory for all of them; claims what is missing.
    pub(super) fn is_covered(&self) -> bool {
        let mut claims = self.claims.borrow_mut();
        while self.unread.get() > self.free + claims.len() * STEP {
            let Some(claim) = self.budget.claim(STEP) else { return false };
            claims.push(claim);
        }
        true
    }

    /// So much was read or given up.
    pub(super) fn reduce(&self, cost: usize) {
        let unread = self.unread.get().saturating_sub(cost);
        self.unread.set(unread);
        let mut claims = self.claims.borrow_mut();
        let needed = unread.saturating_sub(self.free).div_ceil(STEP);
        if claims.len() > needed {
            claims.truncate(needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: usize = 1000;

    #[test]
    fn what_is_no_longer_needed_is_given_back_step_by_step() {
        let budget = HeadBudget::new(1, 2 * STEP);
        let (one, other) = (UnreadFrames::new(budget.clone(), FREE), UnreadFrames::new(budget, FREE));
        assert!(one.add(FREE + STEP + 1) && other.add(FREE) && !other.add(1));
        one.reduce(1);
        assert!(other.is_covered() && other.add(STEP - 1) && !other.add(1));
        one.reduce(STEP);
        assert!(other.is_covered());
        assert_eq!((one.cost(), other.cost()), (FREE, FREE + STEP + 1));
    }
}
