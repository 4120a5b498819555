//! Runs one pure stage of the request path many times: `stages STAGE COUNT`, or `stages` for the list of names.
//!
//! `bench/instructions.py` runs this under callgrind with two counts; the difference is the cost of the repetitions
//! alone. Stages take what they take in the proxy: parsed heads, indexes built from a config, buffers used again.
//! Nothing here may allocate or compute per repetition what the proxy does not.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use jwt::VmAccess;
use vmauth::authn::credentials::AuthHeaders;
use vmauth::authn::jwt_users::AcceptedToken;
use vmauth::authn::token_users::TokenUsers;
use vmauth::authn::verified_tokens::VerifiedTokens;
use vmauth::config::Credential;
use vmauth::metrics::CacheMetrics;
use vmauth::rewrite::client_headers::{ForwardContext, authority, write_request_headers};
use vmauth::rewrite::form_body;
use vmauth::rewrite::header_rules::{HeaderRule, HeaderRules, ResponseRules};
use vmauth::rewrite::response_headers::write_response_headers;
use vmauth::rewrite::target_url::{NormalPath, TargetInput, TargetUrl};
use vmauth::route::matcher::{RouteInput, RouteMatcher, RouteTable};
use vmkit::exchange::{HeaderWriter, RequestHead, ResponseHead};
use vmkit::go_regex::GoRegex;
use vmkit::secret::Secret;

/// A request as an agent or a dashboard sends it.
const REQUEST: &[u8] =
    b"GET /select/0/prometheus/api/v1/query?query=up%7Bjob%3D%22node%22%7D&time=1700000000 HTTP/1.1\r\n\
    Host: vmauth.example.com:8427\r\n\
    Authorization: Basic dXNlci01MDA6cGFzc3dvcmQtNTAw\r\n\
    User-Agent: Grafana/11.2.0\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip\r\n\
    Connection: keep-alive\r\n\
    X-Dashboard-Uid: 2d8f1c\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/json\r\n\
    Vary: Accept-Encoding\r\n\
    X-Server-Hostname: select-0\r\n\
    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Content-Length: 63\r\n\r\n";

const FORM: &[u8] = b"query=up%7Bjob%3D%22node%22%7D&start=1700000000&end=1700003600&step=15s&extra_label=team%3Dother";

/// A stage: does its work so many times.
type Stage = (&'static str, fn(u32));

const STAGES: &[Stage] = &[
    ("request-head", request_head),
    ("credential", credential),
    ("verified-token", verified_token),
    ("route-1", |count| route(1, count)),
    ("route-200", |count| route(200, count)),
    ("target-url", target_url),
    ("request-headers", request_headers),
    ("response-head", response_head),
    ("response-headers", response_headers),
    ("form-filter", form_filter),
];

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people and scripts")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    if args.is_empty() {
        STAGES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if let [name, count] = args[..]
        && let Some((_, run)) = STAGES.iter().find(|stage| stage.0 == name)
        && let Ok(count) = count.parse()
    {
        run(count);
        return ExitCode::SUCCESS;
    }
    eprintln!("usage: stages [STAGE COUNT]");
    ExitCode::FAILURE
}

fn request_head(count: u32) {
    let mut head = RequestHead::default();
    for _ in 0..count {
        let length = head.parse(black_box(REQUEST));
        assert!(matches!(length, Ok(Some(_))));
    }
}

fn parsed_request() -> RequestHead {
    let mut head = RequestHead::default();
    assert_eq!(head.parse(REQUEST), Ok(Some(REQUEST.len())));
    head
}

/// One user of a thousand, by Basic credentials.
fn credential(count: u32) {
    let mut users = TokenUsers::default();
    for n in 0..1000 {
        let password = Secret::from(format!("password-{n}"));
        users.add(Credential::Basic { username: format!("user-{n}"), password }.lookup_values(), n);
    }
    let (head, headers) = (parsed_request(), AuthHeaders::new(Vec::new()));
    for _ in 0..count {
        let user = headers.find(black_box(&head), |value| users.find(value));
        assert_eq!(user, Some(500));
    }
}

