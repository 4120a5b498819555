//! The blocks in a queue's directory without the threads of a queue: for tools and fuzzing.
//!
//! Reads what a start would read, in the same order and with the same care for damage. It takes no lock: nobody else may
//! have the directory open.

use super::file_queue::{FileQueue, FileQueueOptions};
use super::layout::Layout;
use super::storage::OsStorage;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A queue's directory, opened to be read and written by the caller alone.
pub struct StoredBlocks(FileQueue);

impl StoredBlocks {
    /// Opens the directory, which exists. Damage is passed over.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let options = FileQueueOptions {
            storage: Arc::new(OsStorage),
            dir: dir.to_owned(),
            layout: Layout::UPSTREAM,
            name: "1:secret-url".to_owned(),
            is_whole: crate::remote_write::block_is_whole,
        };
        FileQueue::open(options).map(|(queue, _)| Self(queue))
    }

    /// The next block, oldest first: a packed request body of at most 32 MiB.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.read_next()?.map(|stored| stored.data))
    }

    /// Adds a block behind all others.
    ///
    /// # Errors
    /// A length that cannot be stored; a disk that is full or broken.
    pub fn append(&mut self, block: &[u8]) -> io::Result<()> {
        self.0.append(block).map(drop)
    }

    /// Makes last what was appended, and gives up what was read.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.keep_from(self.0.reader());
        self.0.flush()
    }
}

impl fmt::Debug for StoredBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredBlocks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::{Encoding, Packer};

    fn read_all(blocks: &mut StoredBlocks) -> Vec<Vec<u8>> {
        let read: Vec<_> = std::iter::from_fn(|| blocks.next_block().unwrap()).take(100_000).collect();
        assert!(read.len() < 100_000, "reading comes to an end");
        read
    }

    /// Some bytes are replaced, removed or repeated.
    fn spoil(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=bytes.len());
            let end = (at + random.usize(..40)).min(bytes.len());
            match random.u8(..4) {
                0 => bytes[at..end].fill_with(|| random.u8(..)),
                1 => bytes[at..end].fill(0),
                2 => drop(bytes.drain(at..end)),
                _ => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
    }

    /// What is written after any damage comes back, alone, after a start.
    #[test]
    fn a_spoiled_directory_is_read_to_its_end_and_takes_blocks() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/queue_files");
        // A message of one empty series, which is whole in any case.
        let ours = Packer::new(0).unwrap().pack(Encoding::Snappy, &[0x0A, 0]).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for seed in std::fs::read_dir(seeds).unwrap() {
            let seed = seed.unwrap();
            for round in 0..8 {
                let mut input = std::fs::read(seed.path()).unwrap();
                if round > 0 {
                    spoil(&mut random, &mut input);
                }
                let meta = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
                let (meta, chunk) = input.split_at(meta);
                let dir = tempfile::tempdir().unwrap();
                std::fs::write(dir.path().join("metainfo.json"), meta).unwrap();
                std::fs::write(dir.path().join("0000000000000000"), chunk.get(2..).unwrap_or_default()).unwrap();
                let mut blocks = StoredBlocks::open(dir.path()).unwrap();
                read_all(&mut blocks);
                blocks.append(&ours).unwrap();
                blocks.flush().unwrap();
                drop(blocks);
                let again = read_all(&mut StoredBlocks::open(dir.path()).unwrap());
                assert_eq!(again, std::slice::from_ref(&ours), "{:?}, round {round}, meta {meta:?}", seed.file_name());
            }
        }
    }
}
