//! What the process says about its own threads and memory.

use crate::vmauth::Vmauth;

const CONFIG: &str = "unauthorized_user:\n  url_prefix: http://127.0.0.1:9/\n";

#[test]
fn threads_say_what_they_do() {
    let proxy = Vmauth::start(CONFIG, &[]);
    let reply = proxy.client().get("/debug/pprof/goroutine", &[]).expect(200);
    let text = reply.text();
    assert!(text.starts_with("control plane: ") && text.contains("\"worker-0\": state "), "{text}");
}

#[test]
fn the_heap_profile_says_who_holds_memory() {
    let proxy = Vmauth::start(CONFIG, &["-pprofAuthKey=key"]);
    proxy.client().get("/debug/pprof/heap", &[]).expect(401);
    let reply = proxy.client().get("/debug/pprof/heap?authKey=key", &[]).expect(200);
    assert!(reply.body.starts_with(&[0x1f, 0x8b]), "a gzip member: {:?}", reply.body.get(..8));
}

#[test]
fn the_cpu_profile_needs_no_folder_for_temporary_files_and_leaves_none_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for place in [folder.path().to_str().expect("text"), "/nonexistent"] {
        let proxy = Vmauth::launch(CONFIG, &[], |launch| launch.env("TMPDIR", place));
        let reply = proxy.client().get("/debug/pprof/profile?seconds=1", &[]).expect(200);
        assert!(reply.body.starts_with(&[0x1f, 0x8b]), "a gzip member: {:?}", reply.body.get(..8));
    }
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 0);
}
