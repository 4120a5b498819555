//! The way of a sample when nothing is wrong, and how the store shows it.

use std::collections::BTreeSet;
use std::time::Instant;

use devstack::provider::ClaimForm;
use serde_json::json;
use testkit::Client;

use crate::rig::{Rig, claim, tenant};

#[test]
fn samples_of_both_targets_reach_the_tenant_of_the_token() {
    let rig = Rig::start(|_| {});
    rig.wait_fresh();
    let first = Instant::now();
    let has_six = |rig: &Rig| {
        let ups = rig.ups();
        if ups.len() == 2 && ups.values().all(|times| times.len() > 6) { Ok(()) } else { Err(ups) }
    };
    rig.wait("six samples of each target", has_six);
    let seconds = first.elapsed().as_secs_f64();
    rig.gap_check(0, None);
    let writes = rig.writes();
    let paths: BTreeSet<_> = writes.iter().map(|write| write.path.as_str()).collect();
    assert_eq!(paths, ["/insert/0:0/prometheus/api/v1/write"].into());
    assert!(writes.iter().all(|write| write.encoding == "zstd"), "{writes:?}");
    let statuses = rig.agent_metrics().unwrap().containing("vmagent_remotewrite_requests_total");
    assert!(statuses.iter().all(|(name, count)| name.contains("2XX") || *count == 0.0), "{statuses:?}");
    // One request for a token every four seconds, which is the lifetime without the last ten.
    let requests = rig.stack.provider.token_requests();
    assert!(requests.iter().all(|request| request.granted && request.by_header), "{requests:?}");
    let most = (rig.stack.started.elapsed().as_secs_f64() / 4.0).ceil() + 1.0;
    assert!((1.0..=most).contains(&(requests.len() as f64)), "{} in {seconds} s", requests.len());
}

#[test]
fn queries_show_a_tenant_what_is_its_own() {
    let rig = Rig::start(|options| options.setup.tenant = tenant("1:2"));
    rig.wait_fresh();
    let found = rig.query("1:2", "query?query=vm_app_version");
    assert_eq!((&found["status"], &found["data"]["resultType"]), (&json!("success"), &json!("vector")));
    let instances = |found: &serde_json::Value| -> BTreeSet<String> {
        let of = |series: &serde_json::Value| series["metric"]["instance"].as_str().unwrap().to_owned();
        found["data"]["result"].as_array().unwrap().iter().map(of).collect()
    };
    let both = BTreeSet::from([rig.stack.addresses.agent.to_string(), rig.stack.addresses.proxy.to_string()]);
    assert_eq!(instances(&found), both);
    for series in found["data"]["result"].as_array().unwrap() {
        assert_eq!((&series["metric"]["job"], &series["value"][1]), (&json!("stat"), &json!("1")), "{series}");
        assert!(series["metric"]["version"].as_str().unwrap().contains("-v"), "{series}");
    }
    for other in ["7", "0:0", "1:0", "2:1"] {
        assert_eq!(rig.query(other, "query?query=vm_app_version")["data"]["result"], json!([]), "{other}");
    }
    let range = rig.query("1:2", "query_range?query=sum(up)&step=1");
    assert_eq!(range["data"]["result"].as_array().map(Vec::len), Some(1), "{range}");
    rig.wait("a rate", |rig| {
        let rate = rig.query("1:2", "query?query=sum%20by%20(job)%20(rate(vm_http_requests_all_total%5B1m%5D))");
        let value = rate["data"]["result"][0]["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
        value.filter(|value| *value > 0.0).ok_or(rate)
    });
    assert_eq!(rig.query("1:2", "labels?match[]=up")["data"], json!(["__name__", "instance", "job"]));
    assert_eq!(rig.query("1:2", "label/job/values")["data"], json!(["stat"]));
    assert_eq!(rig.query("1:2", "series?match[]=up")["data"].as_array().map(Vec::len), Some(2));
    for wrong in [
        "query?query=avg(up)",
        "query",
        "query?query=up&time=x",
        "series",
        "query_range?query=up&start=2&end=1",
        "nothing",
    ] {
        let answer = rig.query("1:2", wrong);
        assert!(answer["status"] == "error" && answer["error"].is_string(), "{wrong}: {answer}");
    }
    let mut client = Client::connect(rig.stack.addresses.store);
    client.request("POST", "/select/1:2/prometheus/api/v1/query", &[], Some(b"query=vm_app_version"));
    let by_form: serde_json::Value = serde_json::from_slice(&client.reply().expect(200).body).unwrap();
    assert_eq!(instances(&by_form), both);
}

#[test]
fn no_request_carries_an_expired_token() {
    // The short one is replaced after two seconds, so that a request has seven to come.
    for (seconds, tokens) in [(14, 3), (9, 4)] {
        let rig = Rig::start(|options| {
            options.setup.token_lifetime = std::time::Duration::from_secs(seconds);
            options.setup.claim = ClaimForm::Text;
        });
        let distinct = |rig: &Rig| -> BTreeSet<String> {
            rig.writes().iter().filter_map(|write| write.authorization.clone()).collect()
        };
        rig.wait("several tokens", |rig| if distinct(rig).len() >= tokens { Ok(()) } else { Err(distinct(rig).len()) });
        for write in rig.writes() {
            let expires = claim(write.authorization.as_deref().unwrap(), 1, "exp").as_u64().unwrap();
            let came = write.at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            assert!(came <= expires, "came at {came}, expired at {expires}");
        }
        let proxy = rig.proxy_metrics().unwrap();
        assert_eq!(proxy.sum("vmauth_invalid_auth_tokens_total"), 0.0, "{}", rig.logs());
        rig.gap_check(0, None);
    }
}
