//! `kubernetes_sd_configs` against a scripted API server: what is discovered, and what happens when things break.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test says by panicking what is wrong")]

#[path = "kubernetes/api_server.rs"]
mod api_server;

use api_server::{Answer, ApiServer, Request, fixture};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use vmagent::config::{JobDefaults, ScrapeConfig, load_text};
use vmagent::discovery::kubernetes::{KubernetesOptions, Surroundings, WatchLimits};
use vmagent::discovery::{Discovery, DiscoveryOptions, DiscoveryParts, JobTargets, Kind, Published};
use vmkit::env_template::Environment;
use vmkit::metrics::{Metric, Set};
use vmkit::net::dns::Resolver;

type LabelSet = BTreeMap<String, String>;

struct Agent {
    discovery: Discovery,
    metrics: Arc<Set>,
}

impl Agent {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut KubernetesOptions)) -> Self {
        let mut kubernetes = KubernetesOptions {
            coalesce: Duration::from_millis(1),
            limits: WatchLimits { retry: Duration::from_millis(20), ..WatchLimits::default() },
            ..KubernetesOptions::default()
        };
        change(&mut kubernetes);
        let metrics = Arc::new(Set::new());
        let parts = DiscoveryParts {
            environment: Arc::new(Environment::default()),
            resolver: Arc::new(Resolver::from_system()),
            metrics: Arc::clone(&metrics),
        };
        let options = DiscoveryOptions { kubernetes, ..DiscoveryOptions::default() };
        Self { discovery: Discovery::new(options, parts), metrics }
    }

    fn apply(&self, config: &ScrapeConfig) -> Vec<JobTargets> {
        assert!(config.skipped.is_empty(), "{:?}", config.skipped);
        self.discovery.apply(config.jobs.iter().map(|job| &**job))
    }

    /// The only channel of a config.
    fn start(&self, jobs: &str) -> watch::Receiver<Published> {
        let mut channels = self.apply(&config(jobs));
        assert_eq!(channels.len(), 1);
        channels.remove(0).targets
    }

    fn counter(&self, name: &str) -> u64 {
        self.metrics.counter(name).get()
    }

    fn gauge(&self, name: &str) -> i64 {
        self.metrics.gauge(name).get()
    }
}

fn config(jobs: &str) -> ScrapeConfig {
    let text = format!("scrape_configs:\n{jobs}");
    let read = |_: &str| Err("nothing else is read".to_owned());
    load_text("scrape.yml", text.as_bytes(), &read, &Environment::default(), &JobDefaults::default()).unwrap()
}

/// Waits until the published targets are as wanted.
async fn wait(
    targets: &mut watch::Receiver<Published>,
    what: &str,
    ready: impl Fn(&[LabelSet]) -> bool,
) -> Vec<LabelSet> {
    let wanted = async {
        let found = targets.wait_for(|published| published.as_ref().is_some_and(|list| ready(&sets(list)))).await;
        sets(found.unwrap().as_ref().unwrap())
    };
    if let Ok(found) = tokio::time::timeout(Duration::from_secs(60), wanted).await {
        return found;
    }
    panic!("{what}: {:#?}", targets.borrow().as_ref().map(|list| names(&sets(list))));
}

fn sets(list: &[Arc<vmagent::discovery::TargetLabels>]) -> Vec<LabelSet> {
    let set = |target: &Arc<vmagent::discovery::TargetLabels>| {
        let pairs = target.to_pairs(&[]).into_iter().filter(|(_, value)| !value.is_empty());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    list.iter().map(set).collect()
}

fn names(sets: &[LabelSet]) -> Vec<String> {
    let name = |set: &LabelSet| set.get("__meta_kubernetes_pod_name").or_else(|| set.get("__address__")).cloned();
    sets.iter().filter_map(name).collect()
}

fn pod_job(server: &ApiServer) -> String {
    format!("- {{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}'}}]}}\n", server.address)
}

fn pod(name: &str, version: u64, label: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}","labels":{{"l":"{label}"}}}},
        "spec":{{"containers":[{{"name":"c","ports":[{{"containerPort":80}}]}}]}},"status":{{"podIP":"10.0.0.1","phase":"Running"}}}}"#
    )
    .replace('\n', "")
}

