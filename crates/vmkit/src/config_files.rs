//! A config of one file or of many: a path, a URL, a directory or a pattern in, the texts in their order out.
//!
//! Of a directory all `*.yml` and `*.yaml` files count, of a pattern what it matches (docs/reference/config.md). All are
//! read as one: a read during which a file changed, came or went is repeated, and a directory that links lead through
//! (`..data` in a volume of Kubernetes) is looked up once for all of them, so that nobody sees half of an update. Reads
//! happen off the thread that asks, within a time limit; number and size of files are bounded. What is in the files is not
//! this room's business.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::Repeated;
use crate::config_source::{ConfigSource, is_url};
use crate::go_text::{os_error, quote};
use crate::http_client::Client;
use crate::path_pattern;
use crate::redact;

/// Largest sum of all files, in bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Most files of one config.
const MAX_FILES: usize = 1000;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Time for reading them all.
const LIMIT: Duration = Duration::from_secs(30);
/// Most links from one name to its file, as Linux has it.
const MAX_LINKS: usize = 40;
/// How often is read anew when files change meanwhile.
const TRIES: u32 = 5;
/// Pause before the second try; each further one is longer by as much.
const PAUSE: Duration = Duration::from_millis(20);

/// A text of a config.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Name below the directory, unique; empty when the config is a single file or a URL.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl ConfigFile {
    /// The text of a config of one file.
    pub fn only(bytes: Vec<u8>) -> Vec<Self> {
        vec![Self { name: String::new(), bytes }]
    }
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One config that is read again and again.
#[derive(Debug)]
pub struct ConfigFiles {
    path: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Url(ConfigSource),
    Path(Repeated<Result<Vec<ConfigFile>, String>>),
}

impl ConfigFiles {
    /// A path, directory or pattern, or an http(s) URL that `client` fetches. What a path is, is looked at with each read.
    pub fn new(path: &str, client: &Arc<Client>) -> Self {
        let way = match is_url(path) {
            true => Way::Url(ConfigSource::new(path, client)),
            false => Way::Path(Repeated::default()),
        };
        Self { path: path.to_owned(), way }
    }

    /// The path or URL as it may be shown, in quotes.
    pub fn shown(&self) -> String {
        quote(redact::url(&self.path).as_bytes())
    }

    /// The files as they are now, sorted by name; never empty.
    ///
    /// # Errors
    /// A text that names the place, without credentials.
    pub async fn read(&mut self) -> Result<Vec<ConfigFile>, String> {
        let shown = self.shown();
        match &mut self.way {
            Way::Url(source) => source.read().await.map(ConfigFile::only),
            Way::Path(reads) => {
                let path = self.path.clone();
                let read = reads.run(LIMIT, move || read(&path)).await;
                let read = read.unwrap_or_else(|error| Err(format!("open {}: {error}", self.path)));
                read.map_err(|cause| format!("cannot read {shown}: {cause}"))
            }
        }
    }
}

