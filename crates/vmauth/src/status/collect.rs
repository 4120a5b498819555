//! Puts the state of the process together. Runs on the control plane and touches nothing that requests wait for.
//!
//! Lists are bounded: of many users and backends those are shown that were asked for, backends that are down first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use vmkit::logger;
use vmkit::metrics::HistogramCounts;
use vmkit::redact;
use vmkit::service::Listening;

use super::model::{
    Backend, Certificate, Check, Config, ConfigFile, FailingAddress, Failure, Issuer, Latency, List, Load, Logging,
    Logins, PoolState, Probe, Requests, Route, RouteBackend, Status, User, UserLogging, Worker,
};
use crate::admission::failed_logins::{FailingAddress as FailingHere, WINDOW};
use crate::control::ConfigView;
use crate::generation::{BuildContext, Generation};
use crate::oidc::Issuers;
use crate::proxy::ProxyShared;
use crate::upstream::active_check::Checked;
use crate::upstream::backend::{Backend as Balanced, Mark};
use crate::upstream::balance::BackendList;
use crate::upstream::fault::Fault;
use crate::upstream::peer::Peer;
use crate::upstream::pool::PoolReports;
use crate::user::{Target, Upstream, User as Served};

/// Longest list that is shown at once.
const MAX_ITEMS: usize = 10_000;
/// Addresses with failed logins that are shown.
const MAX_ADDRESSES: usize = 100;

/// Where everything stands.
pub struct Sources {
    /// Program and version.
    pub version: String,
    /// Since when the process runs.
    pub started: SystemTime,
    /// Requests, and the config that serves.
    pub shared: Arc<ProxyShared>,
    /// Connections to backends.
    pub pools: Arc<PoolReports>,
    /// Providers of keys.
    pub issuers: Issuers,
    /// TLS identities towards backends.
    pub environment: Arc<BuildContext>,
    /// Connections of clients, certificates of listeners.
    pub listening: Arc<OnceLock<Listening>>,
    /// The config and its loads.
    pub config: ConfigView,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Which part of long lists is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Users whose name holds this.
    pub user: String,
    /// Backends whose address holds this.
    pub backend: String,
    /// Items that are skipped.
    pub offset: usize,
    /// Items that are shown.
    pub limit: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { user: String::new(), backend: String::new(), offset: 0, limit: 100 }
    }
}

impl Wanted {
    fn of<T>(&self, mut items: Vec<T>) -> List<T> {
        let (total, offset) = (items.len(), self.offset.min(items.len()));
        items.drain(..offset);
        items.truncate(self.limit.min(MAX_ITEMS));
        List { total, offset, items }
    }
}

impl Sources {
    /// The state of this moment.
    pub fn collect(&self, wanted: &Wanted) -> Status {
        let generation = self.shared.serving.load();
        let loads = self.listening.get().map(|listening| listening.loads.open()).unwrap_or_default();
        Status {
            version: self.version.clone(),
            now: unix_seconds(SystemTime::now()),
            started: unix_seconds(self.started),
            workers: loads.into_iter().map(|connections| Worker { connections }).collect(),
            requests: self.requests(),
            logins: self.logins(),
            backends: self.backends(&generation, wanted),
            users: users(&generation, wanted),
            issuers: self.issuers(),
            certificates: self.certificates(),
            config: self.config(),
            logging: self.logging(),
        }
    }

    fn requests(&self) -> Requests {
        let shared = &self.shared;
        let name = |status: u16| if status == 0 { "other".to_owned() } else { status.to_string() };
        Requests {
            in_flight: shared.limiter.current(),
            limit: shared.limiter.capacity(),
            responses: shared.counters.by_status().into_iter().map(|(status, count)| (name(status), count)).collect(),
            cut: shared.counters.cuts().into_iter().collect(),
            failed_logins: shared.login_failures.counts().into_iter().collect(),
            missing_credentials: shared.metrics.missing_credentials.get(),
        }
    }

