//! Compression of whole texts: own pages, pushed metrics, profiles.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses fast: what is compressed here is made often and compresses well anyway.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes).expect("BUG: writing to a Vec does not fail");
    encoder.finish().expect("BUG: writing to a Vec does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let packed = compress(b"x 1\n");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut text).unwrap();
        assert_eq!(text, "x 1\n");
    }
}
