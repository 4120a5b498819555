//! The blocks on disk: appended at the writer's offset, read at the reader's, given up when they are acknowledged.
//!
//! One thread owns it and does all its I/O. Three offsets divide the row of blocks: those before `kept` are delivered
//! and may go, those between `kept` and `reader` are in somebody's hands, those up to `writer` wait. The meta file names
//! `kept` and `writer`, and is replaced only after the data it speaks of has been synced; chunks are removed only after
//! it no longer speaks of them. So a crash at any point costs what was written since the last [`FileQueue::flush`].
//!
//! Damage is passed over, counted and reported; nothing here panics or gives the queue up.

use super::layout::{HEADER_LEN, Layout, META_FILE, META_TMP_PREFIX, Offsets, chunk_name};
use super::recovery::{Recovered, recover};
use super::salvage::{At, ChunkView, IsWhole};
use super::storage::{Storage, StorageFile};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A block read from the files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) at: u64,
    pub(crate) data: Vec<u8>,
}

/// Bytes that could not be read as blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) at: u64,
    pub(crate) bytes: u64,
    pub(crate) reason: &'static str,
}

/// What distinguishes one queue from another.
#[derive(Clone)]
pub(crate) struct FileQueueOptions {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) layout: Layout,
    /// Label of the queue in the meta file.
    pub(crate) name: String,
    /// Applied to blocks of an earlier process, whose end we have not seen.
    pub(crate) is_whole: IsWhole,
}

struct Chunk {
    start: u64,
    file: Box<dyn StorageFile>,
}

/// The part of a queue that is on disk.
pub(crate) struct FileQueue {
    options: FileQueueOptions,
    kept: u64,
    reader: u64,
    writer: u64,
    /// Blocks before this offset are from an earlier process.
    inherited: u64,
    chunks: BTreeSet<u64>,
    writing: Option<Chunk>,
    reading: Option<Chunk>,
    data_dirty: bool,
    dir_dirty: bool,
    on_disk: Option<Offsets>,
    meta_writes: u64,
    damage: Vec<Damage>,
    failed_reads: u32,
}

/// A place of the disk that fails so often is given up.
const READ_ATTEMPTS: u32 = 5;

impl FileQueue {
    /// Opens the queue of a directory that exists and is locked.
    ///
    /// # Errors
    /// Only when the directory cannot be listed; a disk that cannot be written is found out later.
    pub(crate) fn open(options: FileQueueOptions) -> io::Result<(Self, Recovered)> {
        let recovered = recover(&*options.storage, &options.dir, options.layout, options.is_whole)?;
        let Offsets { reader, writer } = recovered.offsets;
        let queue = Self {
            kept: reader,
            reader,
            writer,
            inherited: writer,
            chunks: recovered.chunks.keys().copied().collect(),
            writing: None,
            reading: None,
            data_dirty: false,
            dir_dirty: true,
            on_disk: None,
            meta_writes: 0,
            damage: Vec::new(),
            failed_reads: 0,
            options,
        };
        queue.cut_garbage();
        Ok((queue, recovered))
    }

    /// Adds a block behind all others. On an error the queue is as it was before.
    pub(crate) fn append(&mut self, block: &[u8]) -> io::Result<u64> {
        if !self.options.layout.is_length(block.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the length of the block cannot be stored"));
        }
        let at = self.options.layout.normalize(self.writer);
        let start = self.options.layout.chunk_of(at);
        if self.writing.as_ref().is_none_or(|chunk| chunk.start != start) {
            self.sync_data()?;
            self.writing = Some(self.open_chunk(start, true)?);
        }
        let Some(chunk) = &self.writing else { return Err(io::ErrorKind::NotFound.into()) };
        // One write, so that a full disk is found before the header claims anything.
        let mut record = Vec::with_capacity(HEADER_LEN as usize + block.len());
        record.extend_from_slice(&(block.len() as u64).to_be_bytes());
        record.extend_from_slice(block);
        if let Err(err) = chunk.file.write_at(&record, at - start) {
            // What was written of it lies behind the writer's offset and is overwritten; cut it if the disk lets us.
            let _ = chunk.file.set_len(at - start);
            return Err(err);
        }
        if self.reader == self.writer {
            self.reader = at;
        }
        if self.kept == self.writer {
            self.kept = at;
        }
        self.writer = at + record.len() as u64;
        self.data_dirty = true;
        Ok(at)
    }

