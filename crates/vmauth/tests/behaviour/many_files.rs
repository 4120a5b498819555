//! A config of many files: one generation out of all of them, and nothing out of half of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Backend, Client, Launch, Program, Signal, eventually};

use crate::vmauth::{AUTH, binary};

const FAILED: &str = "failed to load auth config; using the last successfully loaded config; error: ";
const AUTH_OF_V: &str = "Authorization: Basic djpw";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes beside and renames: nobody sees half of it.
    fn write(&self, name: &str, text: &str) {
        let next = self.path(".next.tmp");
        fs::write(&next, text).expect("the folder can be written");
        fs::rename(next, self.path(name)).expect("the file can be replaced");
    }

    fn command(&self, words: &[&str]) -> (String, Option<i32>) {
        let output = Command::new(binary()).args(words).current_dir(self.0.path()).output().expect("vmauth starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout) + &text(&output.stderr), output.status.code())
    }
}

fn start(config: &Path, flags: &[&str]) -> Program {
    let launch = Launch::new(binary()).arg(format!("-auth.config={}", config.display()));
    let launch = launch.arg("-httpListenAddr=127.0.0.1:0").arg("-workers=1");
    flags.iter().fold(launch, |launch, flag| launch.arg(*flag)).start()
}

/// A user with the password `p`.
fn user(name: &str, backend: &Backend) -> String {
    format!("users:\n- username: {name}\n  password: p\n  url_prefix: \"{}\"\n", backend.url())
}

fn reload(program: &Program, line: &str) {
    let mark = program.mark();
    program.signal(Signal::Hup);
    program.wait_log(mark, line);
}

#[test]
fn files_come_and_go_as_one_config() {
    let backend = Backend::saying("ok");
    let folder = Folder::new(&[("10-u.yml", &user("u", &backend)), ("notes.txt", "{"), (".11-x.yml.swp", "{")]);
    let program = start(folder.0.path(), &["-httpInternalListenAddr=127.0.0.1:0"]);
    let address = program.wait_listening();
    let ask = |auth: &str| Client::connect(address).get("/", &[auth]).status;
    program.wait_log(0, "loaded information about 1 users from -auth.config=");
    assert_eq!(ask(AUTH), 200);
    folder.write("20-v.yaml", &user("v", &backend));
    reload(&program, "\" (2 files)");
    assert_eq!((ask(AUTH), ask(AUTH_OF_V)), (200, 200));
    // The same text under another name is a change, too: places in messages name it.
    fs::rename(folder.path("20-v.yaml"), folder.path("30-v.yaml")).expect("a rename");
    reload(&program, "\" (2 files)");
    fs::remove_file(folder.path("10-u.yml")).expect("the file can be removed");
    reload(&program, "loaded information about 1 users from -auth.config=");
    assert_eq!((ask(AUTH), ask(AUTH_OF_V)), (401, 200));

    let (_, line) = program.wait_log(0, "pprof handlers are exposed at ");
    let internal = line.split("://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let page =
        Client::connect(internal.parse().expect("an address")).get("/vmauth/status?format=json", &[]).expect(200);
    let status: Value = serde_json::from_str(&page.text()).expect("JSON");
    assert_eq!(status["config"]["files"][0]["name"], "30-v.yaml", "{status}");
    assert_eq!(status["users"]["items"][0]["place"], "30-v.yaml:users[0]", "{status}");
    let mut sums = Command::new("sh");
    sums.args(["-c", "sha256sum *.y*ml | sha256sum"]).current_dir(folder.0.path());
    let sum = sums.output().expect("sha256sum is there").stdout;
    assert!(String::from_utf8_lossy(&sum).starts_with(status["config"]["sha256"].as_str().expect("a hash")));
}

#[test]
fn what_is_wrong_in_one_file_changes_nothing() {
    let backend = Backend::saying("ok");
    let folder = Folder::new(&[("a.yml", &user("u", &backend)), ("b.yml", &user("v", &backend))]);
    let program = start(folder.0.path(), &[]);
    let address = program.wait_listening();
    let still_serves = || {
        for auth in [AUTH, AUTH_OF_V] {
            Client::connect(address).get("/", &[auth]).expect(200);
        }
    };
    folder.write("c.yml", &format!("{}  no_such_field: 1\n", user("w", &backend)));
    reload(&program, "c.yml:users[0].no_such_field (line 5, column 3): there is no field no_such_field here");
    still_serves();
    folder.write("c.yml", &user("u", &backend));
    reload(&program, "c.yml:users[0] (line 2, column 3): duplicate auth token found for username=\"u\"");
    program.wait_log(0, "; a.yml:users[0] (line 2, column 3) has it already; give each user");
    still_serves();
    fs::remove_file(folder.path("c.yml")).expect("the file can be removed");
    // A file that had users and is cut by its writer.
    folder.write("b.yml", "");
    reload(&program, "b.yml of -auth.config=");
    program.wait_log(0, "is empty; remove it or write {} into it if its users are to go");
    still_serves();
    symlink("nowhere", folder.path("d.yml")).expect("a link");
    reload(&program, "d.yml: no such file or directory");
    fs::remove_file(folder.path("d.yml")).expect("the link can be removed");
    for name in ["a.yml", "b.yml"] {
        fs::rename(folder.path(name), folder.path(&format!("{name}.off"))).expect("a rename");
    }
    reload(&program, &format!("{FAILED}failed to read -auth.config="));
    program.wait_log(0, "there is no *.yml or *.yaml file in it; write a file with {} if nobody is to be let in");
    still_serves();
    folder.write("a.yml", "{}");
    reload(&program, "loaded information about 0 users");
    Client::connect(address).get("/", &[AUTH]).expect(401);
}

#[test]
fn a_volume_of_kubernetes_is_watched() {
    let backend = Backend::saying("ok");
    let folder = Folder::new(&[]);
    for (version, name) in [("..1", "u"), ("..2", "v")] {
        fs::create_dir(folder.path(version)).expect("a folder");
        folder.write(&format!("{version}/a.yml"), &user(name, &backend));
    }
    symlink("..1", folder.path("..data")).expect("a link");
    symlink("..data/a.yml", folder.path("a.yml")).expect("a link");
    let program = start(&folder.path("*.yml"), &["-configCheckInterval=1s"]);
    let address = program.wait_listening();
    Client::connect(address).get("/", &[AUTH]).expect(200);
    symlink("..2", folder.path("..data_tmp")).expect("a link");
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).expect("a rename");
    eventually("the update serves", || {
        let status = Client::connect(address).get("/", &[AUTH_OF_V]).status;
        if status == 200 { Ok(()) } else { Err(status) }
    });
}

