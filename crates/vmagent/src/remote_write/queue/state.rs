//! Where each block is: in memory, read ahead from the files, or in somebody's hands.
//!
//! Pure bookkeeping under one lock that is never held over I/O. Blocks are handed out oldest first: those of the files,
//! then those in memory. A block in hands stays on the books until it is acknowledged, so a crash or a stop loses none.

use super::file_queue::Stored;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// A block that no file holds.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    /// Order of arrival.
    pub(crate) number: u64,
    pub(crate) data: Bytes,
    pub(crate) since: Instant,
}

/// A block that a sender works on.
#[derive(Clone, Debug)]
struct InHand {
    fresh: Fresh,
    /// Where the files hold it.
    place: Option<u64>,
}

/// How much may be in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) blocks: usize,
    pub(crate) bytes: usize,
}

/// The books.
#[derive(Debug)]
pub(crate) struct State {
    capacity: Capacity,
    memory: VecDeque<Fresh>,
    memory_bytes: usize,
    read_ahead: VecDeque<Fresh>,
    /// Places of the blocks in `read_ahead`.
    read_places: VecDeque<u64>,
    read_ahead_bytes: usize,
    /// The files hold, or are about to hold, blocks behind those read ahead.
    pub(crate) more_in_files: bool,
    hands: BTreeMap<u64, InHand>,
    next_number: u64,
    /// Acknowledged while an older one of the files is still in hands.
    acknowledged: BTreeSet<u64>,
    /// No block is handed out any more.
    pub(crate) closed: bool,
    /// A block found no room, and there is not much room yet.
    crowded: bool,
}

