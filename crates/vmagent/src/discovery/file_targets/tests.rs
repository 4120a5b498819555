//! Files in a directory, looked at step by step.

use super::*;

struct Files {
    directory: tempfile::TempDir,
    context: FileContext,
    known: BTreeMap<String, KnownFile>,
    texts: Interner,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let context = FileContext {
            directory: directory.path().to_str().unwrap().to_owned(),
            environment: Arc::new(Environment::from_pairs([("HOST", "env-host")])),
            interval: Duration::from_secs(3600),
            client: Arc::new(Client::new(vmkit::tls::client_config::ClientTlsOptions::default())),
            errors: Arc::default(),
        };
        Self { directory, context, known: BTreeMap::new(), texts: Interner::default() }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// One look: targets with the path they came from, and the errors.
    async fn look(&mut self, files: &[&str]) -> (Vec<String>, String) {
        let entry = FileSd { files: files.iter().map(|&file| file.to_owned()).collect() };
        let found = look(&entry, &self.context).await.unwrap();
        let errors = take(&mut self.known, found, &self.context, &mut self.texts);
        let shown = |target: &Arc<TargetLabels>| {
            format!("{} {}", target.get("__address__").unwrap(), target.get("__meta_filepath").unwrap())
        };
        let targets = self.known.values().flat_map(|file| file.targets.iter().map(shown)).collect();
        (targets, errors.join("\n"))
    }
}

#[tokio::test]
async fn paths_patterns_and_placeholders() {
    let mut files = Files::new();
    files.write("sd.yml", "- targets: [a, '%{HOST}']\n  labels: {__meta_filepath: x}\n");
    files.write("sub/x.json", r#"[{"targets": ["b"]}]"#);
    let above = format!("{}/sub/../sd.yml", files.context.directory);
    let (targets, errors) = files.look(&[&above, "sub/*.json", "none.yml", "no/*.yml"]).await;
    assert_eq!(targets, ["a sd.yml", "env-host sd.yml", "b sub/x.json"]);
    assert_eq!(errors, "");
    assert_eq!(shown_path("/etc/a", "/etc/b/x.yml"), "/etc/b/x.yml");
    assert_eq!(shown_path("", "b/./x.yml"), "b/x.yml");
    assert_eq!(shown_path("/etc", "http://h/x?y"), "http://h/x?y");
    assert_eq!(absolute("http://h/conf/", "sd.yml"), "http://h/conf/sd.yml");
}

#[tokio::test]
async fn what_was_taken_is_known() {
    let mut files = Files::new();
    let is_news = async |files: &mut Files| {
        let entry = FileSd { files: vec!["*.yml".to_owned()] };
        let found = look(&entry, &files.context).await.unwrap();
        let is_news = !is_known(&files.known, &found);
        take(&mut files.known, found, &files.context, &mut files.texts);
        is_news
    };
    assert!(!is_news(&mut files).await, "no files");
    for text in ["- targets: [a]\n- targets: [b]\n", "- targets: [a]\n", ""] {
        files.write("sd.yml", text);
        assert!(is_news(&mut files).await, "{text:?}");
    }
    assert!(is_news(&mut files).await, "it was not taken, as it may be half written");
    assert!(!is_news(&mut files).await, "it was");
    files.write("more.yml", "[]");
    assert!(is_news(&mut files).await, "one that came");
    std::fs::remove_file(files.directory.path().join("more.yml")).unwrap();
    assert!(is_news(&mut files).await, "one that went");
}

#[tokio::test]
async fn a_half_written_file_keeps_its_targets_for_one_look() {
    let mut files = Files::new();
    let f = async |files: &mut Files, text: &str, want: &[&str], error: &str| {
        files.write("sd.yml", text);
        let (targets, errors) = files.look(&["sd.yml"]).await;
        assert_eq!(targets, want, "{text:?}");
        assert!(errors.contains(error), "{errors}");
        assert_eq!(errors.is_empty(), error.is_empty(), "{errors}");
    };
    f(&mut files, "- targets: [a]\n", &["a sd.yml"], "").await;
    f(&mut files, "- targets: [", &["a sd.yml"], "sd.yml").await;
    f(&mut files, "- targets: [", &[], "yaml: line").await;
    f(&mut files, "- targets: [a]\n", &["a sd.yml"], "").await;
    f(&mut files, "", &["a sd.yml"], "is empty").await;
    f(&mut files, "- targets: [b]\n", &["b sd.yml"], "").await;
    f(&mut files, "", &["b sd.yml"], "is empty").await;
    f(&mut files, "", &[], "").await;
    f(&mut files, "- targets: [b]\n", &["b sd.yml"], "").await;
    f(&mut files, "[]", &[], "").await;
}

#[tokio::test]
async fn a_removed_file_loses_its_targets_at_once_and_others_stay() {
    let mut files = Files::new();
    files.write("one.yml", "- targets: [a]\n");
    files.write("two.yml", "- targets: [b]\n");
    files.look(&["*.yml"]).await;
    let before = Arc::clone(&files.known.values().next().unwrap().targets[0]);
    std::fs::remove_file(files.directory.path().join("two.yml")).unwrap();
    files.write("one.yml", "- targets: [c, a]\n");
    let (targets, _) = files.look(&["*.yml"]).await;
    assert_eq!(targets, ["c one.yml", "a one.yml"]);
    assert!(Arc::ptr_eq(&before, &files.known.values().next().unwrap().targets[1]));
}
