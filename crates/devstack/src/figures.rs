//! The state of the whole system once a second: one value that the table, the lines and the page show.
//!
//! What the programs do is read from their own `/metrics`, as any monitoring would; a program that does not answer has no
//! figures. Nothing here may wait longer than a tick.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use vmkit::http_client::{Client, FetchRequest};

use crate::fault::Fault;
use crate::stack::Stack;

/// How long a program may take to show its metrics.
const PATIENCE: Duration = Duration::from_millis(700);
/// Ticks over which rates are taken.
const WINDOW: usize = 5;
/// Largest page of metrics.
const MAX_PAGE: usize = 8 << 20;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Since the start, in seconds.
    pub uptime: u64,
    /// How long the first sample took, in seconds.
    pub first_sample: Option<f64>,
    /// The identity provider.
    pub provider: ProviderState,
    /// The agent.
    pub agent: AgentState,
    /// The proxy.
    pub proxy: ProxyState,
    /// The store.
    pub store: StoreState,
    /// Faults that last, by name.
    pub faults: Vec<&'static str>,
}

/// The provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of the page")]
pub struct ProviderState {
    /// `up`, `down` or `hangs`.
    pub state: &'static str,
    pub key_id: String,
    pub keys: usize,
    pub tokens: u64,
    pub refused: u64,
    /// Seconds since the last token was given.
    pub token_age: Option<f64>,
    /// Seconds.
    pub token_lifetime: u64,
}

/// The agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of the page")]
pub struct AgentState {
    pub running: bool,
    /// Not confirmed by the store yet, also what senders have in hands: an outage shows at once.
    pub pending_bytes: f64,
    pub retries: f64,
    pub dropped: f64,
    /// Pushes by status, `network` for those without.
    pub pushes: BTreeMap<String, f64>,
}

/// The proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of the page")]
pub struct ProxyState {
    pub running: bool,
    pub requests: f64,
    /// Refused tokens and failed requests by cause.
    pub refusals: BTreeMap<String, f64>,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of the page")]
pub struct StoreState {
    pub up: bool,
    pub refused_series: u64,
    pub tenants: Vec<TenantState>,
}

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of the page")]
pub struct TenantState {
    pub tenant: String,
    pub series: usize,
    pub samples: u64,
    pub samples_per_second: f64,
    /// Seconds since the last write.
    pub last_write: Option<f64>,
}

/// Takes figures, tick after tick.
pub struct Collector {
    client: std::sync::Arc<Client>,
    /// Samples of each tenant at the last ticks, oldest first.
    past: VecDeque<(Duration, BTreeMap<String, u64>)>,
    first_sample: Option<f64>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    /// A collector that asks by this client.
    pub fn new(client: std::sync::Arc<Client>) -> Self {
        Self { client, past: VecDeque::new(), first_sample: None }
    }

    /// The figures of now.
    pub async fn take(&mut self, stack: &mut Stack) -> Figures {
        let uptime = stack.started.elapsed();
        let (proxy, agent) = tokio::join!(self.page(stack.addresses.proxy), self.page(stack.addresses.agent));
        let tenants = self.tenants(stack, uptime);
        if self.first_sample.is_none() && tenants.iter().any(|tenant| tenant.samples > 0) {
            self.first_sample = Some(uptime.as_secs_f64());
        }
        Figures {
            uptime: uptime.as_secs(),
            first_sample: self.first_sample,
            provider: provider(stack),
            agent: AgentState {
                running: stack.agent.is_running(),
                ..agent.as_deref().map(agent_state).unwrap_or_default()
            },
            proxy: ProxyState {
                running: stack.proxy.is_running(),
                ..proxy.as_deref().map(proxy_state).unwrap_or_default()
            },
            store: StoreState { up: stack.store_is_up(), refused_series: stack.store.refused_series(), tenants },
            faults: stack.active().map(Fault::name).collect(),
        }
    }

    async fn page(&self, address: SocketAddr) -> Option<String> {
        let request = FetchRequest {
            timeout: PATIENCE,
            max_body: MAX_PAGE,
            ..FetchRequest::get(format!("http://{address}/metrics"))
        };
        let reply = self.client.fetch(request).await.ok().filter(|reply| reply.status.as_u16() == 200)?;
        String::from_utf8(reply.body).ok()
    }