/// A token of RS256 with usual claims, among five hundred that were verified before.
fn verified_token(count: u32) {
    let values: Vec<_> = (0..500).map(|n| format!("Bearer {}.{n:03}", "e".repeat(560)).into_bytes()).collect();
    let tokens = VerifiedTokens::new(CacheMetrics::default());
    for value in &values {
        let accepted = AcceptedToken { user: 1, placeholders: VmAccess::default(), exp: 2000, nbf: 0 };
        tokens.insert(value, (1, 0), &Arc::new(accepted));
    }
    for _ in 0..count {
        let token = tokens.get(black_box(&values[250]), (1, 0), 1000);
        assert!(token.is_some_and(|token| token.user == 1));
    }
}

/// Normalises the path and selects the last but one of so many entries.
fn route(entries: usize, count: u32) {
    let pattern = |text: &str| GoRegex::new(text).expect("BUG: the pattern is valid");
    let mut matchers: Vec<_> = (1..entries)
        .map(|n| {
            let text = if n % 2 == 0 { format!("/tenant-{n}/.*") } else { format!("/v{n}/(read|write)/[a-z]+") };
            RouteMatcher { paths: vec![pattern(&text)], ..RouteMatcher::default() }
        })
        .collect();
    matchers.push(RouteMatcher { paths: vec![pattern("/select/[0-9]+/.*")], ..RouteMatcher::default() });
    let (table, head) = (RouteTable::new(matchers), parsed_request());
    for _ in 0..count {
        let path = NormalPath::of(black_box(head.path()));
        let input = RouteInput { host: head.host(), path: path.decoded(), query: head.query(), head: &head };
        assert_eq!(table.select(&input), Ok(Some(entries - 1)));
    }
}

fn target_url(count: u32) {
    let url = TargetUrl::parse("http://vmselect:8481/select/7/prometheus?extra_label=team%3Dours&timeout=30s")
        .expect("BUG: the URL is valid");
    let (head, mut out) = (parsed_request(), Vec::with_capacity(1024));
    let path = NormalPath::of(head.path());
    let input = TargetInput { path: &path, query: head.query(), drop_parts: 3, merge_args: &[], placeholders: None };
    for _ in 0..count {
        out.clear();
        url.write_request_target(black_box(&mut out), black_box(&input));
    }
    let want = b"/select/7/prometheus/api/v1/query?extra_label=team%3Dours&timeout=30s&query=";
    assert!(out.starts_with(want), "{}", String::from_utf8_lossy(&out));
}

fn rules(list: &[&str]) -> Vec<HeaderRule> {
    list.iter().map(|item| HeaderRule::parse(item).expect("BUG: the headers are valid")).collect()
}

fn request_headers(count: u32) {
    let rules = HeaderRules::new(&rules(&["AccountID: 7", "Authorization: Basic Zm9vOmJhcg=="]), false);
    let context = ForwardContext { client_ip: "10.1.2.3", remove_xff: false, placeholders: None, request_id: None };
    let (head, mut out) = (parsed_request(), Vec::with_capacity(1024));
    for _ in 0..count {
        out.clear();
        let (head, mut room) = (black_box(&head), Vec::new());
        let host = authority(head, &rules, "vmselect:8481", None, &mut room).expect("BUG: no value of a token");
        let mut fields = HeaderWriter::Http1(black_box(&mut out));
        fields.line(b"Host", host);
        assert!(write_request_headers(&mut fields, head, &rules, &context).is_ok());
    }
}

fn response_head(count: u32) {
    let mut head = ResponseHead::default();
    for _ in 0..count {
        let length = head.parse(black_box(RESPONSE), false);
        assert!(matches!(length, Ok(Some(_))));
    }
}

fn response_headers(count: u32) {
    let rules = ResponseRules::new(&rules(&["X-Server-Hostname:", "Cache-Control: no-store"]));
    let (mut head, mut out) = (ResponseHead::default(), Vec::with_capacity(1024));
    assert_eq!(head.parse(RESPONSE, false), Ok(Some(RESPONSE.len())));
    for _ in 0..count {
        out.clear();
        write_response_headers(&mut HeaderWriter::Http1(black_box(&mut out)), black_box(&head).headers(), &rules);
    }
}

/// A form from which an enforced arg is taken.
fn form_filter(count: u32) {
    let url = TargetUrl::parse("http://vmselect:8481/?extra_label=team%3Dours").expect("BUG: the URL is valid");
    let protected = url.protected_args(&[]);
    for _ in 0..count {
        let filtered = form_body::filter(black_box(FORM), &protected);
        assert!(filtered.is_some());
    }
}
