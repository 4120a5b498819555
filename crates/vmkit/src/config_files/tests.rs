//! Folders as people and Kubernetes make them.

use super::*;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0.path().display())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let files = read(self.path(pattern).trim_end_matches('/'))?;
        Ok(files.into_iter().map(|file| (file.name, String::from_utf8(file.bytes).unwrap())).collect())
    }

    #[track_caller]
    fn check(&self, pattern: &str, want: &[(&str, &str)]) {
        let want: Vec<_> = want.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(self.read(pattern).unwrap(), want, "{pattern}");
    }

    #[track_caller]
    fn fails(&self, pattern: &str, want: &str) {
        let error = self.read(pattern).unwrap_err();
        assert_eq!(error.replace(&self.path(""), ""), want);
    }
}

#[test]
fn files_count_in_the_order_of_their_names() {
    let folder = Folder::new(&[
        ("20-b.yml", "b"),
        ("10-a.yaml", "a"),
        ("3.yml", "3"),
        ("notes.txt", ""),
        ("x.yml.bak", ""),
        (".hidden.yml", ""),
        (".#20-b.yml", ""),
        ("#20-b.yml#", ""),
        ("dir.yml/inner.yml", ""),
    ]);
    folder.check("", &[("10-a.yaml", "a"), ("20-b.yml", "b"), ("3.yml", "3")]);
    folder.check("*-*.y*ml", &[("10-a.yaml", "a"), ("20-b.yml", "b")]);
    folder.check("*.yml/*", &[("dir.yml/inner.yml", "")]);
    folder.check("3.yml", &[("", "3")]);
    // A file of that very name is no pattern.
    folder.write("a*.yml", "star");
    folder.check("a*.yml", &[("", "star")]);
}

#[test]
fn a_volume_of_kubernetes_shows_each_file_once() {
    let folder = Folder::new(&[("..2026/a.yml", "1"), ("..2026/b.yml", "1"), ("..2027/a.yml", "2")]);
    symlink("..2026", folder.path("..data")).unwrap();
    symlink("..data/a.yml", folder.path("a.yml")).unwrap();
    symlink("..data/b.yml", folder.path("b.yml")).unwrap();
    folder.check("", &[("a.yml", "1"), ("b.yml", "1")]);
    folder.check("*", &[("a.yml", "1"), ("b.yml", "1")]);
    symlink("..2027", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    // Until the name that leads nowhere is gone, too, the update is not complete.
    folder.fails("", "open b.yml: no such file or directory");
    fs::remove_file(folder.path("b.yml")).unwrap();
    folder.check("", &[("a.yml", "2")]);
}

#[test]
fn updates_are_seen_whole_or_not_at_all() {
    let folder = Folder::new(&[]);
    for version in 0..2 {
        for name in ["a", "b", "c", "d"] {
            folder.write(&format!("..{version}/{name}.yml"), &version.to_string());
        }
    }
    symlink("..0", folder.path("..data")).unwrap();
    for name in ["a", "b", "c", "d"] {
        symlink(format!("..data/{name}.yml"), folder.path(&format!("{name}.yml"))).unwrap();
    }
    let (path, data, temporary) = (folder.path(""), folder.path("..data"), folder.path("..data_tmp"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut version = 0;
        while !stopped.load(Ordering::Relaxed) {
            version = 1 - version;
            symlink(format!("..{version}"), &temporary).unwrap();
            fs::rename(&temporary, &data).unwrap();
            std::thread::yield_now();
        }
    });
    for _ in 0..500 {
        // Only a writer that never rests makes it fail.
        if let Ok(files) = read(&path) {
            assert_eq!(files.len(), 4);
            assert!(files.iter().all(|file| file.bytes == files[0].bytes), "half of an update");
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(read(&path).is_ok());
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new(&[("empty/x.txt", ""), ("fifo/a.yml", "a")]);
    let hint = "write a file with {} if nobody is to be let in";
    folder.fails("empty", &format!("there is no *.yml or *.yaml file in it; {hint}"));
    folder.fails("none/*.yml", &format!("no file matches; {hint}"));
    folder.fails("none.yml", "open none.yml: no such file or directory");
    let fifo = folder.path("fifo/b.yml");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    folder.fails("fifo", "open fifo/b.yml: it is no regular file");
    for number in 0..=MAX_FILES {
        folder.write(&format!("many/{number}.yml"), "");
    }
    folder.fails("many", "there are 1001 files, more than 1000");
    File::create(folder.path("large.yml")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    folder.fails("large.yml", "open large.yml: a config has at most 256 MiB");
}

#[tokio::test]
async fn errors_name_the_path_as_given() {
    let client = Arc::new(Client::new(crate::tls::client_config::ClientTlsOptions::default()));
    let mut files = ConfigFiles::new("missing.yml", &client);
    let error = files.read().await.unwrap_err();
    assert_eq!(error, "cannot read \"missing.yml\": open missing.yml: no such file or directory");
}