    fn tenants(&mut self, stack: &Stack, now: Duration) -> Vec<TenantState> {
        let figures = stack.store.figures();
        let oldest = self.past.front().cloned();
        let rate = |tenant: &str, samples: u64| {
            let (then, past) = oldest.as_ref()?;
            let seconds = now.checked_sub(*then)?.as_secs_f64();
            (seconds > 0.0).then(|| samples.saturating_sub(past.get(tenant).copied().unwrap_or(0)) as f64 / seconds)
        };
        let of = |own: &crate::store::TenantFigures| {
            let tenant = own.tenant.to_string();
            TenantState {
                samples_per_second: rate(&tenant, own.samples).unwrap_or_default(),
                series: own.series,
                samples: own.samples,
                last_write: own.last_write.map(|time| time.as_secs_f64()),
                tenant,
            }
        };
        let tenants: Vec<_> = figures.iter().map(of).collect();
        if self.past.len() == WINDOW {
            self.past.pop_front();
        }
        self.past.push_back((now, tenants.iter().map(|own| (own.tenant.clone(), own.samples)).collect()));
        tenants
    }
}

fn provider(stack: &Stack) -> ProviderState {
    let figures = stack.provider.figures();
    ProviderState {
        state: match (stack.provider_is_up(), stack.provider.is_hanging()) {
            (false, _) => "down",
            (true, true) => "hangs",
            (true, false) => "up",
        },
        key_id: figures.key_id,
        keys: figures.keys,
        tokens: figures.granted,
        refused: figures.refused,
        token_age: figures.last_token.map(|at| at.elapsed().as_secs_f64()),
        token_lifetime: stack.provider.lifetime().as_secs(),
    }
}

fn agent_state(page: &str) -> AgentState {
    let mut pushes = by_label(page, "vmagent_remotewrite_requests_total", "status_code");
    pushes.insert("network".to_owned(), sum(page, "vmagent_remotewrite_errors_total"));
    pushes.retain(|_, count| *count > 0.0);
    AgentState {
        running: true,
        pending_bytes: sum(page, "vmagent_remotewrite_pending_data_bytes")
            + sum(page, "vmagent_remotewrite_sending_data_bytes"),
        retries: sum(page, "vmagent_remotewrite_retries_count_total"),
        dropped: sum(page, "vmagent_remotewrite_packets_dropped_total"),
        pushes,
    }
}

fn proxy_state(page: &str) -> ProxyState {
    let mut refusals = by_label(page, "vmauth_http_request_errors_total", "reason");
    // The causes say it better.
    refusals.remove("invalid_auth_token");
    refusals.extend(by_label(page, "vmauth_invalid_auth_tokens_total", "cause"));
    refusals.insert("backend".to_owned(), sum(page, "vmauth_user_request_backend_errors_total"));
    refusals.retain(|_, count| *count > 0.0);
    ProxyState { running: true, requests: sum(page, "vmauth_user_requests_total"), refusals }
}

/// Samples of a family: labels as they are written, and the value.
fn samples<'p>(page: &'p str, family: &'p str) -> impl Iterator<Item = (&'p str, f64)> + 'p {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(family).filter(|rest| rest.starts_with(['{', ' ']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

fn sum(page: &str, family: &str) -> f64 {
    samples(page, family).map(|(_, value)| value).sum()
}

fn by_label(page: &str, family: &str, label: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mark = format!("{label}=\"");
    for (labels, value) in samples(page, family) {
        let name = labels.split_once(&mark).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(name, _)| name);
        *found.entry(name.to_owned()).or_default() += value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_figures() {
        let page = "# HELP x\nvmagent_remotewrite_requests_total{url=\"1\", status_code=\"204\"} 7\n\
                    vmagent_remotewrite_requests_total{url=\"1\", status_code=\"502\"} 2\n\
                    vmagent_remotewrite_requests_total_else 9\nvmagent_remotewrite_errors_total{url=\"1\"} 0\n\
                    vmagent_remotewrite_pending_data_bytes{path=\"a\"} 1e3\n\
                    vmagent_remotewrite_pending_data_bytes{path=\"b\"} 20\n\
                    vmagent_remotewrite_sending_data_bytes{path=\"b\"} 4\n";
        let agent = agent_state(page);
        assert_eq!(agent.pending_bytes, 1024.0);
        assert_eq!(agent.pushes, [("204".to_owned(), 7.0), ("502".to_owned(), 2.0)].into());
        let page = "vmauth_http_request_errors_total{reason=\"invalid_auth_token\"} 4\n\
                    vmauth_http_request_errors_total{reason=\"missing_route\"} 1\n\
                    vmauth_invalid_auth_tokens_total{cause=\"expired\"} 3\n\
                    vmauth_invalid_auth_tokens_total{cause=\"unknown_key\"} 0\n";
        let proxy = proxy_state(page);
        assert_eq!(proxy.refusals, [("expired".to_owned(), 3.0), ("missing_route".to_owned(), 1.0)].into());
    }
}
