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
