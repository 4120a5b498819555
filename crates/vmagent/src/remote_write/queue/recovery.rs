//! What a directory that was left behind holds: where its blocks begin and end.
//!
//! The offsets in the meta file are believed as far as the chunk files agree with them. Where they do not, the files
//! win: blocks behind the writer's offset are taken in, an offset beyond a file is put to the end of its last whole
//! block, a missing meta file means everything. Nothing is deleted but chunks that were read wholly.

use super::layout::{LOCK_FILE, Layout, META_FILE, META_TMP_PREFIX, Offsets, chunk_name};
use super::salvage::{Boundary, ChunkView, IsWhole};
use super::storage::{Entry, Storage};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Longest meta file that is read.
const MAX_META: usize = 64 * 1024;

/// What was found, and what had to be said about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) offsets: Offsets,
    /// Lengths of the chunk files by their starts.
    pub(crate) chunks: BTreeMap<u64, u64>,
    /// For the log, each a whole sentence without the directory.
    pub(crate) complaints: Vec<String>,
    /// Bytes that the meta file speaks of and no file holds.
    pub(crate) lost_bytes: u64,
    /// Nothing of a queue was there: not even an old one was lost.
    pub(crate) is_new: bool,
}

/// Looks at the files of `dir`. Removes what a crash has left of meta files, and nothing else.
pub(crate) fn recover(storage: &dyn Storage, dir: &Path, layout: Layout, is_whole: IsWhole) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    let entries = storage.list(dir)?;
    for Entry { name, is_dir } in &entries {
        if let Some(start) = layout.parse_chunk_name(name).filter(|_| !is_dir) {
            let len = storage.open(&dir.join(name), false)?.len()?;
            recovered.chunks.insert(start, len.min(layout.chunk_size));
        } else if name.starts_with(META_TMP_PREFIX) && !is_dir {
            // A leftover harms nobody, so a failure may stay.
            let _ = storage.remove_file(&dir.join(name));
        } else if name != META_FILE && name != LOCK_FILE {
            recovered.complaints.push(format!("{name:?} is not a file of the queue and is left alone"));
        }
    }
    let had_meta = entries.iter().any(|entry| entry.name == META_FILE);
    let meta = read_meta(storage, dir, had_meta, &mut recovered);
    recovered.is_new = !had_meta && recovered.chunks.is_empty();
    let Some((&first, _)) = recovered.chunks.first_key_value() else {
        return Ok(without_chunks(recovered, meta, layout));
    };
    let finder = Finder { storage, dir, layout, is_whole, chunks: &recovered.chunks };
    let believed = finder.believed(meta);
    let reader = believed.map_or(first, |offsets| offsets.reader.max(first));
    let writer = finder.writer(reader, believed.map(|offsets| offsets.writer))?;
    let offsets = Offsets { reader: reader.min(writer), writer };
    if meta != Some(offsets) && had_meta {
        recovered.complaints.push(match meta {
            Some(Offsets { reader, writer }) => format!(
                "{META_FILE} says {reader} to {writer}, but the files hold blocks from {} to {}",
                offsets.reader, offsets.writer
            ),
            None => format!("the files hold blocks from {} to {}", offsets.reader, offsets.writer),
        });
    }
    recovered.lost_bytes = believed.map_or(0, |meta| meta.writer.saturating_sub(offsets.writer));
    recovered.offsets = offsets;
    Ok(recovered)
}

fn read_meta(storage: &dyn Storage, dir: &Path, exists: bool, recovered: &mut Recovered) -> Option<Offsets> {
    if !exists {
        if !recovered.chunks.is_empty() {
            recovered.complaints.push(format!("{META_FILE} is missing; it is rebuilt from the chunk files"));
        }
        return None;
    }
    let read = storage.open(&dir.join(META_FILE), false).and_then(|file| {
        let mut text = vec![0; MAX_META];
        let len = file.read_at(&mut text, 0)?;
        text.truncate(len);
        Ok(text)
    });
    let meta = match read {
        Ok(text) => Offsets::parse(&text),
        Err(err) => {
            recovered.complaints.push(format!("cannot read {META_FILE}: {err}"));
            return None;
        }
    };
    if meta.is_none() {
        recovered.complaints.push(format!("cannot read metainfo: {META_FILE} is damaged; it is rebuilt"));
    }
    meta
}

fn without_chunks(mut recovered: Recovered, meta: Option<Offsets>, layout: Layout) -> Recovered {
    let Some(offsets) = meta else { return recovered };
    recovered.lost_bytes = offsets.writer.saturating_sub(offsets.reader);
    if recovered.lost_bytes > 0 {
        let lost = recovered.lost_bytes;
        recovered.complaints.push(format!("all chunk files are missing; {lost} bytes of blocks are lost"));
    }
    // Where others think that the queue stands does not matter any more.
    recovered.offsets = Offsets { reader: layout.chunk_of(0), writer: layout.chunk_of(0) };
    recovered
}

struct Finder<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    layout: Layout,
    is_whole: IsWhole,
    chunks: &'a BTreeMap<u64, u64>,
}

impl Finder<'_> {
    /// The meta file's offsets, unless nothing of them fits the files.
    fn believed(&self, meta: Option<Offsets>) -> Option<Offsets> {
        let meta = meta.filter(|meta| meta.reader <= meta.writer)?;
        let (&last, &len) = self.chunks.last_key_value()?;
        // A reader behind everything that exists would throw everything away.
        (meta.reader <= last + len).then_some(meta)
    }

    /// End of the last block. Chunks behind the stated writer belong to the queue only as its unbroken continuation:
    /// one that stands alone was read wholly before, and its removal did not survive a crash.
    fn writer(&self, reader: u64, stated: Option<u64>) -> io::Result<u64> {
        let Some((&last, _)) = self.chunks.last_key_value() else { return Ok(reader) };
        let start = stated.map_or(last, |stated| self.layout.chunk_of(stated));
        let mut start = if self.chunks.contains_key(&start) { start } else { last };
        let mut end = self.end_in_chunk(start, reader, stated)?;
        loop {
            let next = self.layout.normalize(end);
            if next == end || !self.chunks.contains_key(&next) {
                return Ok(end);
            }
            start = next;
            let continued = self.end_in_chunk(start, reader, None)?;
            if continued == start {
                return Ok(end);
            }
            end = continued;
        }
    }

    fn end_in_chunk(&self, start: u64, reader: u64, stated: Option<u64>) -> io::Result<u64> {
        let len = self.chunks.get(&start).copied().unwrap_or_default();
        let from = reader.max(start) - start;
        let file = self.storage.open(&self.dir.join(chunk_name(start)), false)?;
        let view = ChunkView { file: &*file, layout: self.layout, end: len, is_whole: self.is_whole };
        let stated = stated.and_then(|stated| stated.checked_sub(start)).filter(|stated| (from..=len).contains(stated));
        let Some(stated) = stated else { return Ok(start + view.last_end(from)?) };
        let end = match view.boundary(from, stated)? {
            Boundary::Inside(place) if stated < len => view.chain_end(place)?.max(stated),
            // Whole blocks behind the offset were written when the process died.
            Boundary::Exact | Boundary::Inside(_) | Boundary::Unknown => view.chain_end(stated)?,
        };
        Ok(start + end)
    }
}
