//! What the pages of `docs/reference` show of commands is what the commands print.
//!
//! A `console` block holds commands behind `$ `, each with its output and, unless it is 0, a line `exit status N`. They run
//! in a folder whose `auth.yml` is the `yaml` block before them, and whose other files are blocks named by their file:
//! `yaml tests.yml`. With `UPDATE_DOCS=1` the test writes the outputs instead: read the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::doc_page::Page;

const BINARY: &str = env!("CARGO_BIN_EXE_vmauth");

fn folder_of_pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

/// Words of a command line, with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `now=1700000000` is `now=…`.
fn without_time(text: &str) -> String {
    let mut pieces = text.split("now=");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |shown, piece| shown + "now=…" + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// The command with what it prints now.
fn shown(line: &str, dir: &Path) -> String {
    let words = words(line);
    assert_eq!(words.first().map(String::as_str), Some("vmauth"), "{line}");
    let output = Command::new(BINARY).args(&words[1..]).current_dir(dir).output().expect("vmauth can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    let mut shown = format!("$ {line}\n{}", without_time(&printed));
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    match output.status.code() {
        Some(0) => shown,
        code => shown + &format!("exit status {}\n", code.unwrap_or(-1)),
    }
}

#[test]
fn commands_print_what_the_pages_show() {
    let is_update = testkit::golden::is_update("UPDATE_DOCS");
    let (mut commands, mut failures) = (0, Vec::new());
    for page in Page::folder(&folder_of_pages(), |name| !name.starts_with("vmagent-")) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut text = page.text.clone();
        for block in page.blocks() {
            let file = match block.info.as_str() {
                "yaml" => "auth.yml",
                other => other.strip_prefix("yaml ").filter(|name| name.contains('.')).unwrap_or_default(),
            };
            if !file.is_empty() {
                let path = dir.path().join(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be written");
                fs::write(path, &block.text).expect("the folder can be written");
            }
            if block.info != "console" {
                continue;
            }
            let lines = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
            let outputs: Vec<_> = lines.map(|line| shown(line, dir.path())).collect();
            commands += outputs.len();
            let now = outputs.join("\n");
            if is_update {
                text = text.replacen(&format!("```console\n{}", block.text), &format!("```console\n{now}"), 1);
            } else if now.trim_end() != block.text.trim_end() {
                failures.push(format!("{}:{}:\n--- page\n{}--- now\n{now}", page.name, block.line, block.text));
            }
        }
        if is_update && text != page.text {
            fs::write(folder_of_pages().join(&page.name), text).expect("the page can be written");
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(commands >= 10, "only {commands} commands were found");
}