fn read(path: &str) -> Result<Vec<ConfigFile>, String> {
    let mut last = "the files change while they are read".to_owned();
    for attempt in 0..TRIES {
        std::thread::sleep(PAUSE * attempt);
        let listed = match find(path)? {
            Found::One => return Ok(ConfigFile::only(Budget::default().read(path, Path::new(path))?.1)),
            Found::Many(listed) => listed,
        };
        match read_all(&listed) {
            // Nothing came, went or changed since it was opened.
            Ok((states, files)) => match find(path)? {
                Found::Many(now) if now == listed && states_of(&now).is_ok_and(|now| now == states) => {
                    return Ok(files);
                }
                Found::Many(_) | Found::One => {}
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_all(listed: &[Listed]) -> Result<(Vec<State>, Vec<ConfigFile>), String> {
    // Opening a pipe would wait for its writer.
    states_of(listed)?;
    let mut budget = Budget::default();
    let mut read = |Listed { name, path, target }: &Listed| {
        let (state, bytes) = budget.read(path, target)?;
        Ok((state, ConfigFile { name: name.clone(), bytes }))
    };
    listed.iter().map(&mut read).collect()
}

/// What a path means.
enum Found {
    One,
    Many(Vec<Listed>),
}

/// A file of many.
#[derive(PartialEq, Eq)]
struct Listed {
    name: String,
    path: String,
    /// What `path` led to when it was found.
    target: PathBuf,
}

/// What changes when the content of a file does.
#[derive(PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            length: about.len(),
            written: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

fn states_of(listed: &[Listed]) -> Result<Vec<State>, String> {
    let state = |Listed { path, target, .. }: &Listed| {
        let about = std::fs::metadata(target).map_err(|error| format!("open {path}: {}", os_error(&error)))?;
        if !about.is_file() {
            return Err(format!("open {path}: it is no regular file"));
        }
        Ok(State::of(&about))
    };
    listed.iter().map(state).collect()
}

fn find(path: &str) -> Result<Found, String> {
    let about = std::fs::metadata(path);
    let is_directory = about.as_ref().is_ok_and(Metadata::is_dir);
    let names = match is_directory {
        true => in_directory(path)?,
        false if about.is_err() && path.contains('*') => path_pattern::expand(path),
        false => return Ok(Found::One),
    };
    // Directories that are named like files are not meant; whatever else cannot be read is an error later.
    let is_file = |path: &String| !std::fs::metadata(path).as_ref().is_ok_and(Metadata::is_dir);
    let mut names: Vec<String> = names.into_iter().filter(|path| !is_left_behind(path) && is_file(path)).collect();
    names.sort();
    if names.len() > MAX_FILES {
        return Err(format!("there are {} files, more than {MAX_FILES}", names.len()));
    }
    if names.is_empty() {
        let what = if is_directory { "there is no *.yml or *.yaml file in it" } else { "no file matches" };
        return Err(format!("{what}; write a file with {{}} if nobody is to be let in"));
    }
    let start = if is_directory { prefix_of(path) } else { fixed_part(path).to_owned() };
    let mut links = Links::default();
    let mut listed = |path: String| {
        let name = path.strip_prefix(&start).unwrap_or(&path).to_owned();
        Listed { name, target: links.target(Path::new(&path)), path }
    };
    Ok(Found::Many(names.into_iter().map(&mut listed).collect()))
}

/// Follows links, each directory once: files that are reached through the same one are all of it.
#[derive(Default)]
struct Links {
    directories: HashMap<PathBuf, PathBuf>,
}

impl Links {
    /// Where a path leads; where it breaks off if it leads nowhere.
    fn target(&mut self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { break };
            let directory = self.directory(directory);
            path = directory.join(name);
            match std::fs::read_link(&path) {
                Ok(next) => path = directory.join(next),
                Err(_) => break,
            }
        }
        path
    }

    fn directory(&mut self, path: &Path) -> PathBuf {
        let found = || {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            path.canonicalize().unwrap_or_else(|_| path.to_owned())
        };
        self.directories.entry(path.to_owned()).or_insert_with(found).clone()
    }
}

/// What stands before the names of a config's files in their paths.
pub fn prefix(path: &str) -> String {
    if path.contains('*') { fixed_part(path).to_owned() } else { prefix_of(path) }
}

fn prefix_of(directory: &str) -> String {
    if directory.ends_with('/') { directory.to_owned() } else { format!("{directory}/") }
}

/// The directories of a pattern before its first wildcard.
fn fixed_part(pattern: &str) -> &str {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let end = pattern.get(..wild).and_then(|fixed| fixed.rfind('/')).map_or(0, |at| at + 1);
    pattern.get(..end).unwrap_or_default()
}

fn in_directory(path: &str) -> Result<Vec<String>, String> {
    let fail = |error: std::io::Error| format!("open {path}: {}", os_error(&error));
    let start = prefix_of(path);
    let mut names = Vec::new();
    for (number, entry) in std::fs::read_dir(path).map_err(fail)?.enumerate() {
        if number >= MAX_ENTRIES {
            return Err(format!("the directory has more than {MAX_ENTRIES} entries"));
        }
        let name = entry.map_err(fail)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".yml") || name.ends_with(".yaml") {
            names.push(format!("{start}{name}"));
        }
    }
    Ok(names)
}

/// Whether a file is hidden (`..data` of a Kubernetes volume, `.a.yml.swp`, `.#a.yml`) or the backup of an editor.
fn is_left_behind(path: &str) -> bool {
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with('.') || name.starts_with('#') || name.ends_with('~')
}

/// How many bytes may still be read.
struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_BYTES)
    }
}

impl Budget {
    /// The content of a file, and its state before it was read; `path` is its name in errors.
    fn read(&mut self, path: &str, target: &Path) -> Result<(State, Vec<u8>), String> {
        let mut bytes = Vec::new();
        let mut read = || -> std::io::Result<State> {
            let file = File::open(target)?;
            let state = State::of(&file.metadata()?);
            file.take(self.0 + 1).read_to_end(&mut bytes)?;
            Ok(state)
        };
        let state = read().map_err(|error| format!("open {path}: {}", os_error(&error)))?;
        let left = self.0.checked_sub(bytes.len() as u64);
        self.0 = left.ok_or_else(|| format!("open {path}: a config has at most {} MiB", MAX_BYTES >> 20))?;
        Ok((state, bytes))
    }
}

#[cfg(test)]
mod tests;
