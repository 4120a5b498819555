//! Backends from DNS: the addresses behind the host names of a route with `discover_backend_ips`.
//!
//! Requests call [`Discovery::ensure_fresh`] before they select. When the last result is older than the interval, one
//! resolution starts on the control plane and everybody goes on with the old list; only the very first use waits.
//! Routes that nobody uses are not resolved. An address that stays in the list keeps its backend with its state.
//!
//! It must never empty a list: a lookup that fails leaves the last good addresses, or the host name itself, in place.

use super::backend::Backend;
use super::balance::{BackendSet, Policy};
use super::epoch::Epoch;
use super::shares::Share;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vmkit::net::dns::{DnsCause, DnsError};
use xxhash_rust::xxh64::xxh64;

/// A future that can move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Takes the text of a warning.
pub type Warn = Arc<dyn Fn(String) + Send + Sync>;

/// Warnings of discovery in the log of the process, where this file is their place.
pub fn warn_in_log() -> Warn {
    Arc::new(|text| vmkit::warn!("{text}"))
}

/// Answers names. Called only on the control plane; callers bound the time.
pub trait Lookup: Send + Sync {
    /// Addresses of a host; IPv6 ones only when IPv6 is enabled.
    fn ips(&self, host: &str) -> BoxFuture<Result<Vec<IpAddr>, DnsError>>;
    /// Target hosts and ports of the SRV records of a name (RFC 2782).
    fn srv(&self, name: &str) -> BoxFuture<Result<Vec<(String, u16)>, DnsError>>;
}

/// One configured URL of the route.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The URL as warnings show it; must hold no credentials.
    pub url: String,
    /// Host of the URL: no `srv+`, no port, IPv6 without brackets.
    pub host: String,
    /// Port of the URL, if it names one.
    pub port: Option<u16>,
    /// Whether the host was written as `srv+host`.
    pub srv: bool,
    /// Part of the load that each address gets.
    pub weight: u16,
}

/// What every discovery of a generation shares.
#[derive(Clone)]
pub struct Resolving {
    /// Answers names.
    pub lookup: Arc<dyn Lookup>,
    /// `-discoverBackendIPsInterval`; rounded up to seconds, at least one.
    pub interval: Duration,
    /// Where lookups run.
    pub control: Handle,
    /// Ends lookups when the generation is replaced.
    pub cancel: CancellationToken,
    /// Takes the text of a warning.
    pub warn: Warn,
}

/// Makes the backend of an address: index of the entry, host, port.
///
/// The host is an IP address (IPv6 without brackets), the target of an SRV record without its trailing dot, or, when a
/// lookup failed, the host as configured, with `srv+` in front if it was there. No port means the scheme's default.
pub type Factory<T> = Box<dyn Fn(usize, &str, Option<u16>) -> Arc<Backend<T>> + Send + Sync>;

/// The backends of one route and the age of the list.
pub struct Discovery<T> {
    backends: BackendSet<T>,
    entries: Vec<Entry>,
    factory: Factory<T>,
    resolving: Resolving,
    /// Distinct names that the entries ask for.
    questions: Vec<Question>,
    /// For each entry the index of its question; `None` for an IP address, which needs no lookup.
    question_of: Vec<Option<usize>>,
    known: Mutex<Known>,
    started: Epoch,
    /// Milliseconds since `started` from which on the list is too old; [`NEVER`] before the first result.
    due: AtomicU64,
    running: AtomicBool,
    ready: watch::Sender<bool>,
}

/// No pass has ended yet. No other due time is as early, as the interval is a second at least.
const NEVER: u64 = 0;

#[derive(Clone, PartialEq, Eq)]
struct Question {
    srv: bool,
    host: String,
}

/// Where a backend of the list came from: its identity between two results.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Address {
    entry: usize,
    host: String,
    port: Option<u16>,
}

type Answer = Vec<(String, Option<u16>)>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    /// DNS says so, or says nothing.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The task that asked has ended without a result.
    #[error("the lookup was interrupted")]
    Interrupted,
}

struct Known {
    /// Last good answer of each question.
    answers: Vec<Option<Answer>>,
    /// What the list of backends was built from, in the same order.
    addresses: Vec<Address>,
}

