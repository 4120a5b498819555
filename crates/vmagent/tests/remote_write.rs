//! Remote write from the sink to a receiver behind a real socket: what arrives, what is kept, what is dropped.

#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::backend::{Backend, Reply, Request};
use vmagent::remote_write::{Encoding, FLAGS, RemoteWrite, RemoteWriteOptions, RuleSets, SeriesBlock, decode, unpack};
use vmkit::env_template::Environment;
use vmkit::flags::{AppInfo, FlagSet};
use vmkit::metrics::{Page, Set};

const LIMIT: Duration = Duration::from_secs(60);

struct Agent {
    running: RemoteWrite,
    set: Arc<Set>,
    runtime: tokio::runtime::Runtime,
}

fn options(args: &[String]) -> Result<RemoteWriteOptions, Vec<String>> {
    let app = AppInfo { name: "vmagent", banner: "", version: String::new(), defaults: &[] };
    let args = std::iter::once("vmagent".to_owned()).chain(args.iter().cloned());
    let flags =
        FlagSet::parse(&[vmkit::service::flags::COMMON, &[FLAGS]].concat(), &app, args, &Environment::default());
    RemoteWriteOptions::from_flags(&flags.expect("the flags parse"))
}

impl Agent {
    fn start(data: &Path, args: &[&str]) -> Self {
        let mut all = vec![format!("-remoteWrite.tmpDataPath={}", data.display())];
        all.extend(["-remoteWrite.flushInterval=50ms".to_owned(), "-remoteWrite.queues=1".to_owned()]);
        all.extend(["-remoteWrite.retryMinInterval=20ms".to_owned(), "-remoteWrite.retryMaxInterval=50ms".to_owned()]);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let options = options(&all).expect("the options are right");
        let set = Arc::new(Set::new());
        let running = RemoteWrite::start(&options, RuleSets::default(), 256 << 20, &set).expect("remote write starts");
        Self { running, set, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() }
    }

    fn push(&self, samples: &[(&str, f64)]) {
        let mut block = SeriesBlock::new();
        for (name, value) in samples {
            block.begin_series();
            block.push_label(b"__name__", name.as_bytes());
            block.push_sample(1_700_000_000_000, *value);
            assert!(block.end_series());
        }
        self.runtime.block_on(self.running.sink().push(&mut block)).unwrap();
    }

