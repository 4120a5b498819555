//! Watches the frames of a connection as their bytes pass, before the codec sees them: what a client may ask for without
//! asking for anything.
//!
//! The codec bounds what a stream may hold. This file bounds what no stream holds: header blocks that never end, and
//! frames that cost work and carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, GOAWAY, unknown ones), and streams that are
//! opened only to be reset (CVE-2023-44487). A client earns such frames by bytes and DATA frames that pass in either
//! direction, and by time. Only the head of each frame and the length of its padding are read here; a broken frame is the codec's
//! business.

use std::cell::{Cell, RefCell};

use tokio::time::Instant;

use super::super::head_budget::{HeadBudget, HeadClaim};
use super::frame_heads::{FrameHead, HEAD, Kind};
use super::small_frames::SmallFrames;
use super::unread_frames::EmptyFrames;

/// `PRI * HTTP/2.0 …`, the first bytes of a client (RFC 9113 §3.4).
pub(in super::super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames without content that a client may send at once.
const MOST_FRAMES: u32 = 1000;
/// Streams that a client may reset at once.
const MOST_RESETS: u32 = 1000;
/// So many of each more are allowed a second.
const PER_SECOND: f64 = 100.0;
/// Frames earned by a DATA frame: window updates of stream and connection, a ping, one to spare.
const PER_DATA: u32 = 4;
/// Bytes in either direction that earn one frame.
const BYTES_PER_FRAME: u32 = 1024;

/// What a client has done too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Frames that carry nothing.
    Frames,
    /// Streams opened and reset.
    Resets,
    /// Unfinished heads, over all connections.
    Heads,
    /// DATA frames of a few bytes that wait to be read, over all connections.
    SmallFrames,
}

/// The account of one connection.
#[derive(Debug)]
pub(super) struct FrameMeter {
    heads: HeadBudget,
    /// What is counted of a header block that needs more than one read.
    open_block_size: usize,
    /// Bytes of the preface that have not come yet.
    preface_left: Cell<usize>,
    header: Cell<[u8; HEAD]>,
    header_len: Cell<usize>,
    payload_left: Cell<usize>,
    /// The next byte says how much of a DATA frame is padding.
    padding_awaited: Cell<bool>,
    /// Between HEADERS and the end of its block.
    in_block: Cell<bool>,
    /// Since when a block has waited for another read, and what is counted of it.
    block_since: Cell<Option<Instant>>,
    block_claim: RefCell<Option<HeadClaim>>,
    frames: Cell<u32>,
    resets: Cell<u32>,
    /// Bytes that have not earned a frame yet.
    bytes: Cell<u32>,
    filled: Cell<Instant>,
    excess: Cell<Option<Excess>>,
    empty: EmptyFrames,
    /// DATA frames that nobody has read.
    pub(super) small: SmallFrames,
}

impl FrameMeter {
    /// An account that claims so many bytes of `heads` for each unfinished head, and of `windows` for small frames that
    /// wait.
    pub(super) fn new(heads: HeadBudget, windows: HeadBudget, open_block_size: usize) -> Self {
        Self {
            heads,
            open_block_size,
            preface_left: Cell::new(PREFACE.len()),
            header: Cell::default(),
            header_len: Cell::new(0),
            payload_left: Cell::new(0),
            padding_awaited: Cell::new(false),
            in_block: Cell::new(false),
            block_since: Cell::new(None),
            block_claim: RefCell::new(None),
            frames: Cell::new(MOST_FRAMES),
            resets: Cell::new(MOST_RESETS),
            bytes: Cell::new(0),
            filled: Cell::new(Instant::now()),
            excess: Cell::new(None),
            empty: EmptyFrames::default(),
            small: SmallFrames::new(windows),
        }
    }

    /// What the client has done too much of; nothing more of it is read then.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Whether the client should open another connection: this one has come near to a limit of the codec.
    pub(super) fn is_worn_out(&self) -> bool {
        self.empty.are_many()
    }

    /// Since when the end of a header block is awaited.
    pub(super) fn block_open_since(&self) -> Option<Instant> {
        self.block_since.get()
    }

    /// A DATA frame is sent.
    pub(super) fn sends_data(&self) {
        self.earn(PER_DATA);
    }

    /// So many bytes were written.
    pub(super) fn wrote(&self, n: usize) {
        self.count_bytes(n);
    }

