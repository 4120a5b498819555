//! Command lines as the operator, the charts and people write them: what each URL of `-remoteWrite.url` gets, and how a
//! wrong one ends. The vectors of `tests/agent-fixtures/multi-url.json` were recorded from the original.

#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use testkit::backend::{Backend, Reply, Request};
use testkit::{Launch, eventually};
use vmagent::remote_write::{Encoding, SeriesBlock, decode, unpack};

const BINARY: &str = env!("CARGO_BIN_EXE_vmagent");
const LIMIT: Duration = Duration::from_secs(60);

fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(tcp, "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut reply = String::new();
    tcp.read_to_string(&mut reply).unwrap();
    reply
}

/// Labels and values of a request, as the vectors write them.
fn series(request: &Request) -> Vec<(String, f64)> {
    let message = unpack(Encoding::of(&request.body), &request.body, 1 << 20).unwrap();
    let mut block = SeriesBlock::new();
    decode(&message, &mut block).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let labels = |series: &vmagent::remote_write::Series<'_>| {
        let mut labels: Vec<String> =
            series.labels().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        labels.sort();
        labels.join(",")
    };
    block.iter().map(|series| (labels(&series), series.samples()[0].value)).collect()
}

/// A header as the vectors write it: Basic credentials decoded.
fn header(request: &Request, name: &str) -> Option<String> {
    let value = request.fields.get(name)?;
    match value.strip_prefix("Basic ") {
        Some(pair) => {
            let pair = base64::engine::general_purpose::STANDARD.decode(pair).unwrap();
            Some(format!("Basic {}", String::from_utf8(pair).unwrap()))
        }
        None => Some(value.to_owned()),
    }
}

/// What each path has received first.
fn by_path(backend: &Backend) -> BTreeMap<String, Request> {
    let mut seen = BTreeMap::new();
    for request in backend.requests().into_iter().filter(|request| request.complete) {
        seen.entry(request.target.trim_start_matches('/').to_owned()).or_insert(request);
    }
    seen
}

