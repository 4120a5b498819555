//! The folder that keeps certificates and the account over restarts.
//!
//! One file a host holds its key and chain together, so that they cannot be torn apart; a line before them names the
//! authority. Upstream's paid edition keeps the same files, so a folder of one can be used by the other. A file is
//! written beside its place, synced and moved there: after a crash there is the old one or the new one. Nobody but the
//! owner may read (0600, the folder 0700).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;

use crate::go_text::os_error;

/// Before the key and the chain.
const AUTHORITY: &str = "# ACME directory: ";
/// A chain and its key are a few KiB.
const MAX_LEN: u64 = 1 << 20;
/// For reads and writes, as the folder may lie on a network.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Files that are being written.
const UNFINISHED: &str = ".unfinished";

pub(super) struct Cache {
    dir: PathBuf,
    directory_url: String,
}

/// A host's file.
pub(super) struct Cached {
    /// Key and chain.
    pub(super) pem: Vec<u8>,
    /// False when the file says that another authority has issued it.
    pub(super) is_of_this_authority: bool,
}

impl Cache {
    /// Makes the folder, and removes what a crash has left unfinished.
    pub(super) fn open(dir: &str, directory_url: &str) -> Result<Self, String> {
        let failed = |error: &io::Error| format!("cannot use -tlsAutocertCacheDir={dir}: {}", os_error(error));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed(&error))?;
        for entry in fs::read_dir(dir).map_err(|error| failed(&error))? {
            let path = entry.map_err(|error| failed(&error))?.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(Self { dir: dir.into(), directory_url: directory_url.to_owned() })
    }

    /// The certificate of a host.
    pub(super) fn certificate(&self, host: &str) -> Result<Option<Cached>, String> {
        let Some(pem) = read(&self.dir.join(host))? else { return Ok(None) };
        let first_line = pem.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let authority = first_line.strip_prefix(AUTHORITY.as_bytes());
        let is_of_this_authority = authority.is_none_or(|authority| authority == self.directory_url.as_bytes());
        Ok(Some(Cached { pem, is_of_this_authority }))
    }

    pub(super) fn store_certificate(&self, host: &str, pem: &str) -> Result<(), String> {
        self.write(&self.dir.join(host), &format!("{AUTHORITY}{}\n{pem}", self.directory_url))
    }

    /// The account at this authority, with its key.
    pub(super) fn account(&self) -> Result<Option<String>, String> {
        let content = read(&self.account_path())?;
        Ok(content.and_then(|content| String::from_utf8(content).ok()))
    }

    pub(super) fn store_account(&self, credentials: &str) -> Result<(), String> {
        self.write(&self.account_path(), credentials)
    }

    pub(super) fn remove_account(&self) {
        let _ = fs::remove_file(self.account_path());
    }

    /// An account belongs to one authority; hosts have no `+` in their names.
    fn account_path(&self) -> PathBuf {
        let digest = digest::digest(&digest::SHA256, self.directory_url.as_bytes());
        let mark: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("account+{mark}.json"))
    }

    fn write(&self, path: &Path, content: &str) -> Result<(), String> {
        self.try_write(path, content).map_err(|error| format!("cannot write {}: {}", path.display(), os_error(&error)))
    }

    fn try_write(&self, path: &Path, content: &str) -> io::Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        // Processes may share the folder.
        unfinished.push(format!(".{}{UNFINISHED}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let _ = fs::remove_file(&unfinished);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            // The name is durable only when the folder is.
            File::open(&self.dir)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

/// A whole file, if it exists.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_LEN).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {}", path.display(), os_error(&error))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const URL: &str = "https://ca.example/directory";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_the_owners_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/cache");
        let cache = Cache::open(dir.to_str().unwrap(), URL).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert!(cache.certificate("a.example").unwrap().is_none() && cache.account().unwrap().is_none());
        cache.store_certificate("a.example", "KEY AND CHAIN").unwrap();
        cache.store_certificate("a.example", "NEW").unwrap();
        cache.store_account("{}").unwrap();
        let cached = cache.certificate("a.example").unwrap().unwrap();
        assert!(cached.pem.ends_with(b"\nNEW") && cached.is_of_this_authority);
        assert_eq!(cache.account().unwrap().as_deref(), Some("{}"));
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o600, 0o600], "{names:?}");
        cache.remove_account();
        assert!(cache.account().unwrap().is_none());
    }

    #[test]
    fn what_a_crash_left_is_removed_and_other_authorities_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("a.example.77{UNFINISHED}"));
        fs::write(&left, "half").unwrap();
        fs::write(dir.path().join("b.example"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap();
        let path = dir.path().to_str().unwrap();
        let cache = Cache::open(path, URL).unwrap();
        assert!(!left.exists());
        assert!(cache.certificate("b.example").unwrap().unwrap().is_of_this_authority, "upstream's files name none");
        cache.store_certificate("a.example", "X").unwrap();
        cache.store_account("{}").unwrap();
        let other = Cache::open(path, "https://staging.example/directory").unwrap();
        assert!(!other.certificate("a.example").unwrap().unwrap().is_of_this_authority);
        assert!(other.account().unwrap().is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("cache");
        let error = Cache::open(path.to_str().unwrap(), URL).err().unwrap();
        assert_eq!(error, format!("cannot use -tlsAutocertCacheDir={}: not a directory", path.display()));
    }
}
