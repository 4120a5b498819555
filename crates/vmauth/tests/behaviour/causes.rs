//! What an engineer on call looks for: each cause of a refused or failed request is named by one line of the log, one line
//! of the access log, one metric or the state page, whichever he looks at first. Each alone: `cause_page.rs`.

use std::io::{Read, Write};
use std::net::TcpListener;

use testkit::certs::Authority;
use testkit::{Backend, Gate, PATIENCE, Reply, Signal, Step};

use crate::minted::Signer;
use crate::vmauth::{AUTH, Vmauth, one_user};

/// An HTTP server that answers a TLS handshake as such servers do.
pub(crate) fn plain_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    address
}

/// A provider with this key.
pub(crate) fn provider_of(signer: &Signer) -> Backend {
    let provider = Backend::saying("");
    let (url, keys) = (provider.url(), signer.jwks());
    provider.set_handler(move |request| match request.target.as_str() {
        "/.well-known/openid-configuration" => {
            Reply::message(200, &[], &format!(r#"{{"issuer":"{url}","jwks_uri":"{url}/keys"}}"#))
        }
        _ => Reply::message(200, &[], &keys),
    });
    provider
}

/// The access-log line of this target has all these fields.
#[track_caller]
fn expect_line(proxy: &Vmauth, target: &str, want: &[&str]) {
    proxy.program.wait_log(0, &format!("request_uri=\"{target}\""));
    let mark = format!("access_log request_host=\"test\" request_uri=\"{target}\"");
    let (_, line) = proxy.program.wait_log(0, &mark);
    for part in want {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[test]
fn refused_tokens() {
    let (signer, stranger) = (Signer::new("k"), Signer::new("k"));
    let provider = provider_of(&signer);
    let issuer = provider.url();
    let config = format!(
        "users:\n- name: tenant\n  jwt: {{oidc: {{issuer: \"{issuer}\"}}, match_claims: {{role: admin}}}}\n  url_prefix: \
         \"http://127.0.0.1:9/\"\n"
    );
    let proxy = Vmauth::start(&config, &[]);
    let (good, late) = (r#"{"alg":"EdDSA","kid":"k"}"#, 99_999_999_999_u64);
    let claims = |exp: u64, iss: &str, role: &str, more: &str| {
        format!(r#"{{"exp":{exp},"iss":"{iss}","sub":"s","role":"{role}","vm_access":{{}}{more}}}"#)
    };
    let usual = claims(late, &issuer, "admin", "");
    let cases = [
        (signer.line(good, &claims(1000, &issuer, "admin", "")), "expired", "exp=1000 now="),
        (
            signer.line(good, &claims(late, &issuer, "admin", r#","nbf":99999999998"#)),
            "not_yet_valid",
            "nbf=99999999998 now=",
        ),
        (signer.line(good, &claims(late, "https://other", "admin", "")), "wrong_issuer", "does not match oidc issuer"),
        (signer.line(good, &claims(late, &issuer, "guest", "")), "no_matching_user", "failed_claims=\"tenant: role\""),
        (stranger.line(good, &usual), "bad_signature", "user=\"tenant\""),
        (signer.line(r#"{"alg":"EdDSA","kid":"new"}"#, &usual), "unknown_key", "kid=\"new\""),
        (signer.line(r#"{"alg":"HS256","kid":"k"}"#, &usual), "unsupported_algorithm", "supported algorithms: RS256"),
    ];
    let mut waiting = Vec::new();
    for (line, cause, part) in &cases {
        let mut client = proxy.client();
        client.request("GET", &format!("/{cause}"), &[line], None);
        waiting.push(client);
        let (_, text) = proxy.program.wait_log(0, &format!("requestURI: /{cause}; login failed: "));
        assert!(text.contains(&format!("cause={cause} ")) && text.contains(part), "{cause}: {text}");
        assert!(text.contains("remoteAddr: \"127.0.0.1:") && text.contains("sub=\"s\""), "{text}");
        proxy.expect_metrics(&[(&format!("vmauth_invalid_auth_tokens_total{{cause=\"{cause}\"}}"), 1.0)]);
    }
    proxy.expect_metrics(&[("vmauth_failed_logins_total{cause=\"refused_token\"}", cases.len() as f64)]);
}

#[test]
fn providers_that_give_no_keys() {
    let (dead, busy, lost) =
        (Backend::refusing(), Backend::replying(Reply::message(429, &[], "")), Backend::saying(""));
    lost.set_reply(Reply::message(404, &[], ""));
    let user = |provider: &Backend| {
        format!("- jwt: {{oidc: {{issuer: \"{}\"}}}}\n  url_prefix: \"http://127.0.0.1:9/\"\n", provider.url())
    };
    let config = format!("users:\n{}{}{}", user(&dead), user(&busy), user(&lost));
    let proxy = Vmauth::start(&config, &[]);
    let refused = format!("dial tcp {}: connect: connection refused", dead.address());
    for (provider, why) in [(&dead, refused.as_str()), (&busy, "429"), (&lost, "404")] {
        let (_, line) = proxy.program.wait_log(0, &format!("at start for issuer \"{}\"", provider.url()));
        assert!(line.contains(why), "{line}");
        proxy.expect_metrics(&[(&format!("vmauth_oidc_keys{{issuer=\"{}\"}}", provider.url()), 0.0)]);
    }
}

#[test]
fn requests_that_may_not_pass() {
    let backend = Backend::saying("ok");
    let config = format!(
        "users:\n- username: u\n  password: p\n  access_log: {{}}\n  deny_paths: [/denied]\n  url_map:\n  - src_paths: [/inside]\n    \
         ip_filters: {{deny_list: [127.0.0.0/8]}}\n    url_prefix: \"{0}\"\n  - src_paths: [/slow, /denied]\n    url_prefix: \"{0}\"\n",
        backend.url()
    );
    let proxy = Vmauth::start(&config, &["-maxQueueDuration=1s"]);
    proxy.client().get("/", &[]).expect(401);
    proxy.client().get("/nowhere", &[AUTH]).expect(400);
    proxy.client().get("/denied", &[AUTH]).expect(403);
    proxy.client().get("/inside", &[AUTH]).expect(403);
    let mut slow = proxy.client();
    slow.send(format!("POST /slow HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 9\r\n\r\nhalf"));
    slow.reply().expect(408);
    let mut broken = proxy.client();
    broken.send("GET / HTTP/1.1\r\n\r\n");
    broken.reply().expect(400);
    expect_line(&proxy, "/nowhere", &["ended=\"refused\" reason=\"missing_route\"", "username=\"u\""]);
    expect_line(&proxy, "/denied", &["reason=\"path_denied\""]);
    expect_line(&proxy, "/inside", &["reason=\"ip_denied\""]);
    expect_line(&proxy, "/slow", &["ended=\"limit\" reason=\"slow_body\""]);
    proxy.expect_metrics(&[
        ("vmauth_missing_credentials_total", 1.0),
        ("user.path_denies_total", 1.0),
        ("user.ip_denies_total", 1.0),
        ("reason.missing_route", 1.0),
        ("reason.reject_slow_client", 1.0),
        ("vm_http_malformed_requests_total{reason=\"missing_host\"}", 1.0),
    ]);
}

#[test]
fn backends_that_do_not_answer_well() {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let garbage = Backend::replying(Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then(Step::Close));
    let silent = Backend::with(|_| Reply::nothing().after(&Gate::new()));
    let half = Backend::replying(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then(Step::Close));
    let authority = Authority::new("nobody's");
    let secure = Backend::tls(authority.server_config(&authority.issue(&["127.0.0.1"]), None), Reply::ok("ok"));
    let plain = plain_server();
    let route = |path: &str, urls: &[String]| {
        let urls: Vec<_> = urls.iter().map(|url| format!("\"{url}\"")).collect();
        format!("  - src_paths: [{path}]\n    url_prefix: [{}]\n", urls.join(", "))
    };
    let with_scheme = |backend: &Backend, scheme: &str| format!("{scheme}://{}", backend.address());
    let routes = [
        route("/down", &[dead.url()]),
        route("/one-of-two", &[dead.url(), good.url()]),
        route("/dns", &["http://name.invalid:1".to_owned()]),
        route("/untrusted", &[with_scheme(&secure, "https")]),
        route("/https-to-plain", &[format!("https://{plain}")]),
        route("/http-to-tls", &[with_scheme(&secure, "http")]),
        route("/garbage", &[garbage.url()]),
        route("/slow", &[silent.url()]),
        route("/half", &[half.url()]),
    ];
    let config = format!("users:\n- username: u\n  password: p\n  access_log: {{}}\n  url_map:\n{}", routes.concat());
    let proxy = Vmauth::start(&config, &["-responseTimeout=3s", "-failTimeout=1m"]);
    let f = |target: &str, status: u16, want: &[&str]| {
        proxy.client().get(target, &[AUTH]).expect(status);
        expect_line(&proxy, target, want);
    };
    let dead_address = dead.address().to_string();
    let refused = format!("failures=\"{dead_address}: dial tcp4 {dead_address}: connect: connection refused\"");
    f("/down", 502, &["ended=\"failed\" reason=\"all_backends_failed\"", &refused]);
    f("/one-of-two", 200, &["ended=\"complete\"", "attempts=2", &refused, &format!("backend=\"{}\"", good.address())]);
    f("/dns", 502, &["failures=\"name.invalid:1: ", "name.invalid"]);
    f("/untrusted", 502, &["nobody's"]);
    f("/https-to-plain", 502, &["does not speak TLS on this port"]);
    f("/http-to-tls", 502, &["failures=\""]);
    f("/garbage", 502, &["failures=\"", "malformed HTTP"]);
    f("/slow", 502, &["timeout awaiting response headers"]);
    let mut client = proxy.client();
    client.request("GET", "/half", &[AUTH], None);
    client.read_to_end();
    expect_line(&proxy, "/half", &["status_code=200", "ended=\"backend\" reason=\"broken_reply\"", "response_bytes=4"]);
    let failures = |backend: &str, cause: &str| {
        format!("vmauth_backend_failures_total{{backend=\"{backend}\", cause=\"{cause}\"}}")
    };
    let address = |backend: &Backend| backend.address().to_string();
    proxy.expect_metrics(&[
        (&format!("vmauth_backend_up{{backend=\"{dead_address}\"}}"), 0.0),
        (&failures(&dead_address, "connect"), 2.0),
        (&failures("name.invalid:1", "dns"), 1.0),
        (&failures(&plain.to_string(), "tls"), 1.0),
        (&failures(&address(&garbage), "malformed"), 1.0),
        (&failures(&address(&silent), "timeout"), 1.0),
        (&failures(&address(&half), "cut"), 1.0),
        ("vmauth_http_cut_responses_total{by=\"backend\"}", 1.0),
    ]);
}

#[test]
fn clients_that_leave_and_a_stop_that_cuts() {
    let gate = Gate::new();
    let held = gate.clone();
    let backend = Backend::with(move |_| Reply::ok("late").after(&held));
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.maxGracefulShutdownDuration=1s"]);
    let mut leaver = proxy.client();
    leaver.request("GET", "/left", &[AUTH], None);
    backend.wait_for(1);
    leaver.abort();
    expect_line(&proxy, "/left", &["status_code=0", "username=\"u\"", "ended=\"client\" reason=\"client_gone\""]);
    let mut cut = proxy.client();
    cut.request("GET", "/cut", &[AUTH], None);
    backend.wait_for(2);
    proxy.program.signal(Signal::Term);
    proxy.program.wait_log(0, "1 connection with an unfinished request was cut");
    expect_line(&proxy, "/cut", &["ended=\"cut\""]);
    assert_eq!(proxy.program.wait_exit(PATIENCE), Some(255));
    gate.open();
}
