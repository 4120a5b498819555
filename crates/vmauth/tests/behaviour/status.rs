//! The page of the state and its API: who sees it, what it tells, the token check, and what can be switched there.

use serde_json::Value;
use std::net::SocketAddr;
use testkit::certs::Authority;
use testkit::{Backend, Client, Gate, Reply, eventually};

use crate::minted::Signer;
use crate::vmauth::{AUTH, Vmauth, binary, one_user, user_of_urls};

const INTERNAL: &str = "-httpInternalListenAddr=127.0.0.1:0";

/// Address of the internal listener.
pub(crate) fn internal(proxy: &Vmauth) -> SocketAddr {
    let (_, line) = proxy.program.wait_log(0, "pprof handlers are exposed at ");
    let url = line.rsplit("://").next().unwrap_or_default();
    url.split('/').next().unwrap_or_default().parse().expect("an address")
}

pub(crate) fn state(at: SocketAddr) -> Value {
    let reply = Client::connect(at).get("/vmauth/status?format=json", &[]).expect(200);
    serde_json::from_str(&reply.text()).expect("JSON")
}

fn post(at: SocketAddr, target: &str, headers: &[&str], body: &str) -> testkit::client::Reply {
    let mut client = Client::connect(at);
    client.request("POST", target, headers, Some(body.as_bytes()));
    client.reply()
}

/// A program under test with an internal listener.
fn start(config: &str, flags: &[&str]) -> (Vmauth, SocketAddr) {
    let proxy = Vmauth::start(config, &[&[INTERNAL], flags].concat());
    let at = internal(&proxy);
    (proxy, at)
}

#[test]
fn it_is_not_there_for_users_unless_it_has_a_key() {
    let backend = Backend::with(|request| Reply::ok(&request.target));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let reply = proxy.client().get("/vmauth/status", &[AUTH]).expect(200);
    assert_eq!(reply.text(), "/vmauth/status", "without a key the path is the user's");

    let (proxy, at) = start(&one_user(&[&backend], ""), &[]);
    assert_eq!(proxy.client().get("/vmauth/status", &[AUTH]).expect(200).text(), "/vmauth/status");
    assert!(Client::connect(at).get("/vmauth/status", &[]).expect(200).text().contains("<h2>Backends (1)</h2>"));

    let (proxy, at) = start(&one_user(&[&backend], ""), &["-statusAuthKey=hunter2"]);
    for address in [proxy.address, at] {
        Client::connect(address).get("/vmauth/status", &[AUTH]).expect(401);
        let page = Client::connect(address).get("/vmauth/status?authKey=hunter2", &[]).expect(200);
        assert!(page.text().contains("action=\"status-token?authKey=hunter2\""), "{}", page.text());
        Client::connect(address).get("/vmauth/status.css", &[]).expect(200);
        let config = Client::connect(address).get("/vmauth/status-config?authKey=hunter2", &[]).expect(200).text();
        assert!(config.contains("password: ***") && !config.contains("hunter2\n"), "{config}");
        post(address, "/vmauth/status-token", &[], "token=x").expect(401);
    }
}

#[test]
fn explain_knows_the_pages_that_users_reach_by_a_key() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-statusAuthKey=k"]);
    let config = format!("-auth.config={}", proxy.config().display());
    let explained = |path: &str, flags: &[&str]| {
        let output =
            std::process::Command::new(binary()).args(["explain", &config, "-u", "u:p", path]).args(flags).output();
        String::from_utf8_lossy(&output.expect("vmauth starts").stdout).into_owned()
    };
    for path in ["/vmauth/status", "/vmauth/status-token", "/vmauth/status-logging", "/vmauth/status-config"] {
        proxy.client().get(path, &[AUTH]).expect(401);
        let text = explained(path, &["-statusAuthKey=k"]);
        assert!(text.contains(&format!("answered by vmauth itself: {path}, behind -statusAuthKey")), "{text}");
        assert!(explained(path, &[]).starts_with("allowed: user \"u\""), "without a key the path is the user's");
    }
    for path in ["/vmauth/status.css", "/vmauth/status.js"] {
        proxy.client().get(path, &[]).expect(200);
        assert!(explained(path, &["-statusAuthKey=k"]).contains("answered by vmauth itself"));
    }
    proxy.client().get("/vmauth/explain?authKey=k", &[]).expect(405);
    assert!(explained("/vmauth/explain", &["-statusAuthKey=k"]).contains("answered by vmauth itself"));
    proxy.client().get("/vmauth/statusx", &[AUTH]).expect(200);
    assert!(explained("/vmauth/statusx", &["-statusAuthKey=k"]).starts_with("allowed: user \"u\""));
}

