//! Whose turn it is among processes that share a folder.
//!
//! A lock is an advisory one of the kernel (`flock`) on an empty file, so that it ends with its process, however that
//! ends. Whoever lets it go takes the file away. Where files cannot be locked (some network file systems, a folder that
//! is full or read-only) everybody has the turn, as if there were no other process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

/// How often the file may change under our hands before another process counts as the quicker one.
const TRIES: usize = 8;

/// A turn; it ends when this is dropped.
pub(super) struct Lock(Option<Held>);

struct Held {
    path: PathBuf,
    file: File,
}

/// `None` when another process has it. Blocks on the disk.
pub(super) fn take(path: &Path) -> Option<Lock> {
    match try_take(path) {
        Ok(held) => Some(Lock(Some(held?))),
        Err(_) => Some(Lock(None)),
    }
}

fn try_take(path: &Path) -> io::Result<Option<Held>> {
    for _ in 0..TRIES {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                let _ = fs::remove_file(path);
                return Err(error);
            }
        }
        // The one before may have taken the file away between our two calls.
        let ours = file.metadata()?;
        if fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(Held { path: path.to_owned(), file }));
        }
    }
    Ok(None)
}

impl Held {
    fn release(self) {
        let _ = fs::remove_file(&self.path);
        // Before, nobody can take the new file for a free turn.
        drop(self.file);
    }
}

impl Drop for Lock {
    /// Off the thread, if there is a runtime: the folder may hang.
    fn drop(&mut self) {
        let Some(held) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || held.release())),
            Err(_) => held.release(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.example+lock");
        let lock = take(&path).unwrap();
        assert!(take(&path).is_none());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(lock);
        assert!(!path.exists());
        // What a crash leaves is an empty file that nobody has locked.
        fs::write(&path, "").unwrap();
        let lock = take(&path).unwrap();
        assert!(take(&path).is_none());
        drop(lock);
    }

    #[test]
    fn a_file_that_was_taken_away_is_no_turn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let (first, waiting) = (take(&path).unwrap(), File::open(&path).unwrap());
        drop(first);
        waiting.lock().unwrap();
        assert!(take(&path).is_some(), "the lock of a file without a name counts for nothing");
    }

    #[test]
    fn where_nothing_can_be_locked_everybody_has_the_turn() {
        let missing = Path::new("/nonexistent/lock");
        assert!(take(missing).is_some() && take(missing).is_some());
    }
}
