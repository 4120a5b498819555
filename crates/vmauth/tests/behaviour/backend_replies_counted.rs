//! What backends answer and how long they take, as metrics and on the state page: counted by address, kept over reloads,
//! gone with the last route that names it.

use serde_json::Value;
use testkit::{Backend, Client, Metrics, Reply};

use crate::status::{internal, state};
use crate::vmauth::{AUTH, Vmauth, one_user};

fn responses(backend: &Backend, class: &str) -> String {
    format!("vmauth_backend_responses_total{{backend=\"{}\", code=\"{class}\"}}", backend.address())
}

fn answered(backend: &Backend) -> String {
    format!("vmauth_backend_response_duration_seconds_count{{backend=\"{}\"}}", backend.address())
}

fn ask(proxy: &Vmauth, targets: &[(&str, u16)]) {
    for (target, status) in targets {
        proxy.client().get(target, &[AUTH]).expect(*status);
    }
}

/// Answers with the status that the path names.
fn by_path() -> Backend {
    Backend::with(|request| Reply::message(request.target[1..].parse().unwrap_or(200), &[], "x"))
}

#[test]
fn replies_count_by_class_and_time_and_are_shown() {
    let backend = by_path();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-httpInternalListenAddr=127.0.0.1:0"]);
    ask(&proxy, &[("/200", 200), ("/201", 201), ("/404", 404)]);
    let internal = internal(&proxy);
    let expect = |want: &[(&str, f64)]| {
        testkit::eventually("the metrics", || {
            let metrics = Metrics::scrape(internal);
            let got: Vec<_> = want.iter().map(|(name, _)| metrics.value(name)).collect();
            if want.iter().zip(&got).all(|((_, want), got)| *got == Some(*want)) { Ok(()) } else { Err(got) }
        });
    };
    let count = answered(&backend);
    expect(&[
        (&responses(&backend, "2xx"), 2.0),
        (&responses(&backend, "4xx"), 1.0),
        (&responses(&backend, "5xx"), 0.0),
        (&count, 3.0),
    ]);
    let shown: Value = state(internal)["backends"]["items"][0].clone();
    assert_eq!((&shown["responses"]["2xx"], &shown["responses"]["4xx"]), (&2.into(), &1.into()), "{shown}");
    let latency = &shown["latency"];
    assert_eq!(latency["count"], 3, "{shown}");
    let quantile = |name: &str| latency[name].as_f64().expect("a number of seconds");
    assert!(0.0 < quantile("p50") && quantile("p50") <= quantile("p90") && quantile("p90") <= quantile("p99"));
    let page = Client::connect(internal).get("/vmauth/status", &[]).expect(200).text();
    assert!(page.contains("2xx: 2") && page.contains("s, "), "{page}");
}

#[test]
fn replies_that_are_not_passed_on_count_and_take_no_time() {
    let (bad, good) = (Backend::replying(Reply::message(503, &[], "")), Backend::saying("ok"));
    let extra = "load_balancing_policy: first_available\nretry_status_codes: [503]";
    let proxy = Vmauth::start(&one_user(&[&bad, &good], extra), &[]);
    ask(&proxy, &[("/", 200)]);
    proxy.expect_metrics(&[
        (&responses(&bad, "5xx"), 1.0),
        (&answered(&bad), 0.0),
        (&responses(&good, "2xx"), 1.0),
        (&answered(&good), 1.0),
    ]);
}

#[test]
fn reloads_keep_what_stays_and_drop_what_goes() {
    let (stays, goes) = (by_path(), by_path());
    let both = one_user(&[&stays, &goes], "");
    let proxy = Vmauth::start(&both, &[]);
    ask(&proxy, &[("/200", 200), ("/200", 200)]);
    proxy.expect_metrics(&[(&responses(&stays, "2xx"), 1.0), (&responses(&goes, "2xx"), 1.0)]);
    proxy.reload(&one_user(&[&stays], "max_concurrent_requests: 7"), "loaded information about 1 users");
    ask(&proxy, &[("/200", 200)]);
    testkit::eventually("series of backends that are named", || {
        let metrics = Metrics::scrape(proxy.address);
        let got = (metrics.value(&responses(&stays, "2xx")), metrics.value(&responses(&goes, "2xx")));
        if matches!(got, (Some(2.0..), None)) { Ok(()) } else { Err(got) }
    });
}

#[test]
fn they_can_be_switched_off() {
    let backend = by_path();
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-metrics.backends=false"]);
    ask(&proxy, &[("/200", 200)]);
    proxy.expect_metrics(&[("user.requests_total", 1.0)]);
    let found = Metrics::fresh(proxy.address).containing("vmauth_backend_response");
    assert!(found.is_empty(), "{found:?}");
}
