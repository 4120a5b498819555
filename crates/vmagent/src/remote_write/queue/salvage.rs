//! Finding whole blocks in chunk files that something has damaged.
//!
//! Chunk files carry no checksum and no marks, so after damage the only way back is to look for a place from which a
//! block can be read: a plausible length, then a body that decompresses and parses as a whole. Everything between is
//! counted as lost. Nothing here writes.

use super::layout::{HEADER_LEN, Layout};
use super::storage::StorageFile;
use std::io;

/// Whether the bytes are a block that a remote could read.
pub(crate) type IsWhole = fn(&[u8]) -> bool;

/// Looked through at once.
const WINDOW: usize = 256 * 1024;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What stands at one place of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A block of this length without header.
    Block(Vec<u8>),
    /// The header cannot be, or the block goes on behind the end.
    Nothing,
    /// A header that can be, but a body that cannot.
    Damaged,
}

/// One chunk file, read at places relative to its start.
pub(crate) struct ChunkView<'a> {
    pub(crate) file: &'a dyn StorageFile,
    pub(crate) layout: Layout,
    /// End of what may be read.
    pub(crate) end: u64,
    pub(crate) is_whole: IsWhole,
}

impl ChunkView<'_> {
    /// Length in the header at `at`, if the block can lie there.
    pub(crate) fn length_at(&self, at: u64) -> io::Result<Option<u64>> {
        let mut header = [0; HEADER_LEN as usize];
        if at + HEADER_LEN > self.end || self.file.read_at(&mut header, at)? < header.len() {
            return Ok(None);
        }
        Ok(self.plausible(u64::from_be_bytes(header), at))
    }

    /// The block at `at`; its body is looked at only when `check` is set.
    pub(crate) fn block_at(&self, at: u64, check: bool) -> io::Result<At> {
        let Some(len) = self.length_at(at)? else { return Ok(At::Nothing) };
        let mut body = vec![0; len as usize];
        if self.file.read_at(&mut body, at + HEADER_LEN)? < body.len() {
            return Ok(At::Nothing);
        }
        Ok(if !check || (self.is_whole)(&body) { At::Block(body) } else { At::Damaged })
    }

    /// The first place from `from` on where a whole block begins.
    pub(crate) fn next_block(&self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        let mut window = vec![0; WINDOW];
        while at + HEADER_LEN < self.end {
            let wanted = usize::try_from(self.end - at).unwrap_or(WINDOW).min(WINDOW);
            let read = self.file.read_at(&mut window[..wanted], at)?;
            // Header and the first bytes of the body must lie in the window.
            let Some(last) = read.checked_sub(HEADER_LEN as usize + ZSTD_MAGIC.len()) else { break };
            for place in 0..=last {
                let candidate = &window[place..place + HEADER_LEN as usize + ZSTD_MAGIC.len()];
                if self.may_begin(candidate, at + place as u64)
                    && let At::Block(_) = self.block_at(at + place as u64, true)?
                {
                    return Ok(Some(at + place as u64));
                }
            }
            at += last as u64 + 1;
        }
        Ok(None)
    }

    /// End of the chain of whole blocks that begins at `from`.
    pub(crate) fn chain_end(&self, from: u64) -> io::Result<u64> {
        let mut at = from;
        while let At::Block(body) = self.block_at(at, true)? {
            at += HEADER_LEN + body.len() as u64;
        }
        Ok(at)
    }

    /// End of the last whole block at or after `from`, damaged parts passed over; `from` if there is none.
    pub(crate) fn last_end(&self, from: u64) -> io::Result<u64> {
        let mut end = self.chain_end(from)?;
        while let Some(next) = self.next_block(end + 1)? {
            end = self.chain_end(next)?;
        }
        Ok(end)
    }

    /// Whether the chain of lengths from `from` meets `at` exactly, or else the start of the block that covers `at`.
    pub(crate) fn boundary(&self, from: u64, at: u64) -> io::Result<Boundary> {
        let mut place = from;
        while place < at {
            match self.length_at(place)? {
                Some(len) if place + HEADER_LEN + len > at => return Ok(Boundary::Inside(place)),
                Some(len) => place += HEADER_LEN + len,
                None => return Ok(Boundary::Unknown),
            }
        }
        Ok(Boundary::Exact)
    }

    fn plausible(&self, len: u64, at: u64) -> Option<u64> {
        (self.layout.is_length(len) && at + HEADER_LEN + len <= self.end).then_some(len)
    }

    fn may_begin(&self, bytes: &[u8], at: u64) -> bool {
        let (header, body) = bytes.split_at(HEADER_LEN as usize);
        let Some(len) = header.try_into().ok().map(u64::from_be_bytes).and_then(|len| self.plausible(len, at)) else {
            return false;
        };
        // Snappy begins with the length of its content, and no block of ours is empty.
        len < ZSTD_MAGIC.len() as u64 || body == ZSTD_MAGIC || body[0] != 0
    }
}

/// How an offset lies to the blocks around it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    Exact,
    /// Inside the block that begins there.
    Inside(u64),
    /// The chain breaks before it.
    Unknown,
}
