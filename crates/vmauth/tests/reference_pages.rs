//! The pages of `docs/reference` tell the truth: their configs load or are refused as they say, their commands are
//! accepted, and every flag, config field and metric they name exists; the last two are named completely.
//!
//! Blocks: `yaml` must load, `yaml invalid` must be refused with the lines of the `text` block behind it, `sh` holds
//! commands of which those that begin with `vmauth` are run with `-dryRun`. Pages of the agent are not looked at here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::doc_page::{Block, Page};
use testkit::{Client, Launch, Metrics, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_vmauth");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<Page> {
    let pages = Page::folder(&root().join("docs/reference"), |name| !name.starts_with("vmagent-"));
    assert!(pages.len() >= 8, "pages are missing");
    pages
}

fn page(name: &str) -> Page {
    Page::read(&root().join("docs/reference").join(name))
}

/// A folder with the files that examples name.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(dir.path().join("keys")).expect("the folder can be written");
    let key = root().join("tests/conformance/keys/rsa1.pub");
    fs::copy(key, dir.path().join("keys/issuer.pem")).expect("the key can be copied");
    fs::create_dir(dir.path().join("secrets")).expect("the folder can be written");
    for name in ["alice", "robot", "backend"] {
        fs::write(dir.path().join("secrets").join(name), format!("secret of {name}\n"))
            .expect("the folder can be written");
    }
    dir
}

fn dry_run(dir: &Path, args: &[&str]) -> Output {
    Command::new(BINARY).args(args).arg("-dryRun").current_dir(dir).output().expect("vmauth can be started")
}

fn check_config(dir: &Path, text: &str) -> Output {
    fs::write(dir.join("auth.yml"), text).expect("the folder can be written");
    dry_run(dir, &["-auth.config=auth.yml"])
}

/// What is wrong with the output; the lines of `wanted` must be in the log of a config that is refused.
fn config_problem(output: &Output, wanted: Option<&str>) -> Option<String> {
    let log = String::from_utf8_lossy(&output.stderr);
    match wanted {
        None => (!output.status.success()).then(|| format!("refused:\n{log}")),
        Some(_) if output.status.code() != Some(255) => Some(format!("not refused:\n{log}")),
        Some(lines) => lines.lines().find(|line| !log.contains(line)).map(|line| format!("no {line:?} in\n{log}")),
    }
}

