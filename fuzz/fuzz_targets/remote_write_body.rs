//! Bodies of remote write, zstd or snappy by their first bytes: no panic, and never more than the limit comes out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmagent::remote_write::{Encoding, Packer, unpack};

const LIMIT: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    for encoding in [Encoding::Zstd, Encoding::Snappy] {
        let packed = Packer::new(0).and_then(|mut packer| packer.pack(encoding, body)).expect("anything can be packed");
        assert_eq!(unpack(encoding, &packed, LIMIT).expect("what was packed is unpacked"), body);
    }
    if let Ok(message) = unpack(Encoding::of(body), body, LIMIT) {
        assert!(message.len() <= LIMIT);
    }
});
