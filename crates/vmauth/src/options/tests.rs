//! What the values of flags become, and which are refused.

use vmkit::env_template::Environment;

use super::*;
use crate::flags::{TABLE, app_info, available_cores};

fn options(words: &[&str]) -> Result<Options, Vec<String>> {
    let words = std::iter::once(&"vmauth").chain(words);
    let flags = FlagSet::parse(TABLE, &app_info(), words, &Environment::default()).unwrap();
    Options::from_flags(&flags)
}

#[test]
fn defaults() {
    let options = options(&[]).unwrap();
    assert_eq!((options.config.auth_config.as_str(), options.config.check_interval), ("", None));
    let listener = ListenerOptions { addr: ":8427".to_string(), index: 0, use_proxy_protocol: false, tls: None };
    assert_eq!(options.listeners.public, [listener]);
    assert!(options.listeners.internal.is_empty());
    assert_eq!(options.listeners.conn_timeout, Some(Duration::from_secs(120)));
    assert_eq!(options.listeners.idle_timeout, Some(Duration::from_secs(60)));
    assert_eq!(options.listeners.max_graceful_shutdown, Duration::from_secs(7));
    assert_eq!((options.limits.max_concurrent_requests, options.limits.max_concurrent_per_user), (1000, 100));
    assert_eq!((options.limits.request_buffer_size, options.limits.max_retry_body_size), (32768, 16384));
    assert_eq!(options.limits.max_queue_duration, Duration::from_secs(10));
    assert_eq!((options.auth.headers, options.auth.real_ip_header), (vec!["Authorization".to_string()], None));
    assert_eq!(options.backends.fail_timeout, Duration::from_secs(3));
    assert_eq!(options.backends.response_timeout, Some(Duration::from_secs(300)));
    assert_eq!(options.backends.idle_timeout, Some(Duration::from_secs(50)));
    assert_eq!(
        (options.backends.max_idle_conns, options.backends.load_balancing_policy.as_str()),
        (100, "least_loaded")
    );
    assert_eq!(options.backends.discover_interval, Duration::from_secs(10));
    assert!(options.backends.dns_servers.is_empty() && options.backends.retry_status_codes.is_empty());
    assert_eq!(options.logging, LoggerOptions::default());
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
fn zero_means_no_limit_where_it_says_so() {
    let zero = ["-http.connTimeout=0", "-http.idleConnTimeout=0", "-responseTimeout=0", "-idleConnTimeout=-1s"];
    let options = options(&zero).unwrap();
    assert_eq!((options.listeners.conn_timeout, options.listeners.idle_timeout), (None, None));
    assert_eq!((options.backends.response_timeout, options.backends.idle_timeout), (None, None));
}

#[test]
fn values_are_brought_into_their_final_form() {
    let prefix = |text: &str| options(&[&format!("-http.pathPrefix={text}")]).unwrap().http.path_prefix;
    assert_eq!(["", "/", "foo/bar", "/foo/bar", "/foo/bar/"].map(prefix), ["", "", "/foo/bar", "/foo/bar", "/foo/bar"]);
    let interval =
        |text: &str| options(&[&format!("-discoverBackendIPsInterval={text}")]).unwrap().backends.discover_interval;
    assert_eq!(["0", "1ms", "1s", "1001ms", "-5s"].map(interval), [1, 1, 1, 2, 1].map(Duration::from_secs));
    let sizes =
        options(&["-maxRequestBodySizeToRetry=-1", "-requestBufferSize=1MiB", "-memory.allowedBytes=2KiB"]).unwrap();
    assert_eq!((sizes.limits.max_retry_body_size, sizes.limits.request_buffer_size), (0, 1 << 20));
    assert_eq!(sizes.metrics.allowed_memory, AllowedMemory::Bytes(2048));
    let backends =
        options(&["-retryStatusCodes=500,,502", "-dns.servers=127.0.0.1:5353,::1,[::1]:54"]).unwrap().backends;
    assert_eq!(backends.retry_status_codes, [500, 502]);
    let servers: Vec<_> = backends.dns_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.1:5353", "[::1]:53", "[::1]:54"]);
    let auth = options(&["-httpAuthHeader=X-Token,,Authorization", "-httpRealIPHeader=X-Real-IP"]).unwrap().auth;
    assert_eq!(auth.headers, ["X-Token", "Authorization"]);
    assert_eq!(auth.real_ip_header.as_deref(), Some("X-Real-IP"));
}

#[test]
fn values_that_make_no_sense_are_all_named() {
    let f = |words: &[&str], want: &[&str]| assert_eq!(options(words).unwrap_err(), want);
    f(&["-maxConcurrentRequests=-1"], &["-maxConcurrentRequests cannot be negative; got -1"]);
    f(&["-maxConcurrentPerUserRequests=-2"], &["-maxConcurrentPerUserRequests cannot be negative; got -2"]);
    f(&["-maxIdleConnsPerBackend=-1"], &["-maxIdleConnsPerBackend cannot be negative; got -1"]);
    f(&["-failTimeout=0"], &["-failTimeout must be greater than zero; got 0s"]);
    f(&["-workers=0"], &["-workers must be at least 1; got 0"]);
    f(&["-memory.allowedPercent=0.5"], &["-memory.allowedPercent must be between 1 and 100; got 0.5"]);
    f(&["-memory.allowedPercent=NaN"], &["-memory.allowedPercent must be between 1 and 100; got NaN"]);
    f(&["-retryStatusCodes=-1"], &["-retryStatusCodes must be HTTP status codes; got -1"]);
    f(&["-dns.servers=localhost:53"], &["-dns.servers must be IP addresses with ports; got \"localhost:53\""]);
    f(&["-mtls"], &["-mtls for -httpListenAddr=:8427 needs -tls for the same address"]);
    let problems = options(&["-tlsAutocertHosts=x", "-failTimeout=-1s", "-workers=-3"]).unwrap_err();
    assert_eq!(problems.len(), 3);
    assert!(problems[0].starts_with("-tlsAutocertHosts: certificates are not requested automatically"), "{problems:?}");
}

#[test]
fn debug_shows_no_secret() {
    let words = ["-pushmetrics.url=http://u:hunter@h/", "-pushmetrics.header=X: hunter", "-metricsAuthKey=hunter"];
    let text = format!("{:?}", options(&words).unwrap());
    assert!(!text.contains("hunter"), "{text}");
}
