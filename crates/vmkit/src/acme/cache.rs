//! The folder that keeps certificates and the account over restarts.
//!
//! One file a host holds its key and chain together, so that they cannot be torn apart; a line before them names the
//! authority. Upstream's paid edition keeps the same files, so a folder of one can be used by the other. A file is
//! written beside its place, synced and moved there: after a crash there is the old one or the new one. Nobody but the
//! owner may read (0600, the folder 0700).
//!
//! Processes, perhaps of several machines, may share the folder: names of files that are being written are nobody
//! else's, what looks left over is removed only when no living process can be at it, and a host is ordered by one at a
//! time ([`super::lock`]). While an order runs, its answers to validation servers lie here too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;

use super::lock::{self, Lock};
use crate::go_text::os_error;

/// Before the key and the chain.
const AUTHORITY: &str = "# ACME directory: ";
/// A chain and its key are a few KiB.
const MAX_LEN: u64 = 1 << 20;
/// For reads and writes, as the folder may lie on a network.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Files that are being written.
const UNFINISHED: &str = ".unfinished";
/// Answers to validation servers over TLS and over HTTP, by host and by token. Go's autocert, which upstream uses, knows
/// the same names and contents.
const TLS_ANSWER: &str = "+token";
const HTTP_ANSWER: &str = "+http-01";
/// Files of these kinds that are older were left by a crash: nothing takes so long, however wrong clocks are.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// Tokens have 22 characters and more (RFC 8555 §8); this is far more.
const MAX_TOKEN: usize = 200;

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

/// What a validation server wants to see.
#[derive(Clone)]
pub(super) enum Answer {
    /// Over TLS: key and certificate of this host, as PEM.
    Host(String),
    /// Over HTTP: the key authorization of this token.
    Token(String),
}

impl Answer {
    /// `None` for a token that is none of RFC 8555, such as a path.
    fn file_name(&self) -> Option<String> {
        match self {
            Self::Host(host) => Some(format!("{host}{TLS_ANSWER}")),
            Self::Token(token) => {
                let is_token = (1..=MAX_TOKEN).contains(&token.len())
                    && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
                is_token.then(|| format!("{token}{HTTP_ANSWER}"))
            }
        }
    }
}

impl Cache {
    /// Makes the folder, and removes what a crash has left some time ago.
    pub(super) fn open(dir: &str, directory_url: &str) -> Result<Self, String> {
        let failed = |error: &io::Error| format!("cannot use -tlsAutocertCacheDir={dir}: {}", os_error(error));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed(&error))?;
        for entry in fs::read_dir(dir).map_err(|error| failed(&error))? {
            let path = entry.map_err(|error| failed(&error))?.path();
            if is_left_over(&path) {
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

    /// Removes the account if it is still this one: another process may have registered a new one.
    pub(super) fn remove_account(&self, refused: &str) {
        if self.account().is_ok_and(|account| account.as_deref() == Some(refused)) {
            let _ = fs::remove_file(self.account_path());
        }
    }

    /// The turn to order a certificate for the host; `None` while another process has it.
    pub(super) fn lock_host(&self, host: &str) -> Option<Lock> {
        lock::take(&self.dir.join(format!("{host}+lock")))
    }

    /// The turn to register an account.
    pub(super) fn lock_account(&self) -> Option<Lock> {
        lock::take(&self.account_path().with_extension("lock"))
    }

    /// What a process that shares the folder wants to be shown.
    pub(super) fn answer(&self, answer: &Answer) -> Option<Vec<u8>> {
        read(&self.dir.join(answer.file_name()?)).ok().flatten()
    }

    pub(super) fn store_answer(&self, answer: &Answer, content: &str) -> Result<(), String> {
        let name = answer.file_name().ok_or("the token is none")?;
        self.write(&self.dir.join(name), content)
    }

    pub(super) fn remove_answer(&self, answer: &Answer) {
        if let Some(name) = answer.file_name() {
            let _ = fs::remove_file(self.dir.join(name));
        }
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
        // Processes of other machines may have the same id.
        unfinished.push(format!(".{}-{:016x}{UNFINISHED}", std::process::id(), fastrand::u64(..)));
        let unfinished = PathBuf::from(unfinished);
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

/// Whether a process that is gone has left it.
fn is_left_over(path: &Path) -> bool {
    let name = path.to_string_lossy();
    let is_passing = [UNFINISHED, TLS_ANSWER, HTTP_ANSWER].iter().any(|end| name.ends_with(end));
    let changed = || fs::symlink_metadata(path).and_then(|file| file.modified());
    is_passing && changed().is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFT_OVER))
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
        cache.remove_account("another one");
        assert!(cache.account().unwrap().is_some());
        cache.remove_account("{}");
        assert!(cache.account().unwrap().is_none());
    }

    #[test]
    fn what_a_crash_left_is_removed_and_what_others_write_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - LEFT_OVER - Duration::from_secs(60);
        let names = [format!("a.example.77{UNFINISHED}"), format!("a.example{TLS_ANSWER}"), format!("x{HTTP_ANSWER}")];
        let write = |name: &str, at: SystemTime| {
            let path = dir.path().join(name);
            fs::write(&path, "half").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            path
        };
        let left = names.each_ref().map(|name| write(name, long_ago));
        let kept = write("a.example", long_ago);
        let written = names.each_ref().map(|name| write(&format!("b{name}"), SystemTime::now()));
        Cache::open(dir.path().to_str().unwrap(), URL).unwrap();
        assert!(left.iter().all(|path| !path.exists()), "{left:?}");
        assert!(kept.exists() && written.iter().all(|path| path.exists()), "{written:?}");
    }

    #[test]
    fn answers_of_one_process_are_seen_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let (cache, other) = (Cache::open(path, URL).unwrap(), Cache::open(path, URL).unwrap());
        for answer in [Answer::Host("a.example".to_owned()), Answer::Token("to-k_en".to_owned())] {
            assert!(other.answer(&answer).is_none());
            cache.store_answer(&answer, "answer").unwrap();
            assert_eq!(other.answer(&answer).as_deref(), Some(&b"answer"[..]));
            assert_eq!(mode(&dir.path().join(answer.file_name().unwrap())), 0o600);
            cache.remove_answer(&answer);
            assert!(other.answer(&answer).is_none());
        }
        fs::write(dir.path().join("x+http-01"), "").unwrap();
        let path = Answer::Token("../cache/x".to_owned());
        assert!(cache.answer(&path).is_none() && cache.store_answer(&path, "").is_err());
    }

    #[test]
    fn other_authorities_are_known() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.example"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap();
        let path = dir.path().to_str().unwrap();
        let cache = Cache::open(path, URL).unwrap();
        assert!(cache.certificate("b.example").unwrap().unwrap().is_of_this_authority, "upstream's files name none");
        cache.store_certificate("a.example", "X").unwrap();
        cache.store_account("{}").unwrap();
        let other = Cache::open(path, "https://staging.example/directory").unwrap();
        assert!(!other.certificate("a.example").unwrap().unwrap().is_of_this_authority);
        assert!(other.account().unwrap().is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let path = file.join("cache");
        let error = Cache::open(path.to_str().unwrap(), URL).err().unwrap();
        assert_eq!(error, format!("cannot use -tlsAutocertCacheDir={}: not a directory", path.display()));
    }
}
