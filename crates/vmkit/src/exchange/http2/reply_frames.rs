//! What a backend sends for its requests, counted: small DATA frames that clients have not taken, over all connections, and
//! the interim replies of each request.
//!
//! A backend may send a reply in frames of a few bytes to a client that takes nothing. When the memory for such frames is
//! used up, nothing more is read for a moment, so that whoever can takes what has come; what then still stands still is
//! given up, the largest first. One request ends so, and neither its connection nor any other request on it. Interim replies
//! without end are a failure of their request, which has its turn before more of them are read: the codec keeps them all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Context;

use foldhash::fast::RandomState;

use super::super::head_budget::HeadBudget;
use super::super::reply_error::MAX_INTERIM;
use super::frame_heads::{FrameHeads, Part};
use super::unread_frames::{EmptyFrames, UnreadFrames, cost};

/// What a connection may hold whatever others do: those who read on, if not at once, are not given up because of those who
/// do not.
const FREE: usize = 1024 * 1024;

/// One reply, as it waits to be taken.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// `None` before the head has come and after the body was given up.
    pub(super) body: RefCell<Option<h2::RecvStream>>,
    /// What its small frames cost.
    unread: Cell<usize>,
    given_up: Cell<bool>,
    /// Interim heads and the final one.
    heads: Cell<usize>,
}

impl Inbox {
    /// Whether more interim heads have come than are taken.
    pub(super) fn is_flooded(&self) -> bool {
        self.heads.get() > MAX_INTERIM + 1
    }

    /// Whether the body was given up because its client did not take it.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }
}

/// The replies of one connection.
#[derive(Debug)]
pub(super) struct ReplyFrames {
    heads: RefCell<FrameHeads>,
    streams: RefCell<HashMap<u32, Rc<Inbox>, RandomState>>,
    unread: UnreadFrames,
    is_over: Cell<bool>,
    empty: EmptyFrames,
    /// The largest reply, and how large it was, when it was last looked for.
    seen: Cell<(u32, usize)>,
}

impl ReplyFrames {
    /// None yet; `budget` is the memory for those of all connections.
    pub(super) fn new(budget: HeadBudget) -> Self {
        Self {
            heads: RefCell::default(),
            streams: RefCell::default(),
            unread: UnreadFrames::new(budget, FREE),
            is_over: Cell::new(false),
            empty: EmptyFrames::default(),
            seen: Cell::default(),
        }
    }

    /// A request was sent on this stream.
    pub(super) fn open(&self, stream: u32, inbox: &Rc<Inbox>) {
        self.streams.borrow_mut().insert(stream, inbox.clone());
    }

    /// Nobody reads this stream any more.
    pub(super) fn close(&self, stream: u32) {
        let closed = self.streams.borrow_mut().remove(&stream);
        if let Some(inbox) = closed {
            inbox.body.take();
            self.unread.reduce(inbox.unread.take());
        }
    }

    /// A frame with so many bytes was taken.
    pub(super) fn taken(&self, inbox: &Inbox, length: usize) {
        let taken = cost(length).min(inbox.unread.get());
        if taken > 0 {
            inbox.unread.set(inbox.unread.get() - taken);
            self.unread.reduce(taken);
        }
    }

    /// These bytes have come from the backend.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.heads.borrow_mut().read(bytes, |stream, part| {
            let cost = match part {
                Part::Body(length) => {
                    self.empty.note(length);
                    cost(length)
                }
                Part::Head => 0,
            };
            if cost == 0 && part != Part::Head {
                return;
            }
            // Of streams that nobody reads the codec keeps nothing.
            let streams = self.streams.borrow();
            let Some(inbox) = streams.get(&stream) else { return };
            if part == Part::Head {
                inbox.heads.set(inbox.heads.get() + 1);
            } else {
                inbox.unread.set(inbox.unread.get() + cost);
            }
            let is_covered = self.unread.add(cost);
            if inbox.is_flooded() || !is_covered {
                self.is_over.set(true);
            }
        });
    }

    /// Whether another connection should take what comes next: this one has come near to a limit of the codec.
    pub(super) fn is_worn_out(&self) -> bool {
        self.empty.are_many()
    }

    /// Whether so many small frames have waited once that an idle connection is not worth what it holds: what the codec has
    /// taken for them it gives back with the connection only.
    pub(super) fn were_many(&self) -> bool {
        self.unread.were_many()
    }

    /// Whether nothing more may be read now; [`relieve`](Self::relieve) ends that.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Gives up the largest reply if nothing of it was taken since the last call, until there is memory again. Called by
    /// the task that reads, outside of reading.
    pub(super) fn relieve(&self, cx: &mut Context<'_>) {
        if !self.is_over.get() {
            return;
        }
        cx.waker().wake_by_ref();
        if self.unread.is_covered() {
            self.is_over.set(false);
            return;
        }
        let streams = self.streams.borrow();
        let Some((stream, inbox)) = streams.iter().max_by_key(|(_, inbox)| inbox.unread.get()) else { return };
        let now = (*stream, inbox.unread.get());
        if self.seen.replace(now) == now {
            inbox.given_up.set(true);
            inbox.body.take();
            self.unread.reduce(inbox.unread.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::unread_frames::STEP;
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    fn small(stream: u32, count: usize) -> Vec<u8> {
        frame(0, stream, b"x").repeat(count)
    }

    /// Replies on these streams.
    fn replies<const N: usize>(frames: &ReplyFrames, streams: [u32; N]) -> [Rc<Inbox>; N] {
        streams.map(|stream| {
            let inbox = Rc::<Inbox>::default();
            frames.open(stream, &inbox);
            inbox
        })
    }

    #[test]
    fn what_a_flooded_reply_holds_is_not_taken_from_others() {
        let frames = ReplyFrames::new(HeadBudget::default());
        let [flooded, other] = replies(&frames, [1, 3]);
        frames.read(&small(3, 100));
        let others = frames.unread.cost();
        frames.read(&frame(1, 1, b"").repeat(MAX_INTERIM + 2));
        frames.read(&small(1, 100));
        assert!(flooded.is_flooded() && !other.is_flooded());
        frames.close(1);
        assert_eq!(frames.unread.cost(), others);
    }

    #[test]
    fn a_reply_that_is_given_up_frees_what_it_holds() {
        let budget = HeadBudget::new(0, STEP);
        let (frames, mut cx) = (ReplyFrames::new(budget.clone()), Context::from_waker(Waker::noop()));
        let [stalled, _other] = replies(&frames, [1, 3]);
        frames.read(&small(3, 10));
        let others = frames.unread.cost();
        assert!(!frames.were_many());
        frames.read(&small(1, (FREE + STEP) / cost(1) + 1));
        assert!(frames.is_over() && budget.claim(1).is_none());
        (0..3).for_each(|_| frames.relieve(&mut cx));
        assert!(stalled.is_given_up() && !frames.is_over());
        assert_eq!(frames.unread.cost(), others);
        assert!(frames.were_many() && budget.claim(STEP).is_some());
    }
}