    /// These bytes were read. False when the client has done too much.
    pub(super) fn read(&self, mut data: &[u8]) -> bool {
        self.count_bytes(data.len());
        while !data.is_empty() {
            data = self.step(data);
        }
        if self.in_block.get() && self.block_since.get().is_none() {
            let claim = self.heads.claim(self.open_block_size);
            if claim.is_none() {
                self.excess.set(Some(Excess::Heads));
            }
            self.block_claim.replace(claim);
            self.block_since.set(Some(Instant::now()));
        }
        self.excess.get().is_none()
    }

    /// Takes what belongs to one part of the stream; returns the rest.
    fn step<'d>(&self, data: &'d [u8]) -> &'d [u8] {
        for left in [&self.preface_left, &self.payload_left] {
            if left.get() > 0 {
                if let Some(padding) = data.first().filter(|_| self.padding_awaited.take()) {
                    let FrameHead { stream, .. } = FrameHead::parse(self.header.get());
                    self.body_arrived(stream, (left.get() - 1).saturating_sub(usize::from(*padding)));
                }
                let n = left.get().min(data.len());
                left.set(left.get() - n);
                self.end_block_with_frame();
                return data.get(n..).unwrap_or_default();
            }
        }
        let mut header = self.header.get();
        let filled = self.header_len.get();
        let n = (HEAD - filled).min(data.len());
        let (begin, rest) = data.split_at(n);
        if let Some(to) = header.get_mut(filled..filled + n) {
            to.copy_from_slice(begin);
        }
        self.header.set(header);
        self.header_len.set(filled + n);
        if filled + n == HEAD {
            self.header_len.set(0);
            self.begin_frame(FrameHead::parse(header));
        }
        rest
    }

    fn begin_frame(&self, head: FrameHead) {
        self.payload_left.set(head.length);
        match head.kind {
            Kind::Data => {
                self.earn(PER_DATA);
                if !head.ends_stream() {
                    self.padding_awaited.set(head.is_padded());
                    if !head.is_padded() {
                        self.body_arrived(head.stream, head.length);
                    }
                }
            }
            Kind::Headers | Kind::Continuation => self.in_block.set(true),
            Kind::Reset => self.spend(&self.resets, Excess::Resets),
            Kind::Bare => self.spend(&self.frames, Excess::Frames),
        }
        self.end_block_with_frame();
    }

    /// A frame brings so many bytes of a body.
    fn body_arrived(&self, stream: u32, length: usize) {
        self.empty.note(length);
        if !self.small.arrived(stream, length) {
            self.excess.set(Some(Excess::SmallFrames));
        }
    }

    /// A block ends with the last byte of the frame that says so.
    fn end_block_with_frame(&self) {
        let ends = || FrameHead::parse(self.header.get()).ends_block();
        if self.in_block.get() && self.payload_left.get() == 0 && ends() {
            self.in_block.set(false);
            if self.block_since.take().is_some() {
                self.block_claim.replace(None);
            }
        }
    }

    fn count_bytes(&self, n: usize) {
        let bytes = self.bytes.get().saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        self.bytes.set(bytes % BYTES_PER_FRAME);
        self.earn(bytes / BYTES_PER_FRAME);
    }

    fn earn(&self, frames: u32) {
        self.frames.set(self.frames.get().saturating_add(frames).min(MOST_FRAMES));
    }

    /// Takes one from an account; the clock is read only when there is nothing left.
    fn spend(&self, account: &Cell<u32>, excess: Excess) {
        if account.get() == 0 {
            let now = Instant::now();
            let more = (now - self.filled.get()).as_secs_f64() * PER_SECOND;
            if more < 1.0 {
                return self.excess.set(Some(excess));
            }
            self.filled.set(now);
            self.earn(more as u32);
            self.resets.set(self.resets.get().saturating_add(more as u32).min(MOST_RESETS));
        }
        account.set(account.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::frame_heads::{END_HEADERS, PADDED};
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn meter() -> FrameMeter {
        let meter = FrameMeter::new(HeadBudget::default(), HeadBudget::default(), 1);
        assert!(meter.read(PREFACE));
        meter
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_content_are_bounded_and_earned() {
        let ping = frame(0x6, 0, &[0; 8]);
        let pings = |meter: &FrameMeter| (0..10 * MOST_FRAMES).take_while(|_| meter.read(&ping)).count() as u32;
        // The bytes of the pings earn a few more.
        let few = MOST_FRAMES / 50;
        let f = |meter: &FrameMeter, want: u32| {
            let passed = pings(meter);
            assert!((want..=want + few).contains(&passed), "{passed} of {want}");
        };
        f(&meter(), MOST_FRAMES);

        let later = meter();
        (0..MOST_FRAMES).for_each(|_| assert!(later.read(&ping)));
        tokio::time::advance(Duration::from_secs(1)).await;
        f(&later, 100);

        let with_content = meter();
        (0..MOST_FRAMES).for_each(|_| assert!(with_content.read(&ping)));
        assert!(with_content.read(&frame(0x0, 0, b"").repeat(10)));
        (0..10).for_each(|_| with_content.sends_data());
        f(&with_content, 20 * PER_DATA);
        assert_eq!(with_content.excess(), Some(Excess::Frames));
    }

    /// For each of them the codec looks at all streams.
    #[tokio::test(start_paused = true)]
    async fn who_says_goodbye_again_and_again_has_done_too_much() {
        let (meter, goodbye) = (meter(), frame(0x7, 0, &[0; 8]));
        assert!((0..MOST_FRAMES).all(|_| meter.read(&goodbye)));
        assert!(!meter.read(&goodbye.repeat(MOST_FRAMES as usize)));
        assert_eq!(meter.excess(), Some(Excess::Frames));
    }

    #[tokio::test(start_paused = true)]
    async fn padding_does_not_hide_small_bodies() {
        let meter = meter();
        let padded = frame(0x0, PADDED, &[&[255, b'x'][..], &[0; 255]].concat());
        for (n, bytes) in padded.repeat(1200).chunks(100).enumerate() {
            assert!(meter.read(bytes), "{n}");
        }
        assert!(meter.small.are_many());
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserved_bit_hides_no_stream() {
        let meter = meter();
        meter.small.accepted(1, true);
        let mut bytes = frame(0x0, 0, b"x").repeat(2000);
        bytes.chunks_mut(10).for_each(|frame| frame[5] = 0x80);
        assert!(meter.read(&bytes) && meter.small.are_many());
        meter.small.closed(1);
        assert!(!meter.small.are_many());
    }

    #[tokio::test(start_paused = true)]
    async fn resets_are_not_earned_by_content() {
        let meter = meter();
        for _ in 0..MOST_RESETS {
            assert!(meter.read(&[frame(0x0, 0, b"x"), frame(0x3, 0, &[0; 4])].concat()));
        }
        assert!(!meter.read(&frame(0x3, 0, &[0; 4])));
        assert_eq!(meter.excess(), Some(Excess::Resets));
    }

    #[tokio::test(start_paused = true)]
    async fn header_blocks_are_open_until_their_last_byte() {
        let meter = meter();
        let f = |bytes: &[u8], is_open: bool| {
            assert!(meter.read(bytes));
            assert_eq!(meter.block_open_since().is_some(), is_open, "{bytes:?}");
        };
        f(&frame(0x1, END_HEADERS, b"abc"), false);
        f(&frame(0x1, 0, b"abc"), true);
        f(&frame(0x9, 0, b""), true);
        f(&frame(0x9, END_HEADERS, b""), false);
        let whole = frame(0x1, END_HEADERS, b"abc");
        f(&whole[..HEAD - 1], false);
        f(&whole[HEAD - 1..HEAD + 1], true);
        f(&whole[HEAD + 1..], false);
        f(&frame(0x1, END_HEADERS, b""), false);
    }

    #[tokio::test(start_paused = true)]
    async fn open_blocks_are_counted_over_all_connections() {
        let budget = HeadBudget::new(1, 100);
        let (one, two) = (
            FrameMeter::new(budget.clone(), HeadBudget::default(), 60),
            FrameMeter::new(budget, HeadBudget::default(), 60),
        );
        assert!(one.read(PREFACE) && two.read(PREFACE));
        assert!(one.read(&frame(0x1, 0, b"abc")));
        assert!(!two.read(&frame(0x1, 0, b"abc")));
        assert_eq!(two.excess(), Some(Excess::Heads));
        assert!(one.read(&frame(0x9, END_HEADERS, b"")) && one.block_open_since().is_none());
    }
}
