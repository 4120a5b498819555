//! Pages over made-up states: what they show, what they hide, and that foreign text stays text.

use super::view::{DroppedView, Original};
use super::*;
use crate::config::Source;
use crate::discovery::{EntryState, EntryStatus, Kind};
use crate::labels::Labels;
use relabel_debug::{RemoteWriteRules, TargetRules};
use std::time::UNIX_EPOCH;

const NOW: u64 = 1_800_000_000_000;

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn target(id: u64, host: &str, job: &str, up: bool) -> TargetView {
    let original = labels(&[("__address__", host), ("job", job)]);
    TargetView {
        id,
        url: format!("http://{host}/metrics"),
        labels: labels(&[("instance", host), ("job", job)]),
        original: Original::new(move || original.clone()),
        up,
        last_scrape: Some(at(NOW - 129)),
        duration: Duration::from_millis(37),
        response_size: 19,
        samples: 3,
        scrapes: 3,
        failed: u64::from(!up),
        error: if up { String::new() } else { "status <500>".to_owned() },
    }
}

fn jobs() -> Vec<JobView> {
    let never = TargetView {
        up: false,
        last_scrape: None,
        duration: Duration::ZERO,
        response_size: 0,
        samples: 0,
        scrapes: 0,
        failed: 0,
        error: String::new(),
        ..target(3, "c:1", "two", false)
    };
    let dropped = DroppedView {
        id: 4,
        original: Original::new(|| labels(&[("job", "two"), ("why", "<rules>")])),
        reason: "relabeling".to_owned(),
        members: Vec::new(),
    };
    let elsewhere = DroppedView {
        id: 5,
        original: Original::new(Labels::default),
        reason: "sharding".to_owned(),
        members: vec![1, 2],
    };
    let job = |name: &str, targets, dropped: Vec<DroppedView>| JobView {
        name: name.to_owned(),
        targets,
        dropped_total: dropped.len(),
        dropped,
    };
    vec![
        job("one", vec![target(1, "a:1", "one", true)], Vec::new()),
        job("two", vec![target(2, "b:1", "two", false), never], vec![dropped, elsewhere]),
        job("empty", Vec::new(), Vec::new()),
    ]
}

fn body(reply: PageReply) -> String {
    String::from_utf8(reply.body).unwrap()
}

fn targets_text(query: &str) -> String {
    let reply = targets::answer(&jobs(), &Args(query.as_bytes()), false, at(NOW));
    assert_eq!((reply.status, reply.content_type), (200, TEXT));
    body(reply)
}

#[test]
fn targets_as_text() {
    assert_eq!(
        targets_text(""),
        "job=one (1/1 up)\n\
         \tstate=up, endpoint=http://a:1/metrics, labels={instance=\"a:1\",job=\"one\"}, scrapes_total=3, scrapes_failed=0, \
         last_scrape=0.129s ago, scrape_duration=37ms, scrape_response_size=19B, samples_scraped=3, error=\n\
         job=two (0/2 up)\n\
         \tstate=down, endpoint=http://b:1/metrics, labels={instance=\"b:1\",job=\"two\"}, scrapes_total=3, scrapes_failed=1, \
         last_scrape=0.129s ago, scrape_duration=37ms, scrape_response_size=19B, samples_scraped=3, error=status <500>\n\
         \tstate=down, endpoint=http://c:1/metrics, labels={instance=\"c:1\",job=\"two\"}, scrapes_total=0, scrapes_failed=0, \
         last_scrape=never scraped, scrape_duration=0ms, scrape_response_size=never scraped, samples_scraped=0, error=\n\
         job=empty (0/0 up)\n"
    );
    assert!(
        targets_text("show_original_labels=true").contains("}, originalLabels={__address__=\"a:1\",job=\"one\"}, scr")
    );
    let large = TargetView { response_size: 5004, ..target(1, "a:1", "one", true) };
    assert_eq!(size(&large), "4KiB");
    assert_eq!(size(&TargetView { response_size: 5120, ..large }), "5KiB");
}

