//! Which files a config may name, and how they are read: `-auth.allowedFileDirs` (docs/reference/config.md).
//!
//! Who writes the config need not be who runs the process, and must not make it show or use files that are not meant for
//! that: the token of its pod, its own keys. With the flag a file counts as what it is behind all symbolic links, each time
//! that it is read. Reading is bounded; it may hang, so it is done away from the control plane and never on a worker.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vmkit::go_text::quote;

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// The files that a config may name.
#[derive(Clone, Debug, Default)]
pub struct NamedFiles {
    /// Empty = anywhere.
    dirs: Vec<PathBuf>,
    /// Files that flags name; who sets flags may name any.
    of_flags: Vec<String>,
}

impl NamedFiles {
    /// Files below these directories, and those that flags name. Without directories all files.
    pub fn new(dirs: &[String], of_flags: impl IntoIterator<Item = String>) -> Self {
        Self { dirs: dirs.iter().map(PathBuf::from).collect(), of_flags: of_flags.into_iter().collect() }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// It may not be read, cannot be read, or is too large.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        // What was looked at is what is opened.
        let file = fs::File::open(self.resolve(path)?)?;
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE {
            return Err(io::Error::other(format!("the file is larger than {MAX_FILE} bytes")));
        }
        Ok(content)
    }

    /// Says whether a config may name this file.
    ///
    /// # Errors
    /// It may not, or the file is not there, which is the same while nobody can say where it is.
    pub fn check(&self, path: &str) -> io::Result<()> {
        if self.dirs.is_empty() || self.of_flags.iter().any(|own| own == path) {
            return Ok(());
        }
        self.resolve(path).map(drop)
    }

    fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        if self.dirs.is_empty() {
            return Ok(PathBuf::from(path));
        }
        let real = fs::canonicalize(path)?;
        let is_below = |dir: &PathBuf| fs::canonicalize(dir).is_ok_and(|dir| real.starts_with(dir));
        if self.dirs.iter().any(is_below) {
            return Ok(real);
        }
        let behind = if real == Path::new(path) { String::new() } else { format!(" is {} and", quoted(&real)) };
        let dirs: Vec<_> = self.dirs.iter().map(|dir| quoted(dir)).collect();
        let cause = format!("the file{behind} is not below -auth.allowedFileDirs={}", dirs.join(","));
        Err(io::Error::new(io::ErrorKind::PermissionDenied, cause))
    }
}

fn quoted(path: &Path) -> String {
    quote(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_count_as_what_they_are_behind_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for name in ["allowed/sub", "allowed2", "outside"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["allowed/a", "allowed/sub/b", "allowed2/c", "outside/token"] {
            fs::write(path(name), name).unwrap();
        }
        symlink(path("outside/token"), path("allowed/escape")).unwrap();
        symlink(path("outside"), path("allowed/dir")).unwrap();
        symlink("sub", path("allowed/data")).unwrap();
        symlink(path("allowed"), path("link_to_allowed")).unwrap();
        let files = NamedFiles::new(&[path("link_to_allowed")], [path("outside/flag")]);
        let f = |name: &str, want: Result<&str, &str>| match (files.read(&path(name)), want) {
            (Ok(content), Ok(want)) => {
                assert_eq!(content, want.as_bytes(), "{name}");
                files.check(&path(name)).unwrap();
            }
            (Err(error), Err(want)) => {
                assert!(error.to_string().contains(want), "{name}: {error}");
                assert_eq!(files.check(&path(name)).unwrap_err().to_string(), error.to_string());
            }
            (got, want) => panic!("{name}: {got:?}, want {want:?}"),
        };
        f("allowed/a", Ok("allowed/a"));
        f("allowed/data/b", Ok("allowed/sub/b"));
        f("link_to_allowed/sub/../a", Ok("allowed/a"));
        f("outside/token", Err("the file is not below -auth.allowedFileDirs="));
        f("allowed/../outside/token", Err("/outside/token\" and is not below"));
        f("allowed/escape", Err("/outside/token\" and is not below"));
        f("allowed/dir/token", Err("/outside/token\" and is not below"));
        // A name that begins alike is another directory.
        f("allowed2/c", Err("is not below"));
        f("allowed/missing", Err("No such file"));
        files.check(&path("outside/flag")).unwrap();
        assert!(NamedFiles::default().read(&path("allowed/escape")).is_ok());
    }

    #[test]
    fn endless_files_end() {
        let error = NamedFiles::default().read("/dev/zero").unwrap_err().to_string();
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
    }
}