    fn metric(&self, name: &str) -> f64 {
        let mut page = Page::new(false);
        self.set.write(&mut page);
        let page = String::from_utf8(page.into_bytes()).unwrap();
        let line = page.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn wait_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let start = Instant::now();
        while !wanted(self.metric(name)) {
            assert!(start.elapsed() < LIMIT, "{name} is {}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(self) {
        self.running.stop();
    }
}

fn names(request: &Request) -> Vec<String> {
    let message = unpack(Encoding::of(&request.body), &request.body, 1 << 20).unwrap();
    let mut block = SeriesBlock::new();
    decode(&message, &mut block).unwrap();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let label = |series: vmagent::remote_write::Series<'_>| {
        series.labels().map(|(_, value)| text(value)).collect::<Vec<_>>().join(",")
    };
    block.iter().map(label).collect()
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.fields.get(name)
}

fn all_names(backend: &Backend) -> Vec<String> {
    backend.requests().iter().flat_map(names).collect()
}

fn no_content() -> Reply {
    Reply::message(204, &[], "")
}

#[test]
fn samples_arrive_with_the_headers_of_their_protocol() {
    let data = tempfile::tempdir().unwrap();
    let remote = Backend::replying(no_content());
    let url = format!("-remoteWrite.url=http://us%40er:p%3Aw@{}/a%2Fb/c//d?x=y#frag", remote.address());
    let agent = Agent::start(data.path(), &[&url, "-remoteWrite.label=dc=eu", "-remoteWrite.headers=X-A: 1^^X-B:2"]);
    agent.push(&[("foo", 1.0), ("bar", 2.0)]);
    let request = remote.wait_request(1, "a whole request", |request| request.complete);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a%2Fb/c//d?x=y"));
    assert_eq!(names(&request), ["foo,eu", "bar,eu"]);
    for (name, want) in [
        ("content-encoding", "zstd"),
        ("content-type", "application/x-protobuf"),
        ("x-victoriametrics-remote-write-version", "1"),
        ("user-agent", "vmagent"),
        ("authorization", "Basic dXNAZXI6cDp3"),
        ("x-a", "1"),
        ("x-b", "2"),
    ] {
        assert_eq!(header(&request, name), Some(want), "{name}");
    }
    agent.wait_metric("vmagent_remotewrite_blocks_sent_total", |count| count == 1.0);
    agent.stop();
    assert!(!data.path().join(".vm_app_running").exists());
}

#[test]
fn a_remote_that_knows_prometheus_only_gets_that_from_then_on() {
    let data = tempfile::tempdir().unwrap();
    let remote = Backend::script(vec![Reply::message(415, &[], ""), no_content()]);
    let agent =
        Agent::start(data.path(), &[&format!("-remoteWrite.url={}/w", remote.url()), "-remoteWrite.bearerToken=t"]);
    agent.push(&[("foo", 1.0)]);
    remote.wait_for(2);
    agent.wait_metric("vmagent_remotewrite_blocks_sent_total", |count| count == 1.0);
    agent.push(&[("bar", 1.0)]);
    remote.wait_for(3);
    let seen: Vec<_> = remote.requests();
    let encodings: Vec<_> = seen.iter().map(|request| header(request, "content-encoding").unwrap()).collect();
    assert_eq!(encodings, ["zstd", "snappy", "snappy"]);
    assert!(
        seen.iter().all(|request| header(request, "authorization") == Some("Bearer t")),
        "each one is authenticated"
    );
    assert_eq!(names(&seen[1]), ["foo"]);
    assert_eq!(header(&seen[1], "x-prometheus-remote-write-version"), Some("0.1.0"));
    agent.stop();
}

#[test]
fn what_a_remote_refuses_is_dropped_and_counted_and_the_rest_is_retried() {
    let data = tempfile::tempdir().unwrap();
    let status = |status| Reply::message(status, &[], "no");
    let script = [409, 408, 429, 401, 404, 302, 503].map(status).into_iter().chain([no_content()]).collect();
    let remote = Backend::script(script);
    let agent = Agent::start(data.path(), &[&format!("-remoteWrite.url={}/w", remote.url())]);
    agent.push(&[("dropped", 1.0)]);
    agent.wait_metric("vmagent_remotewrite_packets_dropped_total", |count| count == 1.0);
    agent.push(&[("kept", 1.0)]);
    agent.wait_metric("vmagent_remotewrite_blocks_sent_total", |count| count == 1.0);
    assert_eq!(agent.metric("vmagent_remotewrite_retries_count_total"), 6.0);
    assert_eq!(agent.metric("vmagent_remotewrite_requests_total{url=\"1:secret-url\",status_code=\"302\"}"), 1.0);
    assert_eq!(all_names(&remote).first().map(String::as_str), Some("dropped"));
    agent.stop();
}

#[test]
fn an_outage_and_restarts_lose_nothing_and_repeat_nothing() {
    let data = tempfile::tempdir().unwrap();
    let remote = Backend::replying(no_content());
    remote.refuse();
    let url = format!("-remoteWrite.url={}/w", remote.url());
    let one = "-remoteWrite.maxRowsPerBlock=1";
    let agent = Agent::start(data.path(), &[&url, one]);
    let pushed: Vec<String> = (0..300).map(|number| format!("m{number}")).collect();
    pushed.chunks(100).for_each(|names| agent.push(&names.iter().map(|name| (name.as_str(), 1.0)).collect::<Vec<_>>()));
    agent.wait_metric("vmagent_remotewrite_errors_total", |count| count > 1.0);
    let stop = |agent: Agent| {
        let started = Instant::now();
        agent.stop();
        started.elapsed()
    };
    let first = stop(agent);
    let agent = Agent::start(data.path(), &[&url, one]);
    agent.wait_metric("vmagent_remotewrite_pending_data_bytes", |bytes| bytes > 0.0);
    agent.wait_metric("vmagent_remotewrite_errors_total", |count| count > 1.0);
    // Five seconds are for what can be delivered; a machine that stalls is late once.
    let quickest = first.min(stop(agent));
    assert!(quickest < Duration::from_secs(4), "a stop in an outage is quick, it took {quickest:?}");
    remote.resume();
    let agent = Agent::start(data.path(), &[&format!("{url}?other=query"), one, "-remoteWrite.showURL"]);
    agent.wait_metric("vmagent_remotewrite_blocks_sent_total", |count| count == 300.0);
    agent.stop();
    assert_eq!(all_names(&remote), pushed);
}

#[test]
fn what_was_pushed_last_is_sent_at_the_stop() {
    let data = tempfile::tempdir().unwrap();
    let remote = Backend::replying(no_content());
    let url = format!("-remoteWrite.url={}/w", remote.url());
    let agent = Agent::start(data.path(), &[&url, "-remoteWrite.flushInterval=30s"]);
    agent.push(&[("last", 1.0)]);
    agent.stop();
    assert_eq!(all_names(&remote), ["last"]);
}

#[test]
fn a_url_that_is_down_delays_no_other() {
    let data = tempfile::tempdir().unwrap();
    let (down, up) = (Backend::refusing(), Backend::replying(no_content()));
    let urls = format!("-remoteWrite.url={}/w,{}/w", down.url(), up.url());
    let agent = Agent::start(data.path(), &[&urls]);
    for _ in 0..3 {
        agent.push(&[("foo", 1.0)]);
        agent.wait_metric("vmagent_remotewrite_pending_data_bytes", |_| true);
    }
    up.wait_for(1);
    agent.wait_metric("vmagent_remotewrite_errors_total{url=\"1:secret-url\"}", |count| count > 0.0);
    agent.stop();
}

#[test]
fn without_files_samples_beyond_memory_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let remote = Backend::refusing();
    let url = format!("-remoteWrite.url={}/w", remote.url());
    let agent = Agent::start(data.path(), &[&url, "-remoteWrite.disableOnDiskQueue", "-remoteWrite.maxRowsPerBlock=1"]);
    let mut block = SeriesBlock::new();
    for number in 0..400 {
        block.begin_series();
        block.push_label(b"n", format!("{number}").as_bytes());
        block.push_sample(1, 1.0);
        assert!(block.end_series());
    }
    let refused = agent.runtime.block_on(agent.running.sink().push_or_refuse(&mut block)).unwrap_err();
    assert!(refused.to_string().contains("cannot keep up with the data ingestion rate"));
    assert_eq!(agent.metric("vmagent_remotewrite_queue_blocked"), 1.0);
    assert!(agent.metric("vmagent_remotewrite_push_failures_total") > 0.0);
    agent.stop();
}

