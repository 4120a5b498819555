//! Names, sizes and offsets of the queue's files, as upstream lays them out (docs/reference/vmagent-queue.md).
//!
//! A queue is one endless row of blocks, cut into chunk files. A block is eight bytes of big-endian length and that many
//! bytes. Offsets count bytes since the queue was last empty. Reader and writer must agree on where a chunk ends, or
//! they lose each other: the rule is [`Layout::normalize`] and stands nowhere else.

use serde_json::Value;

/// Bytes in front of each block.
pub(crate) const HEADER_LEN: u64 = 8;
/// Name of the file with the offsets.
pub(crate) const META_FILE: &str = "metainfo.json";
/// Temporary files of the offsets begin so; they are left by a crash.
pub(crate) const META_TMP_PREFIX: &str = "metainfo.json.tmp.";
/// Name of the lock file.
pub(crate) const LOCK_FILE: &str = "flock.lock";

/// Sizes; tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Distance of two chunks' starts.
    pub(crate) chunk_size: u64,
    /// Longest block without header.
    pub(crate) max_block: u64,
    /// An empty queue starts again at 0 when its offsets have reached this.
    pub(crate) reset_at: u64,
}

impl Layout {
    /// Upstream's sizes.
    pub(crate) const UPSTREAM: Self = Self { chunk_size: 0x2000_0080, max_block: 32 << 20, reset_at: 16 << 20 };

    /// Start of the chunk that holds `offset`.
    pub(crate) fn chunk_of(&self, offset: u64) -> u64 {
        offset - offset % self.chunk_size
    }

    /// Where a block at `offset` really begins: in the next chunk if the longest block would not fit any more.
    pub(crate) fn normalize(&self, offset: u64) -> u64 {
        let start = self.chunk_of(offset);
        if offset - start + HEADER_LEN + self.max_block > self.chunk_size { start + self.chunk_size } else { offset }
    }

    /// Whether a header may say this length.
    pub(crate) fn is_length(&self, len: u64) -> bool {
        (1..=self.max_block).contains(&len)
    }

    /// Start of the chunk with this file name; `None` if it is not the name of a chunk.
    pub(crate) fn parse_chunk_name(&self, name: &str) -> Option<u64> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
        if name.len() != 16 || !name.bytes().all(digits) {
            return None;
        }
        // The upper half is out of reach of any queue, and sums of offsets stay in range without it.
        u64::from_str_radix(name, 16).ok().filter(|start| start % self.chunk_size == 0 && *start < u64::MAX / 2)
    }
}

/// File name of the chunk that starts at this offset.
pub(crate) fn chunk_name(start: u64) -> String {
    format!("{start:016X}")
}

/// Content of [`META_FILE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// First block that is not known to be delivered.
    pub(crate) reader: u64,
    /// End of the last block.
    pub(crate) writer: u64,
}

impl Offsets {
    /// The offsets in a meta file; `None` if upstream could not read it either. Key case does not matter, a missing key
    /// is 0, unknown keys are passed over.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let Value::Object(members) = serde_json::from_slice(text).ok()? else { return None };
        let mut offsets = Self::default();
        for (key, value) in members {
            let slot = match key.to_ascii_lowercase().as_str() {
                "readeroffset" => &mut offsets.reader,
                "writeroffset" => &mut offsets.writer,
                _ => continue,
            };
            match value {
                Value::Null => {}
                value => *slot = value.as_u64()?,
            }
        }
        Some(offsets)
    }

    /// As it is written; `name` is the label of the queue in metrics.
    pub(crate) fn render(&self, name: &str) -> String {
        let name = Value::from(name);
        format!("{{\"Name\":{name},\"ReaderOffset\":{},\"WriterOffset\":{}}}", self.reader, self.writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_names() {
        let f = |name: &str, want| assert_eq!(Layout::UPSTREAM.parse_chunk_name(name), want, "{name}");
        f("0000000000000000", Some(0));
        f("0000000020000080", Some(0x2000_0080));
        f("0000000040000100", Some(0x4000_0100));
        f("0000000020000081", None);
        f("000000002000008", None);
        f("metainfo.json", None);
        f("00000000000000a0", None);
        assert_eq!(chunk_name(0x6000_0180), "0000000060000180");
    }

    #[test]
    fn a_block_begins_where_the_longest_one_fits() {
        let f = |offset, want| assert_eq!(Layout::UPSTREAM.normalize(offset), want, "{offset}");
        f(0, 0);
        f(503_316_600, 503_316_600);
        f(503_316_601, 536_871_040);
        f(536_871_039, 536_871_040);
        f(536_871_040, 536_871_040);
        f(536_871_040 + 503_316_715, 2 * 536_871_040);
    }

    #[test]
    fn meta_is_read_as_upstream_reads_it() {
        let f = |text: &str, want: Option<(u64, u64)>| {
            let got = Offsets::parse(text.as_bytes()).map(|offsets| (offsets.reader, offsets.writer));
            assert_eq!(got, want, "{text}");
        };
        f(r#"{"Name":"1:secret-url","ReaderOffset":7,"WriterOffset":608}"#, Some((7, 608)));
        f(r#"{"readeroffset":1,"WRITEROFFSET":2,"more":[1]}"#, Some((1, 2)));
        f(r#"{"Name":null,"WriterOffset":608}"#, Some((0, 608)));
        f(r#"{"WriterOffset":18446744073709551615}"#, Some((0, u64::MAX)));
        f(r#"{"ReaderOffset":-1,"WriterOffset":608}"#, None);
        f(r#"{"ReaderOffset":1.5}"#, None);
        f(r#"{"ReaderOffset":"1"}"#, None);
        f("", None);
        f("[]", None);
        f("{", None);
    }

    #[test]
    fn meta_is_written_as_upstream_writes_it() {
        let offsets = Offsets { reader: 0, writer: 608 };
        assert_eq!(offsets.render("1:secret-url"), r#"{"Name":"1:secret-url","ReaderOffset":0,"WriterOffset":608}"#);
        assert_eq!(Offsets::parse(offsets.render("a\"b\n").as_bytes()), Some(offsets));
    }
}
