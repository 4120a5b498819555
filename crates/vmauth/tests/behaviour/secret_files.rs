//! Passwords, tokens and headers that the config names by file: replaced while serving, and only where they are allowed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use testkit::{Backend, Launch, PATIENCE};

use crate::vmauth::{Vmauth, basic, binary};

const CHANGED: &str = "have changed and are in use";
const FAILED: &str = "cannot use changed files of -auth.config=";
const LOADED: &str = "loaded information about";
const CHANGES: &str = "vmauth_config_file_changes_total";
const ERRORS: &str = "vmauth_config_file_errors_total";
/// `wonder` and `mirror`.
const WONDER: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQwMDAx$fDj5b1rNaysLztZt/TpcKXwfL5f94xjxvICVgeYvxdU";
const MIRROR: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQwMDAy$3Yh/L1yVku3HqcwU7nCJfY02VFDD9kGBJ6QS42C2d9M";

/// A folder with one file a secret.
fn secrets(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        write(&dir, name, content);
    }
    dir
}

/// Replaces a file in one step, as those do who write secrets.
fn write(dir: &TempDir, name: &str, content: &str) {
    let next = dir.path().join(format!("{name}.next"));
    fs::write(&next, content).expect("the folder can be written");
    fs::rename(&next, dir.path().join(name)).expect("the file can be replaced");
}

#[test]
fn secrets_are_replaced_while_serving_and_nothing_else_changes() {
    let backend = Backend::saying("ok");
    let dir = secrets(&[
        ("password", "old\n"),
        ("token", "old-token"),
        ("raw", "Key old\n"),
        ("hash", &format!("{WONDER}\n")),
        ("backend", "old-backend-token\n"),
    ]);
    let (path, url) = (dir.path().display(), backend.url());
    let config = format!(
        "users:\n\
         - {{username: alice, password_file: {path}/password, url_prefix: '{url}', header_files: ['Authorization: Bearer {path}/backend']}}\n\
         - {{bearer_token_file: {path}/token, name: robot, url_prefix: '{url}'}}\n\
         - {{auth_token_file: {path}/raw, url_prefix: '{url}'}}\n\
         - {{username: bob, password_hash_file: {path}/hash, url_prefix: '{url}'}}\n\
         - {{username: u, password: p, url_prefix: '{url}'}}\n"
    );
    let proxy = Vmauth::start(&config, &[]);
    let allowed = |lines: &[&str]| {
        for line in lines {
            proxy.client().get("/", &[line]).expect(200);
        }
    };
    allowed(&[&basic("alice:old"), "Authorization: Bearer old-token", "Authorization: Key old", &basic("bob:wonder")]);
    allowed(&[&basic("u:p")]);
    assert_eq!(backend.requests()[0].fields.get("Authorization"), Some("Bearer old-backend-token"));
    // Edited and not asked to be loaded: no business of a change of secrets.
    fs::write(proxy.config(), "users: []\n").expect("the config can be written");
    for (name, content) in [
        ("password", "new"),
        ("token", "new-token"),
        ("raw", "Key new"),
        ("hash", MIRROR),
        ("backend", "new-backend-token"),
    ] {
        let mark = proxy.program.mark();
        write(&dir, name, content);
        let (_, line) = proxy.program.wait_log(mark, CHANGED);
        assert!(line.contains(&format!("{path}/{name}")), "{line}");
    }
    allowed(&[&basic("alice:new"), "Authorization: Bearer new-token", "Authorization: Key new", &basic("bob:mirror")]);
    allowed(&[&basic("u:p")]);
    assert_eq!(backend.requests()[5].fields.get("Authorization"), Some("Bearer new-backend-token"));
    for line in [basic("alice:old"), "Authorization: Bearer old-token".to_owned(), basic("bob:wonder")] {
        proxy.expect_refused_login(&line);
    }
    proxy.expect_metrics(&[
        (CHANGES, 5.0),
        (ERRORS, 0.0),
        ("vmauth_config_last_reload_total", 0.0),
        ("user.requests_total", 2.0),
        ("vmauth_user_requests_total{username=\"robot\"}", 2.0),
    ]);
    let log = proxy.program.matching(0, "");
    assert!(!log.iter().any(|line| line.contains("new-token") || line.contains("new-backend-token")));
}

#[test]
fn a_change_that_cannot_be_used_changes_nothing_and_is_told_once() {
    let backend = Backend::saying("ok");
    let dir = secrets(&[("password", "old")]);
    let path = dir.path().join("password");
    let config =
        format!("users:\n- username: alice\n  password_file: {}\n  url_prefix: '{}'\n", path.display(), backend.url());
    let proxy = Vmauth::start(&config, &[]);
    let mark = proxy.program.mark();
    fs::remove_file(&path).expect("the file can be removed");
    let (_, line) = proxy.program.wait_log(mark, FAILED);
    assert!(line.contains("users[0].password_file (line 3, column 18)"), "{line}");
    proxy.client().get("/", &[&basic("alice:old")]).expect(200);
    let mark = proxy.program.mark();
    write(&dir, "password", "\n");
    let (_, line) = proxy.program.wait_log(mark, FAILED);
    assert!(line.contains("it is empty"), "{line}");
    proxy.expect_refused_login(&basic("alice:"));
    proxy.client().get("/", &[&basic("alice:old")]).expect(200);
    proxy.expect_metrics(&[(ERRORS, 2.0), (CHANGES, 0.0)]);
    let mark = proxy.program.mark();
    write(&dir, "password", "new");
    proxy.program.wait_log(mark, CHANGED);
    proxy.client().get("/", &[&basic("alice:new")]).expect(200);
    // Several looks have passed; each failure was told once.
    proxy.expect_metrics(&[(ERRORS, 2.0), (CHANGES, 1.0)]);
    assert_eq!(proxy.program.matching(0, FAILED).len(), 2);
}

