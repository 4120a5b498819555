//! Whole configs: what is accepted, what is refused, what skips a job.

use super::*;
use vmkit::env_template::Environment;

fn load_str(text: &str) -> Result<ScrapeConfig, String> {
    load_with(text, &JobDefaults::default())
}

fn load_with(text: &str, defaults: &JobDefaults) -> Result<ScrapeConfig, String> {
    let environment = Environment::from_pairs([("JOB", "from-env")]);
    let read = |name: &str| match name {
        "/etc/agent/more.yml" => Ok(b"- {job_name: more, static_configs: [{targets: [x]}]}".to_vec()),
        _ => Err("no such file".to_owned()),
    };
    load_text("/etc/agent/scrape.yml", text.as_bytes(), &read, &environment, defaults)
        .map_err(|error| error.to_string())
}

#[test]
fn defaults_and_inheritance() {
    let text = "
global: {scrape_interval: 30s, sample_limit: 5, external_labels: {a: b}, relabel_configs: [{target_label: x, replacement: y}]}
scrape_configs:
- job_name: '%{JOB}'
  scrape_timeout: 1h
  metrics_path: a?b=c
  params: {z: ['1'], a: [x, '']}
  sample_limit: 0
  relabel_configs: [{target_label: z, replacement: w}]
- {job_name: plain, scrape_interval: 0s, scheme: HTTPS, enable_compression: false}
scrape_config_files: [more.yml]
";
    let config = load_str(text).unwrap();
    let [first, plain, more] = &config.jobs[..] else { panic!() };
    assert_eq!(
        (first.name.as_str(), first.scrape_interval.as_secs(), first.scrape_timeout.as_secs()),
        ("from-env", 30, 30)
    );
    assert_eq!((first.metrics_path.as_str(), first.scheme.as_str()), ("/a?b=c", "http"));
    assert_eq!(first.params, [("a".into(), vec!["x".into(), String::new()]), ("z".into(), vec!["1".into()])]);
    assert_eq!((first.sample_limit, plain.sample_limit), (None, Some(5)));
    assert_eq!((first.relabel.len(), plain.relabel.len()), (2, 1));
    assert_eq!((plain.scrape_interval.as_secs(), plain.scheme.as_str(), plain.compression), (30, "https", false));
    assert_eq!(more.discovery.statics[0].targets, ["x"]);
    assert_eq!(more.external_labels.to_string(), "{a=\"b\"}");
    assert_eq!(config.sources.len(), 2);
    assert!(load_str("").unwrap().jobs.is_empty() && load_str("# nothing\n").unwrap().jobs.is_empty());
}

#[test]
fn configs_that_are_refused() {
    let f = |text: &str, want: &[&str]| {
        let error = load_str(text).unwrap_err();
        assert!(want.iter().all(|want| error.contains(want)), "{text}\n{error}");
    };
    f("rule_files: [a]\nglobal: {evaluation_interval: 5s}", &["rule_files", "line 1", "evaluation_interval", "line 2"]);
    f(
        "scrape_configs: [{job_name: j}, {job_name: k}, {job_name: j}]",
        &["\"j\" (scrape_configs[2], line 1, column 48; scrape_configs[0], line 1, column 18 has it already"],
    );
    f(
        "scrape_configs: [{job_name: j, scrape_interval: 10 parsecs}]",
        &["10 parsecs", "scrape_configs[0].scrape_interval"],
    );
    f("scrape_configs: [{job_name: j, sample_limit: many}]", &["many"]);
    f("scrape_configs: [{job_name: j, file_sd_configs: [{files: [a], refresh_interval: 1m}]}]", &["refresh_interval"]);
    f("scrape_configs: [{job_name: j, relabel_configs: [{source_labels: a}]}]", &["source_labels"]);
    f("scrape_configs: [{job_name: j, relabel_configs: [{if: '{a=', target_label: x}]}]", &["{a="]);
    f("scrape_configs: {job_name: j}", &["line 1"]);
    f("- job_name: j", &["line 1"]);
    f("scrape_configs: [\n", &["/etc/agent/scrape.yml"]);
}

