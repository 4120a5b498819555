use super::*;
use crate::oidc::KeyLocation;
use crate::rewrite::header_rules::HeaderRule;
use crate::upstream::balance::Policy;
use jwt::{KeyKind, VmAccess};
use proptest::prelude::*;
use std::sync::Arc;
use vmkit::tls::client_config::ClientTlsOptions;

const P256: &str = include_str!("../../../jwt/tests/suite/keys/p256.pub");
const ED25519: &str = include_str!("../../../jwt/tests/suite/keys/ed25519.pub");

fn parse_with(text: &str, defaults: &ConfigDefaults) -> Result<AuthConfig, ConfigErrors> {
    let files = |path: &str| match path {
        "/good.pem" => Ok(ED25519.as_bytes().to_vec()),
        "/bad.pem" => Ok(b"s3cret of another file".to_vec()),
        _ => std::fs::read("/no/such/file"),
    };
    let inputs = Inputs {
        expand: &|text| text.replace("%{HOST}", "expanded"),
        defaults,
        read_file: &files,
        check_file: &|_| Ok(()),
    };
    parse(text.as_bytes(), &inputs)
}

fn load(text: &str) -> AuthConfig {
    parse_with(text, &ConfigDefaults::default()).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn unauthorized(text: &str) -> UserSpec {
    let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
    load(&format!("unauthorized_user:\n{indented}")).unauthorized_user.unwrap()
}

fn refused(text: &str) -> String {
    parse_with(text, &ConfigDefaults::default()).map(|config| panic!("accepted: {config:?}")).unwrap_err().to_string()
}

fn pairs(list: &[HeaderRule]) -> Vec<(&str, &str)> {
    list.iter().map(|rule| (rule.name(), rule.value())).collect()
}

#[test]
fn settings_are_inherited_by_entries() {
    let user = unauthorized(
        "headers: ['A: 1', 'B: 2', 'Host: h']\nresponse_headers: ['R: 1']\nkeep_original_host: true\n\
         retry_status_codes: [500]\nload_balancing_policy: first_available\nmerge_query_args: [a]\n\
         drop_src_path_prefix_parts: 2\ndiscover_backend_ips: true\ndefault_url: http://default/\nurl_prefix: http://u/\n\
         url_map:\n- {src_paths: [/a], url_prefix: http://a/}\n\
         - {src_paths: [/b], url_prefix: http://b/, headers: ['b: 3', 'host: x'], response_headers: [], \
         retry_status_codes: [], load_balancing_policy: least_loaded, merge_query_args: [], \
         drop_src_path_prefix_parts: 0, discover_backend_ips: false}\n\
         - {src_paths: [/c], url_prefix: http://c/, keep_original_host: false, retry_status_codes: null, \
         drop_src_path_prefix_parts: -1}",
    );
    let [a, b, c] = &user.routes[..] else { panic!("{user:?}") };
    for target in [&a.target, user.url_prefix.as_ref().unwrap()] {
        assert_eq!(pairs(&target.request_headers), [("A", "1"), ("B", "2"), ("Host", "h")]);
        assert_eq!(pairs(&target.response_headers), [("R", "1")]);
        assert!(target.keep_original_host && target.discover_backend_ips);
        assert_eq!(target.retry_status_codes, [500]);
        assert_eq!(target.merge_query_args, ["a"]);
        assert_eq!(target.drop_src_path_prefix_parts, 2);
        assert_eq!(target.load_balancing_policy, Policy::FirstAvailable);
    }
    assert_eq!(pairs(&b.target.request_headers), [("A", "1"), ("b", "3"), ("host", "x")]);
    assert_eq!(pairs(&b.target.response_headers), [("R", "1")]);
    assert!(!b.target.keep_original_host && !b.target.discover_backend_ips);
    assert!(b.target.retry_status_codes.is_empty());
    assert_eq!(b.target.merge_query_args, ["a"], "an empty list inherits");
    assert_eq!(b.target.drop_src_path_prefix_parts, 0);
    assert_eq!(b.target.load_balancing_policy, Policy::LeastLoaded);
    assert!(!c.target.keep_original_host);
    assert_eq!((c.target.retry_status_codes.as_slice(), c.target.drop_src_path_prefix_parts), (&[500][..], 0));
    let default = user.default_url.unwrap();
    assert_eq!(pairs(&default.request_headers), [("A", "1"), ("B", "2"), ("Host", "h")]);
    assert!(default.keep_original_host && !default.discover_backend_ips);
    assert_eq!(default.load_balancing_policy, Policy::LeastLoaded);
    assert!(default.retry_status_codes.is_empty() && default.merge_query_args.is_empty());
}

#[test]
fn flags_reach_all_targets_but_default_url() {
    let defaults = ConfigDefaults {
        load_balancing_policy: "first_available".to_owned(),
        retry_status_codes: vec![503],
        retry_only_idempotent: true,
        merge_query_args: vec!["m".to_owned()],
        discover_backend_ips: true,
        backend_tls: Arc::new(ClientTlsOptions {
            ca_file: Some("/ca".to_owned()),
            insecure_skip_verify: true,
            ..ClientTlsOptions::default()
        }),
        max_concurrent_requests_per_user: 7,
        real_ip_header: Some("X-Real".to_owned()),
        strict_variables: false,
    };
    let text = "users:\n\
         - {username: a, url_prefix: http://a/, default_url: http://d/, ip_filters: {deny_list: [1.2.3.4]}}\n\
         - {username: b, url_prefix: http://b/, max_concurrent_requests: 3, tls_insecure_skip_verify: false, \
         tls_server_name: x, ip_filters: {real_ip_header: CF}}\n\
         - {username: c, url_prefix: http://b/, max_concurrent_requests: -3}";
    let config = parse_with(text, &defaults).unwrap();
    let [a, b, c] = &config.users[..] else { panic!() };
    let target = a.url_prefix.as_ref().unwrap();
    assert_eq!(target.load_balancing_policy, Policy::FirstAvailable);
    assert_eq!((&target.retry_status_codes[..], &target.merge_query_args[..]), (&[503][..], &["m".to_owned()][..]));
    assert!(target.discover_backend_ips);
    let default = a.default_url.as_ref().unwrap();
    assert_eq!(default.load_balancing_policy, Policy::LeastLoaded);
    assert!(default.retry_status_codes.is_empty() && !default.discover_backend_ips);
    assert!(default.retry_only_idempotent, "what must not be done twice must not be done twice there either");
    assert!(Arc::ptr_eq(&a.tls, &defaults.backend_tls));
    assert_eq!((b.tls.ca_file.as_deref(), b.tls.insecure_skip_verify), (Some("/ca"), false));
    assert_eq!(b.tls.server_name.as_deref(), Some("x"));
    assert_eq!([a, b, c].map(|user| user.max_concurrent_requests), [7, 3, 7]);
    let header = |user: &UserSpec| user.ip_filters.as_ref().unwrap().real_ip_header.clone();
    assert_eq!((header(a).as_deref(), header(b).as_deref()), (Some("X-Real"), Some("CF")));
}

#[test]
fn an_unknown_policy_of_the_flag_is_reported_where_it_is_inherited() {
    let defaults = ConfigDefaults { load_balancing_policy: "random".to_owned(), ..ConfigDefaults::default() };
    let own = "unauthorized_user: {url_prefix: http://a/, load_balancing_policy: least_loaded}";
    assert!(parse_with(own, &defaults).is_ok());
    let errors = parse_with("unauthorized_user: {url_prefix: http://a/}", &defaults).unwrap_err().to_string();
    assert!(errors.contains("unexpected load_balancing_policy: \"random\"; want least_loaded or first_available"));
    assert!(errors.contains("-loadBalancingPolicy"), "{errors}");
}

#[test]
fn users_have_names_labels_and_keys() {
    let config = load(
        "users:\n- {username: foo, password: 0123, url_prefix: http://a/}\n\
         - {bearer_token: tok, url_prefix: http://a/}\n- {auth_token: Foo XXXX, url_prefix: http://a/}\n\
         - {jwt: {skip_verify: true}, url_prefix: http://a/}\n\
         - {username: bar, name: named, metric_labels: {z: 1, a.b: 'x\"y', a: 2}, url_prefix: http://a/}\n\
         - {username: baz, metric_labels: {username: own}, url_prefix: http://a/}\n\
         - {mtls: {organizational_unit: finance, common_name: alice}, url_prefix: http://a/}",
    );
    assert_eq!(config.lookup_keys, 8);
    let names: Vec<_> = config.users.iter().map(|user| user.display_name.as_str()).collect();
    assert_eq!(
        names,
        [
            "foo",
            "bearer_token:hash:8569FD1FC64B1FC7",
            "auth_token:hash:0E39522E2A50D74A",
            "jwt",
            "named",
            "baz",
            "mtls:OU=finance,CN=alice"
        ]
    );
    let Credential::Basic { username, password } = &config.users[0].credential else { panic!() };
    assert_eq!((username.as_str(), password.expose()), ("foo", "0123"));
    let labels: Vec<_> = config.users[4].metric_labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(labels, ["a.b", "a", "username", "z"]);
    assert_eq!(config.users[5].metric_labels, [("username".to_owned(), "own".to_owned())]);
    assert!(!format!("{config:?}").contains("0123"));
}

#[test]
fn null_items_are_ignored_and_never_open_a_route() {
    let user = unauthorized(
        "headers: [null, 'A: 1']\nurl_prefix: http://a/\nretry_status_codes: [null, 500]\nurl_map:\n\
         - {src_paths: [null, /x], url_prefix: http://b/}\n- {src_paths: [~], url_prefix: http://b/}\n\
         - {src_query_args: [null], url_prefix: http://b/}\n- {src_query_args: [abc], url_prefix: http://b/}\n\
         - {src_paths: [/y], src_headers: [null], url_prefix: http://b/}",
    );
    assert_eq!(user.routes.len(), 1);
    assert_eq!(user.routes[0].place, "unauthorized_user.url_map[0]");
    assert_eq!(user.routes[0].src_paths.len(), 1);
    let target = user.url_prefix.unwrap();
    assert_eq!(pairs(&target.request_headers), [("A", "1")]);
    assert!(refused("ip_filters: {allow_list: [null]}").contains("ip_filters.allow_list[0]"));
    let text = "unauthorized_user: {url_prefix: http://a/, deny_paths: [null]}";
    assert!(refused(text).contains("unauthorized_user.deny_paths[0]"));
}

#[test]
fn criteria_are_compiled_once_a_pattern() {
    let user = unauthorized(
        "url_map:\n- {src_paths: [/a.*, /b], src_hosts: [/b, /a.*], src_query_args: ['a=~/b', 'c=d'], deny_paths: [/b], \
         src_headers: ['X-A:  1 ', 'X-B:'], url_prefix: http://b/}\ndeny_paths: [/b]",
    );
    let route = &user.routes[0];
    assert!(route.src_paths[0].is_match(b"/abc") && !route.src_paths[1].is_match(b"/bc"));
    assert!(Arc::ptr_eq(&route.src_paths[1], &user.deny_paths[0]));
    assert!(Arc::ptr_eq(&route.src_paths[1], &route.deny_paths[0]));
    assert!(
        route.src_paths[0].is_match(b"/a\n") && !route.src_hosts[1].is_match(b"/a\n"),
        "only paths may hold a line feed"
    );
    let QueryValue::Regex(pattern) = &route.src_query_args[0].value else { panic!() };
    assert!(Arc::ptr_eq(&route.src_hosts[0], pattern));
    assert!(matches!(&route.src_query_args[1].value, QueryValue::Exact(value) if value == "d"));
    let header = |name: &str, value: &str| SrcHeader { name: name.to_owned(), value: value.to_owned() };
    assert_eq!(route.src_headers, [header("X-A", "1"), header("X-B", "")]);
}

#[test]
fn jwt_options() {
    let config = load(&format!(
        "users:\n- jwt: {{public_keys: [{P256:?}], public_key_files: [/good.pem], match_claims: {{b: 1, a: yes}}, \
         audience: vmauth, clock_skew: 30s, default_vm_access_claim: {{metrics_account_id: 4294967295, \
         logs_extra_filters: [x]}}}}\n  url_prefix: http://a/{{{{.MetricsTenant}}}}\n\
         - {{jwt: {{oidc: {{issuer: 'https://a/'}}, audience: [x, y]}}, url_prefix: http://a/}}\n\
         - {{jwt: {{oidc: {{issuer: 'https://b/'}}}}, url_prefix: http://a/}}\n\
         - {{jwt: {{jwks_url: 'https://b/keys', default_vm_access_claim: {{}}}}, url_prefix: http://a/}}",
    ));
    let jwt = |index: usize| match &config.users[index].credential {
        Credential::Jwt(jwt) => jwt,
        other => panic!("{other:?}"),
    };
    let KeySource::Static(keys) = &jwt(0).keys else { panic!() };
    assert_eq!(keys.kinds().collect::<Vec<_>>(), [KeyKind::P256, KeyKind::Ed25519]);
    let claims: Vec<_> = jwt(0).match_claims.iter().map(|claim| (claim.path.as_str(), claim.value.as_str())).collect();
    assert_eq!(claims, [("a", "yes"), ("b", "1")]);
    assert_eq!((jwt(0).audience.as_slice(), jwt(0).clock_skew.as_secs()), (&["vmauth".to_owned()][..], 30));
    let access = jwt(0).default_vm_access_claim.as_ref().unwrap();
    assert_eq!((access.metrics_account_id, access.logs_extra_filters.len()), (u32::MAX, 1));
    assert!(matches!(&jwt(1).keys, KeySource::Provider(KeyLocation::Oidc { issuer }) if issuer == "https://a/"));
    assert_eq!(jwt(1).audience, ["x", "y"]);
    assert!(matches!(&jwt(3).keys, KeySource::Provider(KeyLocation::JwksUrl(url)) if url == "https://b/keys"));
    assert_eq!(jwt(3).default_vm_access_claim, Some(VmAccess::default()));
}

#[test]
fn users_with_equal_keys_share_one_set() {
    let config = load(&format!(
        "users:\n- &a {{jwt: {{public_keys: [{P256:?}]}}, url_prefix: http://a/}}\n\
         - {{<<: *a, jwt: {{public_keys: [{P256:?}], match_claims: {{a: b}}}}}}\n\
         - {{<<: *a, jwt: {{public_keys: [{ED25519:?}], match_claims: {{a: c}}}}}}\n"
    ));
    let keys = |index: usize| match &config.users[index].credential {
        Credential::Jwt(jwt) => match &jwt.keys {
            KeySource::Static(keys) => keys,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(keys(0), keys(1)) && !Arc::ptr_eq(keys(0), keys(2)));
}

#[test]
fn key_files_are_judged_but_not_shown() {
    let text = "users:\n- {jwt: {public_key_files: [/bad.pem, /x]}, url_prefix: http://a/}";
    let errors = refused(text);
    let cannot = "cannot parse public key from file \"/bad.pem\": failed to parse key";
    assert!(errors.contains(cannot) && !errors.contains("s3cret"), "{errors}");
    assert!(errors.contains("cannot read public key from file \"/x\": open /x: no such file or directory"));
}

#[test]
fn no_secret_reaches_a_message() {
    let errors = refused(
        "users:\n- {username: u, password: s3cret, url_prefix: ['ftp://u:s3cret@a', 'http://u:s3/cret@a:b', 's3cret@x']}\n\
         - {username: u, password: s3cret, url_prefix: 'http://u:s3cret@{}'}\n\
         - {bearer_token: s3cret, auth_token: s3cret, username: x, url_prefix: {s3cret: 1}}\n\
         - {bearer_token: s3cret, url_prefix: 'http://', headers: [Authorization Bearer s3cret, 'Cookie: s3cret {{x}}']}\n\
         - {bearer_token: s3cret, password:s3cret, url_prefix: 'http://s3cret@'}\n\
         - {jwt: {oidc: {issuer: 'http://u:s3cret@'}}, url_prefix: 'http://u:s3cret@a/{{x}}?token=s3cret{{x}}'}\n\
         - {jwt: {public_keys: ['-----BEGIN PRIVATE KEY-----\n s3cret']}, url_prefix: http://a/}\n\
         - {auth_token: [s3cret], url_prefix: http://a/}",
    );
    assert!(!errors.contains("s3cret") && !errors.contains("s3"), "{errors}");
    assert!(!errors.contains("dTpzM2NyZXQ"), "{errors}");
    assert!(errors.lines().count() > 10, "{errors}");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let defaults = ConfigDefaults::default();
    let inputs = Inputs {
        expand: &str::to_owned,
        defaults: &defaults,
        read_file: &|_| Err(io::ErrorKind::NotFound.into()),
        check_file: &|_| Ok(()),
    };
    let errors = parse(b"users:\n- username: \xff\n", &inputs).unwrap_err();
    let problem = &errors.problems()[0];
    assert_eq!((problem.line, problem.column, problem.stage), (2, 13, Stage::Syntax));
    assert!(parse(b"\xef\xbb\xbfusers: []\r\n", &inputs).unwrap().users.is_empty());
}

#[test]
fn the_environment_is_expanded_before_yaml() {
    let user = unauthorized("url_prefix: http://%{HOST}/");
    assert_eq!(user.url_prefix.unwrap().urls[0].host(), "expanded");
}

#[test]
fn thousands_of_users_share_their_patterns() {
    let mut text = String::from("users:\n");
    for index in 0..10_000 {
        text += &format!(
            "- username: user{index}\n  password: secret\n  url_map:\n  - src_paths: [/api/.*]\n    url_prefix: http://a/{index}/\n"
        );
    }
    let started = std::time::Instant::now();
    let config = load(&text);
    assert_eq!((config.users.len(), config.lookup_keys), (10_000, 10_000));
    let pattern = |index: usize| &config.users[index].routes[0].src_paths[0];
    assert!(Arc::ptr_eq(pattern(0), pattern(9_999)));
    // Quadratic work would take minutes; the margin is for unoptimised builds on busy machines.
    assert!(started.elapsed().as_secs() < 20);
}

const SAMPLE: &str = "users:\n- username: foo\n  password: bar\n  url_prefix: ['http://a/', \"http://b/?x=y\"]\n  \
    url_map: &m\n  - src_paths: [/a, /b.*]\n    src_query_args: ['a=~b', 'c=\"d\"']\n    url_prefix: http://c/\n    \
    headers: ['A: b']\n- jwt: {skip_verify: true, match_claims: {a: b}}\n  url_map: *m\n- <<: &x {bearer_token: t}\n  \
    default_url: http://d\n  url_prefix: http://d\n  max_concurrent_requests: 0x10\nunauthorized_user:\n  \
    url_map: *m\nip_filters: {deny_list: [10.0.0.0/8]}\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_configs_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<char>()), 1..12)) {
        let mut chars: Vec<char> = SAMPLE.chars().collect();
        for (index, kind, char) in edits {
            const MARKUP: [char; 16] = ['\n', ' ', ':', '-', '[', ']', '{', '}', '&', '*', '!', '"', '\'', '#', '%', '|'];
            if chars.is_empty() {
                break;
            }
            let at = index.index(chars.len());
            let markup = MARKUP[char as usize % MARKUP.len()];
            match kind {
                0 => drop(chars.remove(at)),
                1 => chars.insert(at, markup),
                2 => chars[at] = char,
                _ => chars.truncate(at),
            }
        }
        let text: String = chars.into_iter().collect();
        if let Err(errors) = parse_with(&text, &ConfigDefaults::default()) {
            prop_assert!(!errors.problems().is_empty());
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = parse_with(&text, &ConfigDefaults::default());
        let _ = parse_with(&format!("unauthorized_user: {{url_prefix: http://a, headers: [{text}]}}"), &ConfigDefaults::default());
    }
}

#[test]
fn mistakes_are_answered_with_what_to_write() {
    let f = |text: &str, want: &str| {
        let errors = parse_with(text, &ConfigDefaults::default()).unwrap_err().to_string();
        assert!(errors.contains(want), "{want}\n{errors}");
    };
    let user = |field: &str| format!("users:\n- username: u\n  password: p\n  url_prefix: http://a/\n  {field}\n");
    let entry = |field: &str| user(&format!("url_map: [{{url_prefix: http://a/, {field}}}]"));
    f(
        &entry("src_paths: [/], max_concurrent_requests: 5"),
        "users[0].url_map[0].max_concurrent_requests (line 5, column 53): there is no field max_concurrent_requests here; it belongs one level up, to the user",
    );
    f(&user("src_paths: [/]"), "there is no field src_paths here; it belongs into an entry of `url_map`");
    f("url_prefix: http://a/", "it belongs into an item of `users`");
    f(
        "users:\n- jwt: {skip_verify: true, vm_default_access_claim: {}}\n  url_prefix: http://a/",
        "did you mean `default_vm_access_claim`?",
    );
    f(
        &user("access_log: true"),
        "users[0].access_log (line 5, column 15): want an object, got `true`; write `access_log: {}`",
    );
    f(&user("headers: {A: b}"), "want a list, got an object; write a list of texts: `- \"Name: value\"`");
    f(&entry("src_paths: ['*']"), "write `.*` for any text");
    f(&entry("src_paths: ['/a(']"), "close the `(`");
    f(&entry("src_paths: ['/(?!a)']"), "`deny_paths`");
    f("users:\n- jwt: {skip_verify: true}\n  url_prefix: 'http://a/{{ .MetricsTenant }}'", "write it without blanks");
    f("users:\n- username: u\n\tpassword: p", "line 3, column 1: yaml: a tab indents the line; write blanks");
    f("users:\n- username: \"u\n  password: p\n", "is never closed");
    let url = |url: &str| format!("users:\n- username: u\n  password: p\n  url_prefix: {url}\n");
    f(&url("http://::1:8428/"), "write an IPv6 address in brackets, such as http://[::1]:8428/");
    f(&url("http://u:p@fe80::1%eth0:80/"), "write an IPv6 address in brackets");
    f(&url("http://u:p@a:b/"), "write a URL such as http://backend:8428/");
    f("- username: u\n", "top level (line 1, column 1): want an object, got a list; put the list under `users:`");
    f("users:\n  username: u\n", "want a list, got an object; write a list: begin each item with `- `");
    f(
        &user("url_prefix: {url: http://a/, weight: 2}").replacen("  url_prefix: http://a/\n", "", 1),
        "write it as an item of a list: `- {url: …}`",
    );
}

#[test]
fn mistakes_of_yaml_are_answered_with_what_to_write() {
    let f = |value: &str, want: &str| {
        let text = format!("users:\n- username: u\n  password: {value}\n  url_prefix: http://a/\n");
        let errors = parse_with(&text, &ConfigDefaults::default()).unwrap_err().to_string();
        assert!(errors.contains(want), "{value}: {want}\n{errors}");
    };
    for value in ["%x", "@x", "`x", "] x", "} x"] {
        f(value, "a text that begins with it needs quotes");
    }
    f("*x", "a text that begins with `*` needs quotes");
    f("|x", "a text that begins with `|` or `>` needs quotes");
    f("a: b", "line 3, column 14: yaml: mapping values are not allowed in this context; a text with `: ` needs quotes");
    f("- x", "put the text in quotes");
    f(", x", "a text that begins so has no quotes");
    f("[x", "a bracket before it is not closed");
    f("{x", "a bracket before it is not closed");
    f("\"a\\.b\"", "in double quotes a backslash begins an escape: put the text in single quotes");
    f("\"a\\xyz\"", "in double quotes a backslash begins an escape");
    f("'-----BEGIN\nabc'", "or a line of its text begins too far left: write a PEM as `|`");
    f("x\n  name y", "the line before is no `key: value`");
    f("x\n name: y", "begins with more or fewer blanks");
}

#[test]
fn variables_that_break_the_text_are_named() {
    let defaults = ConfigDefaults::default();
    let expand = |text: &str| text.replace("%{PW}", "s3cret: x").replace("%{OK}", "fine");
    let inputs = Inputs {
        expand: &expand,
        defaults: &defaults,
        read_file: &|path| std::fs::read(path),
        check_file: &|_| Ok(()),
    };
    let text = "users:\n- username: %{OK}\n  password: %{PW}\n";
    let errors = parse(text.replace("%{", "a%{").as_bytes(), &inputs).unwrap_err().to_string();
    assert!(errors.contains("line 3, column 1: yaml: the value of the variable PW has characters that mean something in YAML; put \"%{PW}\" in quotes"), "{errors}");
    assert!(!errors.contains("s3cret") && !errors.contains("variable OK"), "{errors}");
}
