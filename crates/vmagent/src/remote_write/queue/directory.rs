//! Which directory is whose: names by position and URL, queues found again, strangers left alone.
//!
//! A queue belongs to a URL without its query and fragment, at a position of the list. When only the position has
//! changed, the directory is renamed; upstream deletes it. What belongs to no URL any more is removed unless the user
//! keeps it; what does not look like a queue is never touched (docs/reference/vmagent-queue.md).

use super::storage::{Lock, Storage};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh64::xxh64;

/// Name of the folder of queues below `-remoteWrite.tmpDataPath`.
pub(crate) const QUEUES_DIR: &str = "persistent-queue";

/// Directory name of the queue of a URL at a position that begins at 1. `None` for a text that is no URL.
pub(crate) fn queue_dir_name(position: usize, url: &str) -> Option<String> {
    let hash = xxh64(identity_of(url)?.as_bytes(), 0);
    Some(format!("{position}_{hash:016X}"))
}

/// Whose directory it looks like: position and hash. `None` for other names.
fn parse_dir_name(name: &str) -> Option<(&str, &str)> {
    let (position, hash) = name.split_once('_')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    let is_position = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
    (is_hash && is_position).then_some((position, hash))
}

/// What had to be said about the directories; each a whole sentence.
#[derive(Debug, Default)]
pub(crate) struct Arranged {
    pub(crate) notes: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// Renames queues whose URL stands at another position now. Must run before any queue is opened.
pub(crate) fn adopt_moved(storage: &dyn Storage, root: &Path, wanted: &[String]) -> io::Result<Arranged> {
    let mut arranged = Arranged::default();
    let there: Vec<String> =
        storage.list(root)?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
    let hash_of = |name: &String| parse_dir_name(name).map(|(_, hash)| hash.to_owned());
    for name in wanted.iter().filter(|name| !there.contains(name)) {
        let same = |other: &&String| hash_of(other) == hash_of(name);
        let candidates: Vec<&String> = there.iter().filter(same).filter(|other| !wanted.contains(other)).collect();
        let seekers = wanted.iter().filter(same).filter(|other| !there.contains(other)).count();
        let [old] = candidates[..] else {
            if candidates.len() > 1 {
                arranged.notes.push(format!("cannot tell which of {candidates:?} is the queue {name:?}; none is used"));
            }
            continue;
        };
        if seekers != 1 {
            arranged.notes.push(format!("cannot tell whose queue {old:?} is; it is not used"));
            continue;
        }
        match storage.rename(&root.join(old), &root.join(name)) {
            Ok(()) => arranged.notes.push(format!("the queue {old:?} belongs to a URL that moved; it is now {name:?}")),
            Err(err) => arranged.errors.push(format!("cannot rename the queue {old:?} to {name:?}: {err}")),
        }
    }
    Ok(arranged)
}

/// Removes queues of URLs that are not configured any more.
pub(crate) fn remove_dangling(storage: &dyn Storage, root: &Path, wanted: &[String]) -> io::Result<Arranged> {
    let mut arranged = Arranged::default();
    for entry in storage.list(root)? {
        if !entry.is_dir || wanted.contains(&entry.name) || parse_dir_name(&entry.name).is_none() {
            continue;
        }
        arranged.notes.push(format!("removing dangling queue {:?}", entry.name));
        if let Err(err) = storage.remove_dir_all(&root.join(&entry.name)) {
            arranged.errors.push(format!("cannot remove dangling queue {:?}: {err}", entry.name));
        }
    }
    Ok(arranged)
}

/// Creates and locks the directory of a queue.
///
/// # Errors
/// For the user: it cannot be made, or another process has it.
pub(crate) fn claim(storage: &dyn Storage, dir: &Path) -> Result<Lock, String> {
    storage.create_dir_all(dir).map_err(|err| format!("cannot create the directory {}: {err}", dir.display()))?;
    let path: PathBuf = dir.join(super::layout::LOCK_FILE);
    storage.lock(&path).map_err(|err| match err.kind() {
        io::ErrorKind::WouldBlock => {
            format!("cannot create lock file {}: another process uses this queue", path.display())
        }
        _ => format!("cannot create lock file {}: {err}", path.display()),
    })
}

/// The part of a URL that its queue belongs to, as upstream renders it before it hashes it.
fn identity_of(url: &str) -> Option<String> {
    let url = url.split('#').next().unwrap_or_default();
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut identity = scheme.to_ascii_lowercase();
    identity.push_str("://");
    let host = match authority.rsplit_once('@') {
        Some((user_info, host)) => {
            let (user, password) = user_info.split_once(':').map_or((user_info, None), |(u, p)| (u, Some(p)));
            identity.push_str(&escape(&unescape(user)?, b"$&+,;="));
            if let Some(password) = password {
                identity.push(':');
                identity.push_str(&escape(&unescape(password)?, b"$&+,;="));
            }
            identity.push('@');
            host
        }
        None => authority,
    };
    identity.push_str(host);
    let path_bytes = unescape(path)?;
    // A path that could stand in a URL stays as it was written.
    let stays = path.bytes().all(|byte| is_unreserved(byte) || b"!$&'()*+,;=:@[]%/".contains(&byte));
    if stays {
        identity.push_str(path)
    } else {
        identity.push_str(&escape(&path_bytes, b"$&+,/:;=@"))
    }
    if query == Some("") {
        identity.push('?');
    }
    Some(identity)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn escape(bytes: &[u8], allowed: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for &byte in bytes {
        if is_unreserved(byte) || allowed.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            out.push((digit()? * 16 + digit()?) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::storage::OsStorage;
    use super::*;
    use std::fs;

    #[test]
    fn names_are_those_of_upstream() {
        let text = include_str!("../../../../../tests/agent-fixtures/queue-names.json");
        let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
        let vectors = fixture["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 18);
        for vector in vectors {
            let url = vector["url"].as_str().unwrap();
            assert_eq!(identity_of(url).as_deref(), vector["hashed"].as_str(), "{url}");
            assert_eq!(queue_dir_name(3, url), Some(format!("3_{}", vector["hash"].as_str().unwrap())));
        }
        for url in fixture["invalid"].as_array().unwrap() {
            assert_eq!(identity_of(url.as_str().unwrap()), None, "{url}");
        }
        assert_eq!(identity_of("http://u:p:w@h/").as_deref(), Some("http://u:p%3Aw@h/"));
        assert_eq!(identity_of("http://h").as_deref(), Some("http://h"));
        assert_eq!(identity_of("http://h?a=b").as_deref(), Some("http://h"));
    }

    fn arrange(there: &[&str], wanted: &[&str]) -> (Vec<String>, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        for name in there {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("from"), name).unwrap();
        }
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        adopt_moved(&OsStorage, root.path(), &wanted).unwrap();
        let from = |name: &String| fs::read_to_string(root.path().join(name).join("from")).unwrap_or_default();
        (wanted.iter().map(from).collect(), root)
    }

    #[test]
    fn queues_follow_their_urls() {
        const A: &str = "A425343AD171E70C";
        const B: &str = "5710E2F18280832A";
        let f = |there: &[(u8, &str)], wanted: &[(u8, &str)], want: &[&str]| {
            let names = |pairs: &[(u8, &str)]| pairs.iter().map(|(n, hash)| format!("{n}_{hash}")).collect::<Vec<_>>();
            let (there, wanted) = (names(there), names(wanted));
            let texts = |names: &'_ [String]| names.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let (there, wanted) = (texts(&there), texts(&wanted));
            let split =
                |text: &str| text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let (there, wanted) = (split(&there), split(&wanted));
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            assert_eq!(arrange(&there, &wanted).0, want, "{there:?} to {wanted:?}");
        };
        let (a1, b2) = (format!("1_{A}"), format!("2_{B}"));
        f(&[(1, A), (2, B)], &[(1, A), (2, B)], &[&a1, &b2]);
        f(&[(1, A), (2, B)], &[(1, B), (2, A)], &[&b2, &a1]);
        f(&[(1, A)], &[(1, B), (2, A)], &["", &a1]);
        f(&[(1, A)], &[(2, A), (3, A)], &["", ""]);
        f(&[(1, A), (2, A)], &[(3, A)], &[""]);
        f(&[(1, A), (2, A)], &[(1, A), (3, A)], &[&a1, &format!("2_{A}")]);
        f(&[], &[(1, A)], &[""]);
    }

    #[test]
    fn only_queues_of_nobody_are_removed() {
        let (_, root) = arrange(&["1_A425343AD171E70C", "2_A425343AD171E70C", "lost+found", "x_A425343AD171E70C"], &[]);
        fs::write(root.path().join("note.txt"), "").unwrap();
        fs::write(root.path().join("3_A425343AD171E70C"), "a file").unwrap();
        let removed = remove_dangling(&OsStorage, root.path(), &["1_A425343AD171E70C".to_owned()]).unwrap();
        assert_eq!(removed.notes, ["removing dangling queue \"2_A425343AD171E70C\""]);
        let left: Vec<String> = OsStorage.list(root.path()).unwrap().into_iter().map(|entry| entry.name).collect();
        let want = ["1_A425343AD171E70C", "3_A425343AD171E70C", "lost+found", "note.txt", "x_A425343AD171E70C"];
        assert_eq!(left, want);
    }

    #[test]
    fn a_queue_belongs_to_one_process() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("q");
        let lock = claim(&OsStorage, &dir).unwrap();
        let refused = claim(&OsStorage, &dir).map(drop).unwrap_err();
        assert!(refused.contains("another process") && refused.contains("q/flock.lock"), "{refused}");
        drop(lock);
        claim(&OsStorage, &dir).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(claim(&OsStorage, &root.path().join("file")).map(drop).unwrap_err().contains("file"));
    }
}
