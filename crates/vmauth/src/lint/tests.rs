//! One table: a config, and the rules that find something in it, each with its line.

use super::*;
use crate::config::{ConfigDefaults, Inputs, parse, parse_files};

const FLAGS: Flags = Flags { max_concurrent_requests: 1000, has_mtls: true };

fn found(yaml: &str, flags: Flags) -> Vec<Finding> {
    let defaults = ConfigDefaults::default();
    let inputs = Inputs {
        expand: &str::to_owned,
        defaults: &defaults,
        read_file: &|path| std::fs::read(path),
        check_file: &|_| Ok(()),
    };
    let config = parse(yaml.as_bytes(), &inputs).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
    let source = Source::new([("", yaml)]);
    let input = Input { source: &source, written: &source, config: &config, flags, is_readable: &|_| false };
    lint(&input, |_| true)
}

#[track_caller]
fn check(yaml: &str, want: &[(&str, u32)]) {
    let found = found(yaml, FLAGS);
    let got: Vec<_> = found.iter().map(|finding| (finding.rule.id, finding.mark.line)).collect();
    assert_eq!(got, want, "{found:#?}\n{yaml}");
}

/// A user with this field in its third line.
fn user(field: &str) -> String {
    format!("users:\n- username: u\n  {field}\n  password: '%{{P'\n")
}

#[test]
fn credentials() {
    check("users:\n- username: u\n  url_prefix: http://a/\n", &[("empty-password", 2)]);
    check("users:\n- username: u\n  password: '%{P'\n  url_prefix: http://a/\n", &[]);
    check(
        "users:\n- username: u\n  url_prefix: http://a/\n  password: ab #cd\n",
        &[("cut-by-comment", 4), ("plain-secret", 4)],
    );
    for value in ["&Xy7", "!Xy7", "&Xy7 # new", "#Xy7"] {
        let text = format!("users:\n- username: u\n  url_prefix: http://a/\n\n  password: {value}\n\n");
        check(&text, &[("empty-password", 2), ("cut-by-comment", 5)]);
    }
    check("users:\n- username: u\n  password: # none\n  url_prefix: http://a/\n", &[("empty-password", 2)]);
    check("users:\n- username: u\n  password: &a '%{P'\n  url_prefix: http://a/\n", &[]);
    check(
        "users:\n- bearer_token: ab # cd\n  url_prefix: http://x:y@a/\n",
        &[("plain-secret", 2), ("plain-secret", 3)],
    );
    check(
        &user("{url_prefix: http://a/, headers: ['Authorization: x', 'A: b', 'Cookie:']}").replace("  {", "  <<: {"),
        &[("plain-secret", 3)],
    );
    check(
        "users:\n- bearer_token: '%{T}'\n  url_prefix: http://a/?x=${X}${x}\n",
        &[("unset-variable", 2), ("unset-variable", 3)],
    );
}

#[test]
fn tokens_and_certificates() {
    let jwt = |jwt: &str| format!("users:\n- url_prefix: http://a/\n  jwt: {{{jwt}}}\n");
    check(&jwt("skip_verify: true"), &[("skip-verify", 3)]);
    check(&jwt("audience: x, oidc: {issuer: 'http://idp/'}"), &[("http-issuer", 3)]);
    check(&jwt("jwks_url: 'http://127.0.0.1:1/'"), &[("no-audience", 3)]);
    check(&jwt("jwks_url: 'https://idp/', audience: x"), &[]);
    let mtls = "users:\n- {mtls: {organization: a}, url_prefix: http://a/}\n- {mtls: {organization: a, common_name: b}, url_prefix: http://a/}\n- {mtls: {common_name: c}, url_prefix: http://a/}\n";
    check(mtls, &[("unused-user", 3)]);
    let off = found(mtls, Flags { has_mtls: false, ..FLAGS });
    assert_eq!((off[0].rule.id, off[0].place.as_str()), ("mtls-off", "users[0].mtls"));
}

#[test]
fn limits_and_files() {
    check("{}", &[("empty-config", 1)]);
    check("unauthorized_user: {}", &[("empty-unauthorized-user", 1)]);
    check("unauthorized_user: {access_log: {}}", &[]);
    let user = |field: &str| format!("unauthorized_user:\n  url_prefix: http://a/\n  {field}\n");
    check(&user("max_concurrent_requests: 1001"), &[("limit-above-global", 3)]);
    check(&user("max_concurrent_requests: 1000"), &[]);
    check(&user("max_concurrent_requests: -1"), &[("negative-limit", 3)]);
    check(&user("tls_ca_file: /nowhere"), &[("missing-file", 3)]);
    check(&user("tls_ca_file: https://a/b"), &[]);
}

