//! What the process says about its own threads.

use crate::vmauth::Vmauth;

const CONFIG: &str = "unauthorized_user:\n  url_prefix: http://127.0.0.1:9/\n";

#[test]
fn threads_say_what_they_do() {
    let proxy = Vmauth::start(CONFIG, &[]);
    let reply = proxy.client().get("/debug/pprof/goroutine", &[]).expect(200);
    let text = reply.text();
    assert!(text.starts_with("control plane: ") && text.contains("\"worker-0\": state "), "{text}");
}