fn list(version: u64, items: &[String]) -> String {
    format!(r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#, items.join(","))
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

const PODS: &str = "/api/v1/pods";

async fn pods(items: &[&str]) -> ApiServer {
    let server = ApiServer::empty(4096).await;
    server.set(PODS, list(100, &items.iter().map(|name| pod(name, 50, "1")).collect::<Vec<_>>()));
    server
}

fn is_open_watch(request: &Request) -> bool {
    request.is_watch() && !request.is_streaming_list()
}

// ---------------------------------------------------------------------------------------------- recorded clusters

fn expected(job: &str) -> BTreeSet<LabelSet> {
    let list: serde_json::Value = serde_json::from_slice(&fixture(&format!("expected/{job}.json"))).unwrap();
    let of_job = ["job", "__metrics_path__", "__scheme__", "__scrape_interval__", "__scrape_timeout__"];
    let set = |target: &serde_json::Value| -> LabelSet {
        let labels = target["discoveredLabels"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        labels.filter(|(name, value)| !value.is_empty() && !of_job.contains(&name.as_str())).collect()
    };
    list.as_array().unwrap().iter().map(set).collect()
}

/// Upstream's targets without what ours leaves out on purpose, and ours without what upstream does not have.
fn comparable(sets: impl IntoIterator<Item = LabelSet>) -> BTreeSet<LabelSet> {
    let is_of_port = |set: &LabelSet| {
        set.contains_key("__meta_kubernetes_endpoint_ready") || set.contains_key("__meta_kubernetes_endpointslice_port")
    };
    let is_of_endpoints = |set: &LabelSet| {
        set.contains_key("__meta_kubernetes_endpoints_name") || set.contains_key("__meta_kubernetes_endpointslice_name")
    };
    let is_dead = |set: &LabelSet| {
        let phase = set.get("__meta_kubernetes_pod_phase").map(String::as_str);
        !set.contains_key("__meta_kubernetes_pod_ip") || matches!(phase, Some("Succeeded" | "Failed"))
    };
    let strip = |mut set: LabelSet| {
        set.remove("__meta_kubernetes_endpointslice_endpoint_zone");
        if is_of_endpoints(&set) && !set.contains_key("__meta_kubernetes_pod_uid") {
            set.retain(|name, _| !name.starts_with("__meta_kubernetes_node_"));
        }
        set
    };
    sets.into_iter()
        .filter(|set| !(is_of_endpoints(set) && !is_of_port(set) && is_dead(set)))
        .filter(|set| set.get("__meta_kubernetes_endpointslice_port").is_none_or(|port| port != "0"))
        .map(strip)
        .collect()
}

/// Files that scrape configs name, and the environment they name them by.
fn surroundings(directory: &Path, server: &ApiServer) -> (Environment, Surroundings) {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = format!("http://{}", server.address);
    let kubeconfig = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{url}'}}}}]\nusers: [{{name: u, user: {{tokenFile: token}}}}]\n"
    );
    write("namespace", "checkout");
    let pairs = [
        ("KUBE_API", url),
        ("KUBE_CA_FILE", write("ca.crt", "")),
        ("KUBE_TOKEN_FILE", write("token", "fixture-token\n")),
        ("KUBECONFIG_TOKEN", write("kubeconfig", &kubeconfig)),
    ];
    let around = Surroundings { service_account: directory.to_str().unwrap().to_owned(), ..Surroundings::default() };
    (Environment::from_pairs(pairs), around)
}

#[tokio::test]
async fn recorded_clusters_give_the_expected_targets() {
    for piece in [4096, 777] {
        let server = ApiServer::recorded(piece).await;
        let directory = tempfile::tempdir().unwrap();
        let (environment, around) = surroundings(directory.path(), &server);
        let mut checked = 0;
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kube/scrape")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let job = name.trim_end_matches(".yml");
            // Those two need TLS on the server.
            if matches!(job, "in-cluster" | "kubeconfig-client-cert" | "own-namespace" | "own-namespace-and-names") {
                continue;
            }
            let text = String::from_utf8(fixture(&format!("scrape/{name}"))).unwrap();
            let text = format!("scrape_configs:\n{text}");
            let read = |_: &str| Err(String::new());
            let config = load_text("x.yml", text.as_bytes(), &read, &environment, &JobDefaults::default()).unwrap();
            let agent = Agent::with(|options| options.surroundings = around.clone());
            let mut targets = agent.apply(&config).remove(0).targets;
            let want = comparable(expected(job));
            wait(&mut targets, job, |sets| comparable(sets.iter().cloned()) == want).await;
            assert!(!want.is_empty());
            checked += 1;
        }
        assert!(checked >= 26, "{checked}");
        assert!(server.requests().iter().all(|request| request.head.contains("Bearer fixture-token\r\n")));
        assert!(server.requests().iter().all(|request| request.head.contains("accept: application/json\r\n")));
    }
}

// ---------------------------------------------------------------------------------------------------- watches

/// Waits until exactly these pods are targets.
async fn wait_pods(targets: &mut watch::Receiver<Published>, want: &[&str]) {
    wait(targets, &format!("want {want:?}"), |sets| names(sets) == want).await;
}

#[tokio::test]
async fn events_reach_targets_without_another_list() {
    let server = pods(&["a", "b"]).await;
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a", "b"]).await;
    let watch = server.wait_for(1, is_open_watch).await;
    assert_eq!(watch.version(), Some("100"));
    assert_eq!(watch.args["allowWatchBookmarks"], "true");
    assert_eq!(watch.args["timeoutSeconds"], "1620");
    server.send(PODS, event("ADDED", &pod("c", 101, "1")) + &event("DELETED", &pod("a", 102, "1")));
    wait_pods(&mut targets, &["b", "c"]).await;
    server.send(PODS, event("MODIFIED", &pod("b", 103, "2")));
    wait(&mut targets, "label", |sets| sets[0].get("__meta_kubernetes_pod_label_l").is_some_and(|l| l == "2")).await;
    assert_eq!(server.count(Request::is_list), 1);
    let metric = |name: &str| format!("vm_promscrape_discovery_kubernetes_{name}{{role=\"pod\"}}");
    assert_eq!(agent.gauge(&metric("objects")), 2);
    assert_eq!(agent.counter(&metric("objects_added_total")), 3);
    assert_eq!(agent.counter(&metric("objects_updated_total")), 1);
    assert_eq!(agent.counter(&metric("objects_removed_total")), 1);
    assert_eq!(agent.gauge(&metric("url_watchers")), 1);
    drop(agent);
}

#[tokio::test]
async fn a_watch_goes_on_from_the_last_version_however_it_ended() {
    let server = pods(&["a"]).await;
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    server.wait_for(1, is_open_watch).await;
    // In order, after an event: from the version of the event.
    server.send(PODS, event("ADDED", &pod("b", 107, "1")));
    wait_pods(&mut targets, &["a", "b"]).await;
    server.end_watches();
    assert_eq!(server.wait_for(2, is_open_watch).await.version(), Some("107"));
    // In order, after a bookmark: from the version of the bookmark.
    let bookmark = r#"{"kind":"Pod","metadata":{"resourceVersion":"120"},"spec":{"containers":null}}"#;
    server.send(PODS, event("BOOKMARK", bookmark) + &event("ADDED", &pod("c", 121, "1")));
    wait_pods(&mut targets, &["a", "b", "c"]).await;
    assert_eq!(server.count(|request| request.args.contains_key("limit")), 0);
    // Cut: the server is asked for its version first, and then watched from ours.
    server.cut_watches();
    server.wait_for(1, |request| request.args.contains_key("limit")).await;
    let list = server.wait_for(2, Request::is_list).await;
    assert_eq!(list.version(), Some("0"), "the server's version, 100, is lower than ours: the list is read again");
    wait_pods(&mut targets, &["a"]).await;
}

#[tokio::test]
async fn a_server_that_is_as_new_as_we_are_is_not_listed_again_after_a_cut() {
    let server = pods(&["a"]).await;
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    server.wait_for(1, is_open_watch).await;
    for n in 2..5 {
        server.cut_watches();
        assert_eq!(server.wait_for(n, is_open_watch).await.version(), Some("100"));
    }
    assert_eq!(server.count(Request::is_list), 1);
    assert_eq!(server.count(|request| request.args.contains_key("limit")), 3);
}

#[tokio::test]
async fn a_version_that_is_gone_means_a_new_list_and_no_loop() {
    let gone = String::from_utf8(fixture("recorded/watch-error-410.jsonl")).unwrap();
    for as_status in [false, true] {
        let server = pods(&["a"]).await;
        let agent = Agent::with(|options| options.limits.retry = Duration::from_millis(200));
        let mut targets = agent.start(&pod_job(&server));
        wait_pods(&mut targets, &["a"]).await;
        server.wait_for(1, is_open_watch).await;
        let gone = gone.clone();
        server.rule(move |request| {
            let answer = if as_status { Answer::Status(410, "", gone.clone()) } else { Answer::Stream(gone.clone()) };
            is_open_watch(request).then_some(answer)
        });
        server.set(PODS, list(200, &[pod("b", 150, "1")]));
        let begun = std::time::Instant::now();
        server.end_watches();
        wait_pods(&mut targets, &["b"]).await;
        server.wait_for(4, Request::is_list).await;
        // The first list comes at once, those behind it with the waits of failures.
        assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
        let stale = "vm_promscrape_discovery_kubernetes_stale_resource_versions_total{role=\"pod\"}";
        assert!(agent.counter(stale) >= 3);
    }
}

#[tokio::test]
async fn other_error_events_and_garbage_mean_a_new_list() {
    let internal = String::from_utf8(fixture("recorded/watch-error-500.jsonl")).unwrap();
    for stream in [internal, "garbage".to_owned(), event("WHAT", "{}"), event("ADDED", "5")] {
        let server = pods(&["a"]).await;
        let agent = Agent::new();
        let mut targets = agent.start(&pod_job(&server));
        wait_pods(&mut targets, &["a"]).await;
        server.wait_for(1, is_open_watch).await;
        server.set(PODS, list(200, &[pod("b", 150, "1")]));
        server.send(PODS, stream.clone());
        wait_pods(&mut targets, &["b"]).await;
        assert_eq!(server.count(Request::is_list), 2, "{stream}");
    }
}

#[tokio::test]
async fn a_silent_watch_is_opened_again() {
    let server = pods(&["a"]).await;
    let agent = Agent::with(|options| options.limits.silence = Duration::from_millis(100));
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    server.wait_for(3, is_open_watch).await;
    assert_eq!(server.count(Request::is_list), 1);
}

#[tokio::test]
async fn refusals_keep_the_targets_and_are_counted() {
    let server = pods(&["a"]).await;
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    server.wait_for(1, is_open_watch).await;
    for status in [401, 403, 404, 429, 500, 503] {
        let refused = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&refused);
        server.rule(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(Answer::Status(status, "Retry-After: 0\r\n", r#"{"kind":"Status","message":"no"}"#.to_owned()))
        });
        let before = server.requests().len();
        server.end_watches();
        server.wait_for(before + 3, |_| true).await;
        assert!(refused.load(Ordering::SeqCst) >= 3);
        server.no_rule();
        let watches = server.count(is_open_watch);
        server.wait_for(watches + 1, is_open_watch).await;
        let name = format!("vm_promscrape_discovery_kubernetes_errors_total{{role=\"pod\",reason=\"{status}\"}}");
        assert!(agent.counter(&name) >= 2, "{status}");
    }
    wait_pods(&mut targets, &["a"]).await;
    assert_eq!(server.count(Request::is_list), 1);
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let server = pods(&[]).await;
    let forbidden = String::from_utf8(fixture("recorded/error-403-namespace.json")).unwrap();
    server.rule(move |_| Some(Answer::Status(403, "", forbidden.clone())));
    let agent = Agent::new();
    let targets = agent.start(&format!(
        "- {{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}', namespaces: {{names: [shop]}}}}]}}\n",
        server.address
    ));
    server.wait_for(3, |_| true).await;
    let status = agent.discovery.status();
    let (what, watch) = &status[0].watches[0];
    assert_eq!(what, &format!("pod http://{}/api/v1/namespaces/shop/pods", server.address));
    let error = &watch.error.as_ref().unwrap().1;
    assert!(error.contains("403; want 200; response: \"pods is forbidden"), "{error}");
    assert!(error.contains("verbs list and watch on pods in namespace \"shop\""), "{error}");
    assert!(targets.borrow().is_none());
}

#[tokio::test]
async fn a_list_that_breaks_off_is_read_again_and_changes_nothing_before() {
    let server = pods(&["a", "b"]).await;
    let cut = list(100, &[pod("x", 1, "1"), pod("y", 1, "1")]);
    let half = cut[..cut.len() / 2 + 40].to_owned();
    let mut left = 2;
    server.rule(move |request| {
        (request.is_list() && left > 0).then(|| {
            left -= 1;
            Answer::Cut(half.clone())
        })
    });
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    let first = wait(&mut targets, "the first published state", |_| true).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(server.count(Request::is_list), 3);
}

// ------------------------------------------------------------------------------------------------ streaming lists

#[tokio::test]
async fn a_streaming_list_is_preferred_and_goes_on_as_a_watch() {
    let server = ApiServer::empty(100).await;
    let path = "/api/v1/namespaces/checkout/pods";
    let stream = String::from_utf8(fixture("recorded/watch-list-pods.jsonl")).unwrap();
    server.rule(move |request| request.is_streaming_list().then(|| Answer::Open(stream.clone())));
    let agent = Agent::new();
    let mut targets = agent.start(&format!(
        "- {{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}', namespaces: {{names: [checkout]}}}}]}}\n",
        server.address
    ));
    let found = wait(&mut targets, "streamed pods", |_| true).await;
    assert!(found.len() > 5, "{:?}", names(&found));
    server.send(path, event("ADDED", &pod("zzz", 99_999, "1")));
    wait(&mut targets, "an event behind the list", |sets| names(sets).contains(&"zzz".to_owned())).await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn servers_without_streaming_lists_are_listed_plainly_from_then_on() {
    let old_store = String::from_utf8(fixture("recorded/watch-error-500.jsonl")).unwrap();
    let too_large = event("ERROR", r#"{"kind":"Status","code":504,"message":"Too large resource version"}"#);
    let answers = [
        Answer::Status(422, "", "{}".to_owned()),
        Answer::Status(400, "", "{}".to_owned()),
        Answer::Stream(old_store),
        Answer::Stream(too_large),
        Answer::SilentBody,
    ];
    for answer in answers {
        let server = pods(&["a"]).await;
        let shown = format!("{answer:?}");
        server.rule(move |request| request.is_streaming_list().then(|| answer.clone()));
        let agent = Agent::with(|options| options.limits.list_start = Duration::from_millis(200));
        let mut targets = agent.start(&pod_job(&server));
        wait_pods(&mut targets, &["a"]).await;
        server.wait_for(1, is_open_watch).await;
        assert_eq!(server.requests().len(), 3, "{shown}");
        server.set(PODS, list(200, &[pod("b", 1, "1")]));
        server.send(PODS, String::from_utf8(fixture("recorded/watch-error-410.jsonl")).unwrap());
        wait_pods(&mut targets, &["b"]).await;
        assert_eq!(server.count(Request::is_streaming_list), 1, "{shown}");
    }
}

// ------------------------------------------------------------------------------------------- jobs and reloads

#[tokio::test]
async fn a_server_that_never_answers_holds_up_nobody() {
    let silent = ApiServer::empty(4096).await;
    silent.rule(|_| Some(Answer::Silence));
    let agent = Agent::new();
    let jobs = format!("{}- {{job_name: s, static_configs: [{{targets: [a, b]}}]}}\n", pod_job(&silent));
    let channels = agent.apply(&config(&jobs));
    let of = |job: &str| channels.iter().find(|channel| &*channel.job == job).unwrap();
    assert_eq!(of("s").targets.borrow().as_ref().map(|list| list.len()), Some(2));
    silent.wait_for(1, |_| true).await;
    assert!(of("j").targets.borrow().is_none());
    assert_eq!((of("j").kind, of("s").kind, agent.discovery.pending_kinds()), (Kind::Kubernetes, Kind::Static, 1));
}

#[tokio::test]
async fn a_changed_job_keeps_its_targets_until_the_new_state_is_complete() {
    let (old, new) = (pods(&["a"]).await, pods(&["b"]).await);
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&old));
    wait_pods(&mut targets, &["a"]).await;
    new.rule(|_| Some(Answer::Status(503, "", String::new())));
    let mut again = agent.start(&pod_job(&new));
    new.wait_for(3, |_| true).await;
    assert_eq!(names(&sets(targets.borrow().as_ref().unwrap())), ["a"]);
    assert_eq!(names(&sets(again.borrow().as_ref().unwrap())), ["a"]);
    new.no_rule();
    wait_pods(&mut again, &["b"]).await;
    wait_pods(&mut targets, &["b"]).await;
    agent.discovery.apply([]);
    assert!(targets.changed().await.is_err(), "a removed job ends its channel");
    let watchers = "vm_promscrape_discovery_kubernetes_url_watchers{role=\"pod\"}";
    let mut checks = tokio::time::interval(Duration::from_millis(5));
    while agent.gauge(watchers) > 0 || agent.gauge("vm_promscrape_discovery_kubernetes_group_watchers") > 0 {
        checks.tick().await;
    }
}

#[tokio::test]
async fn watches_are_shared_by_jobs_of_all_roles() {
    let server = pods(&["a"]).await;
    let entry = |role: &str, more: &str| {
        format!("kubernetes_sd_configs: [{{role: {role}, api_server: 'http://{}'{more}}}]", server.address)
    };
    let jobs = [
        format!("- {{job_name: one, {}}}\n", entry("pod", "")),
        format!("- {{job_name: two, {}}}\n", entry("pod", ", attach_metadata: {node: true}")),
        format!("- {{job_name: three, {}}}\n", entry("endpoints", "")),
        format!("- {{job_name: four, {}}}\n", entry("endpointslice", "")),
    ];
    let agent = Agent::new();
    let mut channels = agent.apply(&config(&jobs.concat()));
    for channel in &mut channels {
        wait(&mut channel.targets, &channel.job, |_| true).await;
    }
    // Pods, nodes, endpoints, slices, services.
    server.wait_for(5, is_open_watch).await;
    assert_eq!(server.count(Request::is_list), 5);
    assert_eq!(agent.gauge("vm_promscrape_discovery_kubernetes_group_watchers"), 1);
    // Another job of the same kind begins with what is known.
    let more = format!("{}- {{job_name: five, {}}}\n", jobs.concat(), entry("pod", ""));
    let mut channels = agent.apply(&config(&more));
    wait_pods(&mut channels.last_mut().unwrap().targets, &["a"]).await;
    assert_eq!(server.count(Request::is_list), 5);
    let subscribers = |role: &str| {
        agent.gauge(&format!("vm_promscrape_discovery_kubernetes_subscribers{{role=\"{role}\",status=\"working\"}}"))
    };
    assert_eq!((subscribers("pod"), subscribers("endpoints")), (3, 1));
}

/// Of a series of the watch of all pods.
fn age(agent: &Agent, server: &ApiServer, of: &str) -> Option<f64> {
    let url = format!("http://{}{PODS}", server.address);
    let name = format!("vm_promscrape_discovery_kubernetes_last_{of}_age_seconds{{role=\"pod\",url=\"{url}\"}}");
    match agent.metrics.get(&name)? {
        Metric::CallbackGauge(gauge) => Some(gauge.get()),
        other => panic!("{other:?}"),
    }
}

async fn until(what: &str, ready: impl Fn() -> bool) {
    for _ in 0..6000 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn ages_of_watches_grow_until_something_comes() {
    let server = pods(&["a"]).await;
    let agent = Agent::new();
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    server.wait_for(1, is_open_watch).await;
    let event_age = || age(&agent, &server, "event").unwrap();
    // Does not change with the time, only by what comes.
    let event_after_list = || age(&agent, &server, "list").unwrap() - event_age();
    until("ages grow", || event_age() > 0.3).await;
    server.send(PODS, event("ADDED", &pod("b", 101, "1")));
    wait_pods(&mut targets, &["a", "b"]).await;
    until("an event makes young", || event_after_list() > 0.2).await;
    // A bookmark is a sign of life, too.
    let before = event_after_list();
    until("ages grow again", || event_age() > 0.3).await;
    server.send(PODS, event("BOOKMARK", r#"{"metadata":{"resourceVersion":"110"}}"#));
    until("a bookmark makes young", || event_after_list() > before + 0.2).await;
}

#[tokio::test]
async fn a_watch_that_never_worked_ages_and_its_series_go_with_it() {
    let server = pods(&["a"]).await;
    server.rule(|request| {
        let refused = request.head.contains("one");
        refused.then(|| Answer::Status(403, "", r#"{"message":"no"}"#.to_owned()))
    });
    let job = |user: &str| {
        let more = format!("api_server: 'http://{}', bearer_token: {user}", server.address);
        format!("- {{job_name: {user}, kubernetes_sd_configs: [{{role: pod, {more}}}]}}\n")
    };
    // The list of the other one is always young.
    let agent = Agent::with(|options| options.limits.relist = Duration::from_millis(50));
    let mut channels = agent.apply(&config(&[job("one"), job("two")].concat()));
    wait_pods(&mut channels[1].targets, &["a"]).await;
    // The older of the two is shown.
    until("the refused watch ages", || age(&agent, &server, "list").unwrap() > 1.0).await;
    let _channels = agent.apply(&config(&job("two")));
    assert!(age(&agent, &server, "event").is_some());
    drop(agent.apply(&config("- {job_name: none}\n")));
    until("no watch, no series", || age(&agent, &server, "event").is_none() && age(&agent, &server, "list").is_none())
        .await;
}

#[tokio::test]
async fn lists_are_read_again_in_any_case() {
    let server = pods(&["a"]).await;
    let agent = Agent::with(|options| options.limits.relist = Duration::from_millis(50));
    let mut targets = agent.start(&pod_job(&server));
    wait_pods(&mut targets, &["a"]).await;
    // No event says so.
    server.set(PODS, list(200, &[pod("a", 50, "1"), pod("b", 150, "1")]));
    wait_pods(&mut targets, &["a", "b"]).await;
    server.wait_for(4, Request::is_list).await;
}

#[tokio::test]
async fn a_forbidden_namespace_does_not_hold_up_the_others() {
    let server = ApiServer::empty(4096).await;
    server.set("/api/v1/namespaces/good/pods", list(100, &[pod("a", 1, "1")]));
    server.rule(|request| {
        request.path.contains("/bad/").then(|| Answer::Status(403, "", r#"{"message":"no"}"#.to_owned()))
    });
    let agent = Agent::new();
    let mut targets = agent.start(&format!(
        "- {{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}', namespaces: {{names: [bad, good]}}}}]}}\n",
        server.address
    ));
    wait_pods(&mut targets, &["a"]).await;
    server.set("/api/v1/namespaces/bad/pods", list(100, &[pod("b", 1, "1")]));
    server.no_rule();
    wait(&mut targets, "both", |sets| sets.len() == 2).await;
}

#[tokio::test]
async fn a_rotated_token_is_used_by_the_next_request_and_a_missing_one_is_waited_for() {
    let server = pods(&["a"]).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let agent = Agent::new();
    let mut targets = agent.start(&format!(
        "- {{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}', bearer_token_file: {}}}]}}\n",
        server.address,
        token.display()
    ));
    let failed = "vm_promscrape_discovery_kubernetes_errors_total{role=\"pod\",reason=\"request\"}";
    let mut checks = tokio::time::interval(Duration::from_millis(5));
    while agent.counter(failed) == 0 {
        checks.tick().await;
    }
    assert!(server.requests().is_empty());
    std::fs::write(&token, "first\n").unwrap();
    wait_pods(&mut targets, &["a"]).await;
    let watch = server.wait_for(1, is_open_watch).await;
    assert!(watch.head.contains("authorization: Bearer first\r\n"), "{}", watch.head);
    std::fs::write(&token, "second").unwrap();
    server.end_watches();
    let watch = server.wait_for(2, is_open_watch).await;
    assert!(watch.head.contains("authorization: Bearer second\r\n"), "{}", watch.head);
    let error = agent.discovery.status()[0].watches[0].1.error.clone();
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn changes_of_helpers_reach_endpoints_and_slices() {
    let server = ApiServer::recorded(4096).await;
    let agent = Agent::new();
    let mut targets = agent.start(&format!(
        "- {{job_name: j, kubernetes_sd_configs: [{{role: endpoints, api_server: 'http://{}'}}]}}\n",
        server.address
    ));
    let first = wait(&mut targets, "endpoints", |_| true).await;
    let with_app = |sets: &[LabelSet], value: &str| {
        sets.iter().filter(|set| set.get("__meta_kubernetes_service_label_app").is_some_and(|app| app == value)).count()
    };
    let carts = with_app(&first, "cart");
    assert!(carts > 0);
    server.wait_for(1, |request| is_open_watch(request) && request.path == "/api/v1/services").await;
    let service = r#"{"metadata":{"name":"cart","namespace":"shop","resourceVersion":"900","labels":{"app":"trolley"}},
        "spec":{"type":"ClusterIP","clusterIP":"10.0.0.9"}}"#
        .replace('\n', "");
    server.send("/api/v1/services", event("MODIFIED", &service));
    wait(&mut targets, "the service's label", |sets| with_app(sets, "trolley") == carts && with_app(sets, "cart") == 0)
        .await;
}
