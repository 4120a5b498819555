//! One system under test, short ways to what it does, and the gap check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devstack::fault::Fault;
use devstack::flags::Setup;
use devstack::guide::Addresses;
use devstack::provider::ClaimForm;
use devstack::stack::{Stack, StackOptions};
use devstack::store::Write;
use devstack::tenant::Tenant;
use tempfile::TempDir;
use testkit::deadline::within;
use testkit::{Client, Metrics};
use vmagent::relabel::Selector;

/// How long a step may take on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two scrapes of a target.
const INTERVAL_MS: i64 = 1_000;
/// The secret of the agent's client, which must be found nowhere.
pub(crate) const SECRET: &str = "s3cret+of the/agent";

/// A running system.
pub(crate) struct Rig {
    pub(crate) stack: Stack,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

/// The tenant of a text.
pub(crate) fn tenant(text: &str) -> Tenant {
    text.parse().unwrap()
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A claim of the token in a header `Bearer …`.
pub(crate) fn claim(authorization: &str, part: usize, name: &str) -> serde_json::Value {
    let token = authorization.strip_prefix("Bearer ").unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()[name].clone()
}

impl Rig {
    /// Starts a system whose tokens live for 14 seconds; `change` has the last word.
    pub(crate) fn start(change: impl FnOnce(&mut StackOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = StackOptions {
            binary: env!("CARGO_BIN_EXE_devstack").into(),
            dir: dir.path().to_owned(),
            addresses: Addresses { console: any, provider: any, proxy: any, agent: any, store: any },
            setup: Setup {
                secret: SECRET.to_owned(),
                tenant: tenant("0:0"),
                other_tenant: tenant("9:0"),
                claim: ClaimForm::Object,
                token_lifetime: Duration::from_secs(14),
                scrape_interval: "1s".to_owned(),
                proxy_binary: None,
                agent_binary: None,
                proxy_flags: vec!["-workers=1".to_owned()],
                agent_flags: vec!["-workers=1".to_owned()],
            },
            faults: Vec::new(),
        };
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stack = runtime.block_on(Stack::start(options)).unwrap();
        Self { stack, runtime, _dir: dir }
    }

    /// Switches a fault.
    pub(crate) fn set(&mut self, fault: Fault, on: bool) {
        self.runtime.block_on(self.stack.set(fault, on)).unwrap();
    }

    /// Ends the system; returns how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let started = std::time::Instant::now();
        self.runtime.block_on(self.stack.stop());
        started.elapsed()
    }

    /// Waits for a condition; a failure tells the logs of both programs.
    #[track_caller]
    pub(crate) fn wait<T, E: Debug>(&self, what: &str, mut attempt: impl FnMut(&Self) -> Result<T, E>) -> T {
        let logs = |error: E| format!("{error:?}\n{}", self.logs());
        within(PATIENCE, what, || attempt(self).map_err(logs).map_err(Text))
    }

    /// Logs of both programs, newest lines.
    pub(crate) fn logs(&self) -> String {
        let of = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let newest = lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n");
            format!("--- {}\n{newest}\n", path.display())
        };
        of(self.stack.proxy.log()) + &of(self.stack.agent.log())
    }

    /// The whole log of the agent.
    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.stack.agent.log()).unwrap_or_default()
    }

    /// Waits until the agent's log, from a byte on, has a text.
    #[track_caller]
    pub(crate) fn wait_agent_log(&self, from: usize, text: &str) {
        self.wait(text, |rig| {
            if rig.agent_log().get(from..).unwrap_or_default().contains(text) { Ok(()) } else { Err("not in the log") }
        });
    }

    /// Metrics of the agent; none while it is down.
    pub(crate) fn agent_metrics(&self) -> Option<Metrics> {
        metrics(self.stack.addresses.agent)
    }

    /// Metrics of the proxy; none while it is down.
    pub(crate) fn proxy_metrics(&self) -> Option<Metrics> {
        metrics(self.stack.addresses.proxy)
    }

    /// Waits until a family of the agent has a sum.
    #[track_caller]
    pub(crate) fn wait_agent_sum(&self, family: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        self.wait(family, |rig| {
            let sum = rig.agent_metrics().map(|metrics| metrics.sum(family));
            sum.filter(|sum| wanted(*sum)).ok_or(sum)
        })
    }

    /// Writes that brought samples.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.stack.store.writes().into_iter().filter(|write| write.samples > 0).collect()
    }

    /// Times of the samples of `up` in all tenants, by instance.
    pub(crate) fn ups(&self) -> BTreeMap<String, BTreeSet<i64>> {
        let selector = Selector::parse("up{job=\"stat\"}").unwrap();
        let mut ups = BTreeMap::<_, BTreeSet<i64>>::new();
        for own in self.stack.store.figures() {
            for (labels, samples) in self.stack.store.samples(own.tenant, &selector) {
                let instance = labels.iter().find(|(name, _)| &**name == "instance").unwrap().1.to_string();
                ups.entry(instance).or_default().extend(samples.iter().map(|sample| sample.timestamp_ms));
            }
        }
        ups
    }

    /// Waits until both targets have a sample that was scraped after this time, and nothing waits in the agent.
    #[track_caller]
    pub(crate) fn wait_samples_after(&self, time_ms: i64) {
        self.wait("new samples of both targets in the store", |rig| {
            let ups = rig.ups();
            let newest: Vec<_> = ups.values().filter_map(|times| times.last().copied()).collect();
            let is_there = newest.len() == 2 && newest.iter().all(|newest| *newest > time_ms);
            if is_there { Ok(()) } else { Err((newest, time_ms)) }
        });
        self.wait_agent_sum("vmagent_remotewrite_pending_data_bytes", |bytes| bytes == 0.0);
    }

    /// Waits until the system works: a sample of each target that was scraped from now on.
    #[track_caller]
    pub(crate) fn wait_fresh(&self) {
        self.wait_samples_after(now_ms());
    }

    /// No sample that was scraped is missing in the store, or will be: blocks that wait for another attempt come later
    /// than younger ones. `since` is when the agent's process began, 0 for the start; `away` a time in which none ran.
    #[track_caller]
    pub(crate) fn gap_check(&self, since: i64, away: Option<(i64, i64)>) {
        self.wait_fresh();
        let metrics = self.agent_metrics().expect("the agent runs");
        let read_at = now_ms();
        self.wait_samples_after(read_at);
        let begun = metrics.sum("vm_promscrape_scrape_requests_total");
        self.wait("every sample that was scraped", |rig| {
            let ups = rig.ups();
            let stored = ups.values().flat_map(|times| times.range(since..=read_at)).count() as f64;
            // The two last ones may have been on their way.
            if stored < begun - 2.0 {
                return Err(format!("{begun} scrapes were begun, {stored} are stored: {ups:?}"));
            }
            let missing: i64 = ups.values().map(|times| missing(times, away)).sum();
            // A busy machine may leave out a tick, for which scrapes have to begin or end a whole interval late.
            let names = ["vm_promscrape_scrape_delay_seconds_sum", "vm_promscrape_scrape_duration_seconds_sum"];
            let late: f64 = names.iter().map(|name| rig.agent_metrics().map_or(0.0, |metrics| metrics.sum(name))).sum();
            if missing > late as i64 {
                return Err(format!("{missing} samples are missing with {late} s of delays: {ups:?}"));
            }
            Ok(())
        });
        let dropped = self.agent_metrics().unwrap().sum("vmagent_remotewrite_packets_dropped_total");
        assert_eq!(dropped, 0.0, "{}", self.logs());
    }

    /// A request without a body to the proxy; status and text.
    pub(crate) fn ask_proxy(&self, path: &str, headers: &[&str]) -> (u16, String) {
        let reply = Client::connect(self.stack.addresses.proxy).get(path, headers);
        (reply.status, reply.text())
    }

    /// The answer of the store to a query, as JSON.
    pub(crate) fn query(&self, tenant: &str, query: &str) -> serde_json::Value {
        let path = format!("/select/{tenant}/prometheus/api/v1/{query}");
        let reply = Client::connect(self.stack.addresses.store).get(&path, &[]);
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
    }
}

/// Samples that are missing between the others, but in the time in which no agent ran.
fn missing(times: &BTreeSet<i64>, away: Option<(i64, i64)>) -> i64 {
    let covered = |from: i64, to: i64| away.is_some_and(|(left, back)| from <= back && to >= left);
    let pairs = times.iter().zip(times.iter().skip(1)).filter(|(from, to)| !covered(**from, **to));
    pairs.map(|(from, to)| ((to - from + INTERVAL_MS / 2) / INTERVAL_MS - 1).max(0)).sum()
}

/// A text that shows its line ends.
struct Text(String);

impl Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn metrics(address: SocketAddr) -> Option<Metrics> {
    let reply = Client::try_connect(address).ok()?.get("/metrics", &["Connection: close"]);
    (reply.status == 200).then(|| Metrics::parse(&reply.text()))
}
