//! DATA frames of a few bytes that a client has sent and nobody has read (`unread_frames.rs` says what they cost): a client
//! that streams messages of a few bytes sends thousands of them within its window.
//!
//! They are counted as they arrive, until the exchange takes them or gives its body up. Beyond the first few they are
//! claimed from the memory for windows of all connections, and a client for which nothing is left has done too much. The
//! codec's own limit, which ends the connection with all its streams, comes far behind what a window of ordinary messages
//! holds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::head_budget::HeadBudget;
use super::unread_frames::{UnreadFrames, cost};

/// As good as free.
const FREE: usize = 25_600;
/// The most that one connection may have unread: the window of a stream in messages of 8 bytes.
pub(super) const MOST_UNREAD: usize = 8 * 1024 * 1024;
/// With more than this the exchanges shall run before more is read.
const MANY: usize = 256 * 1024;

/// The unread small frames of one connection.
#[derive(Debug)]
pub(super) struct SmallFrames {
    /// Of streams with a body that somebody reads, and of those that nobody has accepted yet.
    streams: RefCell<HashMap<u32, usize, RandomState>>,
    /// The last stream that was accepted.
    accepted: Cell<u32>,
    unread: UnreadFrames,
}

impl SmallFrames {
    /// None yet; `budget` is the memory for windows.
    pub(super) fn new(budget: HeadBudget) -> Self {
        Self { streams: RefCell::default(), accepted: Cell::new(0), unread: UnreadFrames::new(budget, FREE) }
    }

    /// Whether reading on would pile up more than there is already.
    pub(super) fn are_many(&self) -> bool {
        self.unread.cost() > MANY
    }

    /// A frame with so many bytes that does not end its stream has arrived. False when there is no memory for it.
    pub(super) fn arrived(&self, stream: u32, length: usize) -> bool {
        let cost = cost(length);
        if cost == 0 {
            return true;
        }
        let mut streams = self.streams.borrow_mut();
        let known = match streams.get_mut(&stream) {
            Some(known) => known,
            None if stream > self.accepted.get() => streams.entry(stream).or_default(),
            // Nobody reads it any more, and the codec does not keep it.
            None => return true,
        };
        *known += cost;
        self.unread.add(cost)
    }

    /// A stream was accepted. Those before it that were not have been reset, and nobody will.
    pub(super) fn accepted(&self, stream: u32, has_body: bool) {
        let last = self.accepted.replace(stream);
        let mut streams = self.streams.borrow_mut();
        if !streams.is_empty() && stream.saturating_sub(last) > 2 {
            let passed_over = streams.extract_if(|id, _| *id > last && *id < stream);
            self.unread.reduce(passed_over.map(|(_, unread)| unread).sum());
        }
        if has_body {
            streams.entry(stream).or_default();
        } else if let Some(unread) = streams.remove(&stream) {
            self.unread.reduce(unread);
        }
    }

    /// A frame with so many bytes was read.
    pub(super) fn taken(&self, stream: u32, length: usize) {
        let cost = cost(length);
        if cost > 0
            && let Some(known) = self.streams.borrow_mut().get_mut(&stream)
        {
            let taken = cost.min(*known);
            *known -= taken;
            self.unread.reduce(taken);
        }
    }

    /// Nobody reads this stream any more.
    pub(super) fn closed(&self, stream: u32) {
        let mut streams = self.streams.borrow_mut();
        if !streams.is_empty() {
            self.unread.reduce(streams.remove(&stream).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::unread_frames::{FRAME_COST, STEP};
    use super::*;

    #[test]
    fn what_is_unread_is_claimed_and_given_back() {
        let budget = HeadBudget::new(1, STEP);
        let one = SmallFrames::new(budget.clone());
        let free = FREE / (FRAME_COST - 6);
        // Before the stream is accepted.
        assert!((0..free).all(|_| one.arrived(1, 6)));
        assert!(budget.claim(1).is_some(), "nothing is claimed");
        one.accepted(1, true);
        let more = STEP / (FRAME_COST - 6);
        assert!((0..more).all(|_| one.arrived(1, 6)) && !one.are_many());
        assert!(budget.claim(1).is_none());
        assert!((0..2).any(|_| !one.arrived(1, 6)), "no memory is left");
        (0..free + more + 2).for_each(|_| one.taken(1, 6));
        assert!(budget.claim(STEP).is_some(), "all is given back");
        assert!(one.arrived(1, 6));
        one.closed(1);
        assert_eq!(one.unread.cost(), 0);
    }

    #[test]
    fn streams_that_were_reset_before_they_were_accepted_are_forgotten() {
        let all = SmallFrames::new(HeadBudget::default());
        all.accepted(1, true);
        assert!([1, 3, 5, 7, 9].into_iter().all(|stream| all.arrived(stream, 6)));
        all.accepted(7, true);
        assert_eq!(all.unread.cost(), 3 * (FRAME_COST - 6), "of 1, 7 and 9");
        [1, 7].into_iter().for_each(|stream| all.closed(stream));
        all.accepted(9, false);
        assert_eq!((all.unread.cost(), all.streams.borrow().len()), (0, 0));
    }

    #[test]
    fn only_what_the_codec_keeps_is_counted() {
        let all = SmallFrames::new(HeadBudget::default());
        all.accepted(3, false);
        all.accepted(5, true);
        all.closed(5);
        assert!([(1, 9), (3, 9), (5, 9), (7, 0), (7, 256)].into_iter().all(|(stream, n)| all.arrived(stream, n)));
        assert_eq!(all.unread.cost(), 0);
        assert!((0..2000).all(|_| all.arrived(7, 9)) && all.are_many());
    }
}
