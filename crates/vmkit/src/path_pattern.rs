//! File names with `*`: `-auth.config` of many files, `scrape_config_files`, `file_sd_configs`.
//!
//! Only a star makes a text a pattern; then `?` and `[a-z]` have their meaning, too. A star spans no slash and stands
//! in directories as well. What cannot be read is skipped: a pattern without match is no mistake.

use std::path::{Path, PathBuf};

/// The existing files that a pattern means, sorted; a text without a star is itself.
pub fn expand(pattern: &str) -> Vec<String> {
    if !pattern.contains('*') {
        return vec![pattern.to_owned()];
    }
    let (root, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let mut found = vec![root];
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|directory| step(directory, part)).collect();
    }
    let mut names: Vec<String> = found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The entries of a directory that one part of a pattern means.
fn step(directory: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?', '[']) {
        let path = directory.join(part);
        return if path.exists() { vec![path] } else { Vec::new() };
    }
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let pattern: Vec<char> = part.chars().collect();
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| matches(&pattern, &name.chars().collect::<Vec<_>>()) == Some(true))
        .map(|name| directory.join(name))
        .collect()
}

/// Whether a name matches; `None` for a pattern that is malformed where it is looked at.
fn matches(pattern: &[char], name: &[char]) -> Option<bool> {
    let (mut at, mut seen, mut star) = (0, 0, None);
    loop {
        match pattern.get(at) {
            None if seen == name.len() => return Some(true),
            Some('*') => {
                star = Some((at, seen));
                at += 1;
                continue;
            }
            Some(_) if seen < name.len() => {
                if let Some(next) = one(pattern, at, *name.get(seen)?)? {
                    at = next;
                    seen += 1;
                    continue;
                }
            }
            _ => {}
        }
        // Let the last star take one character more.
        match star {
            Some((star_at, taken)) if taken < name.len() => {
                star = Some((star_at, taken + 1));
                (at, seen) = (star_at + 1, taken + 1);
            }
            _ => return Some(false),
        }
    }
}

/// Matches one character; `Some(Some(next))` is the place in the pattern behind what matched.
fn one(pattern: &[char], at: usize, c: char) -> Option<Option<usize>> {
    match pattern.get(at)? {
        '?' => Some(Some(at + 1)),
        '\\' => Some((*pattern.get(at + 1)? == c).then_some(at + 2)),
        '[' => {
            let negated = pattern.get(at + 1) == Some(&'^');
            let mut place = at + 1 + usize::from(negated);
            let mut found = false;
            loop {
                let low = *pattern.get(place)?;
                if low == ']' {
                    break;
                }
                let high = if pattern.get(place + 1) == Some(&'-') { *pattern.get(place + 2)? } else { low };
                place += if pattern.get(place + 1) == Some(&'-') { 3 } else { 1 };
                found |= (low..=high).contains(&c);
            }
            Some((found != negated).then_some(place + 1))
        }
        literal => Some((*literal == c).then_some(at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        let f = |pattern: &str, name: &str, want: Option<bool>| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(matches(&chars(pattern), &chars(name)), want, "{pattern} {name}");
        };
        f("*", "", Some(true));
        f("*.yml", "a.yml", Some(true));
        f("*.yml", "a.yaml", Some(false));
        f("a*b*c", "aXbYbc", Some(true));
        f("a*b*c", "aXbYb", Some(false));
        f("?[a-c]*", "xb1", Some(true));
        f("[^a]*", "b", Some(true));
        f("[^a]*", "a", Some(false));
        f("*[", "x[", None);
        f("é*", "éa", Some(true));
        f("*\\*", "a*", Some(true));
    }

    #[test]
    fn files_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        for name in ["b/e.yml", "a/e.yml", "a/f.json", "x.yml"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let f = |pattern: &str, want: &[&str]| {
            let want: Vec<_> = want.iter().map(|name| format!("{root}/{name}")).collect();
            assert_eq!(expand(&format!("{root}/{pattern}")), want, "{pattern}");
        };
        f("*/e.yml", &["a/e.yml", "b/e.yml"]);
        f("a/*", &["a/e.yml", "a/f.json"]);
        f("*.txt", &[]);
        f("none[?].yml", &["none[?].yml"]);
        f("none/*", &[]);
    }
}