#[test]
fn routes() {
    let map = |entries: &[&str]| {
        let entries: Vec<_> = entries.iter().map(|entry| format!("  - {{{entry}, url_prefix: http://a/}}\n")).collect();
        format!("unauthorized_user:\n  url_map:\n{}", entries.concat())
    };
    check("unauthorized_user: {url_prefix: ['http://a:1/', 'http://b:84280000/']}", &[("bad-port", 1)]);
    check("unauthorized_user: {url_prefix: 'http://a/?x=1', merge_query_args: [x, y]}", &[("merged-filter", 1)]);
    check(&map(&["src_paths: [/api/]"]), &[("narrow-pattern", 3)]);
    check(
        &map(&["src_paths: ['/api/*']", "src_paths: ['/*']", "src_paths: ['/a.b/c/*']"]),
        &[("narrow-pattern", 3), ("narrow-pattern", 4), ("narrow-pattern", 5)],
    );
    check(&map(&["src_paths: ['/api/*', '/api/.*']", "src_paths: ['/(x/)*', '/y*', '/z/.*/*']"]), &[]);
    check(&map(&["src_paths: [/api/, /api/.+]", "src_paths: [/, '/x/?']"]), &[]);
    check(
        &map(&["src_paths: [api/.*]", "src_paths: [/a//b]", "src_paths: ['/a\\?b']", "src_paths: ['', '/x']"]),
        &[("never-matches", 3), ("never-matches", 4), ("never-matches", 5)],
    );
    check(&map(&["src_query_args: [x]", "src_paths: [/a]"]), &[("never-matches", 3)]);
    check(&map(&["src_paths: ['/a.*']", "src_paths: [/ab, '/ac/.*']"]), &[("shadowed-route", 4)]);
    check(&map(&["src_paths: ['/a.*']", "src_paths: [/ab, '/.*']"]), &[]);
    check(&map(&["src_paths: ['/a/.+']", "src_paths: ['/a/.*']"]), &[]);
    check(&map(&["src_hosts: ['.*']", "src_paths: [/x]"]), &[]);
    check(&map(&["src_query_args: ['a=~x.*']", "src_query_args: [a=xy], src_paths: [/x]"]), &[("shadowed-route", 4)]);
    check(&map(&["src_headers: ['A: b']", "src_headers: ['a:b']", "src_headers: ['a: c']"]), &[("shadowed-route", 4)]);
    check("unauthorized_user:\n  url_prefix: http://a/\n  default_url: http://b/\n", &[("shadowed-route", 3)]);
    let open =
        "users: [{username: u, password: '%{P', url_prefix: http://a/}]\nunauthorized_user:\n  url_prefix: http://a/\n";
    check(open, &[("open-to-all", 3)]);
    check(&format!("{open}  ip_filters: {{allow_list: [10.0.0.0/8]}}\n"), &[]);
}

#[test]
fn rules_are_switched_off_by_comments() {
    check("# lint-off: empty-config\n{}", &[]);
}

#[test]
fn findings_name_their_file_and_comments_count_for_their_own() {
    let user = |name: &str| format!("users: [{{username: {name}, url_prefix: http://a/}}]\n").into_bytes();
    let off = [b"# lint-off: empty-password\n".to_vec(), user("b")].concat();
    let files = [("a.yml", user("a")), ("b.yml", off), ("c.yml", user("c"))];
    let files = files.map(|(name, bytes)| ConfigFile { name: name.to_owned(), bytes });
    let defaults = ConfigDefaults::default();
    let inputs = Inputs {
        expand: &str::to_owned,
        defaults: &defaults,
        read_file: &|path| std::fs::read(path),
        check_file: &|_| Ok(()),
    };
    let config = parse_files(&files, &inputs).unwrap();
    let found = lint_files(&files, &str::to_owned, &config, FLAGS, &|_| true, |_| true);
    let got: Vec<_> = found.iter().map(|one| (one.file.as_str(), one.place.as_str(), one.mark.line)).collect();
    assert_eq!(got, [("a.yml", "a.yml:users[0]", 1), ("c.yml", "c.yml:users[0]", 1)]);
}

#[test]
fn ids_are_sorted_and_summaries_are_sentences() {
    assert!(RULES.is_sorted_by_key(|rule| rule.id));
    assert!(RULES.iter().all(|rule| rule.summary.ends_with('.')));
}

