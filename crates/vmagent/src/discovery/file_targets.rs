//! Targets in files that are read again and again: `file_sd_configs`.
//!
//! Each file stands for itself. One that is gone loses its targets at once. One that exists but cannot be read or
//! parsed may be half written: it keeps its last targets until the next look and loses them if it is broken still.
//! The beginning of a list reads well, too: news between reloads counts once two looks, a moment apart, have seen the same.
//! Files are read on a thread that may block, each pass within a limit of time.

use super::group::Publisher;
use super::target_groups::{self, TargetGroup};
use super::{Interner, TargetLabels};
use crate::config::FileSd;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use vmkit::env_template::Environment;
use vmkit::http_client::{Client, FetchRequest};
use vmkit::metrics::Counter;
use vmkit::path_pattern;
use vmkit::service::Trigger;

/// Largest file of targets.
const MAX_FILE: usize = 64 << 20;
/// For all files of an entry.
const PASS_LIMIT: Duration = Duration::from_secs(30);

/// What reading files needs.
#[derive(Clone)]
pub(super) struct FileContext {
    /// Where relative paths begin.
    pub(super) directory: String,
    pub(super) environment: Arc<Environment>,
    pub(super) interval: Duration,
    pub(super) client: Arc<Client>,
    pub(super) errors: Arc<Counter>,
}

/// What is known of one file.
#[derive(Default)]
struct KnownFile {
    text: String,
    targets: Vec<Arc<TargetLabels>>,
    /// Looks in a row that found it broken.
    broken: u32,
}

/// What one look at a file found.
#[derive(PartialEq, Eq)]
enum Look {
    Text(String),
    Gone,
    Broken(String),
}

/// Reads the files of one entry until the task is dropped. `again` asks for a look before its time.
pub(super) async fn run(entry: FileSd, context: FileContext, publisher: Publisher, again: Arc<Notify>) {
    let mut known: BTreeMap<String, KnownFile> = BTreeMap::new();
    let mut texts = Interner::default();
    let mut trigger = Trigger::Demand;
    loop {
        let mut looks = trigger.looks();
        let (found, took) = loop {
            let begun = Instant::now();
            let found = look(&entry, &context).await;
            let is_known = found.as_ref().is_ok_and(|found| is_known(&known, found));
            if let Some(found) = looks.settled(found, is_known).await {
                break (found, begun.elapsed());
            }
        };
        match found {
            Ok(found) => {
                let errors = take(&mut known, found, &context, &mut texts);
                let targets = known.values().flat_map(|file| file.targets.iter().cloned()).collect();
                publisher.complete(Arc::new(targets), took);
                if !errors.is_empty() {
                    context.errors.inc();
                    publisher.failed(errors.join("; "));
                }
            }
            Err(error) => {
                context.errors.inc();
                publisher.failed(error);
            }
        }
        trigger = tokio::select! {
            () = tokio::time::sleep(context.interval) => Trigger::Interval,
            () = again.notified() => Trigger::Demand,
        };
    }
}

/// Whether the files are as they were taken.
fn is_known(known: &BTreeMap<String, KnownFile>, found: &[(String, Look)]) -> bool {
    let mut found = found.iter().filter(|(_, look)| *look != Look::Gone);
    let count = found.clone().count();
    let is_same = |(path, look): &(String, Look)| {
        let text = known.get(path).filter(|file| file.broken == 0).map(|file| &file.text);
        matches!((look, text), (Look::Text(new), Some(text)) if new == text)
    };
    count == known.len() && found.all(is_same)
}