    /// The next block that waits, which is then in the caller's hands until [`Self::keep_from`] passes it.
    ///
    /// # Errors
    /// What may pass, such as a lack of descriptors: ask again later. A sector that cannot be read is damage after
    /// [`READ_ATTEMPTS`].
    pub(crate) fn read_next(&mut self) -> io::Result<Option<Stored>> {
        while let Some(at) = self.next_place() {
            let check = at < self.inherited;
            match self.with_view(at, |view, place| view.block_at(place, check)) {
                Ok(At::Block(data)) => {
                    self.failed_reads = 0;
                    self.reader = at + HEADER_LEN + data.len() as u64;
                    return Ok(Some(Stored { at, data }));
                }
                Ok(At::Nothing) => self.pass_over(at, "no block where one should be"),
                Ok(At::Damaged) => self.pass_over(at, "a block that cannot be decoded"),
                Err(err) => self.judge_read_error(at, err)?,
            }
        }
        Ok(None)
    }

    /// Passes over the next block that waits without looking into it. `None` if there is none; else where it began and
    /// its length without header.
    ///
    /// # Errors
    /// As [`Self::read_next`].
    pub(crate) fn skip_next(&mut self) -> io::Result<Option<(u64, u64)>> {
        while let Some(at) = self.next_place() {
            match self.with_view(at, |view, place| view.length_at(place)) {
                Ok(Some(len)) => {
                    self.reader = at + HEADER_LEN + len;
                    return Ok(Some((at, len)));
                }
                Ok(None) => self.pass_over(at, "no block where one should be"),
                Err(err) => self.judge_read_error(at, err)?,
            }
        }
        Ok(None)
    }

    /// Blocks before this offset are not needed any more. Chunks go at the next [`Self::flush`].
    pub(crate) fn keep_from(&mut self, offset: u64) {
        self.kept = offset.clamp(self.kept, self.reader);
    }