#[test]
fn jobs_that_are_skipped() {
    let f = |job: &str, want: &str| {
        let config = load_str(&format!("scrape_configs:\n- {{job_name: good}}\n- {job}\n")).unwrap();
        assert_eq!(config.jobs.len(), 1, "{job}");
        let text = config.skipped[0].to_string();
        assert!(text.contains("skipping `scrape_config` for job_name=") && text.contains(want), "{job}\n{text}");
    };
    f("{static_configs: []}", "job_name");
    f("{job_name: j, scheme: ftp}", "ftp");
    f("{job_name: j, relabel_configs: [{action: drop, source_labels: [a], regex: '(('}]}", "missing closing )");
    f("{job_name: j, metric_relabel_configs: [{action: explode}]}", "explode");
    f("{job_name: j, bearer_token: a, basic_auth: {username: b}}", "cannot simultaneously use");
    f("{job_name: j, basic_auth: {username: b, password: c, password_file: d}}", "both `password` and");
    f("{job_name: j, basic_auth: {}}", "username");
    f("{job_name: j, oauth2: {client_id: a, client_secret: b}}", "token_url");
    f("{job_name: j, headers: [hunter2]}", "missing ':'");
    f("{job_name: j, tls_config: {min_version: TLS99}}", "TLS99");
    f("{job_name: j, consul_sd_configs: [{server: x}]}", "consul_sd_configs");
    f("{job_name: j, dns_sd_configs: [{names: [a], type: A}]}", "missing `port`");
    f("{job_name: j, kubernetes_sd_configs: [{role: pods}]}", "role");
}

#[test]
fn skipped_jobs_say_where_their_mistake_stands() {
    let f = |job: &str, want: &str| {
        let global = "global: {relabel_configs: [{target_label: a, replacement: b}]}\n";
        let text = format!("{global}scrape_configs:\n- {{job_name: good}}\n- job_name: j\n  {job}\n");
        let config = load_str(&text).unwrap();
        assert!(config.skipped[0].reason.contains(want), "{want}\n{}", config.skipped[0].reason);
    };
    f("scheme: ftp", "(scrape_configs[1].scheme, line 5, column 11)");
    // The rules of `global` come first; they must not move the place of the job's own.
    f(
        "relabel_configs: [{action: drop, source_labels: [a]}, {action: kep}]",
        "unknown `action` \"kep\" (scrape_configs[1].relabel_configs[1], line 5, column 57)",
    );
    f(
        "metric_relabel_configs: [{action: replace}]",
        "(scrape_configs[1].metric_relabel_configs[0], line 5, column 28)",
    );
    f("consul_sd_configs: [{server: x}]", "static_configs, file_sd_configs, http_sd_configs, dns_sd_configs, kube");
    f("consul_sd_configs: [{server: x}]", "(scrape_configs[1].consul_sd_configs, line 5, column 22)");
    f("http_sd_configs: [{}]", "missing `url` (scrape_configs[1].http_sd_configs[0], line 5, column 21)");
    f("kubernetes_sd_configs: [{role: pods}]", "(scrape_configs[1].kubernetes_sd_configs[0], line 5, column 27)");
    f("bearer_token: a\n  basic_auth: {username: b}", "(scrape_configs[1].bearer_token, line 5, column 17)");
    f("headers: [hunter2]", "(scrape_configs[1].headers, line 5, column 12)");
}

#[test]
fn mistakes_of_further_files_name_the_file() {
    let read = |_: &str| Ok(b"- {job_name: j, scheme: ftp}\n".to_vec());
    let text = b"scrape_config_files: [more.yml]\n";
    let environment = Environment::from_pairs([("JOB", "x")]);
    let config = load_text("/etc/agent/scrape.yml", text, &read, &environment, &JobDefaults::default()).unwrap();
    let reason = &config.skipped[0].reason;
    assert!(reason.contains("(/etc/agent/more.yml[0].scheme, line 1, column 25)"), "{reason}");
}

#[test]
fn secrets_are_not_part_of_messages() {
    let text =
        "scrape_configs: [{job_name: j, headers: [hunter2], bearer_token: hunter2, basic_auth: {password: hunter2}}]";
    assert!(!load_str(text).unwrap().skipped[0].to_string().contains("hunter2"));
}

#[test]
fn without_strictness_unknown_fields_are_ignored() {
    let text = "rule_files: [a]\nscrape_configs:\n- {job_name: j, foo: bar, scheme: https}\n";
    let lax = JobDefaults { strict: false, ..JobDefaults::default() };
    assert_eq!(load_with(text, &lax).unwrap().jobs[0].scheme, "https");
    assert!(load_with("scrape_configs: [{job_name: j, sample_limit: many}]", &lax).is_err());
}

#[test]
fn paths_begin_at_the_directory_of_the_config() {
    let config =
        load_str("scrape_configs: [{job_name: j, bearer_token_file: t.txt, tls_config: {ca_file: /ca.pem}}]").unwrap();
    let http = &config.jobs[0].http;
    assert!(
        matches!(&http.credentials, Credentials::Token { token: SecretSource::File(path), .. } if path == "/etc/agent/t.txt")
    );
    assert_eq!(http.tls.ca_file.as_deref(), Some("/ca.pem"));
}