#[test]
fn secrets_of_kubernetes_are_followed_through_their_links() {
    let backend = Backend::saying("ok");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let volume = |name: &str, content: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).expect("the folder can be made");
        fs::write(folder.join("token"), content).expect("the folder can be written");
        let next = dir.path().join("..data.next");
        symlink(name, &next).expect("a link");
        fs::rename(&next, dir.path().join("..data")).expect("the link can be replaced");
    };
    volume("..1", "first");
    symlink("..data/token", dir.path().join("token")).expect("a link");
    let config =
        format!("users:\n- bearer_token_file: {}/token\n  url_prefix: '{}'\n", dir.path().display(), backend.url());
    let proxy = Vmauth::start(&config, &[&format!("-auth.allowedFileDirs={}", dir.path().display())]);
    proxy.client().get("/", &["Authorization: Bearer first"]).expect(200);
    let mark = proxy.program.mark();
    volume("..2", "second");
    proxy.program.wait_log(mark, CHANGED);
    proxy.client().get("/", &["Authorization: Bearer second"]).expect(200);
    proxy.expect_refused_login("Authorization: Bearer first");
}

/// What a start with this config says before it fails.
fn refused_config(dir: &Path, config: &str, flags: &[&str]) -> String {
    let path = dir.join("auth.yml");
    fs::write(&path, config).expect("the folder can be written");
    let launch =
        Launch::new(binary()).arg(format!("-auth.config={}", path.display())).arg("-httpListenAddr=127.0.0.1:0");
    let mut program = flags.iter().fold(launch, |launch, flag| launch.arg(*flag)).start();
    assert_eq!(program.wait_exit(PATIENCE), Some(255), "{config}");
    program.log_text()
}

#[test]
fn a_config_names_no_file_outside_the_allowed_folders() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    for name in ["allowed", "pod"] {
        fs::create_dir(path(name)).expect("the folder can be made");
        fs::write(path(&format!("{name}/token")), format!("token of {name}")).expect("the folder can be written");
    }
    symlink(path("pod/token"), path("allowed/link")).expect("a link");
    let flag = format!("-auth.allowedFileDirs={}", path("allowed"));
    let user = |field: &str| format!("users:\n- {field}\n  url_prefix: https://127.0.0.1:1/\n");
    for field in [
        format!("bearer_token_file: {}", path("pod/token")),
        format!("bearer_token_file: {}", path("allowed/link")),
        format!("bearer_token_file: {}", path("allowed/../pod/token")),
        format!("{{username: u, password_hash_file: {}}}", path("pod/token"))
            .replace(['{', '}'], "")
            .replace(", ", "\n  "),
        format!("username: u\n  header_files: ['Authorization: Bearer {}']", path("pod/token")),
        format!("username: u\n  tls_ca_file: {}", path("pod/token")),
        format!("username: u\n  tls_cert_file: {}", path("allowed/link")),
        format!("jwt: {{public_key_files: [{}]}}", path("pod/token")),
    ] {
        let log = refused_config(dir.path(), &user(&field), &[&flag]);
        assert!(log.contains("is not below -auth.allowedFileDirs="), "{field}: {log}");
        assert!(log.contains("(line ") && !log.contains("token of pod"), "{field}: {log}");
    }
    // What flags name is theirs.
    let backend = Backend::saying("ok");
    let config = format!("users:\n- bearer_token_file: {}\n  url_prefix: '{}'\n", path("allowed/token"), backend.url());
    let ca = format!("-backend.tlsCAFile={}", path("pod/token"));
    let proxy = Vmauth::start(&config, &[&flag, &ca]);
    proxy.client().get("/", &["Authorization: Bearer token of allowed"]).expect(200);
    // A link that is put in place of the file later leads nowhere either.
    let mark = proxy.program.mark();
    fs::rename(path("allowed/link"), path("allowed/token")).expect("the file can be replaced");
    let (_, line) = proxy.program.wait_log(mark, FAILED);
    assert!(line.contains("is not below -auth.allowedFileDirs="), "{line}");
    proxy.expect_refused_login("Authorization: Bearer token of pod");
    proxy.client().get("/", &["Authorization: Bearer token of allowed"]).expect(200);
    proxy.reload(&format!("{config}# once more\n"), "failed to load auth config");
    proxy.reload("{}\n", LOADED);
}