#[test]
fn a_dead_backend_is_down_with_since_and_why_and_comes_back() {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let (proxy, at) = start(&one_user(&[&dead, &good], ""), &["-failTimeout=3s"]);
    for _ in 0..3 {
        proxy.client().get("/x", &[AUTH]).expect(200);
    }
    let status = state(at);
    let backends = status["backends"]["items"].as_array().expect("a list");
    let (first, second) = (&backends[0], &backends[1]);
    assert_eq!((&first["address"], &first["state"]), (&dead.address().to_string().into(), &"down".into()), "{status}");
    assert!(first["since"].as_u64() > Some(1_700_000_000) && first["failures"]["connect"].as_u64() == Some(1));
    let why = first["why"].as_str().expect("why");
    assert!(why.contains("connection refused"), "{why}");
    assert_eq!((&second["state"], &second["attempts"]), (&"up".into(), &3.into()));
    assert!(second["last_failure"].is_null());
    eventually("an idle connection", || {
        let idle = state(at)["backends"]["items"][1]["pool"]["idle"].clone();
        if idle == 1 { Ok(()) } else { Err(idle) }
    });
    dead.resume();
    eventually("the backend is back", || {
        let now = state(at)["backends"]["items"][0]["state"].clone();
        if now == "up" { Ok(()) } else { Err(now) }
    });
}

