//! Configs as files: every `tests/golden/config_ok/*.yaml` must load into what the `.dump` file of the same name shows,
//! every `tests/golden/config_err/*.yaml` must be refused with exactly the text of its `.err` file.
//!
//! Folders below `many_ok` and `many_err` are configs of many files. Files named `docs_…` follow the blocks of the product's documentation in their order; those that are no complete
//! config are completed in `config_ok`, refused in `config_err`, or both. With `UPDATE_GOLDEN=1` the tests write the
//! `.dump` and `.err` files instead: read the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use vmauth::config::{AuthConfig, ConfigDefaults, ConfigErrors, Inputs, dump, parse, parse_files};
use vmkit::config_files::ConfigFile;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 40, "golden files are missing");
    files
}

fn load(path: &Path) -> Result<AuthConfig, ConfigErrors> {
    let inputs = Inputs {
        expand: &str::to_owned,
        defaults: &ConfigDefaults::default(),
        read_file: &|path| fs::read(path),
        check_file: &|_| Ok(()),
    };
    parse(&fs::read(path).expect("a readable file"), &inputs)
}

/// Compares with the file beside `path`, or writes it.
fn compare(path: &Path, extension: &str, got: &str, failures: &mut Vec<String>) {
    let golden = path.with_extension(extension);
    if testkit::golden::is_update("UPDATE_GOLDEN") {
        return fs::write(&golden, got).expect("a writable file");
    }
    let want = fs::read_to_string(&golden).unwrap_or_default();
    if want != got {
        failures.push(format!("{}:\n--- want\n{want}--- got\n{got}", golden.display()));
    }
}

#[test]
fn good_configs_become_what_their_dumps_show() {
    let mut failures = Vec::new();
    for path in files("config_ok") {
        match load(&path) {
            Ok(config) => compare(&path, "dump", &dump(&config), &mut failures),
            Err(errors) => failures.push(format!("{}:\n{errors}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn bad_configs_are_refused_with_clear_errors() {
    let mut failures = Vec::new();
    for path in files("config_err") {
        match load(&path) {
            Ok(_) => failures.push(format!("{}: loaded", path.display())),
            Err(errors) => compare(&path, "err", &format!("{errors}\n"), &mut failures),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The files of each folder below `tests/golden/FOLDER`, as a config of many files.
fn folders(folder: &str) -> Vec<(PathBuf, Vec<ConfigFile>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a directory entry").path()).filter(|path| path.is_dir());
    let files = |path: &Path| {
        let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("a directory entry").path());
        let mut files: Vec<_> = entries
            .map(|path| ConfigFile {
                name: path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned(),
                bytes: fs::read(&path).expect("a readable file"),
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    };
    let all: Vec<_> = paths.map(|path| (path.clone(), files(&path))).collect();
    assert!(!all.is_empty(), "golden folders are missing");
    all
}

#[test]
fn configs_of_many_files_are_one() {
    let mut failures = Vec::new();
    let inputs = Inputs {
        expand: &str::to_owned,
        defaults: &ConfigDefaults::default(),
        read_file: &|path| fs::read(path),
        check_file: &|_| Ok(()),
    };
    for (path, files) in folders("many_ok") {
        match parse_files(&files, &inputs) {
            Ok(config) => compare(&path, "dump", &dump(&config), &mut failures),
            Err(errors) => failures.push(format!("{}:\n{errors}", path.display())),
        }
    }
    for (path, files) in folders("many_err") {
        match parse_files(&files, &inputs) {
            Ok(_) => failures.push(format!("{}: loaded", path.display())),
            Err(errors) => compare(&path, "err", &format!("{errors}\n"), &mut failures),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_problem_has_a_place() {
    for path in files("config_err") {
        let errors = load(&path).err().unwrap_or_else(|| panic!("{} loaded", path.display()));
        for problem in errors.problems() {
            assert!(problem.line > 0 && problem.column > 0, "{}: {problem:?}", path.display());
        }
    }
}