#[test]
fn a_folder_without_files_ends_the_start() {
    let folder = Folder::new(&[("a.txt", "")]);
    let mut program = start(folder.0.path(), &[]);
    assert_eq!(program.wait_exit(testkit::PATIENCE), Some(255));
    program.wait_log(0, "there is no *.yml or *.yaml file in it; write a file with {} if nobody is to be let in");
}

#[test]
fn commands_name_the_file() {
    let backend = Backend::saying("ok");
    let loose = "users:\n- username: w\n  url_prefix: http://127.0.0.1:1/\n";
    let folder = Folder::new(&[("a.yml", &user("u", &backend)), ("b.yml", loose)]);
    let (text, code) = folder.command(&["lint", "-auth.config=.", "-only=empty-password"]);
    assert!(text.starts_with("./b.yml:2:3: warning: ") && text.contains("(b.yml:users[0], line 2"), "{text}");
    assert_eq!(code, Some(1));
    let (text, code) = folder.command(&["explain", "-auth.config=*.yml", "-u", "w:", "/x"]);
    assert!(text.starts_with("allowed: user \"w\"") && text.contains("b.yml:users[0]"), "{text}");
    assert_eq!(code, Some(0));
    let (text, code) = folder.command(&["-auth.config=.", "-dryRun"]);
    assert!(text.contains("-dryRun: 2 files, 2 users, ") && text.contains("(b.yml:users[0], line 2"), "{text}");
    assert_eq!(code, Some(0));
    folder.write("tests.txt", "tests: [{url: /x, user: 'w:', expect: {user: 'b.yml:users[0]'}}]");
    let (text, code) = folder.command(&["test", "-auth.config=.", "tests.txt"]);
    assert!(text.contains("a.yml:users[0].url_prefix is never reached") && code == Some(0), "{text}");
}
