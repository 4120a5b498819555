//! The folder of one run: configs, logs and the agent's queue.
//!
//! It ends with the process. One that is killed, or stopped while it starts, cannot take its folder away; the next one
//! does, because the lock in it is free as soon as its holder is gone. Folders of others that still run are never touched.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

/// What its name begins with.
const PREFIX: &str = "devstack-";
/// The file that is locked as long as the process lives.
const LOCK: &str = "lock";
/// A folder that is younger may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

/// The folder of this process; dropping it removes it.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes one below `parent`, and removes those there that nobody holds.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn make(parent: &Path) -> io::Result<Self> {
        remove_left_behind(parent);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// What cannot be read or removed is left: it may be somebody else's.
fn remove_left_behind(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left_behind(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left_behind(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else { return false };
    let age = lock.metadata().and_then(|about| about.modified()).ok().and_then(|made| made.elapsed().ok());
    age.is_some_and(|age| age >= YOUNG) && lock.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_nobody_holds_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - YOUNG * 2;
        let age = |folder: &Path| File::open(folder.join(LOCK)).unwrap().set_modified(old).unwrap();
        let make = || Folder::make(parent.path()).unwrap();
        let held = make();
        age(held.path());
        // As after a kill: the lock goes, the folder stays.
        let [freed, young] = [make(), make()].map(|folder| folder.dir.keep());
        age(&freed);
        fs::create_dir(freed.join("queue")).unwrap();
        let foreign = parent.path().join("devstack-notes");
        fs::create_dir(&foreign).unwrap();
        let own = make();
        assert!(!freed.exists());
        assert!(held.path().exists() && young.exists() && foreign.exists());
        let path = own.path().to_owned();
        drop(own);
        assert!(!path.exists());
    }
}
