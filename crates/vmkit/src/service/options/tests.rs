//! What the values of shared flags become, and which are refused.

use super::super::flags::{COMMON, available_cores};
use super::*;
use crate::env_template::Environment;
use crate::flags::AppInfo;

fn options(words: &[&str]) -> Result<ServiceOptions, Vec<String>> {
    let app =
        AppInfo { name: "app", banner: "", version: "app-v1".to_string(), defaults: &[("httpListenAddr", ":8427")] };
    let words = std::iter::once(&"app").chain(words);
    ServiceOptions::from_flags(&FlagSet::parse(COMMON, &app, words, &Environment::default()).unwrap())
}

#[test]
fn rows_are_unique_and_name_no_program() {
    let table: Vec<_> = COMMON.concat();
    let names: std::collections::HashSet<_> = table.iter().map(|def| def.name).collect();
    assert_eq!(names.len(), table.len());
    for def in table {
        assert!(!def.help.contains("vmauth") && !def.help.contains("vmagent"), "{}", def.name);
    }
}

#[test]
fn defaults() {
    let options = options(&[]).unwrap();
    let listener = ListenerOptions { addr: ":8427".to_string(), index: 0, use_proxy_protocol: false, tls: None };
    assert_eq!(options.listeners.public, [listener]);
    assert!(options.listeners.internal.is_empty());
    assert_eq!(options.listeners.conn_timeout, Some(Duration::from_secs(120)));
    assert_eq!(options.listeners.idle_timeout, Some(Duration::from_secs(60)));
    assert_eq!(options.listeners.max_graceful_shutdown, Duration::from_secs(7));
    assert_eq!(options.metrics.allowed_memory, AllowedMemory::Percent(60.0));
    assert!(options.metrics.go_runtime && !options.metrics.expose_metadata);
    assert_eq!(options.workers, available_cores());
    assert!(!options.access.metrics_key.is_set() && !options.access.http_auth_password.is_set());
}

#[test]
fn listeners_go_by_position() {
    let listeners = options(&[
        "-httpListenAddr=:1,,:3",
        "-httpInternalListenAddr=:4",
        "-tls=true,true,false",
        "-tlsCertFile=a.crt,b.crt",
        "-tlsKeyFile=all.key",
        "-tlsMinVersion=,TLS13",
        "-mtls=1,0",
        "-mtlsCAFile=ca.crt,",
        "-httpListenAddr.useProxyProtocol",
    ])
    .unwrap()
    .listeners;
    let tls = |client_auth| ListenerTls {
        cert_file: "a.crt".to_string(),
        key_file: "all.key".to_string(),
        min_version: String::new(),
        client_auth,
    };
    let client_auth = ClientAuth { ca_file: Some("ca.crt".to_string()) };
    let listener = |addr: &str, index, use_proxy_protocol, tls| ListenerOptions {
        addr: addr.to_string(),
        index,
        use_proxy_protocol,
        tls,
    };
    assert_eq!(
        listeners.public,
        [listener(":1", 0, true, Some(tls(Some(client_auth)))), listener(":3", 2, true, None)]
    );
    assert_eq!(listeners.internal, [listener(":4", 0, false, Some(tls(None)))]);
}

#[test]
fn client_certificates_by_the_authorities_of_the_system() {
    let listeners = options(&["-tls", "-mtls"]).unwrap().listeners;
    let tls = listeners.public.first().and_then(|listener| listener.tls.clone()).unwrap();
    assert_eq!(tls.client_auth, Some(ClientAuth { ca_file: None }));
}

#[test]
fn values_are_brought_into_their_final_form() {
    let zero = options(&["-http.connTimeout=0", "-http.idleConnTimeout=0"]).unwrap();
    assert_eq!((zero.listeners.conn_timeout, zero.listeners.idle_timeout), (None, None));
    let prefix = |text: &str| options(&[&format!("-http.pathPrefix={text}")]).unwrap().http.path_prefix;
    assert_eq!(["", "/", "foo/bar", "/foo/bar", "/foo/bar/"].map(prefix), ["", "", "/foo/bar", "/foo/bar", "/foo/bar"]);
    let sizes = options(&["-memory.allowedBytes=2KiB"]).unwrap();
    assert_eq!(sizes.metrics.allowed_memory, AllowedMemory::Bytes(2048));
}

#[test]
fn values_that_make_no_sense_are_all_named() {
    let f = |words: &[&str], want: &[&str]| assert_eq!(options(words).unwrap_err(), want);
    f(&["-workers=0"], &["-workers must be at least 1; got 0"]);
    f(&["-memory.allowedPercent=0.5"], &["-memory.allowedPercent must be between 1 and 100; got 0.5"]);
    f(&["-memory.allowedPercent=NaN"], &["-memory.allowedPercent must be between 1 and 100; got NaN"]);
    f(&["-mtls"], &["-mtls for -httpListenAddr=:8427 needs -tls for the same address"]);
    f(
        &["-tlsAutocertHosts=a.example", "-tlsAutocertDirectoryURL=http://ca", "-workers=-3"],
        &[
            "-tlsAutocertHosts needs -tls for one of the listening addresses",
            "-tlsAutocertDirectoryURL=http://ca: ACME needs an https URL (RFC 8555 §6.1)",
            "-workers must be at least 1; got -3",
        ],
    );
    f(
        &["-tls", "-tlsAutocertHosts=*.a.example,b.example"],
        &["-tlsAutocertHosts=*.a.example: a wildcard needs validation by DNS, which is not supported; list the names"],
    );
}

#[test]
fn hosts_of_certificates_are_lower_case_and_each_once() {
    let words = ["-tls", "-tlsAutocertHosts=A.example,,b.example,a.EXAMPLE", "-tlsAutocertEmail=me@a.example"];
    let acme = options(&words).unwrap().listeners.acme.unwrap();
    assert_eq!(acme.hosts, ["a.example", "b.example"]);
    assert_eq!(acme.directory_url, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(options(&["-tls", "-tlsAutocertEmail=me@a.example"]).unwrap().listeners.acme, None);
}

#[test]
fn debug_shows_no_secret() {
    let words = ["-pushmetrics.url=http://u:hunter@h/", "-pushmetrics.header=X: hunter", "-metricsAuthKey=hunter"];
    let text = format!("{:?}", options(&words).unwrap());
    assert!(!text.contains("hunter"), "{text}");
}
