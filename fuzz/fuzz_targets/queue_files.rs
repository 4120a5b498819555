//! A queue's directory of any content: it opens, is read to its end, takes a block, and gives that block back after a start.
//!
//! The input is the meta file up to an empty line, then the first chunk, and behind the bytes `NEXT` the second one.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vmagent::remote_write::{Encoding, Packer, StoredBlocks};

const NEXT: &[u8] = b"NEXT";

fn split<'a>(input: &'a [u8], mark: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match input.windows(mark.len()).position(|window| window == mark) {
        Some(at) => (&input[..at], Some(&input[at + mark.len()..])),
        None => (input, None),
    }
}

fn read_all(blocks: &mut StoredBlocks) -> Vec<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(block) = blocks.next_block().expect("files of this machine can be read") {
        assert!((1..=32 << 20).contains(&block.len()));
        read.push(block);
        assert!(read.len() < 100_000, "reading comes to an end");
    }
    read
}

fuzz_target!(|input: &[u8]| {
    let shared = Path::new("/dev/shm");
    let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.expect("a folder");
    let (meta, chunks) = split(input, b"\n\n");
    let (first, second) = split(chunks.unwrap_or_default(), NEXT);
    let write = |name: &str, content: &[u8]| std::fs::write(dir.path().join(name), content).expect("it can be written");
    write("metainfo.json", meta);
    write("0000000000000000", first);
    if let Some(second) = second {
        write("0000000020000080", second);
    }
    // A message of one empty series, which is whole in any case.
    let ours =
        Packer::new(0).and_then(|mut packer| packer.pack(Encoding::Snappy, &[0x0A, 0])).expect("it can be packed");
    let mut blocks = StoredBlocks::open(dir.path()).expect("damage keeps no queue from opening");
    read_all(&mut blocks);
    blocks.append(&ours).expect("there is room");
    blocks.flush().expect("there is room");
    drop(blocks);
    let mut blocks = StoredBlocks::open(dir.path()).expect("it opens again");
    assert_eq!(read_all(&mut blocks), [ours]);
});