    fn logins(&self) -> Logins {
        let (failed, checks) = (&self.shared.failed_logins, &self.environment.passwords);
        let now = unix_seconds(SystemTime::now());
        let (total, failing) = failed.failing(tokio::time::Instant::now(), MAX_ADDRESSES);
        let item = |one: FailingHere| {
            let since = now.saturating_sub(one.age.as_secs());
            FailingAddress {
                address: if one.ip.is_ipv6() { format!("{}/64", one.ip) } else { one.ip.to_string() },
                failures: one.failures,
                since,
                until: since + WINDOW.as_secs(),
                wait: [2 * one.factor, 3 * one.factor],
            }
        };
        Logins {
            limit: failed.limit(),
            limited: self.shared.metrics.failed_logins_limited.get(),
            password_checks: checks.metrics().checks.get(),
            password_checks_waiting: checks.waiting(),
            password_checks_refused: checks.metrics().refused.get(),
            addresses: List { total, offset: 0, items: failing.into_iter().map(item).collect() },
        }
    }

    /// Backends by address, worst first.
    pub(super) fn backends(&self, generation: &Generation, wanted: &Wanted) -> List<Backend> {
        let mut by_address = BTreeMap::<String, Sum>::new();
        each_target(generation, |target| {
            for backend in snapshot(target).iter() {
                let address = crate::upstream::backend::HealthTarget::display_address(backend.target());
                if address.contains(&wanted.backend) {
                    by_address.entry(address).or_default().add(backend);
                }
            }
        });
        let mut all: Vec<_> = by_address.into_iter().map(|(address, sum)| sum.finish(address, &self.pools)).collect();
        // Stable, so equals stay sorted by address.
        all.sort_by_key(|backend| match backend.state {
            "up" => 2,
            "partly" => 1,
            _ => 0,
        });
        wanted.of(all)
    }

    fn issuers(&self) -> Vec<Issuer> {
        let mut all: Vec<_> = self
            .issuers
            .in_use()
            .iter()
            .map(|keys| {
                let facts = keys.facts();
                Issuer {
                    location: keys.location().shown(),
                    keys: facts.keys,
                    last_success: facts.last_success,
                    next_fetch: keys.next_fetch(),
                    failures: facts.failures.iter().sum(),
                    last_error: keys.last_error().map(|error| error.1.clone()),
                }
            })
            .collect();
        all.sort_by(|a, b| a.location.cmp(&b.location));
        all
    }

    fn certificates(&self) -> Vec<Certificate> {
        let own = self.listening.get().map(|listening| listening.tls.as_slice()).unwrap_or_default();
        let mut all: Vec<_> = own
            .iter()
            .flat_map(|(place, tls)| tls.served().into_iter().map(move |served| (place, served)))
            .map(|(place, served)| Certificate {
                place: place.clone(),
                file: redact::url(&served.name).into_owned(),
                subject: served.facts.subject,
                not_before: served.facts.not_before,
                not_after: served.facts.not_after,
                problem: None,
            })
            .collect();
        for tls in self.environment.client_tls.in_use() {
            let file = tls.options().cert_file.as_deref().map(redact::url).unwrap_or_default().into_owned();
            let (facts, problem) = match tls.current() {
                Ok(loaded) => (loaded.certificate.clone(), None),
                Err(error) => (None, Some(error.to_string())),
            };
            if let Some(facts) = &facts {
                let (not_before, not_after) = (facts.not_before, facts.not_after);
                let subject = facts.subject.clone();
                all.push(Certificate { place: "backends".to_owned(), file, subject, not_before, not_after, problem });
            } else if problem.is_some() {
                let subject = String::new();
                let place = "backends".to_owned();
                all.push(Certificate { place, file, subject, not_before: 0, not_after: 0, problem });
            }
        }
        all
    }

    fn config(&self) -> Config {
        let load = |load: crate::control::Load| Load {
            at: load.at,
            ok: load.result.is_ok(),
            users: load.result.as_ref().ok().copied(),
            problems: load.result.err(),
            times: load.times,
        };
        let history = &self.config.history;
        let serving = history.serving();
        let file = |(name, sha256): (&str, String)| ConfigFile { name: name.to_owned(), sha256 };
        let files = serving.iter().flat_map(|loaded| loaded.file_hashes()).map(file);
        Config {
            source: self.config.shown.clone(),
            sha256: serving.as_ref().map(|loaded| loaded.hash()),
            files: files.filter(|file| !file.name.is_empty()).collect(),
            loads: history.loads().into_iter().map(load).collect(),
        }
    }