#[test]
fn requests_and_users_are_counted_while_they_run() {
    let gate = Gate::new();
    let backend = Backend::script(vec![Reply::ok("held").after(&gate), Reply::ok("next")]);
    let (proxy, at) = start(&one_user(&[&backend], "max_concurrent_requests: 7"), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    let status = state(at);
    let user = &status["users"]["items"][0];
    assert_eq!((&user["name"], &user["in_flight"], &user["limit"]), (&"u".into(), &1.into(), &7.into()), "{status}");
    assert_eq!((&status["requests"]["in_flight"], &status["workers"][0]["connections"]), (&1.into(), &1.into()));
    assert_eq!(status["backends"]["items"][0]["in_flight"], 1);
    assert_eq!(user["routes"][0]["backends"][0]["state"], "up");
    gate.open();
    client.reply().expect(200);
    eventually("an ended request", || {
        let requests = state(at)["requests"].clone();
        let is_over = (&requests["in_flight"], &requests["responses"]["200"]) == (&0.into(), &1.into());
        if is_over { Ok(()) } else { Err(requests) }
    });
    let other = Client::connect(at).get("/vmauth/status?format=json&user=nobody", &[]).expect(200);
    let other: Value = serde_json::from_str(&other.text()).expect("JSON");
    assert_eq!((&other["users"]["total"], &other["users"]["items"]), (&0.into(), &Value::Array(Vec::new())));
    Client::connect(at).get("/vmauth/status?offset=x", &[]).expect(400);
}

#[test]
fn bad_reloads_stay_in_sight_with_their_problems() {
    let backend = Backend::saying("ok");
    let good = one_user(&[&backend], "");
    let (proxy, at) = start(&good, &[]);
    let before = state(at)["config"]["sha256"].as_str().expect("a hash").to_owned();
    assert_eq!(before.len(), 64);
    proxy.reload("users: [{username: u}]\n", "failed to load auth config");
    let config = state(at)["config"].clone();
    assert_eq!(
        (config["sha256"].as_str(), config["loads"][0]["ok"].as_bool()),
        (Some(&*before), Some(false)),
        "{config}"
    );
    assert!(config["loads"][0]["problems"].as_str().is_some_and(|text| text.contains("url_prefix")), "{config}");
    assert_eq!(config["loads"][1]["ok"], true);
    proxy.reload(&format!("{good}#\n"), "loaded information about");
    let config = state(at)["config"].clone();
    assert_eq!((&config["loads"][0]["ok"], config["loads"].as_array().map(Vec::len)), (&true.into(), Some(3)));
    assert_ne!(config["sha256"].as_str(), Some(&*before));
}

#[test]
fn no_secret_is_shown() {
    let config = "
users:
- {username: u, password: hunter2, url_prefix: 'http://a:hunter2@127.0.0.1:9/x?authKey=hunter2', headers: ['X-K: hunter2']}
- {bearer_token: hunter2, url_prefix: 'http://127.0.0.1:9/'}
- {auth_token: hunter2, name: raw, url_prefix: 'http://127.0.0.1:9/'}
";
    let (proxy, at) = start(config, &[]);
    proxy.client().get("/", &["Authorization: Basic dTpodW50ZXIy"]).expect(502);
    for target in ["/vmauth/status", "/vmauth/status?format=json", "/vmauth/status-config?format=text"] {
        let text = Client::connect(at).get(target, &[]).expect(200).text();
        assert!(text.contains("127.0.0.1:9") && !text.contains("hunter2"), "{target}: {text}");
    }
}

#[test]
fn providers_and_certificates_tell_their_age() {
    let provider = Backend::refusing();
    let authority = Authority::new("own");
    let files = authority.write("listener", &authority.issue(&["localhost"]));
    let config =
        format!("users:\n- jwt: {{oidc: {{issuer: \"{}\"}}}}\n  url_prefix: \"http://127.0.0.1:9/\"\n", provider.url());
    let flags = [
        format!("-tlsCertFile={}", files.cert.display()),
        format!("-tlsKeyFile={}", files.key.display()),
        "-tls".into(),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let (_proxy, at) = start(&config, &flags);
    let client = Client::try_connect_tls(at, authority.client_config(None), "localhost");
    let reply = client.expect("a connection").get("/vmauth/status?format=json", &[]).expect(200);
    let status: Value = serde_json::from_str(&reply.text()).expect("JSON");
    let issuer = &status["issuers"][0];
    assert_eq!((&issuer["location"], &issuer["keys"]), (&provider.url().into(), &0.into()), "{status}");
    assert!(issuer["last_error"].as_str().is_some_and(|text| text.contains("refused")), "{issuer}");
    assert!(issuer["next_fetch"].as_u64() > Some(1_700_000_000) && issuer["last_success"].is_null(), "{issuer}");
    let certificate = &status["certificates"][0];
    assert!(certificate["not_after"].as_i64() > status["now"].as_i64(), "{status}");
    assert!(
        certificate["file"].as_str().is_some_and(|file| file.ends_with(".crt") || file.ends_with(".pem")),
        "{status}"
    );
}

#[test]
fn a_pasted_token_is_checked_step_by_step() {
    let signer = Signer::new("k");
    let stranger = Signer::new("k");
    let issuer = Backend::saying("");
    let (url, keys) = (issuer.url(), signer.jwks());
    issuer.set_handler(move |request| match request.target.as_str() {
        "/.well-known/openid-configuration" => {
            Reply::message(200, &[], &format!(r#"{{"issuer":"{url}","jwks_uri":"{url}/keys"}}"#))
        }
        _ => Reply::message(200, &[], &keys),
    });
    let config = format!(
        "users:\n- name: tenant\n  jwt: {{oidc: {{issuer: \"{}\"}}, match_claims: {{role: admin}}}}\n  url_prefix: \
         \"http://127.0.0.1:9/\"\n- {{bearer_token: opaque, url_prefix: \"http://127.0.0.1:9/\"}}\n",
        issuer.url()
    );
    let (proxy, at) = start(&config, &[]);
    let claims = format!(r#","iss":"{}","vm_access":{{}}"#, issuer.url());
    let token = |signer: &Signer, more: &str| {
        let line = signer.authorization(&format!("{claims}{more}"));
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let check = |pasted: &str| -> Value {
        let reply = post(at, "/vmauth/status-token?format=json", &[], pasted).expect(200);
        serde_json::from_str(&reply.text()).expect("JSON")
    };
    let f = |pasted: &str, accepted: bool, cause: Value, part: &str| {
        let found = check(pasted);
        assert_eq!((&found["accepted"], &found["cause"]), (&accepted.into(), &cause), "{found}");
        let texts = found["steps"].as_array().expect("steps").iter().filter_map(|step| step["text"].as_str());
        assert!(texts.into_iter().any(|text| text.contains(part)), "{found}");
    };
    f(&token(&signer, r#","role":"admin""#), true, Value::Null, "made with a key of");
    f(&format!("Bearer {}", token(&signer, r#","role":"admin""#)), true, Value::Null, "accepted; metrics tenant 0:0");
    f(&token(&stranger, r#","role":"admin""#), false, "bad_signature".into(), "1 keys of");
    f(&token(&signer, r#","role":"guest""#), false, "no_matching_user".into(), r#"failed_claims="tenant: role""#);
    f("opaque", true, Value::Null, "static credential");
    f("other", false, "unknown_token".into(), "it is no JWT");
    f("a.b.c", false, "malformed".into(), "cannot parse jwt token");
    // HS256, expired.
    let old = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEwMDB9.c2ln";
    f(old, false, "expired".into(), "signature algorithm verification not supported");
    f(old, false, "expired".into(), "exp=1000, ");
    let page = post(at, "/vmauth/status-token", &["Content-Type: text/plain"], &format!("token={old}\r\n")).expect(200);
    assert!(page.text().contains("id=\"verdict\">refused<") && !page.text().contains("c2ln"), "{}", page.text());
    Client::connect(at).get("/vmauth/status-token?token=x", &[]).expect(405);
    assert_eq!(proxy.program.matching(0, "c2ln").len(), 0);
}

#[test]
fn logging_is_switched_while_it_runs_and_for_one_user() {
    let backend = Backend::saying("ok");
    let config = user_of_urls(&format!("\"{}\"", backend.url()), "").replace("  access_log: {}\n", "");
    let (proxy, at) = start(&config, &[]);
    let switch = |args: &str| post(at, "/vmauth/status-logging", &["Content-Type: text/plain"], args);
    proxy.client().get("/before", &[AUTH]).expect(200);
    assert!(switch("user=u\r\naccessLog=true\r\nfor=1h\r\n").expect(200).text().starts_with("user=\"u\""));
    proxy.client().get("/during", &[AUTH]).expect(200);
    proxy.program.wait_log(0, "request_uri=\"/during\"");
    assert_eq!(state(at)["logging"]["users"][0]["user"], "u");
    switch("user=u&accessLog=false").expect(200);
    proxy.client().get("/after", &[AUTH]).expect(200);

    let mut client = proxy.client();
    client.request("GET", "/wrong", &["Authorization: Basic dTp3cm9uZw=="], None);
    proxy.program.wait_log(0, "requestURI: /wrong; login failed: wrong password");
    switch("user=u&logInvalidAuthTokens=true").expect(200);
    let reply = proxy.client().get("/wrong2", &["Authorization: Basic dTp3cm9uZw=="]).expect(401);
    assert!(reply.text().starts_with("cannot authorize request with auth tokens"), "{}", reply.text());
    proxy.program.wait_log(0, "requestURI: /wrong2; cannot authorize request with auth tokens");

    switch("level=ERROR").expect(200);
    let mark = proxy.program.mark();
    proxy.client().get("/x", &["Authorization: Basic eDp5"]).expect(401);
    switch("level=INFO").expect(200);
    proxy.program.wait_log(mark, "logging was switched by");
    assert_eq!(proxy.program.matching(mark, "login failed").len(), 0);
    assert_eq!(proxy.program.matching(0, "request_uri=\"/before\"").len(), 0);
    assert_eq!(proxy.program.matching(0, "request_uri=\"/after\"").len(), 0);

    switch("level=LOUD").expect(400);
    Client::connect(at).get("/vmauth/status-logging?level=ERROR", &[]).expect(405);
    for line in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"] {
        post(at, "/vmauth/status-logging", &[line], "level=ERROR").expect(403);
    }
    assert_eq!(state(at)["logging"]["level"], "info");
}

#[test]
fn addresses_that_fail_to_log_in_are_listed_without_the_names_they_tried() {
    let backend = Backend::saying("ok");
    let flags = ["-maxFailedLoginsPerIP=2", "-httpRealIPHeader=X-Real-IP", "-http.trustedProxies=127.0.0.1"];
    let (proxy, at) = start(&one_user(&[&backend], ""), &flags);
    let before = Client::connect(at).get("/vmauth/status", &[]).expect(200).text();
    assert!(!before.contains("id=\"logins\""), "{before}");
    // `typed-password:` in the field of the name.
    let wrong = "Authorization: Basic dHlwZWQtcGFzc3dvcmQ6eA==";
    let failing: Vec<_> = ["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
        .map(|address| {
            let mut client = proxy.client();
            client.request("GET", "/", &[wrong, &format!("X-Real-IP: {address}")], None);
            client
        })
        .into();
    let state = eventually("four failures", || {
        let logins = state(at)["logins"].clone();
        let items = logins["addresses"]["items"].as_array().cloned().unwrap_or_default();
        let failures: u64 = items.iter().filter_map(|item| item["failures"].as_u64()).sum();
        if failures == 4 { Ok(logins) } else { Err(logins) }
    });
    let items = &state["addresses"]["items"];
    assert_eq!((&state["limit"], &state["addresses"]["total"]), (&2.into(), &2.into()), "{state}");
    assert_eq!((&items[0]["address"], &items[0]["failures"]), (&"2001:db8::/64".into(), &3.into()), "{state}");
    assert_eq!((&items[1]["address"], &items[1]["failures"]), (&"192.0.2.1".into(), &1.into()), "{state}");
    assert_eq!((&items[0]["wait"], &items[1]["wait"]), (&vec![4, 6].into(), &vec![2, 3].into()), "{state}");
    let (since, until) = (items[0]["since"].as_u64(), items[0]["until"].as_u64());
    assert_eq!(until, since.map(|since| since + 60), "{state}");
    let page = Client::connect(at).get("/vmauth/status", &[]).expect(200).text();
    assert!(page.contains("<h2>Addresses with failed logins (2)</h2>") && page.contains("2001:db8::/64"), "{page}");
    assert!(!page.contains("typed-password") && !state.to_string().contains("typed-password"));
    drop(failing);
}

#[test]
fn a_token_that_is_known_by_its_hash_is_known_to_the_check() {
    let backend = Backend::saying("ok");
    // That of `robot`.
    let hash = "sha256:18d63be10ad544a04a22c944dee01d6d864ec69b797a58edae92e6a44ad8fdbf";
    let config = format!(
        "users:\n- name: by-hash\n  bearer_token_hash: {hash}\n  url_prefix: '{}'\n- username: u\n  password: p\n  url_prefix: '{}'\n",
        backend.url(),
        backend.url()
    );
    let (_proxy, at) = start(&config, &[]);
    let check = |token: &str| -> Value {
        let reply = post(at, "/vmauth/status-token?format=json", &[], token).expect(200);
        serde_json::from_str(&reply.text()).expect("JSON")
    };
    let found = check("robot");
    assert_eq!((&found["accepted"], &found["user"]), (&true.into(), &"by-hash".into()), "{found}");
    for wrong in ["robots", hash] {
        assert_eq!(check(wrong)["accepted"], false, "{wrong}");
    }
}
