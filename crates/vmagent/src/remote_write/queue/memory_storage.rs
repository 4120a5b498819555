//! A file system for tests: it fails on demand, and forgets at a crash what was not synced.
//!
//! Content has two states: what a process sees, and what survives a crash. A crash keeps a synced state and any part of
//! what was written after it, decided by the random source, as a disk does. Names (creations, renames, removals) survive
//! when their directory was synced, or by chance.

use super::storage::{Entry, Lock, Storage, StorageFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Operations that can be made to fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Bytes that may still be written; the write that exceeds them is cut there and fails.
    pub(crate) room: Option<u64>,
    pub(crate) sync_fails: bool,
    pub(crate) rename_fails: bool,
    pub(crate) open_fails: bool,
    pub(crate) read_fails: bool,
    pub(crate) remove_fails: bool,
}

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// Places written since the last sync.
    unsynced: Vec<(usize, usize)>,
}

#[derive(Default)]
struct State {
    inodes: BTreeMap<u64, Content>,
    next_inode: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    faults: Faults,
    syncs: u64,
}

/// The file system; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct MemoryStorage(Arc<Mutex<State>>);

struct MemoryFile {
    storage: MemoryStorage,
    inode: u64,
}

impl MemoryStorage {
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Every operation waits until the result is dropped.
    pub(crate) fn pause(&self) -> impl Drop + '_ {
        self.state()
    }

    pub(crate) fn sync_count(&self) -> u64 {
        self.state().syncs
    }

    /// The power goes off and comes back; open files are of no use afterwards.
    pub(crate) fn crash(&self, random: &mut fastrand::Rng) {
        let mut state = self.state();
        state.faults = Faults::default();
        for content in state.inodes.values_mut() {
            let mut after = content.synced.clone();
            for (from, to) in std::mem::take(&mut content.unsynced) {
                let to = to.min(content.seen.len());
                // Nothing, all, or the first part of a write reaches the disk.
                let end = match random.u8(..3) {
                    0 => continue,
                    1 => to,
                    _ => from + random.usize(..=to.saturating_sub(from)),
                };
                if after.len() < end {
                    after.resize(end, 0);
                }
                if from < end {
                    after[from..end].copy_from_slice(&content.seen[from..end]);
                }
            }
            content.seen.clone_from(&after);
            content.synced = after;
        }
        if random.bool() {
            state.names = state.durable_names.clone();
        } else {
            state.durable_names = state.names.clone();
        }
    }

    pub(crate) fn write(&self, path: &Path, content: &[u8]) {
        let file = self.open(path, true).unwrap();
        file.set_len(0).unwrap();
        file.write_at(content, 0).unwrap();
        file.sync().unwrap();
        self.sync_dir(path.parent().unwrap()).unwrap();
    }

    pub(crate) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|inode| state.inodes[inode].seen.clone())
    }

    pub(crate) fn names(&self, dir: &Path) -> Vec<String> {
        self.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn broken(fails: bool) -> io::Result<()> {
    if fails { Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())) } else { Ok(()) }
}

impl Storage for MemoryStorage {
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| Entry { name: name(path), is_dir: false }).collect())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        broken(state.faults.open_fails)?;
        let inode = match state.names.get(path) {
            Some(inode) => *inode,
            None if !create => return Err(io::ErrorKind::NotFound.into()),
            None => {
                state.next_inode += 1;
                let inode = state.next_inode;
                state.inodes.insert(inode, Content::default());
                state.names.insert(path.to_owned(), inode);
                inode
            }
        };
        Ok(Box::new(MemoryFile { storage: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        broken(state.faults.rename_fails)?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        broken(state.faults.remove_fails)?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.state().names.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        broken(state.faults.sync_fails)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.state().faults.room.unwrap_or(1 << 40))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.open(path, true).map(|_| Box::new(()) as Lock)
    }
}

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.storage.state().inodes[&self.inode].seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.storage.state();
        broken(state.faults.read_fails)?;
        let seen = &state.inodes[&self.inode].seen;
        let from = usize::try_from(at).unwrap().min(seen.len());
        let len = buf.len().min(seen.len() - from);
        buf[..len].copy_from_slice(&seen[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.storage.state();
        let fits = state.faults.room.map_or(data.len(), |room| data.len().min(room as usize));
        if let Some(room) = &mut state.faults.room {
            *room -= fits as u64;
        }
        let content = state.inodes.get_mut(&self.inode).unwrap();
        let from = usize::try_from(at).unwrap();
        let to = from + fits;
        if content.seen.len() < to {
            content.seen.resize(to, 0);
        }
        content.seen[from..to].copy_from_slice(&data[..fits]);
        content.unsynced.push((from, to));
        if fits < data.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.storage.state();
        let content = state.inodes.get_mut(&self.inode).unwrap();
        let len = usize::try_from(len).unwrap();
        content.seen.resize(len, 0);
        content.synced.truncate(len);
        content.unsynced.retain(|(from, _)| *from < len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.storage.state();
        broken(state.faults.sync_fails)?;
        state.syncs += 1;
        let content = state.inodes.get_mut(&self.inode).unwrap();
        content.synced.clone_from(&content.seen);
        content.unsynced.clear();
        Ok(())
    }
}