impl<T: Send + Sync + 'static> Discovery<T> {
    /// A route whose hosts are looked up at its first use; until then it has its hosts literally. Does no I/O.
    pub fn new(policy: Policy, entries: Vec<Entry>, factory: Factory<T>, mut resolving: Resolving) -> Arc<Self> {
        let seconds = resolving.interval.as_nanos().div_ceil(1_000_000_000).max(1);
        resolving.interval = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        let mut questions: Vec<Question> = Vec::new();
        let mut indexes = HashMap::new();
        let mut question_of = Vec::with_capacity(entries.len());
        for Entry { host, srv, .. } in &entries {
            if !srv && host.parse::<IpAddr>().is_ok() {
                question_of.push(None);
                continue;
            }
            let index = *indexes.entry((*srv, host.clone())).or_insert_with(|| {
                questions.push(Question { srv: *srv, host: host.clone() });
                questions.len() - 1
            });
            question_of.push(Some(index));
        }
        let fixed = questions.is_empty();
        let known = Known { answers: vec![None; questions.len()], addresses: Vec::new() };
        let discovery = Self {
            backends: BackendSet::new(policy, Vec::new()),
            entries,
            factory,
            resolving,
            questions,
            question_of,
            known: Mutex::new(known),
            started: Epoch::new(),
            due: AtomicU64::new(if fixed { u64::MAX } else { NEVER }),
            running: AtomicBool::new(false),
            ready: watch::Sender::new(fixed),
        };
        discovery.publish(Vec::new());
        Arc::new(discovery)
    }

    /// Goes on with what another one of the same entries has found, so that its backends keep their state.
    pub fn take_over(&self, before: &Self) {
        let due = before.due.load(Ordering::Acquire);
        if due == NEVER || self.questions != before.questions {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = before.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.answers.clone_from(&found.answers);
        known.addresses.clone_from(&found.addresses);
        self.list(&known.addresses, before.backends.snapshot().iter().cloned());
        if due != u64::MAX {
            // Never too early to be told from none.
            let wait = due.saturating_sub(before.now());
            self.due.store(self.now().saturating_add(wait).max(1), Ordering::Release);
        }
        self.ready.send_replace(true);
    }

    /// The list that requests select from.
    pub fn backends(&self) -> &BackendSet<T> {
        &self.backends
    }

    /// To be awaited by each request before it selects. Starts a resolution when the list is too old; waits only when
    /// there has been no result yet, at most one interval. Dropping the future stops nothing.
    pub async fn ensure_fresh(self: &Arc<Self>) {
        self.start_if_due();
        if self.due.load(Ordering::Acquire) == NEVER {
            // Fails only when the sender is gone, which `self` owns.
            let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
        }
    }

    fn start_if_due(self: &Arc<Self>) {
        let now = self.now();
        if now < self.due.load(Ordering::Acquire) || self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        if now < self.due.load(Ordering::Acquire) {
            // Another pass ended between the two checks.
            return self.running.store(false, Ordering::Release);
        }
        // From here on the pass ends what `running` began, whatever becomes of the task.
        let pass = Pass(Arc::clone(self));
        let cancel = self.resolving.cancel.clone();
        self.resolving.control.spawn(async move {
            cancel.run_until_cancelled(pass.0.resolve()).await;
            drop(pass);
        });
    }

    fn now(&self) -> u64 {
        self.started.now()
    }

    /// Asks all questions at once, each within the interval.
    async fn resolve(&self) {
        let mut lookups = JoinSet::new();
        for (index, question) in self.questions.iter().enumerate() {
            let lookup = Arc::clone(&self.resolving.lookup);
            let (question, interval) = (question.clone(), self.resolving.interval);
            lookups.spawn(async move {
                let answer = timeout(interval, question.ask(&*lookup)).await;
                (index, answer.unwrap_or_else(|_| Err(question.error(DnsCause::Timeout))))
            });
        }
        let mut results: Vec<_> = self.questions.iter().map(|_| Err(QuestionError::Interrupted)).collect();
        while let Some(ended) = lookups.join_next().await {
            if let Ok((index, result)) = ended
                && let Some(slot) = results.get_mut(index)
            {
                *slot = result.map_err(QuestionError::from);
            }
        }
        self.publish(results);
    }

    /// Takes new answers over, warns of failed ones and replaces the list if it differs.
    fn publish(&self, results: Vec<Result<Answer, QuestionError>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, result) in results.into_iter().enumerate() {
            let Some(last_good) = known.answers.get_mut(index) else {
                continue;
            };
            match result {
                Ok(answer) => *last_good = Some(answer),
                Err(cause) => self.warn_of_failure(index, &cause, last_good.is_some()),
            }
        }
        let addresses = self.addresses(&known.answers);
        if addresses == known.addresses {
            return;
        }
        let old = self.backends.snapshot();
        let kept: HashMap<_, _> = known.addresses.iter().zip(old.iter()).collect();
        let backend = |address: &Address| match kept.get(address) {
            Some(backend) => Arc::clone(backend),
            None => (self.factory)(address.entry, &address.host, address.port),
        };
        self.list(&addresses, addresses.iter().map(backend));
        known.addresses = addresses;
    }

    /// Lets requests choose among these backends, which have these addresses.
    fn list(&self, addresses: &[Address], backends: impl Iterator<Item = Arc<Backend<T>>>) {
        let shares = addresses.iter().map(|Address { entry, host, port }| {
            let (url, weight) = self.entries.get(*entry).map_or(("", 1), |entry| (entry.url.as_str(), entry.weight));
            let port = port.map(|port| port.to_string()).unwrap_or_default();
            Share { weight, identity: xxh64([url, host, &port].join(" ").as_bytes(), 0) }
        });
        self.backends.replace(backends.zip(shares).collect());
    }

    fn warn_of_failure(&self, question: usize, cause: &QuestionError, has_answer: bool) {
        let Some(at) = self.question_of.iter().position(|asked| *asked == Some(question)) else {
            return;
        };
        let entry = &self.entries[at];
        let wanted = if entry.srv { "SRV records" } else { "IPs" };
        let resort = if has_answer { "keep the addresses discovered before" } else { "use it literally" };
        (self.resolving.warn)(format!("cannot discover backend {wanted} for {}: {cause}; {resort}", entry.url));
    }

    /// The whole list: entries in their order, the addresses of each sorted as strings.
    fn addresses(&self, answers: &[Option<Answer>]) -> Vec<Address> {
        let mut all = Vec::new();
        for (index, (entry, question)) in self.entries.iter().zip(&self.question_of).enumerate() {
            let answer = question.and_then(|question| answers.get(question)?.as_ref());
            let mut found: Answer = match answer {
                Some(answer) => answer.iter().map(|(host, port)| (host.clone(), entry.port.or(*port))).collect(),
                None if entry.srv => vec![(format!("srv+{}", entry.host), entry.port)],
                None => vec![(entry.host.clone(), entry.port)],
            };
            found.sort_by_cached_key(|(host, port)| match port {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            });
            found.dedup();
            all.extend(found.into_iter().map(|(host, port)| Address { entry: index, host, port }));
        }
        all
    }
}

