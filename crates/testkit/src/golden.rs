//! Files in the repository that tests compare with what the code generates, or write when they are told to by a variable.

use std::path::Path;

/// Whether this variable of the environment, such as `UPDATE_DOCS`, is set and not empty: files are to be written.
pub fn is_update(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Compares a generated page with its file, or writes the file with `UPDATE_DOCS`; `command` says how to.
///
/// # Panics
/// The file differs.
#[track_caller]
pub fn expect_page(path: &Path, generated: &str, command: &str) {
    if is_update("UPDATE_DOCS") {
        std::fs::write(path, generated).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == generated, "{} is out of date; run UPDATE_DOCS=1 {command}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "page.md is out of date; run UPDATE_DOCS=1 cargo test -p x")]
    fn a_file_that_differs_is_shown_with_the_command() {
        expect_page(Path::new("/nowhere/page.md"), "text", "cargo test -p x");
    }
}
