//! What replies, dumps and log lines show: never a backend's URL to clients, never a key, a password or a token.

use testkit::{Backend, Reply, Step};

use crate::vmauth::{AUTH, Vmauth};

#[test]
fn replies_name_no_backend_and_logs_no_key() {
    let dead = Backend::refusing();
    let busy = Backend::replying(Reply::message(503, &[], ""));
    let cut = Backend::with(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").then(Step::Close));
    let with_keys = |backend: &Backend| format!("{}/del?authKey=BACKENDKEY1&api_key=BACKENDKEY2", backend.url());
    let config = format!(
        "users:\n- username: u\n  password: p\n  dump_request_on_errors: true\n  access_log: {{}}\n  url_map:\n  \
         - {{src_paths: [\"/dead/.*\"], url_prefix: \"{}\"}}\n  \
         - {{src_paths: [\"/busy/.*\"], retry_status_codes: [500, 503], url_prefix: [\"{}\", \"{}\"]}}\n  \
         - {{src_paths: [\"/cut/.*\"], url_prefix: \"{}\"}}\n",
        with_keys(&dead),
        with_keys(&busy),
        with_keys(&busy),
        with_keys(&cut).replace("//", "//user:BASICPASSWORD@"),
    );
    let proxy = Vmauth::start(&config, &[]);
    let body = vec![b'x'; 40_000];
    let mut replies = Vec::new();
    for target in ["/dead/x", "/busy/x", "/cut/x", "/missing"] {
        let target = format!("{target}?authKey=CLIENTKEY&password=CLIENTPASSWORD");
        let secrets = ["X-Api-Key: CLIENTAPIKEY", "X-Auth-Token: CLIENTTOKEN", "Cookie: s=CLIENTCOOKIE"];
        let mut headers = vec![AUTH, "Referer: http://r/?token=REFERERTOKEN"];
        headers.extend(secrets);
        for method in ["GET", "POST"] {
            let mut client = proxy.client();
            client.request(method, &target, &headers, (method == "POST").then_some(&body[..]));
            let reply = client.reply();
            replies.push(format!("{:?} {}", reply.fields, reply.text()));
        }
    }
    proxy.program.wait_log(0, "request_uri=\"/missing?");
    // Warnings and the access log do not wait for each other.
    for backend in [&dead, &busy, &cut] {
        proxy.program.wait_log(0, &backend.address().to_string());
    }
    proxy.program.wait_log(0, "belongs to retry_status_codes=[500 503]");
    let (replies, log) = (replies.join("\n"), proxy.program.log_text());
    for secret in [
        "BACKENDKEY1",
        "BACKENDKEY2",
        "BASICPASSWORD",
        "CLIENTKEY",
        "CLIENTPASSWORD",
        "CLIENTAPIKEY",
        "CLIENTTOKEN",
        "CLIENTCOOKIE",
        "REFERERTOKEN",
        "dTpw",
    ] {
        assert!(!replies.contains(secret), "a reply shows {secret}:\n{replies}");
        assert!(!log.contains(secret), "the log shows {secret}:\n{log}");
    }
    for backend in [&dead, &busy, &cut] {
        let address = backend.address().to_string();
        assert!(!replies.contains(&address), "a reply names a backend:\n{replies}");
        assert!(log.contains(&address), "the log names the backend of each failure");
    }
    assert!(replies.contains("cannot proxy the request to the backend: it has failed"), "{replies}");
    assert!(log.contains("belongs to retry_status_codes=[500 503]"), "{log}");
}
