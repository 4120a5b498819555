//! What became of the last loads of the config, and what the serving one was made from; for people who look.
//!
//! Written by the control plane, read by pages on it. Bounded: the last loads only, equal failures counted in one place.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use vmkit::config_files::ConfigFile;

use super::named_files::NamedFiles;

/// Loads that are remembered.
const MAX_ENTRIES: usize = 20;
/// Longest text of problems that is kept, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// What the last load was made from.
pub struct Loaded {
    pub(super) files: Vec<ConfigFile>,
    /// Contents of the files with keys and secrets that the config names.
    pub(super) named_files: BTreeMap<String, Vec<u8>>,
    /// What the log line counts.
    pub(super) users: usize,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("users", &self.users).finish_non_exhaustive()
    }
}

impl Loaded {
    /// The texts of the config.
    pub fn files(&self) -> &[ConfigFile] {
        &self.files
    }

    /// SHA-256 of the text, as `sha256sum FILE` shows it. Of several files that of what `sha256sum FILES` prints.
    pub fn hash(&self) -> String {
        match self.files.as_slice() {
            [only] if only.name.is_empty() => sha256(&only.bytes),
            _ => {
                let line = |(name, hash)| format!("{hash}  {name}\n");
                sha256(self.file_hashes().map(line).collect::<String>().as_bytes())
            }
        }
    }

    /// Names of the files with the SHA-256 of their texts; the only one has no name.
    pub fn file_hashes(&self) -> impl Iterator<Item = (&str, String)> {
        self.files.iter().map(|file| (&*file.name, sha256(&file.bytes)))
    }

    /// Users as the log counts them.
    pub fn users(&self) -> usize {
        self.users
    }

    /// Files that are no longer what they were, or cannot be read.
    pub(super) fn changed_files(&self, named: &NamedFiles) -> Vec<String> {
        let is_current = |path: &str, content: &Vec<u8>| named.read(path).is_ok_and(|now| now == *content);
        let changed = self.named_files.iter().filter(|(path, content)| !is_current(path, content));
        changed.map(|(path, _)| path.clone()).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One load, or several in a row that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The last time, in seconds since 1970.
    pub at: u64,
    /// Users, or what was wrong.
    pub result: Result<usize, String>,
    /// How often this happened in a row.
    pub times: u64,
}

/// The last loads.
#[derive(Debug, Default)]
pub struct History(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    loads: VecDeque<Load>,
    serving: Option<Arc<Loaded>>,
}

impl History {
    /// A config was loaded and serves.
    pub(super) fn loaded(&self, loaded: &Arc<Loaded>) {
        let mut state = self.lock();
        state.serving = Some(loaded.clone());
        push(&mut state.loads, Ok(loaded.users()));
    }

    /// A config could not be loaded.
    pub(super) fn failed(&self, problems: &str) {
        let end = problems.floor_char_boundary(MAX_TEXT);
        push(&mut self.lock().loads, Err(problems[..end].to_owned()));
    }

    /// The last loads, the newest first.
    pub fn loads(&self) -> Vec<Load> {
        self.lock().loads.iter().rev().cloned().collect()
    }

    /// What the serving config was made from.
    pub fn serving(&self) -> Option<Arc<Loaded>> {
        self.lock().serving.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(loads: &mut VecDeque<Load>, result: Result<usize, String>) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match loads.back_mut() {
        Some(last) if last.result.is_err() && last.result == result => {
            last.at = at;
            last.times += 1;
        }
        _ => loads.push_back(Load { at, result, times: 1 }),
    }
    if loads.len() > MAX_ENTRIES {
        loads.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_failures_share_a_place_and_old_loads_go() {
        let history = History::default();
        for n in 0..50 {
            history.failed("broken");
            history.failed("broken");
            if n % 10 == 0 {
                history.failed(&format!("other {n}"));
            }
        }
        let loads = history.loads();
        assert_eq!((loads.len(), loads[0].times, loads[0].result.clone()), (11, 18, Err("broken".to_owned())));
        for n in 0..50 {
            history.failed(&n.to_string());
        }
        assert_eq!((history.loads().len(), history.loads()[0].result.clone()), (MAX_ENTRIES, Err("49".to_owned())));
    }
}
