//! Provider, proxy and store away, hanging or restarted: the agent waits, and loses nothing.

use std::time::Duration;

use devstack::fault::Fault;
use serde_json::json;

use crate::rig::{Rig, now_ms, tenant};

const ERRORS: &str = "vmagent_remotewrite_errors_total";

#[test]
fn a_provider_that_is_down_at_the_start_delays_and_loses_nothing() {
    let mut rig = Rig::start(|options| options.faults = vec![Fault::ProviderDown]);
    rig.wait_agent_sum(ERRORS, |errors| errors > 1.0);
    rig.wait_agent_log(0, "OAuth2 token");
    // The proxy serves, and knows no key.
    let token = rig.stack.provider.token_with(&json!({"vm_access": {}}), false).unwrap();
    assert_eq!(rig.ask_proxy("/insert/api/v1/write", &[&format!("Authorization: Bearer {token}")]).0, 401);
    assert_eq!(rig.ask_proxy("/health", &[]).0, 200);
    assert_eq!(rig.stack.store.writes(), []);
    rig.set(Fault::ProviderDown, false);
    rig.gap_check(0, None);
}

#[test]
fn while_a_token_lives_a_provider_may_be_away() {
    let mut rig = Rig::start(|options| options.setup.token_lifetime = Duration::from_secs(600));
    rig.wait_fresh();
    rig.set(Fault::ProviderDown, true);
    let errors = rig.agent_metrics().unwrap().sum(ERRORS);
    (0..3).for_each(|_| rig.wait_fresh());
    assert_eq!(rig.agent_metrics().unwrap().sum(ERRORS), errors);
    assert_eq!(rig.stack.provider.figures().granted, 1);
    rig.set(Fault::ProviderDown, false);
    rig.gap_check(0, None);
}

#[test]
fn a_provider_that_is_away_for_longer_than_a_token_lives_costs_nothing() {
    for fault in [Fault::ProviderDown, Fault::ProviderHangs] {
        let mut rig = Rig::start(|options| options.setup.token_lifetime = Duration::from_secs(12));
        rig.wait_fresh();
        rig.set(fault, true);
        let errors = rig.agent_metrics().unwrap().sum(ERRORS);
        rig.wait_agent_sum(ERRORS, |now| now > errors);
        rig.wait("two seconds of samples wait", |rig| {
            let newest = rig.ups().values().filter_map(|times| times.last().copied()).max().unwrap();
            if now_ms() - newest > 2_000 { Ok(()) } else { Err(newest) }
        });
        rig.set(fault, false);
        rig.gap_check(0, None);
    }
}

#[test]
fn a_stop_is_quick_while_the_provider_hangs() {
    let mut rig = Rig::start(|options| options.faults = vec![Fault::ProviderHangs]);
    rig.wait("the agent scrapes", |rig| {
        let begun = rig.agent_metrics().map(|metrics| metrics.sum("vm_promscrape_scrape_requests_total"));
        begun.filter(|begun| *begun > 2.0).ok_or(begun)
    });
    let took = rig.stop();
    // A token request that hangs is given up after half a minute.
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(!rig.stack.agent.is_running() && !rig.stack.proxy.is_running());
}

#[test]
fn a_proxy_that_is_away_costs_nothing() {
    let mut rig = Rig::start(|_| {});
    rig.wait_fresh();
    rig.set(Fault::ProxyDown, true);
    let errors = rig.agent_metrics().unwrap().sum(ERRORS);
    rig.wait_agent_sum(ERRORS, |now| now > errors);
    rig.set(Fault::ProxyDown, false);
    // A scrape of a target that is down is a sample too.
    rig.gap_check(0, None);
}

#[test]
fn a_store_that_is_away_is_a_502_and_costs_nothing() {
    let mut rig = Rig::start(|_| {});
    rig.wait_fresh();
    rig.set(Fault::StoreDown, true);
    rig.wait_agent_sum("vmagent_remotewrite_retries_count_total", |retries| retries > 1.0);
    let token = rig.stack.provider.token_with(&json!({"vm_access": {}}), false).unwrap();
    let (status, text) = rig.ask_proxy("/insert/api/v1/write", &[&format!("Authorization: Bearer {token}")]);
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("all the 1 backends for the user \"jwt\" are unavailable"), "{text}");
    // Blocks beyond -maxRequestBodySizeToRetry are a 503, and those of the first seconds are about as large.
    let statuses = rig.agent_metrics().unwrap().containing("status_code=\"50");
    assert!(statuses.iter().any(|(_, count)| *count > 0.0), "{statuses:?}");
    rig.set(Fault::StoreDown, false);
    rig.gap_check(0, None);
}

#[test]
fn an_agent_that_is_stopped_in_an_outage_delivers_after_its_restart() {
    let mut rig = Rig::start(|_| {});
    rig.wait_fresh();
    rig.set(Fault::StoreDown, true);
    rig.wait_agent_sum("vmagent_remotewrite_retries_count_total", |retries| retries > 1.0);
    let begun = rig.agent_metrics().unwrap().sum("vm_promscrape_scrape_requests_total");
    let left = now_ms();
    rig.set(Fault::AgentDown, true);
    rig.set(Fault::StoreDown, false);
    let back = now_ms();
    rig.set(Fault::AgentDown, false);
    rig.gap_check(back, Some((left - 1_000, back + 2_000)));
    rig.wait("what was scraped before the stop", |rig| {
        let before = rig.ups().values().flat_map(|times| times.range(..back)).count() as f64;
        if before >= begun - 2.0 { Ok(()) } else { Err((begun, before)) }
    });
}

#[test]
fn an_agent_that_is_killed_in_an_outage_loses_what_was_on_its_way_only() {
    let mut rig = Rig::start(|options| options.setup.agent_flags.push("-remoteWrite.queues=1".to_owned()));
    rig.wait_fresh();
    let scraped = |rig: &Rig| rig.agent_metrics().unwrap().sum("vm_promscrape_scrape_requests_total");
    let outage = now_ms();
    let before = scraped(&rig);
    rig.set(Fault::StoreDown, true);
    // A busy machine may leave out a tick, so the time alone does not tell how many samples there are.
    let wanted = before + 2.0 * 11.0;
    rig.wait("ten scrapes of each target", |rig| if scraped(rig) >= wanted { Ok(()) } else { Err(scraped(rig)) });
    let left = now_ms();
    rig.stack.agent.kill();
    rig.set(Fault::StoreDown, false);
    rig.stack.agent.start().unwrap();
    rig.wait_fresh();
    // One sender has one block on its way, and the last second is not in a block yet.
    rig.wait("seven of ten samples of each target", |rig| {
        let ups = rig.ups();
        let of_outage: Vec<_> = ups.values().map(|times| times.range(outage..left).count()).collect();
        if of_outage.iter().all(|count| *count >= 7) { Ok(()) } else { Err((of_outage, ups)) }
    });
    assert_eq!(rig.agent_metrics().unwrap().sum("vmagent_remotewrite_packets_dropped_total"), 0.0);
    assert!(rig.writes().iter().all(|write| write.tenant == tenant("0:0")));
}