    fn logging(&self) -> Logging {
        let switches = &self.shared.switches;
        let users = switches.users().into_iter().map(|switch| UserLogging {
            user: switch.name,
            log_invalid_auth_tokens: switch.log_invalid_tokens,
            access_log: switch.access_log,
            until: switch.until,
        });
        Logging {
            level: logger::level().name(),
            log_invalid_auth_tokens: switches.log_invalid_tokens(),
            users: users.collect(),
        }
    }
}

/// All backends of one address so far.
#[derive(Default)]
struct Sum {
    routes: usize,
    broken: usize,
    since: Option<u64>,
    in_flight: u64,
    attempts: u64,
    failures: [u64; Fault::ALL.len()],
    last: Option<Arc<crate::upstream::fault::Failure>>,
    peers: HashMap<*const Peer, Arc<Peer>>,
    checks: HashMap<*const Checked, Arc<Checked>>,
    ejections: Option<u64>,
}

impl Sum {
    fn add(&mut self, backend: &Balanced<Upstream>) {
        self.routes += 1;
        self.broken += usize::from(backend.is_broken());
        let of_check = backend.check().filter(|_| backend.has(Mark::Down)).and_then(|check| check.facts().since);
        self.since = self.since.max(of_check.or_else(|| backend.changed()));
        self.in_flight += u64::from(backend.in_flight());
        self.attempts += backend.selections();
        self.failures.iter_mut().zip(backend.failures()).for_each(|(sum, one)| *sum += one);
        let last = backend.last_failure();
        if last.as_ref().map(|last| last.at) > self.last.as_ref().map(|last| last.at) {
            self.last = last;
        }
        if let Some(outliers) = backend.outliers() {
            *self.ejections.get_or_insert_default() += outliers.ejections();
        }
        let peer = &backend.target().peer;
        self.peers.entry(Arc::as_ptr(peer)).or_insert_with(|| peer.clone());
        if let Some(check) = backend.check() {
            self.checks.entry(Arc::as_ptr(check)).or_insert_with(|| check.clone());
        }
    }

    fn finish(self, address: String, pools: &PoolReports) -> Backend {
        let pool = self.peers.values().map(|peer| pools.of(peer)).fold(PoolState::default(), |sum, one| PoolState {
            idle: sum.idle + one.idle,
            shared: sum.shared + one.shared,
            streams: sum.streams + one.streams,
        });
        let state = match self.broken {
            0 => "up",
            broken if broken == self.routes => "down",
            _ => "partly",
        };
        let mut checks: Vec<_> = self.checks.values().map(|check| shown_check(check)).collect();
        checks.sort_by(|a, b| (a.state, &a.path).cmp(&(b.state, &b.path)));
        let of_check = checks.iter().find(|check| check.state == "down").and_then(|check| {
            let last = check.last.as_ref().filter(|last| !last.ok)?;
            Some(format!("health check GET {}: {}", check.path, last.text))
        });
        let of_try = || self.last.as_ref().map(|last| last.text.clone());
        Backend {
            address,
            state,
            since: self.since,
            why: if state == "up" { None } else { of_check.or_else(of_try) },
            routes: self.routes,
            in_flight: self.in_flight,
            attempts: self.attempts,
            failures: by_kind(self.failures),
            last_failure: self.last.map(|last| Failure {
                at: last.at,
                cause: last.fault.label(),
                text: last.text.clone(),
            }),
            checks,
            ejections: self.ejections,
            responses: self
                .peers
                .values()
                .find_map(|peer| peer.replies.as_ref())
                .map(|all| all.by_class())
                .unwrap_or_default(),
            latency: self.peers.values().find_map(|peer| peer.replies.as_ref()).and_then(|all| latency(&all.recent())),
            pool,
        }
    }
}

/// Counts by kind of failure, without zeros.
fn by_kind(failures: [u64; Fault::ALL.len()]) -> BTreeMap<&'static str, u64> {
    let counted = Fault::ALL.iter().zip(failures).filter(|(_, count)| *count > 0);
    counted.map(|(fault, count)| (fault.label(), count)).collect()
}

fn shown_check(check: &Checked) -> Check {
    let facts = check.facts();
    Check {
        path: check.spec().shown_path(),
        state: if facts.is_down { "down" } else { "up" },
        since: facts.since,
        probes: facts.probes,
        failures: by_kind(facts.failures),
        last: facts.last.map(|last| Probe {
            at: last.at,
            took: last.took.as_secs_f64(),
            ok: last.result.is_ok(),
            text: last.result.map_or_else(|failure| failure.text, |status| format!("status {status}")),
        }),
    }
}

