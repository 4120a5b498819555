//! The agent's pages of `docs/reference` tell the truth: configs load, flags exist, and metrics are named completely.
//!
//! A `yaml` block is a scrape config that must load. The headings of `vmagent-metrics.md` give prefixes, its tables names.

#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::backend::{Backend, Reply};
use testkit::doc_page::Page;
use testkit::{Client, Launch, Metrics, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_vmagent");

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn pages() -> Vec<Page> {
    let pages = Page::folder(&docs().join("reference"), |name| name.starts_with("vmagent-"));
    assert!(pages.len() >= 8, "pages are missing");
    pages
}

#[test]
fn configs_load() {
    let dir = tempfile::tempdir().unwrap();
    for page in pages() {
        for block in page.blocks().into_iter().filter(|block| block.info == "yaml") {
            std::fs::write(dir.path().join("scrape.yml"), &block.text).unwrap();
            let args = ["-dryRun", "-promscrape.config=scrape.yml"];
            let output = Command::new(BINARY).args(args).current_dir(dir.path()).output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            let passed = output.status.success() && log.contains("files of relabeling rules; no mistakes");
            assert!(passed, "{}:{}:\n{log}", page.name, block.line);
        }
    }
}

#[test]
fn every_named_flag_exists() {
    let flags = Page::read(&docs().join("flags-vmagent.md")).text;
    let checked: usize = pages().iter().map(|page| page.expect_flags(&flags, |_| false)).sum();
    assert!(checked > 60, "only {checked} flags were found");
}

/// Shown only under some config, or after something has happened.
const ONLY_SOMETIMES: &[&str] = &[
    "vm_promscrape_discovery_file_errors_total",
    "promscrape_discovery_dns_errors_total",
    "vmagent_hourly_series_limit_",
    "vmagent_daily_series_limit_",
    "vmagent_max_ingestion_rate_limit_reached_total",
    "vmagent_remotewrite_block_metadata_rows",
    "vmagent_rows_per_insert",
];

/// Prefixes of what the page explains by itself.
const OWN: &[&str] =
    &["vm_promscrape_", "promscrape_", "vmagent_", "vm_persistentqueue_", "vm_protoparser_", "vm_concurrent_"];

/// Names from the page: whole ones anywhere, and those of the first column of tables behind the prefix of their heading.
fn explained() -> BTreeSet<String> {
    let page = Page::read(&docs().join("reference/vmagent-metrics.md"));
    let more = Page::read(&docs().join("reference/vmagent-discovery.md"));
    let mut names = BTreeSet::new();
    let mut prefix = String::new();
    for line in page.text.lines().chain(more.text.lines()) {
        let spans_of = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let spans = spans_of(line);
        if line.starts_with('#') {
            prefix = spans.iter().find_map(|span| span.split('…').next()).unwrap_or_default().to_owned();
        } else if let Some(span) = spans.iter().find(|span| span.ends_with("kubernetes_")) {
            prefix.clone_from(span);
        }
        let name_of = |span: &str| span.split(['{', ' ']).next().unwrap_or_default().to_owned();
        let is_whole = |name: &String| OWN.iter().any(|own| name.starts_with(own));
        names.extend(spans.iter().map(|span| name_of(span)).filter(|name| is_whole(name) && !name.contains('…')));
        let first_cell = line.strip_prefix('|').and_then(|row| row.split('|').next());
        let bare = spans_of(first_cell.unwrap_or_default()).into_iter().map(|span| name_of(&span));
        names.extend(bare.filter(|name| !is_whole(name) && !name.contains('…')).map(|name| format!("{prefix}{name}")));
    }
    names
}

/// An agent that scrapes, discovers over HTTP and pushes, so that everything with metrics of its own runs.
struct Busy {
    _dir: tempfile::TempDir,
    _target: Backend,
    remote: Backend,
    _program: testkit::Program,
    address: std::net::SocketAddr,
}

fn busy(more: &[&str]) -> Busy {
    let dir = tempfile::tempdir().unwrap();
    let (target, remote) = (Backend::saying("m 1\n"), Backend::replying(Reply::message(204, &[], "")));
    let config = dir.path().join("scrape.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{0}']}}]\n  \
         http_sd_configs: [{{url: 'http://{0}/none'}}]\n  kubernetes_sd_configs: [{{role: pod, api_server: 'http://{0}'}}]\n",
        target.address()
    );
    std::fs::write(&config, text).unwrap();
    let launch = Launch::new(BINARY).arg("-httpListenAddr=127.0.0.1:0").arg("-remoteWrite.flushInterval=50ms");
    std::fs::write(dir.path().join("rules.yml"), "").unwrap();
    let launch = launch.arg(format!("-remoteWrite.relabelConfig={}", dir.path().join("rules.yml").display()));
    let launch = launch.arg(format!("-promscrape.config={}", config.display()));
    let launch = launch.arg(format!("-remoteWrite.url={}/w", remote.url()));
    let launch = launch.arg(format!("-remoteWrite.tmpDataPath={}", dir.path().join("data").display()));
    let program = more.iter().fold(launch, |launch, flag| launch.arg(*flag)).start();
    let address = program.wait_listening();
    remote.wait_for(1);
    Busy { _dir: dir, _target: target, remote, _program: program, address }
}

fn families(address: std::net::SocketAddr) -> BTreeSet<String> {
    let all = Metrics::scrape(address).containing("").into_iter();
    all.map(|(series, _)| series.split('{').next().unwrap_or(&series).to_owned()).collect()
}

#[test]
fn every_metric_is_explained_and_exists() {
    let busy = busy(&[]);
    let explained = explained();
    let is_named = |family: &str| {
        let bare = ["_sum", "_count", "_bucket"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
        explained.contains(family) || explained.contains(bare) || {
            explained.iter().any(|name| name.ends_with('_') && name.len() > 15 && family.starts_with(name.as_str()))
        }
    };
    let unexplained: Vec<String> = families(busy.address)
        .into_iter()
        .filter(|family| OWN.iter().any(|own| family.starts_with(own)) && !is_named(family))
        .collect();
    assert!(unexplained.is_empty(), "vmagent-metrics.md lacks {unexplained:#?}");
    eventually("all metrics that the page names", || {
        let families = families(busy.address);
        let exists = |name: &&String| {
            !OWN.iter().any(|own| name.starts_with(own) && name.len() > own.len() + 3)
                || name.ends_with('_')
                || ONLY_SOMETIMES.iter().any(|some| name.starts_with(some))
                || families.iter().any(|family| family.starts_with(name.as_str()))
        };
        let missing: Vec<&String> = explained.iter().filter(|name| !exists(name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
}

#[test]
fn what_upstreams_dashboard_reads_exists() {
    let limits = ["-remoteWrite.maxHourlySeries=1000", "-remoteWrite.maxDailySeries=1000", "-maxIngestionRate=100000"];
    let busy = busy(&limits);
    // Shown from the first push on, and from the first metadata.
    let body = "# HELP pushed says nothing\n# TYPE pushed gauge\npushed 1\n";
    let mut client = Client::connect(busy.address);
    client.request("POST", "/api/v1/import/prometheus", &[], Some(body.as_bytes()));
    client.reply().expect(204);
    busy.remote.wait_for(2);
    let wanted = include_str!("upstream_metrics.txt").lines().filter(|line| !line.starts_with('#'));
    let wanted: Vec<&str> = wanted.collect();
    assert!(wanted.len() > 120, "only {} names", wanted.len());
    eventually("every name of the list", || {
        let families = families(busy.address);
        let exists = |name: &&&str| families.contains(**name) || families.contains(&format!("{name}_sum"));
        let missing: Vec<_> = wanted.iter().filter(|name| !exists(name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
}
