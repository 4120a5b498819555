//! Paths and URLs that a config names, relative to the file that names them.

use std::path::Path;

/// A path as it is opened when it is relative to a directory; URLs stay.
pub(super) fn absolute(directory: &str, path: &str) -> String {
    if is_url(path) || Path::new(path).is_absolute() || directory.is_empty() {
        return path.to_owned();
    }
    if is_url(directory) {
        return format!("{}/{path}", directory.trim_end_matches('/'));
    }
    Path::new(directory).join(path).to_string_lossy().into_owned()
}

pub(super) fn directory_of(name: &str) -> String {
    if is_url(name) {
        return name.rsplit_once('/').map_or_else(String::new, |(directory, _)| directory.to_owned());
    }
    Path::new(name).parent().map_or_else(String::new, |parent| parent.to_string_lossy().into_owned())
}

pub(super) fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}
