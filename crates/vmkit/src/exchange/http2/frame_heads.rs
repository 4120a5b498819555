//! What stands in front of each frame (RFC 9113 §4.1), for both sides of the proxy, and where the frames of messages are in
//! the bytes of a connection (§6.1, §6.2). Judges nothing: that is the codec's.

/// Length of the head of a frame.
pub(super) const HEAD: usize = 9;
const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;

/// Kinds of frames that matter here (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Reset,
    Continuation,
    /// Carries nothing by itself.
    Bare,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x3 => Self::Reset,
            0x9 => Self::Continuation,
            _ => Self::Bare,
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    /// Of what follows, in bytes.
    pub(super) length: usize,
    pub(super) kind: Kind,
    flags: u8,
    /// Without the reserved bit.
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) fn parse([high, middle, low, kind, flags, stream @ ..]: [u8; HEAD]) -> Self {
        Self {
            length: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes(stream) & 0x7FFF_FFFF,
        }
    }

    /// Whether a DATA or HEADERS frame is the last one of its message.
    pub(super) fn ends_stream(self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// Whether it ends a header block.
    pub(super) fn ends_block(self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::Continuation) && self.flags & END_HEADERS != 0
    }

    /// Whether the first byte of a DATA frame says how much of its end is padding.
    pub(super) fn is_padded(self) -> bool {
        self.kind == Kind::Data && self.flags & PADDED != 0 && self.length > 0
    }
}

/// A frame of a message that goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An interim or a final head.
    Head,
    /// So many bytes of a body.
    Body(usize),
}

/// Where in a frame the last byte was.
#[derive(Debug, Default)]
pub(super) struct FrameHeads {
    /// The head, and the length of the padding behind it if there is some.
    head: [u8; HEAD + 1],
    filled: usize,
    payload_left: usize,
}

impl FrameHeads {
    /// Looks at what follows; tells of the parts of messages, each with its stream.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(u32, Part)) {
        loop {
            let passed = self.payload_left.min(bytes.len());
            self.payload_left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(to) = self.head.get_mut(self.filled) {
                *to = *first;
            }
            self.filled += 1;
            if self.filled >= HEAD {
                self.end_head(&mut found);
            }
        }
    }

    fn end_head(&mut self, found: &mut impl FnMut(u32, Part)) {
        let [bytes @ .., padding] = self.head;
        let head = FrameHead::parse(bytes);
        if head.is_padded() && self.filled == HEAD {
            return;
        }
        let behind_head = self.filled - HEAD;
        self.filled = 0;
        self.payload_left = head.length - behind_head;
        if head.ends_stream() {
            return;
        }
        let padding = if head.is_padded() { usize::from(padding) } else { 0 };
        match head.kind {
            Kind::Data => found(head.stream, Part::Body(self.payload_left.saturating_sub(padding))),
            Kind::Headers => found(head.stream, Part::Head),
            Kind::Reset | Kind::Continuation | Kind::Bare => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Part::{Body, Head};
    use super::*;

    #[test]
    fn parts_are_found_in_any_pieces() {
        let frames: &[&[u8]] = &[
            // SETTINGS, DATA, DATA with padding, its end, empty ones, HEADERS, DATA.
            &[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6],
            &[0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0],
            &[0, 0, 6, 0, 8, 0, 0, 0, 3, 2, 7, 7, 7, 0, 0],
            &[0, 0, 1, 0, 1, 0, 0, 0, 3, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 8, 0, 0, 0, 7],
            &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 9],
        ];
        let all = frames.concat();
        for size in 1..=all.len() {
            let (mut heads, mut parts) = (FrameHeads::default(), Vec::new());
            all.chunks(size).for_each(|piece| heads.read(piece, |stream, part| parts.push((stream, part))));
            let want = [(1, Body(2)), (3, Body(3)), (5, Body(0)), (7, Body(0)), (1, Head), (9, Body(256))];
            assert_eq!(parts, want, "pieces of {size}");
        }
    }
}