#[test]
fn targets_are_filtered() {
    let f = |query: &str, want: &[&str]| {
        let text = targets_text(query);
        for host in ["a:1", "b:1", "c:1"] {
            assert_eq!(text.contains(&format!("http://{host}/")), want.contains(&host), "{query}: {text}");
        }
        assert!(!text.contains("job=empty"), "{query}: {text}");
    };
    f("show_only_unhealthy=true", &["b:1", "c:1"]);
    f("endpoint_search=[ab]:1", &["a:1", "b:1"]);
    f("label_search=%7Bjob%3D%22one%22%7D", &["a:1"]);
    f("label_search=%7Bjob%3D~%22t.*%22%7D&endpoint_search=c:1", &["c:1"]);
    assert!(targets_text("show_only_unhealthy=x").contains("job=empty"));
    assert!(targets_text("endpoint_search=%5B").starts_with("cannot parse [: error parsing regexp: "));
    assert!(targets_text("label_search=%7Bjob%3D").starts_with("cannot parse {job=: "));
}

#[test]
fn html_escapes_what_is_not_ours() {
    let query = "endpoint_search=%22%3E%3Cscript%3E";
    let mut jobs = jobs();
    jobs[0].name = "<script>".to_owned();
    let page = body(targets::answer(&jobs, &Args(b""), true, at(NOW)));
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && page.contains("<title>Active Targets</title>"));
    assert!(page.contains("&lt;script&gt; (1/1 up)") && page.contains("status &lt;500&gt;"));
    assert!(page.contains("<a href=\"target_response?id=0000000000000002\">response</a>"));
    assert!(page.contains("<a href=\"metric-relabel-debug?id=0000000000000002\">metrics</a>"));
    assert!(!page.contains("<script"));
    let searched = body(targets::answer(&jobs, &Args(query.as_bytes()), true, at(NOW)));
    assert!(!searched.contains("<script") && searched.contains("No target fits."), "{searched}");
    assert!(searched.contains("service-discovery?endpoint_search=%22%3E%3Cscript%3E"));
}

#[test]
fn discovery_shows_what_is_dropped_and_why() {
    let entry = EntryStatus {
        job: "two".into(),
        kind: Kind::Http,
        source: "http://h/<sd>".to_owned(),
        state: EntryState {
            updated: Some(at(NOW - 5000)),
            error: Some((at(NOW - 3000), "status & 500".to_owned())),
            targets: 4,
        },
        watches: Vec::new(),
    };
    let show = |member_url: &str, query: &str| {
        let args = Args(query.as_bytes());
        body(service_discovery::answer(&jobs(), std::slice::from_ref(&entry), member_url, &args, at(NOW)))
    };
    let page = show("", "");
    assert!(page.contains("<title>Discovered Targets</title>") && page.contains("<h2>two (2/4 active)</h2>"));
    assert!(page.contains("DROPPED (relabeling)") && page.contains("&lt;rules&gt;"));
    assert!(page.contains("exists at shard-1, shard-2"));
    assert!(
        page.contains("http://h/&lt;sd&gt;")
            && page.contains("status &amp; 500 <span class=\"note\">(first seen 3s ago)")
    );
    let linked = show("http://agent-%d/<x>", "");
    assert!(linked.contains("<a href=\"http://agent-2/&lt;x&gt;\">shard-2</a>"));
    assert!(!show("", "show_only_unhealthy=true").contains("DROPPED"));
}