#[test]
fn configs_load_or_are_refused_as_the_pages_say() {
    let dir = folder();
    let (mut checked, mut failures) = (0, Vec::new());
    for page in pages() {
        let blocks = page.blocks();
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.info.starts_with("yaml")) {
            let wanted = match block.info.as_str() {
                "yaml" => None,
                "yaml invalid" => {
                    let errors =
                        blocks.get(index + 1).filter(|next| next.info == "text" && !next.text.trim().is_empty());
                    Some(errors.unwrap_or_else(|| panic!("{}:{}: no text block follows", page.name, block.line)))
                }
                // A file of another kind for the commands behind it.
                other if other.ends_with(".yml") => continue,
                other => panic!("{}:{}: nobody knows {other:?}", page.name, block.line),
            };
            let output = check_config(dir.path(), &block.text);
            checked += 1;
            if let Some(problem) = config_problem(&output, wanted.map(|errors| errors.text.as_str())) {
                failures.push(format!("{}:{}: {problem}", page.name, block.line));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked > 10, "only {checked} configs were found");
}

#[test]
fn commands_are_accepted() {
    let dir = folder();
    fs::write(dir.path().join("auth.yml"), "{}\n").expect("the folder can be written");
    let mut checked = 0;
    for page in pages() {
        let is_shell = |block: &Block| block.info == "sh";
        for block in page.blocks().into_iter().filter(is_shell) {
            for command in block.text.lines().filter_map(|line| line.strip_prefix("vmauth ")) {
                let output = dry_run(dir.path(), &command.split_whitespace().collect::<Vec<_>>());
                let log =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: vmauth {command}\n{log}", page.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 2, "only {checked} commands were found");
}

/// Options of the commands beside serving, as their `-help` lists them.
fn options_of_commands() -> BTreeSet<String> {
    let help = |args: &[&str]| {
        let output = Command::new(BINARY).args(args).output().expect("vmauth can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let option = |word: &str| word.strip_prefix('-').map(|name| name.trim_end_matches(',').to_owned());
    let commands = ["explain", "hash-password", "lint", "test"];
    let texts = commands.iter().map(|command| help(&[command, "-help"]));
    texts.flat_map(|text| text.split_whitespace().filter_map(option).collect::<Vec<_>>()).collect()
}

#[test]
fn every_named_flag_exists() {
    let flags = Page::read(&root().join("docs/flags-vmauth.md")).text;
    let options = options_of_commands();
    // The page on moving is about both programs.
    let agents = Page::read(&root().join("docs/flags-vmagent.md")).text;
    let is_of_agent = |name: &str| name.starts_with("remoteWrite.") && agents.contains(&format!("`-{name}`"));
    let others = |name: &str| matches!(name, "help" | "version") || options.contains(name) || is_of_agent(name);
    let checked: usize = pages().iter().map(|page| page.expect_flags(&flags, others)).sum();
    assert!(checked > 80, "only {checked} flags were found");
}

#[test]
fn every_config_field_is_explained() {
    let config = page("config.md");
    let spans: BTreeSet<_> = config.code_spans().into_iter().collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config_ok");
    for name in ["every_user_field.yaml", "every_jwt_field.yaml"] {
        let text = fs::read_to_string(golden.join(name)).expect("a golden config");
        for line in text.lines() {
            let Some((field, _)) = line.trim_start_matches([' ', '-']).split_once(':') else { continue };
            let is_field = field.len() > 2 && field.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(!is_field || spans.iter().any(|span| names(span, field)), "{name}: config.md lacks {field:?}");
        }
    }
}

/// Whether a code span names a field: alone, or with its value.
fn names(span: &str, field: &str) -> bool {
    span.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_').any(|word| word == field)
}

/// A config and flags under which as many metrics exist as can.
const ALL_METRICS: &str = r#"
users:
- {username: u, password: p, url_prefix: "http://127.0.0.1:9/", health_check: {path: /health, interval: 100ms}, outlier_detection: {}, retry_budget: {}}
- {jwt: {oidc: {issuer: "http://127.0.0.1:9"}}, url_prefix: "http://127.0.0.1:9/"}
unauthorized_user: {url_map: [{src_paths: [/x], url_prefix: "http://127.0.0.1:9/"}]}
"#;

/// Metrics that need a cgroup, a backend or provider that has answered, TLS.
const ONLY_SOMETIMES: [&str; 6] = [
    "process_cpu_throttled_seconds_total",
    "process_pressure_*",
    "vmauth_oidc_keys_age_seconds",
    "vmauth_backend_response_duration_seconds",
    "vm_tls_cert_expiry_timestamp_seconds",
    "vm_acme_*",
];

/// The table of reasons in the code has a row of the page for each, with its status.
#[test]
fn every_reason_of_a_failed_request_is_explained() {
    let table = include_str!("../src/ending.rs");
    let page = page("proxying.md").text;
    let mut found = 0;
    for line in table.lines().filter(|line| line.trim_start().starts_with("Self::")) {
        let Some((_, arguments)) = line.split_once("=> row(").or_else(|| line.split_once("=> unanswered(")) else {
            continue;
        };
        let word = arguments.split('"').nth(1).expect("a word");
        let status = arguments.split(',').next().filter(|status| status.parse::<u16>().is_ok()).unwrap_or("none");
        let is_explained = page.lines().any(|row| {
            let mut cells = row.trim_start_matches('|').split(" | ");
            let (statuses, words) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            statuses.split(',').any(|one| one.trim() == status) && words.contains(&format!("`{word}`"))
        });
        assert!(is_explained, "docs/reference/proxying.md has no row of {status} `{word}`");
        found += 1;
    }
    assert!(found > 20, "{found} rows in ending.rs");
}

#[test]
fn every_metric_is_explained_and_exists() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = dir.path().join("auth.yml");
    fs::write(&config, ALL_METRICS).expect("the folder can be written");
    let launch = Launch::new(BINARY).arg(format!("-auth.config={}", config.display()));
    let program = launch.arg("-httpListenAddr=127.0.0.1:0").arg("-pushmetrics.url=http://127.0.0.1:9/").start();
    let address = program.wait_listening();
    Client::connect(address).get("/", &["Authorization: Basic dTpw"]).expect(502);

    let explained = explained_metrics();
    let mut families = BTreeSet::new();
    eventually("a page with all metrics that metrics.md names", || {
        families = Metrics::scrape(address).containing("").into_iter().map(|(series, _)| family(&series)).collect();
        let is_missing = |name: &&String| {
            !ONLY_SOMETIMES.iter().any(|known| known == name || fits(known, name))
                && !families.iter().any(|family| fits(name, family))
        };
        let missing: Vec<_> = explained.iter().filter(is_missing).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    let is_unexplained = |family: &&String| !explained.iter().any(|name| fits(name, family));
    let unexplained: Vec<_> = families.iter().filter(is_unexplained).collect();
    assert!(unexplained.is_empty(), "metrics.md lacks {unexplained:#?}");
}

/// Names of the page's tables; a final `*` stands for anything.
fn explained_metrics() -> Vec<String> {
    let is_metric = |span: &String| {
        let has_prefix =
            ["vmauth_", "vm_", "process_", "go_", "metrics_push_"].iter().any(|prefix| span.starts_with(prefix));
        let is_name = span.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'*'));
        is_name && (has_prefix || span == "flag")
    };
    let names: Vec<_> = page("metrics.md").code_spans().into_iter().filter(is_metric).collect();
    assert!(names.len() > 40, "only {} metrics were found", names.len());
    names
}

fn family(series: &str) -> String {
    series.split('{').next().unwrap_or(series).to_owned()
}

fn fits(name: &str, family: &str) -> bool {
    let suffixes = ["", "_sum", "_count", "_bucket"];
    match name.strip_suffix('*') {
        Some(prefix) => family.starts_with(prefix),
        None => suffixes.iter().any(|suffix| family.strip_suffix(suffix) == Some(name)),
    }
}

#[test]
fn own_dashboards_and_alerts_read_metrics_that_exist() {
    let explained = explained_metrics();
    for name in ["vmauth.json", "vmauth-alerts.yml"] {
        let text = fs::read_to_string(root().join("deploy/dashboards").join(name)).expect("a file under deploy");
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_of_name(letter));
        let metrics: BTreeSet<_> = words
            .filter(|word| ["vmauth_", "vm_", "process_", "go_"].iter().any(|prefix| word.starts_with(prefix)))
            .collect();
        assert!(metrics.len() > 10, "{name}: only {metrics:?}");
        let unknown: Vec<_> = metrics
            .iter()
            .filter(|metric| {
                // Those of requests without a user are explained by a pattern.
                let as_user = metric.replace("vmauth_unauthorized_user_", "vmauth_user_");
                !explained.iter().any(|known| fits(known, metric) || fits(known, &as_user))
            })
            .collect();
        assert!(unknown.is_empty(), "{name} reads {unknown:?}, which metrics.md does not explain");
    }
}