    /// Makes everything so far survive a crash, and removes chunks that nobody needs.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.start_again_when_empty();
        let offsets = Offsets { reader: self.kept, writer: self.writer };
        self.sync_data()?;
        if self.dir_dirty {
            // A directory without the writer's chunk is an unreadable queue for upstream.
            if self.writing.is_none() && !self.chunks.contains(&self.options.layout.chunk_of(self.writer)) {
                self.writing = Some(self.open_chunk(self.options.layout.chunk_of(self.writer), true)?);
            }
            self.options.storage.sync_dir(&self.options.dir)?;
            self.dir_dirty = false;
        }
        if self.on_disk != Some(offsets) {
            self.write_meta(offsets)?;
            self.on_disk = Some(offsets);
        }
        self.remove_chunks();
        Ok(())
    }

    /// Whether [`Self::flush`] has anything to do.
    pub(crate) fn is_dirty(&self) -> bool {
        self.data_dirty || self.dir_dirty || self.on_disk != Some(Offsets { reader: self.kept, writer: self.writer })
    }

    /// Where the next block that waits begins, as far as is known without reading.
    pub(crate) fn reader(&self) -> u64 {
        self.reader
    }

    /// End of the last block.
    pub(crate) fn writer(&self) -> u64 {
        self.writer
    }

    /// Bytes between reader and writer, headers included.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.writer.saturating_sub(self.reader)
    }

    /// Bytes that the files must keep, headers included.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.writer.saturating_sub(self.kept)
    }

    /// Damage that was passed over since the last call.
    pub(crate) fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    /// Where the next block is if there is one; passes gaps between chunks.
    fn next_place(&mut self) -> Option<u64> {
        if self.reader >= self.writer {
            return None;
        }
        let at = self.options.layout.normalize(self.reader);
        if at >= self.writer {
            self.reader = self.writer;
            return None;
        }
        self.reader = at;
        Some(at)
    }

    fn judge_read_error(&mut self, at: u64, err: io::Error) -> io::Result<()> {
        if err.kind() == io::ErrorKind::NotFound {
            self.skip_chunk(at, "a missing chunk file");
            return Ok(());
        }
        self.reading = None;
        self.failed_reads += 1;
        if err.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) && self.failed_reads >= READ_ATTEMPTS {
            self.failed_reads = 0;
            self.skip_chunk(at, "a chunk file that cannot be read");
            return Ok(());
        }
        Err(err)
    }

    fn with_view<T>(&mut self, at: u64, read: impl FnOnce(&ChunkView<'_>, u64) -> io::Result<T>) -> io::Result<T> {
        let start = self.options.layout.chunk_of(at);
        if self.reading.as_ref().is_none_or(|chunk| chunk.start != start) {
            self.reading = None;
            self.reading = Some(self.open_chunk(start, false)?);
        }
        let Some(chunk) = &self.reading else { return Err(io::ErrorKind::NotFound.into()) };
        let end = (self.writer - start).min(self.options.layout.chunk_size);
        let view = ChunkView { file: &*chunk.file, layout: self.options.layout, end, is_whole: self.options.is_whole };
        read(&view, at - start)
    }

    /// Goes on at the next whole block of the chunk, or else at the next chunk.
    fn pass_over(&mut self, at: u64, reason: &'static str) {
        let start = self.options.layout.chunk_of(at);
        match self.with_view(at, |view, place| view.next_block(place + 1)) {
            Ok(Some(place)) => {
                self.reader = start + place;
                self.damage.push(Damage { at, bytes: self.reader - at, reason });
            }
            Ok(None) | Err(_) => self.skip_chunk(at, reason),
        }
    }

    fn skip_chunk(&mut self, at: u64, reason: &'static str) {
        let start = self.options.layout.chunk_of(at);
        let next = self.chunks.range(start + 1..).next().copied().unwrap_or(self.writer);
        self.reader = next.min(self.writer);
        self.damage.push(Damage { at, bytes: self.reader - at, reason });
    }

    fn open_chunk(&mut self, start: u64, create: bool) -> io::Result<Chunk> {
        let path = self.options.dir.join(chunk_name(start));
        let file = self.options.storage.open(&path, create)?;
        if create && self.chunks.insert(start) {
            self.dir_dirty = true;
        }
        Ok(Chunk { start, file })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        if self.data_dirty
            && let Some(chunk) = &self.writing
        {
            chunk.file.sync()?;
            self.data_dirty = false;
        }
        Ok(())
    }

    fn write_meta(&mut self, offsets: Offsets) -> io::Result<()> {
        self.meta_writes += 1;
        let storage = &self.options.storage;
        let tmp = self.options.dir.join(format!("{META_TMP_PREFIX}{}", self.meta_writes));
        let written = (|| {
            let file = storage.open(&tmp, true)?;
            let text = offsets.render(&self.options.name);
            file.set_len(0)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync()?;
            storage.rename(&tmp, &self.options.dir.join(META_FILE))?;
            storage.sync_dir(&self.options.dir)
        })();
        if written.is_err() {
            let _ = storage.remove_file(&tmp);
        }
        written
    }

    /// Offsets of an empty queue go back to 0, so that its last chunk does not stay for ever.
    fn start_again_when_empty(&mut self) {
        if self.kept != self.writer || self.writer < self.options.layout.reset_at {
            return;
        }
        self.writing = None;
        self.reading = None;
        let Ok(chunk) = self.open_chunk(0, true) else { return };
        if chunk.file.set_len(0).is_err() {
            return;
        }
        self.writing = Some(chunk);
        (self.kept, self.reader, self.writer, self.inherited) = (0, 0, 0, 0);
        self.data_dirty = true;
    }

    /// Removes chunks before the one that holds `kept`, and after a new start those behind the writer.
    fn remove_chunks(&mut self) {
        let layout = self.options.layout;
        let needed = layout.chunk_of(self.kept)..=layout.chunk_of(self.writer);
        let gone: Vec<u64> = self.chunks.iter().copied().filter(|start| !needed.contains(start)).collect();
        for start in gone {
            if self.reading.as_ref().is_some_and(|chunk| chunk.start == start) {
                self.reading = None;
            }
            let path = self.options.dir.join(chunk_name(start));
            match self.options.storage.remove_file(&path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {}
                _ => {
                    self.chunks.remove(&start);
                    self.dir_dirty = true;
                }
            }
        }
        // A chunk that comes back after a crash would be sent again.
        if self.dir_dirty && self.options.storage.sync_dir(&self.options.dir).is_ok() {
            self.dir_dirty = false;
        }
    }

    /// What lies behind the writer's offset is no block; upstream only warns of it, so a failure may stay.
    fn cut_garbage(&self) {
        let start = self.options.layout.chunk_of(self.writer);
        if self.chunks.contains(&start)
            && let Ok(file) = self.options.storage.open(&self.path_of(start), false)
            && file.len().is_ok_and(|len| len > self.writer - start)
        {
            let _ = file.set_len(self.writer - start);
        }
    }

    fn path_of(&self, start: u64) -> PathBuf {
        self.options.dir.join(chunk_name(start))
    }

    /// The directory of the queue.
    pub(crate) fn dir(&self) -> &Path {
        &self.options.dir
    }
}

#[cfg(test)]
mod tests;