#[test]
fn the_page_shows_each_rule_with_an_example() {
    let page = include_str!("../../../../docs/reference/lint.md");
    for rule in RULES {
        let row = format!(
            "| [{0}](#{0}) | {1} | {2} | {3} |",
            rule.id,
            rule.severity.name(),
            if rule.at_load { "✓" } else { "" },
            rule.summary
        );
        assert!(page.contains(&row), "{row}");
        let section = page.split(&format!("\n### {}\n", rule.id)).nth(1).unwrap_or_else(|| panic!("{}", rule.id));
        let section = section.split("\n### ").next().unwrap();
        assert!(section.contains(&format!("[{}]", rule.id)), "no finding is shown for {}", rule.id);
    }
}

#[test]
fn timeouts_that_another_one_ends() {
    let routes = |fields: &str| {
        format!(
            "unauthorized_user:\n  request_timeout: 10s\n  url_map:\n  - src_paths: [/a]\n    url_prefix: http://a/\n    \
             {fields}\n"
        )
    };
    check(&routes("response_timeout: 10s"), &[]);
    check(&routes("response_timeout: 11s"), &[("unreached-timeout", 6)]);
    check(&routes("response_timeout: 0"), &[("unreached-timeout", 6)]);
    check(&routes("response_timeout: 11s\n    request_timeout: 0"), &[]);
    check(&routes("connect_timeout: 1m"), &[("unreached-timeout", 6)]);
}

#[test]
fn ejection_of_too_few() {
    let user = |urls: &str, fields: &str| {
        format!("unauthorized_user:\n  outlier_detection: {{{fields}}}\n  url_prefix: [{urls}]\n")
    };
    check(&user("http://a/", ""), &[("never-ejects", 2)]);
    check(&user("http://a/", "max_ejection_percent: 100"), &[]);
    check(&user("http://a/", "consecutive_errors: 0, error_percent: 0"), &[]);
    check(&user("http://a/, http://b/", ""), &[]);
    check(&user("http://a/, http://b/", "max_ejection_percent: 49"), &[("never-ejects", 2)]);
    check(&format!("{}  discover_backend_ips: true\n", user("http://a/", "")), &[]);
    let routes = "  url_map:\n  - src_paths: [/x]\n    url_prefix: http://c/\n";
    check(&format!("{}{routes}", user("http://a/", "")), &[("never-ejects", 2)]);
    // What a user says is for those of its routes that have enough.
    check(&format!("{}{routes}", user("http://a/, http://b/", "")), &[]);
    let own = format!("{}{routes}    outlier_detection: {{}}\n", user("http://a/, http://b/", ""));
    check(&own, &[("never-ejects", 7)]);
}

#[test]
fn probes_that_outlast_their_interval() {
    let user = |fields: &str| {
        format!("unauthorized_user:\n  health_check: {{path: /up, {fields}}}\n  url_prefix: http://a/\n")
    };
    check(&user("interval: 2s, timeout: 3s"), &[("slow-probe", 2)]);
    check(&user("interval: 2s, timeout: 2s"), &[]);
    check(&user("timeout: 6s"), &[("slow-probe", 2)]);
    check(&user("interval: 1s"), &[("slow-probe", 2)]);
    check(&user(""), &[]);
    let routes = "  url_map:\n  - src_paths: [/x]\n    url_prefix: http://c/\n";
    // Found where it is written, once.
    check(&format!("{}{routes}", user("timeout: 6s")), &[("slow-probe", 2)]);
    let own = format!("{}{routes}    health_check: {{path: /up, timeout: 9s}}\n", user(""));
    check(&own, &[("slow-probe", 7)]);
}

#[test]
fn weights_that_say_nothing() {
    let routes = |policy: &str| {
        format!(
            "unauthorized_user:\n  load_balancing_policy: {policy}\n  url_map:\n  - src_paths: [/a]\n    url_prefix:\n    - \
             {{url: http://a/, weight: 0}}\n    - {{url: http://b/, weight: 3}}\n"
        )
    };
    check(&routes("least_loaded"), &[]);
    check(&routes("first_available"), &[("unused-weight", 7)]);
    let port =
        "unauthorized_user:\n  url_map:\n  - src_paths: [/a]\n    url_prefix:\n    - {weight: 2, url: 'http://a:0/'}\n";
    check(port, &[("bad-port", 5)]);
}
