//! A cluster by its kubeconfig alone: authority, certificate and key stand in the file itself, as most tools write it. The
//! server wants the certificate, and sends its list compressed.

#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use testkit::backend::{Backend, Reply, Request};
use testkit::certs::Authority;
use testkit::{Launch, eventually};

const PODS: &str = r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[
{"metadata":{"name":"shop-1","namespace":"shop","resourceVersion":"5","uid":"u"},
 "spec":{"nodeName":"n","containers":[{"name":"app","image":"i","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}]}]},
 "status":{"phase":"Running","podIP":"127.0.0.1","hostIP":"127.0.0.1"}}]}"#;

fn get(address: SocketAddr, target: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    tcp.read_to_string(&mut reply).unwrap();
    reply
}

fn compressed(text: &str) -> Reply {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    Reply::raw([head.into_bytes(), body].concat())
}

fn answer(request: &Request) -> Reply {
    if request.target.contains("sendInitialEvents") {
        return Reply::message(422, &[], "{}");
    }
    // A watch stays open and says nothing.
    if request.target.contains("watch=1") { Reply::chunked_head(200, &[]) } else { compressed(PODS) }
}

#[test]
fn certificates_in_the_file_itself_and_compressed_lists() {
    let authority = Authority::new("cluster");
    let (server, client) = (authority.issue(&["127.0.0.1"]), authority.issue(&["agent"]));
    let api = Backend::tls(authority.server_config(&server, Some(&authority)), Reply::ok(""));
    api.set_handler(answer);
    let dir = tempfile::tempdir().unwrap();
    let data = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let kubeconfig = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters:\n- name: k\n  cluster: \
         {{server: 'https://{}', certificate-authority-data: {}}}\nusers:\n- name: u\n  user: {{client-certificate-data: {}, \
         client-key-data: {}}}\n",
        api.address(),
        data(authority.ca_pem()),
        data(&client.cert_pem),
        data(&client.key_pem),
    );
    std::fs::write(dir.path().join("kubeconfig"), kubeconfig).unwrap();
    let config =
        "scrape_configs:\n- job_name: j\n  kubernetes_sd_configs: [{role: pod, kubeconfig_file: kubeconfig}]\n";
    std::fs::write(dir.path().join("scrape.yml"), config).unwrap();
    let program = Launch::new(env!("CARGO_BIN_EXE_vmagent"))
        .dir(dir.path())
        .arg("-httpListenAddr=127.0.0.1:0")
        .arg("-promscrape.config=scrape.yml")
        .arg("-remoteWrite.url=http://127.0.0.1:9/w")
        .start();
    let address = program.wait_listening();
    eventually("the pod is a target", || {
        let targets = get(address, "/api/v1/targets");
        let is_there = targets.contains("\"__meta_kubernetes_pod_name\":\"shop-1\"");
        if is_there { Ok(()) } else { Err(get(address, "/service-discovery")) }
    });
    let list = api.requests().into_iter().find(|request| !request.target.contains("watch=1")).unwrap();
    assert_eq!(list.fields.get("accept-encoding"), Some("gzip"));
    assert_eq!(list.fields.get("authorization"), None);
}
