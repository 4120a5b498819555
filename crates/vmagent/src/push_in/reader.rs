//! Bodies of the text format, unpacked piece by piece.
//!
//! Every encoding but snappy, whose block format needs all of it, is unpacked as it arrives, so that a body of any
//! length costs the memory of a piece. A body that ends in the middle of its encoding is an error.

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Unpacked at once.
const CHUNK: usize = 64 * 1024;

/// Unpacks a body.
pub(super) enum Reader {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>, bool),
    Deflate(Box<ZlibDecoder<Vec<u8>>>, bool),
    Zstd(Box<ZstdDecoder<'static>>, bool),
    Snappy(Vec<u8>, usize),
}

impl Reader {
    /// By `Content-Encoding`. `limit` bounds bodies that are needed as a whole.
    ///
    /// # Errors
    /// The text for the client.
    pub(super) fn new(encoding: &str, limit: usize) -> Result<Self, String> {
        Ok(match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Self::Plain,
            "gzip" => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())), false),
            "deflate" => Self::Deflate(Box::new(ZlibDecoder::new(Vec::new())), false),
            "zstd" => Self::Zstd(Box::new(ZstdDecoder::new().map_err(|err| err.to_string())?), true),
            "snappy" => Self::Snappy(Vec::new(), limit),
            _ => return Err(format!("unsupported contentType: {encoding}")),
        })
    }

    /// Unpacks a piece and hands what comes of it to `text`.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        mut text: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        match self {
            Self::Plain => text(piece),
            Self::Gzip(decoder, begun) => {
                *begun |= !piece.is_empty();
                for part in piece.chunks(CHUNK / 16) {
                    decoder.write_all(part).map_err(|err| fault("gzip", &err))?;
                    text(decoder.get_ref())?;
                    decoder.get_mut().clear();
                }
                Ok(())
            }
            Self::Deflate(decoder, begun) => {
                *begun |= !piece.is_empty();
                for part in piece.chunks(CHUNK / 16) {
                    decoder.write_all(part).map_err(|err| fault("deflate", &err))?;
                    text(decoder.get_ref())?;
                    decoder.get_mut().clear();
                }
                Ok(())
            }
            Self::Zstd(decoder, at_end) => feed_zstd(decoder, at_end, piece, &mut text),
            Self::Snappy(whole, limit) => {
                if whole.len() + piece.len() > *limit {
                    return Err(format!("too big data size exceeding {limit} bytes"));
                }
                whole.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The body has ended.
    pub(super) fn finish(self, mut text: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        match self {
            Self::Plain | Self::Gzip(_, false) | Self::Deflate(_, false) | Self::Zstd(_, true) => Ok(()),
            Self::Gzip(mut decoder, true) => {
                decoder.try_finish().map_err(|err| fault("gzip", &err))?;
                text(decoder.get_ref())
            }
            Self::Deflate(mut decoder, true) => {
                decoder.try_finish().map_err(|err| fault("deflate", &err))?;
                text(decoder.get_ref())
            }
            Self::Zstd(_, false) => Err("cannot decompress zstd-encoded request: the body is cut short".to_owned()),
            Self::Snappy(whole, _) if whole.is_empty() => Ok(()),
            Self::Snappy(whole, limit) => {
                let unpacked = crate::remote_write::unpack(crate::remote_write::Encoding::Snappy, &whole, limit);
                let unpacked = unpacked.map_err(|err| {
                    format!("cannot decompress snappy-encoded request with length {}: {err}", whole.len())
                })?;
                text(&unpacked)
            }
        }
    }
}

fn feed_zstd(
    decoder: &mut ZstdDecoder<'static>,
    at_end: &mut bool,
    piece: &[u8],
    text: &mut impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut out = vec![0; CHUNK];
    let mut input = InBuffer::around(piece);
    loop {
        let mut output = OutBuffer::around(&mut out[..]);
        let hint = decoder.run(&mut input, &mut output).map_err(|err| fault("zstd", &err))?;
        let len = output.pos();
        let is_full = len == CHUNK;
        text(&out[..len])?;
        if !piece.is_empty() {
            // Nothing more is expected at the end of a frame.
            *at_end = hint == 0;
        }
        if input.pos() == piece.len() && !is_full {
            return Ok(());
        }
    }
}

fn fault(name: &str, err: &io::Error) -> String {
    format!("cannot decompress {name}-encoded request: {err}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: &str, body: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut reader = Reader::new(encoding, 1 << 20)?;
        let mut all = Vec::new();
        let mut take = |text: &[u8]| {
            all.extend_from_slice(text);
            Ok(())
        };
        for piece in body.chunks(piece) {
            reader.feed(piece, &mut take)?;
        }
        reader.finish(&mut take)?;
        Ok(all)
    }

    fn packed(encoding: &str, text: &[u8]) -> Vec<u8> {
        match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            "zstd" => zstd::bulk::compress(text, 1).unwrap(),
            "snappy" => snap::raw::Encoder::new().compress_vec(text).unwrap(),
            _ => text.to_vec(),
        }
    }

    #[test]
    fn whole_bodies_are_read_and_cut_ones_refused() {
        let text: Vec<u8> = (0..30_000).flat_map(|n: u32| format!("m{{n=\"{n}\"}} {n}\n").into_bytes()).collect();
        for encoding in ["", "identity", "gzip", "deflate", "zstd", "snappy"] {
            let body = packed(encoding, &text);
            for piece in [7, 1000, body.len()] {
                assert!(read(encoding, &body, piece).unwrap() == text, "{encoding} in pieces of {piece}");
            }
            assert_eq!(read(encoding, b"", 10), Ok(Vec::new()), "{encoding}: an empty body");
            if !["", "identity"].contains(&encoding) {
                for cut in [1, body.len() / 2, body.len() - 1] {
                    assert!(read(encoding, &body[..cut], 1000).is_err(), "{encoding} cut at {cut}");
                }
                assert!(read(encoding, b"garbage, no doubt", 100).is_err(), "{encoding}");
            }
        }
        assert_eq!(read("br", b"", 1), Err("unsupported contentType: br".to_owned()));
    }
}