fn api(query: &str) -> serde_json::Value {
    let reply = api_targets::answer(&jobs(), &Args(query.as_bytes()));
    assert_eq!((reply.status, reply.content_type), (200, "application/json"));
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn targets_as_json() {
    let all = api("");
    assert_eq!(all["status"], "success");
    let first = &all["data"]["activeTargets"][0];
    assert_eq!(first["labels"], serde_json::json!({ "instance": "a:1", "job": "one" }));
    assert_eq!(first["discoveredLabels"], serde_json::json!({ "__address__": "a:1", "job": "one" }));
    assert_eq!(
        (&first["health"], &first["scrapePool"], &first["lastError"]),
        (&"up".into(), &"one".into(), &"".into())
    );
    assert_eq!((&first["lastScrapeDuration"], &first["lastSamplesScraped"]), (&0.037.into(), &3.into()));
    assert_eq!(first["lastScrape"], "2027-01-15T07:59:59.871Z");
    assert_eq!(all["data"]["activeTargets"][2]["lastScrape"], "1970-01-01T00:00:00Z");
    assert_eq!(all["data"]["droppedTargets"][0]["discoveredLabels"]["why"], "<rules>");
    let f = |query: &str, active: usize, dropped: usize| {
        let data = &api(query)["data"];
        let len = |name: &str| data[name].as_array().unwrap().len();
        assert_eq!((len("activeTargets"), len("droppedTargets")), (active, dropped), "{query}");
    };
    f("state=any", 3, 2);
    f("state=active", 3, 0);
    f("state=dropped", 0, 2);
    f("state=what", 0, 0);
    f("scrapePool=two", 2, 2);
    let raw = body(api_targets::answer(&jobs(), &Args(b"")));
    assert!(raw.contains("\\u003crules>") && !raw.contains('<'));
}

fn debug(target: bool, query: &str) -> PageReply {
    let rules = TargetRules {
        original: labels(&[("__address__", "h:1")]),
        labels: labels(&[("instance", "h:1")]),
        relabel: "- action: labeldrop\n  regex: x\n".to_owned(),
        metric_relabel: "- target_label: y\n  replacement: z\n".to_owned(),
    };
    let remote = RemoteWriteRules {
        global: "- target_label: g\n  replacement: \"1\"\n".to_owned(),
        by_url: vec![("1:secret-url".to_owned(), String::new()), ("2:secret-url".to_owned(), "[]".to_owned())],
    };
    let find = move |id: u64| (id == 7).then(|| rules.clone());
    let args = Args(query.as_bytes());
    if target { relabel_debug::target(&args, find) } else { relabel_debug::metric(&args, &remote, find) }
}

fn json(reply: PageReply) -> serde_json::Value {
    assert_eq!((reply.status, reply.content_type), (200, JSON));
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn metric_rules_step_by_step() {
    let query = "format=json&metric=m%7Ba%3D%22x%22%2C__b%3D%22%22%7D&relabel_configs=-%20target_label%3A%20__t%0A%20%20replacement%3A%20y\
                 %0A-%20action%3A%20labeldrop%0A%20%20regex%3A%20a";
    let trace = json(debug(false, query));
    assert_eq!((&trace["status"], &trace["steps"][0]["inLabels"]), (&"success".into(), &"m{a=\"x\"}".into()));
    assert_eq!(trace["steps"][0]["outLabels"], "m{__t=\"y\",a=\"x\"}");
    assert!(trace["steps"][1]["rule"].as_str().unwrap().contains("labeldrop"));
    assert_eq!(trace["steps"][2]["rule"], "remove labels with __ prefix except of __name__");
    assert_eq!((&trace["steps"][3], &trace["resultingLabels"]), (&serde_json::Value::Null, &"m".into()));
    let dropped = "format=json&metric=m&relabel_configs=-%20action%3A%20drop%0A%20%20source_labels%3A%20%5Ba%5D";
    assert_eq!(json(debug(false, dropped))["resultingLabels"], "{}");
}

#[test]
fn target_rules_step_by_step() {
    let query = "format=json&metric=%7B__address__%3D%22x:1%22%7D&relabel_configs=-%20target_label%3A%20t%0A%20%20replacement%3A%20y";
    let trace = json(debug(true, query));
    let rules: Vec<_> = trace["steps"].as_array().unwrap().iter().map(|step| step["rule"].as_str().unwrap()).collect();
    assert!(rules[0].contains("target_label: t"));
    assert_eq!(rules[1..], ["add missing instance label from __address__ label", "remove labels with __ prefix"]);
    assert_eq!(trace["resultingLabels"], "{instance=\"x:1\",t=\"y\"}");
}

#[test]
fn mistakes_are_answers() {
    let f = |target: bool, query: &str, want: &str| {
        let answer = json(debug(target, &format!("format=json&{query}")));
        assert_eq!(answer["status"], "error");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("Error: ") && error.contains(want), "{error}");
    };
    f(false, "metric=m&relabel_configs=-%20action%3A%20boom", "boom");
    f(false, "metric=m%7Ba", "cannot parse metric: ");
    f(false, "metric=a%0Ab", "only one time series is allowed");
    f(true, "id=00", "cannot find target for id=00");
    f(true, "id=0000000000000009", "cannot find target");
}

#[test]
fn forms_are_filled_in_from_a_target() {
    let page = body(debug(false, "id=0000000000000007"));
    assert!(page.contains("up{instance=&quot;h:1&quot;}"), "{page}");
    assert!(page.contains("# metric_relabel_configs\n") && page.contains("# -remoteWrite.relabelConfig\n"));
    assert!(page.contains("<option value=\"0\" selected>1:secret-url</option>"));
    let page = body(debug(true, "id=0000000000000007"));
    assert!(page.contains("<form") && page.contains("{__address__=&quot;h:1&quot;}"));
    assert!(
        page.contains("<ins>instance=&quot;h:1&quot;</ins>") && page.contains("<del>__address__=&quot;h:1&quot;</del>")
    );
    let evil = body(debug(true, "metric=%3C/textarea%3E%3Cscript%3E"));
    assert!(!evil.contains("<script"));
}

#[test]
fn the_config_is_shown_without_secrets_comments_and_defaults() {
    let main = r#"# comment
global: {scrape_interval: 60s, external_labels: {e: x}}
scrape_config_files: [more.yml]
scrape_configs:
- job_name: one
  basic_auth: {username: user, password: hidden-1}
  static_configs: [{targets: ["h:1", '[::1]:80'], labels: {a: "5", b: yes, "": ''}}]
- &two
  job_name: "two words"
  bearer_token: hidden-2
  bearer_token_file: token
  proxy_url: "http://u:hidden-3@p:1/"
  headers: ["X-Key: hidden-4", "X-Plain: seen"]
  oauth2: {client_id: id, client_secret: hidden-5, token_url: "http://x/?token=hidden-6&a=b", endpoint_params: {assertion: hidden-7}}
  authorization: {credentials: hidden-8}
  tls_config: {key: "hidden-9\nhidden", key_file: k.pem, insecure_skip_verify: true}
  metric_relabel_configs: [{action: drop, source_labels: [a], regex: "x|y"}, {regex: '', separator: "; "}]
  params: {}
  file_sd_configs:
"#;
    let sources = [
        Source { name: "scrape.yml".to_owned(), text: main.to_owned() },
        Source { name: "more.yml".to_owned(), text: "- job_name: three\n".to_owned() },
    ];
    let yaml = config_page::yaml(&sources);
    assert!(!yaml.contains("hidden") && !yaml.contains("comment"), "{yaml}");
    for line in [
        "  scrape_interval: 60s\n",
        "    e: x\n",
        "- job_name: one\n  basic_auth:\n    username: user\n    password: <secret>\n",
        "  - targets:\n    - h:1\n    - \"[::1]:80\"\n    labels:\n      a: \"5\"\n      b: yes\n      \"\": \"\"\n",
        "- job_name: two words\n  bearer_token: <secret>\n  bearer_token_file: token\n  proxy_url: http://xxxxx@p:1/\n",
        "  headers:\n  - \"X-Key: <secret>\"\n  - \"X-Plain: seen\"\n",
        "    client_id: id\n    client_secret: <secret>\n    token_url: http://x/?token=secret&a=b\n",
        "      assertion: <secret>\n",
        "    credentials: <secret>\n",
        "    key: <secret>\n    key_file: k.pem\n    insecure_skip_verify: true\n",
        "  - action: drop\n    source_labels:\n    - a\n    regex: x|y\n  - regex: \"\"\n    separator: \"; \"\n",
        "  params: {}\n  file_sd_configs: null\n",
        "- job_name: three\n",
    ] {
        assert!(yaml.contains(line), "{line:?} in\n{yaml}");
    }
    // What is printed is a config again.
    assert!(vmkit::yaml::Tree::parse(&yaml).is_ok());
    assert_eq!(config_page::yaml(&[]), "");
    let api = config_page::api_answer(&sources);
    let api: serde_json::Value = serde_json::from_slice(&api.body).unwrap();
    assert_eq!(api["data"]["yaml"], yaml.as_str());
}

#[test]
fn the_index_leads_to_all_pages() {
    let reply = index::answer("v1.2<3>");
    let page = body(reply.clone());
    assert_eq!((reply.status, reply.content_type), (200, HTML));
    assert!(page.starts_with("<h2>vmagent</h2>") && page.contains("v1.2&lt;3&gt;"), "{page}");
    for path in ["targets", "service-discovery", "metrics", "flags", "config", "-/reload"] {
        assert!(page.contains(&format!("<a href=\"{path}\">")), "{path}");
    }
}

#[test]
fn previews_are_plain_text() {
    let args = Args(b"id=zz");
    assert_eq!(target_response::not_found(&args).status, 400);
    assert_eq!(body(target_response::not_found(&args)), "cannot find target for id=zz\n");
    let reply = target_response::fetched(&args, Ok(b"<script>".to_vec()));
    assert_eq!((reply.status, reply.content_type), (200, TEXT));
    let reply = target_response::fetched(&args, Err("refused".to_owned()));
    assert_eq!((reply.status, body(reply)), (400, "cannot fetch response from id=zz: refused\n".to_owned()));
}