impl Question {
    /// At least one address, or an error.
    async fn ask(&self, lookup: &dyn Lookup) -> Result<Answer, DnsError> {
        let answer: Answer = if self.srv {
            let targets = lookup.srv(&self.host).await?;
            // The root as target says that the service is not offered (RFC 2782).
            let hosts = targets.iter().map(|(host, port)| (host.trim_end_matches('.').to_owned(), Some(*port)));
            hosts.filter(|(host, _)| !host.is_empty()).collect()
        } else {
            lookup.ips(&self.host).await?.into_iter().map(|ip| (ip.to_string(), None)).collect()
        };
        if answer.is_empty() {
            return Err(self.error(DnsCause::NoSuchHost));
        }
        Ok(answer)
    }

    fn error(&self, cause: DnsCause) -> DnsError {
        DnsError { name: self.host.clone(), server: None, cause }
    }
}

/// One resolution. However it ends, by a result, by cancellation or with the runtime, those who wait go on.
struct Pass<T: Send + Sync + 'static>(Arc<Discovery<T>>);

impl<T: Send + Sync + 'static> Drop for Pass<T> {
    fn drop(&mut self) {
        let interval = u64::try_from(self.0.resolving.interval.as_millis()).unwrap_or(u64::MAX);
        self.0.due.store(self.0.now().saturating_add(interval), Ordering::Release);
        self.0.running.store(false, Ordering::Release);
        self.0.ready.send_replace(true);
    }
}

#[cfg(test)]
mod tests;