/// Brings what is known up to what was found; returns what is wrong.
fn take(
    known: &mut BTreeMap<String, KnownFile>,
    found: Vec<(String, Look)>,
    context: &FileContext,
    texts: &mut Interner,
) -> Vec<String> {
    let mut errors = Vec::new();
    known.retain(|path, _| found.iter().any(|(there, look)| there == path && !matches!(look, Look::Gone)));
    for (path, look) in found {
        let file = match &look {
            Look::Gone => continue,
            _ => known.entry(path.clone()).or_default(),
        };
        let read = match look {
            Look::Text(text) if text == file.text && file.broken == 0 => continue,
            // An emptied file is about to be written, or has no targets on purpose: the next look tells.
            Look::Text(text) if text.trim().is_empty() && !file.targets.is_empty() && file.broken == 0 => {
                Err("the file is empty".to_owned())
            }
            Look::Text(text) => {
                target_groups::from_yaml(&context.environment.expand(&text)).map(|groups| (text, groups))
            }
            Look::Broken(error) => Err(error),
            Look::Gone => continue,
        };
        match read {
            Ok((text, groups)) => file.set(&path, text, &groups, context, texts),
            Err(error) => {
                file.broken += 1;
                if file.broken > 1 {
                    file.targets.clear();
                    file.text.clear();
                }
                errors.push(format!("cannot read targets from {path:?}: {error}"));
            }
        }
    }
    errors
}

impl KnownFile {
    fn set(&mut self, path: &str, text: String, groups: &[TargetGroup], context: &FileContext, texts: &mut Interner) {
        let shown = shown_path(&context.directory, path);
        let next = target_groups::targets(groups, &[("__meta_filepath", &shown)], texts);
        let targets = target_groups::keep_known(&self.targets, next);
        *self = Self { text, targets, broken: 0 };
    }
}

async fn look(entry: &FileSd, context: &FileContext) -> Result<Vec<(String, Look)>, String> {
    let files = entry.files.iter().map(|file| absolute(&context.directory, file));
    let (urls, paths): (Vec<String>, Vec<String>) = files.partition(|file| is_url(file));
    let read = tokio::task::spawn_blocking(move || read_files(&paths));
    let timeout = tokio::time::timeout(PASS_LIMIT, read).await;
    let mut found = timeout
        .map_err(|_| format!("files could not be read within {PASS_LIMIT:?}"))?
        .map_err(|error| format!("files could not be read: {error}"))?;
    for url in urls {
        let request = FetchRequest { timeout: PASS_LIMIT, max_body: MAX_FILE, ..FetchRequest::get(url.as_str()) };
        let look = match context.client.fetch(request).await {
            Ok(reply) if reply.status.as_u16() == 200 => as_text(reply.body),
            Ok(reply) => Look::Broken(format!("unexpected status code {}", reply.status.as_u16())),
            Err(error) => Look::Broken(error.to_string()),
        };
        found.push((url, look));
    }
    Ok(found)
}

/// A relative name begins at the directory of the config, which may be a URL.
fn absolute(directory: &str, file: &str) -> String {
    if is_url(file) || directory.is_empty() {
        return file.to_owned();
    }
    if is_url(directory) && !file.starts_with('/') {
        return format!("{}/{file}", directory.trim_end_matches('/'));
    }
    Path::new(directory).join(file).to_string_lossy().into_owned()
}

/// Each file that is named or matches, once.
fn read_files(files: &[String]) -> Vec<(String, Look)> {
    let mut paths: Vec<String> = files.iter().flat_map(|file| path_pattern::expand(file)).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|path| (read_file(Path::new(&path)), path)).map(|(look, path)| (path, look)).collect()
}

fn read_file(path: &Path) -> Look {
    use std::io::Read;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => as_text(content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Look::Gone,
        Err(error) => Look::Broken(vmkit::go_text::os_error(&error)),
    }
}

fn as_text(content: Vec<u8>) -> Look {
    if content.len() > MAX_FILE {
        return Look::Broken(format!("more than {MAX_FILE} bytes"));
    }
    String::from_utf8(content).map_or_else(|_| Look::Broken("invalid UTF-8".to_owned()), Look::Text)
}

fn is_url(file: &str) -> bool {
    file.starts_with("http://") || file.starts_with("https://")
}

/// The path below the directory of the config if it is there, whatever way it was written.
fn shown_path(directory: &str, path: &str) -> String {
    if is_url(path) {
        return path.to_owned();
    }
    let (directory, path) = (normal(Path::new(directory)), normal(Path::new(path)));
    path.strip_prefix(&directory).unwrap_or(&path).to_string_lossy().into_owned()
}

/// Without `.` and `..`, by the text alone.
fn normal(path: &Path) -> PathBuf {
    let mut kept = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if kept.file_name().is_some() => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
