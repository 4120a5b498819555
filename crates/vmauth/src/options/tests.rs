//! What the values of flags become, and which are refused.

use vmkit::env_template::Environment;

use super::*;
use crate::flags::{app_info, groups};

fn options(words: &[&str]) -> Result<Options, Vec<String>> {
    let words = std::iter::once(&"vmauth").chain(words);
    let flags = FlagSet::parse(&groups(), &app_info(), words, &Environment::default()).unwrap();
    Options::from_flags(&flags)
}

#[test]
fn defaults() {
    let options = options(&[]).unwrap();
    assert_eq!((options.config.auth_config.as_str(), options.config.check_interval), ("", None));
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
}

#[test]
fn zero_means_no_limit_where_it_says_so() {
    let zero = ["-responseTimeout=0", "-idleConnTimeout=-1s"];
    let options = options(&zero).unwrap();
    assert_eq!((options.backends.response_timeout, options.backends.idle_timeout), (None, None));
}

#[test]
fn values_are_brought_into_their_final_form() {
    let interval =
        |text: &str| options(&[&format!("-discoverBackendIPsInterval={text}")]).unwrap().backends.discover_interval;
    assert_eq!(["0", "1ms", "1s", "1001ms", "-5s"].map(interval), [1, 1, 1, 2, 1].map(Duration::from_secs));
    let sizes = options(&["-maxRequestBodySizeToRetry=-1", "-requestBufferSize=1MiB"]).unwrap();
    assert_eq!((sizes.limits.max_retry_body_size, sizes.limits.request_buffer_size), (0, 1 << 20));
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
    f(&["-retryStatusCodes=-1"], &["-retryStatusCodes must be HTTP status codes; got -1"]);
    f(&["-dns.servers=localhost:53"], &["-dns.servers must be IP addresses with ports; got \"localhost:53\""]);
    let problems = options(&["-failTimeout=-1s", "-maxIdleConnsPerBackend=-3"]).unwrap_err();
    assert_eq!(problems.len(), 2);
}