impl State {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            memory: VecDeque::new(),
            memory_bytes: 0,
            read_ahead: VecDeque::new(),
            read_places: VecDeque::new(),
            read_ahead_bytes: 0,
            more_in_files: false,
            hands: BTreeMap::new(),
            next_number: 0,
            acknowledged: BTreeSet::new(),
            closed: false,
            crowded: false,
        }
    }

    /// Puts a new block at the end.
    pub(crate) fn push(&mut self, data: Bytes, now: Instant) {
        self.memory_bytes += data.len();
        self.memory.push_back(Fresh { number: self.next_number, data, since: now });
        self.next_number += 1;
    }

    /// Whether one more block would be over the capacity.
    pub(crate) fn memory_is_full(&self) -> bool {
        self.memory.len() >= self.capacity.blocks || self.memory_bytes >= self.capacity.bytes
    }

    /// A block found no room.
    pub(crate) fn set_crowded(&mut self) {
        self.crowded = true;
    }

    /// Whether a block found no room lately: until a quarter of the memory is free, so that pushes are not accepted
    /// and refused in turn.
    pub(crate) fn is_crowded(&mut self) -> bool {
        let limit = |all: usize| all - all.div_ceil(4);
        self.crowded &=
            self.memory.len() > limit(self.capacity.blocks) || self.memory_bytes > limit(self.capacity.bytes);
        self.crowded
    }

    /// Whether memory holds several times what it should: somebody has to wait.
    pub(crate) fn memory_overflows(&self) -> bool {
        self.memory.len() >= self.capacity.blocks * 4 || self.memory_bytes >= self.capacity.bytes * 4
    }

    /// The oldest block, or with `only_fresh` the oldest that is in memory. Second item: its number.
    pub(crate) fn take(&mut self, only_fresh: bool) -> Option<(Bytes, u64)> {
        if self.closed {
            return None;
        }
        let (fresh, place) = if !only_fresh && let Some(fresh) = self.read_ahead.pop_front() {
            self.read_ahead_bytes -= fresh.data.len();
            (fresh, self.read_places.pop_front())
        } else if only_fresh || !self.more_in_files {
            let fresh = self.memory.pop_front()?;
            self.memory_bytes -= fresh.data.len();
            (fresh, None)
        } else {
            return None;
        };
        let taken = (fresh.data.clone(), fresh.number);
        self.hands.insert(fresh.number, InHand { fresh, place });
        Some(taken)
    }

    /// A block will never be needed again. True if the files may give something up.
    pub(crate) fn acknowledge(&mut self, number: u64) -> bool {
        match self.hands.remove(&number).and_then(|hand| hand.place) {
            Some(place) => self.acknowledged.insert(place),
            None => false,
        }
    }

    /// A sender gives a block back unsent.
    pub(crate) fn give_back(&mut self, number: u64) {
        let Some(InHand { fresh, place }) = self.hands.remove(&number) else { return };
        match place {
            Some(place) => {
                let at = self.read_places.partition_point(|other| *other < place);
                self.read_ahead_bytes += fresh.data.len();
                self.read_ahead.insert(at, fresh);
                self.read_places.insert(at, place);
            }
            None => {
                let at = self.memory.partition_point(|other| other.number < fresh.number);
                self.memory_bytes += fresh.data.len();
                self.memory.insert(at, fresh);
            }
        }
    }

    /// Whether a block waits or is worked on in memory alone, and since when the oldest does.
    pub(crate) fn oldest_in_memory(&self) -> Option<Instant> {
        let waits = self.memory.front().map(|fresh| fresh.since);
        let hands = self.unwritten_hands().map(|hand| hand.fresh.since);
        hands.chain(waits).min()
    }

    /// Blocks in hands that no file holds, oldest first; they are older than all in memory. Empty while the files hold
    /// older blocks, because there they would come too late.
    pub(crate) fn hands_to_write(&self) -> Vec<Fresh> {
        if self.more_in_files || !self.read_ahead.is_empty() {
            return Vec::new();
        }
        self.unwritten_hands().map(|hand| hand.fresh.clone()).collect()
    }

    fn unwritten_hands(&self) -> impl Iterator<Item = &InHand> {
        let comes_in_time = !self.more_in_files && self.read_ahead.is_empty();
        self.hands.values().filter(move |hand| comes_in_time && hand.place.is_none())
    }

    /// A block in hands is in the files now. False if it was acknowledged in the meantime.
    pub(crate) fn set_place(&mut self, number: u64, place: u64) -> bool {
        match self.hands.get_mut(&number) {
            Some(hand) => {
                hand.place = Some(place);
                true
            }
            None => false,
        }
    }

    /// All blocks in memory, to be written.
    pub(crate) fn take_memory(&mut self) -> VecDeque<Fresh> {
        self.memory_bytes = 0;
        std::mem::take(&mut self.memory)
    }

    /// Blocks that could not be written, back in front of those that came since.
    pub(crate) fn put_back(&mut self, blocks: VecDeque<Fresh>) {
        self.memory_bytes += blocks.iter().map(|fresh| fresh.data.len()).sum::<usize>();
        let newer = std::mem::replace(&mut self.memory, blocks);
        self.memory.extend(newer);
    }

    /// Newest blocks that are over the capacity, oldest first.
    pub(crate) fn shed(&mut self) -> Vec<Fresh> {
        let mut shed = Vec::new();
        while (self.memory.len() > self.capacity.blocks || self.memory_bytes > self.capacity.bytes)
            && self.memory.len() > 1
            && let Some(fresh) = self.memory.pop_back()
        {
            self.memory_bytes -= fresh.data.len();
            shed.push(fresh);
        }
        shed.reverse();
        shed
    }

    /// A block of the files waits for a sender.
    pub(crate) fn push_read(&mut self, stored: Stored, now: Instant) {
        self.read_ahead_bytes += stored.data.len();
        self.read_ahead.push_back(Fresh { number: self.next_number, data: stored.data.into(), since: now });
        self.read_places.push_back(stored.at);
        self.next_number += 1;
    }

    /// Whether more should be read ahead.
    pub(crate) fn wants_read(&self, blocks: usize, bytes: usize) -> bool {
        self.read_ahead.len() < blocks && (self.read_ahead_bytes < bytes || self.read_ahead.is_empty())
    }

    /// The oldest block that was read ahead is dropped. Its length.
    pub(crate) fn drop_read(&mut self) -> Option<usize> {
        let fresh = self.read_ahead.pop_front()?;
        self.read_places.pop_front();
        self.read_ahead_bytes -= fresh.data.len();
        Some(fresh.data.len())
    }

    /// First place of the files that is still needed, `reader` being the first that was not read.
    pub(crate) fn keep_from(&mut self, reader: u64) -> u64 {
        let hands = self.hands.values().filter_map(|hand| hand.place);
        let kept = hands.chain(self.read_places.front().copied()).chain([reader]).min().unwrap_or(reader);
        self.acknowledged = self.acknowledged.split_off(&kept);
        kept
    }

    /// First place of the files whose block nobody has in hands.
    pub(crate) fn first_waiting(&self, reader: u64) -> u64 {
        self.read_places.front().copied().unwrap_or(reader)
    }

    /// The files need not keep what is in hands: they have no room.
    pub(crate) fn forget_places(&mut self) {
        self.hands.values_mut().for_each(|hand| hand.place = None);
    }

    /// At the stop: blocks of the files that are followed by acknowledged ones, oldest first. Written again at the end,
    /// they do not make the acknowledged ones be sent twice.
    pub(crate) fn take_before_acknowledged(&mut self) -> Vec<Fresh> {
        let Some(&last) = self.acknowledged.last() else { return Vec::new() };
        let count = self.read_places.partition_point(|place| *place < last);
        self.read_places.drain(..count);
        let taken: Vec<Fresh> = self.read_ahead.drain(..count).collect();
        self.read_ahead_bytes -= taken.iter().map(|fresh| fresh.data.len()).sum::<usize>();
        taken
    }

    /// At the stop: whatever senders still hold counts as given back.
    pub(crate) fn give_back_all(&mut self) {
        let numbers: Vec<u64> = self.hands.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.give_back(number));
    }

    pub(crate) fn memory_blocks(&self) -> usize {
        self.memory.len()
    }

    /// What senders work on.
    pub(crate) fn bytes_in_hands(&self) -> usize {
        self.hands.values().map(|hand| hand.fresh.data.len()).sum()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Nothing waits and nobody works on anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.memory.is_empty() && self.read_ahead.is_empty() && !self.more_in_files && self.hands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(Capacity { blocks: 3, bytes: 100 })
    }

    fn data(number: u8) -> Bytes {
        vec![number; 10].into()
    }

    fn stored(number: u8, at: u64) -> Stored {
        Stored { at, data: vec![number; 10] }
    }

    fn take(state: &mut State) -> Option<(u8, u64)> {
        state.take(false).map(|(data, number)| (data[0], number))
    }

    #[test]
    fn files_come_before_memory() {
        let now = Instant::now();
        let mut state = state();
        state.push(data(9), now);
        state.more_in_files = true;
        assert_eq!(take(&mut state), None, "the files have older ones");
        assert_eq!(state.take(true).map(|(data, _)| data[0]), Some(9), "unless fresh ones are wanted");
        state.push(data(10), now);
        state.push_read(stored(1, 0), now);
        state.push_read(stored(2, 18), now);
        state.more_in_files = false;
        let taken: Vec<u8> = std::iter::from_fn(|| take(&mut state)).map(|(data, _)| data).collect();
        assert_eq!(taken, [1, 2, 10]);
        state.closed = true;
        state.push(data(11), now);
        assert_eq!(take(&mut state), None);
    }

    #[test]
    fn what_is_given_back_comes_first_again() {
        let now = Instant::now();
        let mut state = state();
        (1..=3).for_each(|n| state.push(data(n), now));
        let hands: Vec<u64> = (0..2).map(|_| take(&mut state).unwrap().1).collect();
        hands.iter().rev().for_each(|number| state.give_back(*number));
        state.push_read(stored(7, 18), now);
        let read = take(&mut state).unwrap();
        assert_eq!(read.0, 7);
        state.push_read(stored(8, 36), now);
        state.give_back(read.1);
        let taken: Vec<u8> = std::iter::from_fn(|| take(&mut state)).map(|(data, _)| data).collect();
        assert_eq!(taken, [7, 8, 1, 2, 3]);
    }

    #[test]
    fn the_files_keep_what_is_in_hands() {
        let now = Instant::now();
        let mut state = state();
        (0..3).for_each(|n| state.push_read(stored(n, u64::from(n) * 18), now));
        assert_eq!((state.keep_from(54), state.first_waiting(54)), (0, 0));
        let numbers: Vec<u64> = (0..3).map(|_| take(&mut state).unwrap().1).collect();
        assert_eq!((state.keep_from(54), state.first_waiting(54)), (0, 54));
        assert!(state.acknowledge(numbers[1]));
        assert_eq!(state.keep_from(54), 0, "an older one is still in hands");
        assert!(state.acknowledge(numbers[0]));
        assert_eq!(state.keep_from(54), 36);
        state.forget_places();
        assert_eq!(state.keep_from(54), 54);
        assert!(!state.acknowledge(numbers[2]));
        assert!(state.is_idle());
    }

    #[test]
    fn at_the_stop_acknowledged_blocks_are_not_sent_again() {
        let now = Instant::now();
        let mut state = state();
        (0..4).for_each(|n| state.push_read(stored(n, u64::from(n) * 18), now));
        let numbers: Vec<u64> = (0..3).map(|_| take(&mut state).unwrap().1).collect();
        state.acknowledge(numbers[1]);
        state.give_back_all();
        let again: Vec<u8> = state.take_before_acknowledged().iter().map(|fresh| fresh.data[0]).collect();
        assert_eq!(again, [0]);
        assert_eq!(state.keep_from(72), 36);
        assert_eq!(state.take_before_acknowledged().len(), 0);
    }

    #[test]
    fn blocks_in_hands_are_written_before_those_in_memory() {
        let now = Instant::now();
        let mut state = state();
        state.push(data(1), now);
        state.push(data(2), now);
        assert_eq!(state.bytes_in_hands(), 0);
        let (_, number) = take(&mut state).unwrap();
        assert_eq!(state.bytes_in_hands(), data(1).len());
        assert_eq!(state.oldest_in_memory(), Some(now));
        assert_eq!(state.hands_to_write().iter().map(|fresh| fresh.data[0]).collect::<Vec<_>>(), [1]);
        assert!(state.set_place(number, 0));
        assert!(state.hands_to_write().is_empty());
        assert_eq!(state.take_memory().len(), 1);
        assert_eq!(state.oldest_in_memory(), None);
        state.acknowledge(number);
        assert!(!state.set_place(number, 0));
    }

    #[test]
    fn the_newest_are_shed_when_nothing_can_be_written() {
        let now = Instant::now();
        let mut state = state();
        (0..5).for_each(|n| state.push(data(n), now));
        assert!(state.memory_is_full() && !state.memory_overflows());
        let taken = state.take_memory();
        state.push(data(5), now);
        state.put_back(taken);
        let shed: Vec<u8> = state.shed().iter().map(|fresh| fresh.data[0]).collect();
        assert_eq!(shed, [3, 4, 5]);
        assert_eq!((state.memory_blocks(), state.memory_bytes()), (3, 30));
    }
}
