//! Finds the frames of messages in the bytes of a connection (RFC 9113 §4.1, §6.1, §6.2). Judges nothing: that is the codec's.

/// Length of the head of a frame.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

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
        let [high, middle, low, kind, flags, stream @ .., padding] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let is_padded = kind == DATA && flags & PADDED != 0 && length > 0;
        if is_padded && self.filled == HEAD {
            return;
        }
        let behind_head = self.filled - HEAD;
        self.filled = 0;
        self.payload_left = length - behind_head;
        if flags & END_STREAM != 0 {
            return;
        }
        let stream = u32::from_be_bytes(stream) & 0x7FFF_FFFF;
        match kind {
            DATA if is_padded => found(stream, Part::Body(self.payload_left.saturating_sub(padding.into()))),
            DATA => found(stream, Part::Body(length)),
            HEADERS => found(stream, Part::Head),
            _ => {}
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
