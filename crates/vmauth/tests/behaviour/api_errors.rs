//! Errors that user interfaces can show: JSON for scripts below API paths, the text for everybody else.

use testkit::{Backend, Client};

use crate::vmauth::{AUTH, Vmauth};

const SCRIPT: &str = "Sec-Fetch-Site: same-origin";

#[test]
fn scripts_of_browsers_get_json_below_api_paths() {
    let dead = Backend::refusing();
    let config = format!(
        "users:\n- username: u\n  password: p\n  max_concurrent_requests: 1\n  url_map:\n  - src_paths: [\"/api/v1/.*\", /x]\n    \
         deny_paths: [\"/api/v1/admin.*\"]\n    url_prefix: \"{}\"\n",
        dead.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    let f = |target: &str, headers: &[&str], status: u16, json: bool| {
        let reply = Client::connect(proxy.address).get(target, headers).expect(status);
        let kind = reply.fields.get("Content-Type").unwrap_or_default().to_owned();
        let text = reply.text();
        assert_eq!(kind, if json { "application/json" } else { "text/plain; charset=utf-8" }, "{target}: {text}");
        if json {
            let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!((&body["status"], &body["errorType"]), (&"error".into(), &status.to_string().into()), "{text}");
            assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{text}");
        } else {
            assert!(!text.starts_with('{') && !text.is_empty(), "{text}");
        }
    };
    f("/api/v1/query", &[AUTH, SCRIPT], 502, true);
    f("/api/v1/admin/x", &[AUTH, SCRIPT], 403, true);
    f("/api/v1/query", &[SCRIPT], 401, true);
    f("/api/v1/query", &["Authorization: Basic dTp3cm9uZw==", SCRIPT], 401, true);
    f("/nowhere/api/v1/query", &[AUTH, SCRIPT], 400, true);
    f("/x", &[AUTH, SCRIPT], 502, false);
    f("/api/v1/query", &[AUTH], 502, false);
    f("/api/v1/query", &[AUTH, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"], 502, false);
}