#[test]
fn wrong_options_are_named_all_at_once_without_secrets() {
    let f = |args: &[&str], want: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let problems = options(&args).expect_err("the options are wrong").join("\n");
        want.iter().for_each(|want| assert!(problems.contains(want), "{want}: {problems}"));
        assert!(!problems.contains("SECRET"), "{problems}");
    };
    let url = "-remoteWrite.url=http://h/w?k=SECRET";
    f(&["-remoteWrite.url=ftp://SECRET@h/", "-remoteWrite.label=x"], &["unsupported scheme", "missing '='"]);
    f(&[url, "-remoteWrite.headers=SECRET"], &["missing ':'"]);
    f(
        &[url, "-remoteWrite.oauth2.clientSecret=SECRET", "-remoteWrite.oauth2.tokenUrl=http://h"],
        &["client_id cannot be empty"],
    );
    f(
        &[url, "-remoteWrite.oauth2.clientSecret=SECRET", "-remoteWrite.oauth2.clientID=i"],
        &["token_url cannot be empty"],
    );
    f(&[url, "-remoteWrite.oauth2.clientID=i", "-remoteWrite.oauth2.tokenUrl=http://h"], &["client_secret"]);
    f(&[url, "-remoteWrite.bearerToken=SECRET", "-remoteWrite.basicAuth.username=u"], &["cannot simultaneously use"]);
    f(&[url, "-remoteWrite.maxDiskUsagePerURL=-1"], &["-remoteWrite.maxDiskUsagePerURL"]);
    f(&[url, "-remoteWrite.urlRelabelConfig=a,b"], &["too many -remoteWrite.urlRelabelConfig"]);
    f(&[url, "-remoteWrite.forceVMProto", "-remoteWrite.forcePromProto"], &["cannot be set simultaneously"]);
    f(&[url, "-remoteWrite.shardByURL.labels=a", "-remoteWrite.shardByURL.ignoreLabels=b"], &["shardByURL"]);
}

#[test]
fn one_credential_for_several_hosts_is_warned_of() {
    let f = |urls: &str, wanted: bool| {
        let args = [format!("-remoteWrite.url={urls}"), "-remoteWrite.bearerToken=t".to_owned()];
        let warnings = options(&args).unwrap().warnings.join("\n");
        assert_eq!(warnings.contains("-remoteWrite.bearerToken"), wanted, "{urls}: {warnings}");
    };
    f("http://a/w,http://b/w", true);
    f("http://a/w,http://a/x", false);
    f("http://a/w", false);
}
