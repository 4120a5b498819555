//! Counts the heads that a connection holds, so that a client cannot make the server keep many large ones: up to a sum
//! they are as good as free, then they need memory that all connections share, and one connection has a limit of its own.

use std::cell::Cell;
use std::rc::Rc;

use super::super::head_budget::{HeadBudget, HeadClaim};
use super::super::head_error::HeadError;

/// Heads of a connection up to this sum are as good as free.
const COUNTED_HEADS: usize = 16 * 1024;
/// More than this is too much for one connection.
const MOST_HEADS: usize = 1024 * 1024;

/// Bytes of all heads of a connection that are in use.
#[derive(Debug, Default)]
pub(super) struct HeldHeads(Rc<Cell<usize>>);

impl HeldHeads {
    /// Counts a head, among those of this connection and among those of all.
    pub(super) fn hold(&self, size: usize, budget: &HeadBudget) -> Result<HeldHead, HeadError> {
        let sum = self.0.get() + size;
        let claim = if sum > COUNTED_HEADS { budget.claim(size) } else { None };
        if sum > MOST_HEADS || (sum > COUNTED_HEADS && claim.is_none()) {
            return Err(HeadError::TooLarge);
        }
        self.0.set(sum);
        Ok(HeldHead { held: self.0.clone(), size, _claim: claim })
    }
}

/// A head that is counted until its exchange ends.
#[derive(Debug)]
pub(super) struct HeldHead {
    held: Rc<Cell<usize>>,
    size: usize,
    _claim: Option<HeadClaim>,
}

impl Drop for HeldHead {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.size));
    }
}
