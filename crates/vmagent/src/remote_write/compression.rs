//! The two encodings of a block: zstd of VictoriaMetrics' protocol and snappy of Prometheus'.
//!
//! What a stored block is in is told by its first bytes alone, as the queue's files have no place for it. Unpacking has
//! a limit that holds before memory is used, because lengths in a header are claims.

use std::io::{self, Read};

/// Protocol of a request; each has its own encoding and version header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// VictoriaMetrics remote write.
    Zstd,
    /// Prometheus remote write 1.0, snappy block format.
    Snappy,
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl Encoding {
    /// Encoding of a packed block. Snappy cannot begin with the magic of zstd: it would claim a length of 40 bytes and
    /// then refer to bytes in front of its beginning.
    pub fn of(block: &[u8]) -> Self {
        if block.starts_with(&ZSTD_MAGIC) { Self::Zstd } else { Self::Snappy }
    }

    /// Value of `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }
}

/// Why something packed could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// More than the limit, in bytes.
    #[error("decompressed size exceeds the limit of {0} bytes")]
    TooLarge(usize),
    /// Not in this encoding.
    #[error("{0}")]
    Snappy(snap::Error),
    /// Not in this encoding, or cut short.
    #[error("{0}")]
    Zstd(io::Error),
}

/// Packs blocks; keeps its tables from block to block.
pub struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    snappy: snap::raw::Encoder,
}

impl Packer {
    /// Level 0 is the default of remote write, which is 2: its table is large enough to find the labels of one target in
    /// those of another, and what is found need not be encoded. Else -22 to 22.
    ///
    /// # Errors
    /// No memory for the tables.
    pub fn new(level: i32) -> io::Result<Self> {
        let level = if level == 0 { 2 } else { level };
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)?, snappy: snap::raw::Encoder::new() })
    }

    /// The block of a request.
    ///
    /// # Errors
    /// More bytes than the encoding can hold, or no memory.
    pub fn pack(&mut self, encoding: Encoding, message: &[u8]) -> io::Result<Vec<u8>> {
        match encoding {
            Encoding::Zstd => self.zstd.compress(message),
            Encoding::Snappy => self.snappy.compress_vec(message).map_err(io::Error::other),
        }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

/// The message in a block of at most `limit` bytes.
///
/// # Errors
/// The block is not in this encoding, cut short, or larger.
pub fn unpack(encoding: Encoding, block: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    match encoding {
        Encoding::Snappy => {
            let len = snap::raw::decompress_len(block).map_err(UnpackError::Snappy)?;
            if len > limit {
                return Err(UnpackError::TooLarge(limit));
            }
            // Snappy never grows more than about 21 times: a longer claim is a lie, and costs no memory.
            if len / 64 > block.len() {
                let claim = snap::Error::HeaderMismatch { expected_len: len as u64, got_len: block.len() as u64 };
                return Err(UnpackError::Snappy(claim));
            }
            snap::raw::Decoder::new().decompress_vec(block).map_err(UnpackError::Snappy)
        }
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(block).map_err(UnpackError::Zstd)?;
            let mut message = Vec::new();
            decoder.take(limit as u64 + 1).read_to_end(&mut message).map_err(UnpackError::Zstd)?;
            if message.len() > limit { Err(UnpackError::TooLarge(limit)) } else { Ok(message) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Vec<u8> {
        (0..20_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect()
    }

    #[test]
    fn both_encodings_give_back_what_was_packed() {
        let mut packer = Packer::new(0).unwrap();
        for encoding in [Encoding::Zstd, Encoding::Snappy] {
            for message in [message(), vec![], vec![7; 100]] {
                let block = packer.pack(encoding, &message).unwrap();
                assert_eq!(Encoding::of(&block), encoding);
                assert_eq!(unpack(encoding, &block, message.len()).unwrap(), message, "{encoding:?}");
            }
        }
    }

    #[test]
    fn the_limit_holds_whatever_the_header_says() {
        let mut packer = Packer::new(3).unwrap();
        let bomb = vec![0; 50 << 20];
        for encoding in [Encoding::Zstd, Encoding::Snappy] {
            let block = packer.pack(encoding, &bomb).unwrap();
            let refused = unpack(encoding, &block, 1 << 20);
            assert!(matches!(refused, Err(UnpackError::TooLarge(1_048_576))), "{encoding:?}");
        }
        // 4 GiB in six bytes.
        let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(matches!(unpack(Encoding::Snappy, &lie, usize::MAX), Err(UnpackError::Snappy(_))));
    }

    #[test]
    fn what_is_cut_is_refused() {
        let mut packer = Packer::new(0).unwrap();
        for encoding in [Encoding::Zstd, Encoding::Snappy] {
            let block = packer.pack(encoding, &message()).unwrap();
            for cut in [1, 2, 5, block.len() / 2, block.len() - 1] {
                assert!(unpack(encoding, &block[..cut], 1 << 20).is_err(), "{encoding:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn levels_out_of_the_ordinary() {
        for level in [-22, -1, 22] {
            let block = Packer::new(level).unwrap().pack(Encoding::Zstd, &message()).unwrap();
            assert_eq!(unpack(Encoding::Zstd, &block, 1 << 20).unwrap(), message());
        }
    }
}