fn latency(recent: &HistogramCounts) -> Option<Latency> {
    let quantile = |phi| recent.quantile(phi);
    Some(Latency { count: recent.total(), p50: quantile(0.5)?, p90: quantile(0.9)?, p99: quantile(0.99)? })
}

fn all_users(generation: &Generation) -> impl Iterator<Item = &Served> {
    generation.unauthorized_user.iter().chain(&generation.users).map(Arc::as_ref)
}

fn each_target(generation: &Generation, mut look: impl FnMut(&Target)) {
    for user in all_users(generation) {
        user.routes.iter().for_each(|route| look(&route.target));
        [&user.url_prefix, &user.default_url].into_iter().flatten().for_each(|target| look(target));
    }
}

fn set(target: &Target) -> &crate::upstream::balance::BackendSet<Upstream> {
    target.backends.known()
}

fn snapshot(target: &Target) -> Arc<BackendList<Upstream>> {
    set(target).snapshot()
}

fn users(generation: &Generation, wanted: &Wanted) -> List<User> {
    let fitting: Vec<_> = all_users(generation).filter(|user| user.name().contains(&wanted.user)).collect();
    let List { total, offset, items } = wanted.of(fitting);
    List { total, offset, items: items.into_iter().map(shown_user).collect() }
}

fn shown_user(user: &Served) -> User {
    let metrics = &user.metrics;
    let mut routes: Vec<_> = user
        .routes
        .iter()
        .enumerate()
        .map(|(at, route)| {
            let criteria = user.table.as_ref().map_or_else(String::new, |table| table.criteria(at));
            shown_route(format!("url_map[{at}]"), criteria, &route.target)
        })
        .collect();
    for (name, target) in [("url_prefix", &user.url_prefix), ("default_url", &user.default_url)] {
        if let Some(target) = target {
            let takes = if routes.is_empty() { "everything" } else { "everything else" };
            routes.push(shown_route(name.to_owned(), takes.to_owned(), target));
        }
    }
    User {
        place: user.place.to_string(),
        name: user.name().to_owned(),
        in_flight: user.limiter.current(),
        limit: user.limiter.capacity(),
        requests: metrics.requests.get(),
        request_errors: metrics.request_errors.get(),
        backend_errors: metrics.backend_errors.get(),
        limit_reached: metrics.limit_reached.get(),
        ip_denies: metrics.ip_denies.get(),
        path_denies: metrics.path_denies.get(),
        routes,
    }
}

fn shown_route(place: String, takes: String, target: &Target) -> Route {
    let list = snapshot(target);
    let backend = |(index, backend): (usize, &Arc<Balanced<Upstream>>)| RouteBackend {
        url: shown_url(&backend.target().url.to_string()),
        state: if backend.is_broken() { "down" } else { "up" },
        marks: backend.marks().map(Mark::name).collect(),
        weight: list.weight(index),
        in_flight: backend.in_flight(),
        attempts: backend.selections(),
        failures: backend.failures().iter().sum(),
    };
    Route {
        place,
        takes,
        policy: set(target).policy().name(),
        backends: list.iter().enumerate().map(backend).collect(),
    }
}

/// The URL without userinfo and without the values of secret args.
fn shown_url(url: &str) -> String {
    let shown = redact::userinfo(url);
    String::from_utf8_lossy(&redact::url_args(shown.as_bytes())).into_owned()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut() {
        let f = |offset: usize, limit: usize, want: &[i32]| {
            let list = Wanted { offset, limit, ..Wanted::default() }.of(vec![0, 1, 2, 3]);
            assert_eq!((list.total, list.items.as_slice()), (4, want));
        };
        f(0, 2, &[0, 1]);
        f(3, 2, &[3]);
        f(9, 2, &[]);
        f(0, usize::MAX, &[0, 1, 2, 3]);
    }

    #[test]
    fn urls_lose_secrets() {
        assert_eq!(shown_url("http://u:p@h/x?authKey=k&a=b"), "http://xxxxx@h/x?authKey=secret&a=b");
    }
}
