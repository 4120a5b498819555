//! Configs as files: every `tests/golden/config_ok/*.yaml` must load, every `tests/golden/config_err/*.yaml` must be
//! refused with a message that holds each line of the `.err` file of the same name.
//!
//! Files named `docs_…` follow the blocks of the product's documentation in their order; those that are no complete
//! config are completed in `config_ok`, refused in `config_err`, or both.

use std::fs;
use std::path::{Path, PathBuf};
use vmauth::config::{AuthConfig, ConfigDefaults, ConfigErrors, Inputs, parse};

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
        // Stands for the real key parser, which has tests of its own.
        parse_key: &|pem| {
            let is_key = pem.trim_start().starts_with("-----BEGIN PUBLIC KEY-----") && !pem.contains("...");
            is_key.then_some(()).ok_or_else(|| "failed to decode PEM block containing public key".to_owned())
        },
    };
    parse(&fs::read(path).expect("a readable file"), &inputs)
}

#[test]
fn good_configs_load() {
    let failures: Vec<_> = files("config_ok")
        .iter()
        .filter_map(|path| load(path).err().map(|errors| format!("{}:\n{errors}", path.display())))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn bad_configs_are_refused_with_clear_errors() {
    let mut failures = Vec::new();
    for path in files("config_err") {
        let want = fs::read_to_string(path.with_extension("err")).unwrap_or_default();
        assert!(!want.trim().is_empty(), "{} lacks its .err file", path.display());
        match load(&path) {
            Ok(_) => failures.push(format!("{}: loaded", path.display())),
            Err(errors) => {
                let got = errors.to_string();
                let missing: Vec<_> = want.lines().filter(|line| !got.contains(line)).collect();
                if !missing.is_empty() {
                    failures.push(format!("{}: no {missing:#?} in\n{got}", path.display()));
                }
            }
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