fn check_vector(vector: &Value, dir: &Path) {
    let name = vector["name"].as_str().unwrap();
    let backend = Backend::replying(Reply::message(204, &[], ""));
    let urls = vector["urls"].as_u64().unwrap();
    let urls: Vec<String> = (1..=urls).map(|number| format!("{}/w{number}", backend.url())).collect();
    let data = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(BINARY)
        .arg("-httpListenAddr=127.0.0.1:0")
        .arg(format!("-remoteWrite.url={}", urls.join(",")))
        .arg(format!("-remoteWrite.tmpDataPath={}", data.path().display()))
        .arg("-remoteWrite.flushInterval=50ms");
    for arg in vector["args"].as_array().unwrap() {
        launch = launch.arg(arg.as_str().unwrap().replace("{dir}", dir.to_str().unwrap()));
    }
    let mut program = launch.start();
    if let Some(code) = vector["exit"].as_i64() {
        assert_eq!(program.wait_exit(LIMIT).map(i64::from), Some(code), "{name}:\n{}", program.log_text());
        return;
    }
    let address = program.wait_listening();
    let push = vector["push"].as_str().unwrap();
    let reply = http(address, "POST", "/api/v1/import/prometheus", &format!("{push}\n"));
    assert!(reply.starts_with("HTTP/1.1 204"), "{name}: {reply}");
    let wanted = vector["received"].as_object().unwrap();
    eventually(name, || {
        let seen = by_path(&backend);
        wanted
            .keys()
            .all(|path| seen.contains_key(path))
            .then_some(())
            .ok_or_else(|| seen.into_keys().collect::<Vec<_>>())
    });
    let seen = by_path(&backend);
    assert_eq!(seen.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
    for (path, want) in wanted {
        let request = &seen[path];
        let headers = want["headers"].as_object().unwrap();
        for (header_name, value) in headers {
            assert_eq!(header(request, header_name).as_deref(), value.as_str(), "{name}: {path}: {header_name}");
        }
        let has_credentials = headers.contains_key("Authorization");
        assert_eq!(header(request, "Authorization").is_some(), has_credentials, "{name}: {path}");
        let list = want["series"].as_array().unwrap().iter();
        let want: Vec<(String, f64)> =
            list.map(|one| (one["labels"].as_str().unwrap().to_owned(), one["value"].as_f64().unwrap())).collect();
        assert_eq!(series(request), want, "{name}: {path}");
    }
}

#[test]
fn each_url_gets_what_its_position_says() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/agent-fixtures/multi-url.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in fixture["files"].as_object().unwrap() {
        std::fs::write(dir.path().join(name), text.as_str().unwrap()).unwrap();
    }
    let vectors = fixture["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 30);
    vectors.iter().for_each(|vector| check_vector(vector, dir.path()));
}

/// Starts with these arguments, is healthy, and reloads.
fn check_start(args: &[&str], dir: &Path) {
    let mut launch = Launch::new(BINARY).dir(dir);
    for arg in args {
        launch = launch.arg(arg.replace("{dir}", dir.to_str().unwrap()));
    }
    let mut program = launch.start();
    let address = program.wait_listening();
    assert!(http(address, "GET", "/health", "").starts_with("HTTP/1.1 200"), "{}", program.log_text());
    let reloaded = http(address, "POST", "/-/reload", "");
    assert!(reloaded.starts_with("HTTP/1.1 200") || reloaded.starts_with("HTTP/1.1 204"), "{reloaded}");
    program.signal(testkit::Signal::Term);
    assert_eq!(program.wait_exit(LIMIT), Some(0), "{}", program.log_text());
}

#[test]
fn the_operator_and_the_chart_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("vmagent.yaml", "global:\n  scrape_interval: 30s\nscrape_configs: []\n");
    write("rules.yml", "- action: labeldrop\n  regex: pod_uid\n");
    for name in ["pw", "token", "secret"] {
        write(name, "x\n");
    }
    let operator = [
        "-enableMultitenantHandlers=true",
        "-httpListenAddr=127.0.0.1:0",
        "-promscrape.cluster.memberNum=0",
        "-promscrape.cluster.membersCount=2",
        "-promscrape.config={dir}/vmagent.yaml",
        "-remoteWrite.basicAuth.passwordFile=\"\",{dir}/pw,\"\"",
        "-remoteWrite.basicAuth.username=\"\",x,\"\"",
        "-remoteWrite.bearerTokenFile={dir}/token,\"\",\"\"",
        "-remoteWrite.flushInterval=2s",
        "-remoteWrite.forceVMProto=false,true,false",
        "-remoteWrite.headers=X-A: 1^^X-B: 2,,",
        "-remoteWrite.label=cluster=a,replica=0",
        "-remoteWrite.maxBlockSize=8MiB",
        "-remoteWrite.maxDiskUsagePerURL=1073741824",
        "-remoteWrite.oauth2.clientID=\"\",\"\",id",
        "-remoteWrite.oauth2.clientSecretFile=\"\",\"\",{dir}/secret",
        "-remoteWrite.oauth2.scopes=\"\",\"\",openid",
        "-remoteWrite.oauth2.tokenUrl=\"\",\"\",http://127.0.0.1:9/token",
        "-remoteWrite.proxyURL=,,http://127.0.0.1:9",
        "-remoteWrite.queues=4",
        "-remoteWrite.relabelConfig={dir}/rules.yml",
        "-remoteWrite.sendTimeout=10s,,20s",
        "-remoteWrite.showURL=true",
        "-remoteWrite.tlsInsecureSkipVerify=true,false,false",
        "-remoteWrite.tlsServerName=a,,",
        "-remoteWrite.tmpDataPath={dir}/operator",
        "-remoteWrite.url=http://127.0.0.1:9/a,http://127.0.0.1:9/b,http://127.0.0.1:9/c",
        "-remoteWrite.urlRelabelConfig={dir}/rules.yml,,",
    ];
    check_start(&operator, dir.path());
    let chart = [
        "--envflag.enable",
        "--envflag.prefix=VM_",
        "--httpListenAddr=127.0.0.1:0",
        "--loggerFormat=default",
        "--promscrape.cluster.memberNum=vmagent-main-1",
        "--promscrape.cluster.membersCount=3",
        "--promscrape.config={dir}/vmagent.yaml",
        "--remoteWrite.tmpDataPath={dir}/chart",
        "--remoteWrite.url=http://127.0.0.1:9/api/v1/write",
    ];
    check_start(&chart, dir.path());
}

#[test]
fn what_would_be_sent_otherwise_than_asked_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for flag in ["-remoteWrite.streamAggr.config=a.yml", "-remoteWrite.obfuscateLabels=a", "-remoteWrite.mdx.enable"] {
        let data = format!("-remoteWrite.tmpDataPath={}", dir.path().display());
        let launch = Launch::new(BINARY).arg("-remoteWrite.url=http://127.0.0.1:9/w").arg(data).arg(flag);
        let mut program = launch.start();
        assert_eq!(program.wait_exit(LIMIT), Some(255), "{flag}");
        let name = flag.split('=').next().unwrap();
        assert!(program.log_text().contains(name), "{}", program.log_text());
    }
}
