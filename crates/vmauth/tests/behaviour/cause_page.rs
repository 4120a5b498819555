//! Each row of `docs/reference/causes.md` is produced here, and the line and the metric it names are looked up.
//!
//! A row is found by its first cell; a test without a row, and a row without a test, fail. What is behind the one line
//! of each cause is the business of `causes.rs` and its neighbours.

use std::path::Path;

use testkit::certs::Authority;
use testkit::{Backend, Gate, Metrics, Reply, Signal, Step, eventually};

use crate::causes::{plain_server, provider_of};
use crate::minted::Signer;
use crate::vmauth::{AUTH, Vmauth, one_user, user_of_urls};

/// A row of the page.
struct Row {
    client: Option<u16>,
    log: Option<String>,
    metrics: Vec<String>,
}

fn rows() -> Vec<(String, Row)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/causes.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Cause "));
    let read = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [cause, client, log, metrics] = cells[..] else { panic!("four cells: {line}") };
        let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let name = cause.to_lowercase().replace(' ', "_");
        (name, Row { client: client.parse().ok(), log: spans(log).pop(), metrics: spans(metrics) })
    };
    rows.map(read).collect()
}

/// Whether the pieces between `…` stand in `text` in their order.
fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = Some(text);
    for piece in pattern.split('…') {
        rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

impl Row {
    fn of(name: &str) -> Self {
        let found = rows().into_iter().find(|(row, _)| row == name);
        found.map(|(_, row)| row).unwrap_or_else(|| panic!("docs/reference/causes.md has no row for {name}"))
    }

    /// A request ends as the row says.
    #[track_caller]
    fn ask(&self, proxy: &Vmauth, target: &str, headers: &[&str]) {
        proxy.client().get(target, headers).expect(self.client.expect("a status"));
    }

    /// Log and metrics name it; `backend` is the address that the row calls `h:p`.
    #[track_caller]
    fn is_named(&self, proxy: &Vmauth, backend: &str) {
        let own = |pattern: &str| pattern.replace("h:p", backend);
        if let Some(pattern) = self.log.as_deref().map(own) {
            eventually("the line", || {
                let lines = proxy.program.lines_since(0);
                if lines.iter().any(|line| fits(&pattern, line)) { Ok(()) } else { Err((pattern.clone(), lines)) }
            });
        }
        for pattern in self.metrics.iter().map(|pattern| own(pattern)) {
            let (series, want) = match pattern.rsplit_once(' ').map(|(series, value)| (series, value.parse::<f64>())) {
                Some((series, Ok(value))) => (series.to_owned(), Some(value)),
                _ => (pattern.clone(), None),
            };
            let is_good = |(name, value): &(String, f64)| {
                fits(&series, name) && want.map_or(*value > 0.0, |want| (*value - want).abs() < f64::EPSILON)
            };
            eventually("the metric", || {
                let all = Metrics::fresh(proxy.address).containing("");
                if all.iter().any(is_good) { Ok(()) } else { Err((pattern.clone(), all)) }
            });
        }
    }
}

macro_rules! causes {
    ($($name:ident: $run:expr,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        mod cause {
            use super::*;

            $(
                #[test]
                fn $name() {
                    let run: fn(&Row) = $run;
                    run(&Row::of(stringify!($name)));
                }
            )*
        }
    };
}

causes! {
    token_expired: |row| refused_token(row, "k", r#"{"alg":"EdDSA","kid":"k"}"#, |claims| claims.exp = 1000),
    token_not_yet_valid: |row| refused_token(row, "k", r#"{"alg":"EdDSA","kid":"k"}"#, |claims| claims.more = r#","nbf":99999999998"#),
    token_of_another_issuer: |row| refused_token(row, "k", r#"{"alg":"EdDSA","kid":"k"}"#, |claims| claims.issuer = "https://other".to_owned()),
    token_without_the_claim: |row| refused_token(row, "k", r#"{"alg":"EdDSA","kid":"k"}"#, |claims| claims.role = "guest"),
    token_signed_by_another_key: |row| refused_token(row, "stranger", r#"{"alg":"EdDSA","kid":"k"}"#, |_| {}),
    token_with_an_unknown_key_id: |row| refused_token(row, "k", r#"{"alg":"EdDSA","kid":"new"}"#, |_| {}),
    token_signed_by_hs256: |row| refused_token(row, "k", r#"{"alg":"HS256","kid":"k"}"#, |_| {}),
    wrong_password: |row| refused_login(row, &["Authorization: Basic dTp3cm9uZw=="]),
    unknown_token: |row| refused_login(row, &["Authorization: Bearer nobody"]),
    no_credentials: |row| refused_login(row, &[]),
    identity_provider_down: super::identity_provider_down,
    too_many_requests_at_once: super::too_many_requests_at_once,
    slow_body: super::slow_body,
    path_without_a_route: |row| refused_request(row, "/nowhere"),
    address_denied: |row| refused_request(row, "/inside"),
    path_denied: |row| refused_request(row, "/denied"),
    bad_config_on_reload: super::bad_config_on_reload,
    backend_down: |row| backend(row, &Backend::refusing()),
    one_of_two_backends_down: super::one_of_two_backends_down,
    name_of_the_backend_unknown: |row| url(row, "http://name.invalid:1"),
    certificate_of_the_backend_untrusted: |row| tls_backend(row, "https"),
    https_to_a_plain_backend: |row| url(row, &format!("https://{}", plain_server())),
    http_to_a_tls_backend: |row| tls_backend(row, "http"),
    garbage_of_a_backend: |row| backend(row, &Backend::replying(Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then(Step::Close))),
    slow_backend: |row| backend(row, &Backend::with(|_| Reply::nothing().after(&Gate::new()))),
    half_a_reply: super::half_a_reply,
    client_left: super::client_left,
    malformed_request: super::malformed_request,
    stop_cut_a_request: super::stop_cut_a_request,
}

#[test]
fn each_row_has_its_test() {
    let rows: Vec<_> = rows().into_iter().map(|(name, _)| name).collect();
    assert_eq!(rows, NAMES);
}

struct Claims {
    exp: u64,
    issuer: String,
    role: &'static str,
    more: &'static str,
}

/// A token of the provider's key, or of a stranger's, with other claims than the user wants.
fn refused_token(row: &Row, signer: &str, header: &str, change: fn(&mut Claims)) {
    let (own, stranger) = (Signer::new("k"), Signer::new("k"));
    let provider = provider_of(&own);
    let mut claims = Claims { exp: 99_999_999_999, issuer: provider.url(), role: "admin", more: "" };
    change(&mut claims);
    let Claims { exp, issuer, role, more } = claims;
    let claims = format!(r#"{{"exp":{exp},"iss":"{issuer}","role":"{role}","vm_access":{{}}{more}}}"#);
    let token = if signer == "k" { own.line(header, &claims) } else { stranger.line(header, &claims) };
    let config = format!(
        "users:\n- name: u\n  jwt: {{oidc: {{issuer: \"{}\"}}, match_claims: {{role: admin}}}}\n  url_prefix: http://127.0.0.1:9/\n",
        provider.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    row.ask(&proxy, "/", &[&token]);
    row.is_named(&proxy, "");
}

fn refused_login(row: &Row, headers: &[&str]) {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    row.ask(&proxy, "/", headers);
    row.is_named(&proxy, "");
}

fn identity_provider_down(row: &Row) {
    let provider = Backend::refusing();
    let config =
        format!("users:\n- jwt: {{oidc: {{issuer: \"{}\"}}}}\n  url_prefix: http://127.0.0.1:9/\n", provider.url());
    let proxy = Vmauth::start(&config, &[]);
    row.ask(&proxy, "/", &[&Signer::new("k").authorization("")]);
    row.is_named(&proxy, &provider.address().to_string());
}

fn too_many_requests_at_once(row: &Row) {
    let gate = Gate::new();
    let held = gate.clone();
    let backend = Backend::with(move |_| Reply::ok("held").after(&held));
    let proxy = Vmauth::start(&one_user(&[&backend], "max_concurrent_requests: 1"), &["-maxQueueDuration=100ms"]);
    let mut holder = proxy.client();
    holder.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    row.ask(&proxy, "/", &[AUTH]);
    gate.open();
    row.is_named(&proxy, "");
}

fn slow_body(row: &Row) {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxQueueDuration=1s"]);
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 9\r\n\r\nhalf"));
    client.reply().expect(row.client.expect("a status"));
    row.is_named(&proxy, "");
}

fn refused_request(row: &Row, target: &str) {
    let backend = Backend::saying("ok");
    let config = format!(
        "users:\n- username: u\n  password: p\n  access_log: {{}}\n  deny_paths: [/denied]\n  url_map:\n  - src_paths: \
         [/inside]\n    ip_filters: {{deny_list: [127.0.0.0/8]}}\n    url_prefix: \"{}\"\n",
        backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    row.ask(&proxy, target, &[AUTH]);
    row.is_named(&proxy, "");
}

fn bad_config_on_reload(row: &Row) {
    let backend = Backend::saying("ok");
    let good = one_user(&[&backend], "");
    let proxy = Vmauth::start(&good, &[]);
    std::fs::write(proxy.config(), format!("{good}  no_such_field: 1\n")).expect("the file can be written");
    row.ask(&proxy, "/-/reload", &[]);
    row.is_named(&proxy, "");
}

/// One backend that does not answer well.
fn url(row: &Row, url: &str) {
    let proxy = Vmauth::start(&user_of_urls(&format!("\"{url}\""), ""), &["-responseTimeout=3s", "-failTimeout=1m"]);
    row.ask(&proxy, "/", &[AUTH]);
    row.is_named(&proxy, url.split("://").nth(1).unwrap_or_default());
}

fn backend(row: &Row, backend: &Backend) {
    url(row, &backend.url());
}

fn tls_backend(row: &Row, scheme: &str) {
    let authority = Authority::new("nobody's");
    let secure = Backend::tls(authority.server_config(&authority.issue(&["127.0.0.1"]), None), Reply::ok("ok"));
    url(row, &format!("{scheme}://{}", secure.address()));
}

fn one_of_two_backends_down(row: &Row) {
    let (dead, good) = (Backend::refusing(), Backend::saying("ok"));
    let proxy = Vmauth::start(&one_user(&[&dead, &good], ""), &["-failTimeout=1m"]);
    row.ask(&proxy, "/", &[AUTH]);
    row.is_named(&proxy, &dead.address().to_string());
}

fn half_a_reply(row: &Row) {
    let half = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then(Step::Close);
    let backend = Backend::replying(half);
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    client.read_to_end();
    row.is_named(&proxy, &backend.address().to_string());
}

fn client_left(row: &Row) {
    let backend = Backend::with(|_| Reply::nothing().after(&Gate::new()));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    client.abort();
    row.is_named(&proxy, "");
}

fn malformed_request(row: &Row) {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    client.reply().expect(row.client.expect("a status"));
    row.is_named(&proxy, "");
}

fn stop_cut_a_request(row: &Row) {
    let backend = Backend::with(|_| Reply::nothing().after(&Gate::new()));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.maxGracefulShutdownDuration=1s"]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    proxy.program.signal(Signal::Term);
    row.is_named(&proxy, "");
}
