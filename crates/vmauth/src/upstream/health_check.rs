//! Brings broken and ejected backends back: one background task per broken backend dials it until it answers, one per
//! ejected backend waits for the end of its ejection.
//!
//! A backend is marked by a failed try, waits one `-failTimeout` and is dialled; success clears the flag and ends the
//! task, failure is a warning and another wait. Only TCP reachability counts, and sound backends are never probed. A
//! process that hangs accepts connections all the same, so a backend that fails again before it has served a request
//! waits twice as long each time, up to a minute.
//! Tasks run on the control plane and end with their backend, which may serve several configs one after the other.
//!
//! It must never keep a backend alive and never run on a worker.

use super::backend::{Backend, DialAddress, HealthTarget, Mark};
use super::balance::BackendList;
use super::discovery::{BoxFuture, Lookup, Warn};
use super::outliers::Reason;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use vmkit::net::dial::{TRY_TCP6_HINT, dial_error_text};
use vmkit::net::dns::{DnsCause, DnsError};
use vmkit::net::unix;
use vmkit::units::GoDuration;

/// Longest time of one probe, name lookups included.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Shortest wait between two probes, whatever `-failTimeout` says: a dead backend must not keep a core busy.
const MIN_PERIOD: Duration = Duration::from_millis(10);

/// Longest wait for a backend that passes its probes but serves nothing, unless `-failTimeout` is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Warnings of health checks in the log of the process, where this file is their place.
pub fn warn_in_log() -> Warn {
    Arc::new(|text| vmkit::warn!("{text}"))
}

/// Why a backend could not be reached; the texts are those of the log.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its name has no address.
    #[error(transparent)]
    Lookup(#[from] DnsError),
    /// `dial tcp4 127.0.0.1:1: connect: connection refused`
    #[error("{}{}", dial_error_text(*address, error), if address.is_ipv6() { TRY_TCP6_HINT } else { "" })]
    Dial {
        /// The address that was dialled.
        address: SocketAddr,
        /// What came of it.
        error: io::Error,
    },
    /// `dial unix /path: connect: connection refused`
    #[error("{}", unix::dial_error_text(path, error))]
    Socket {
        /// The path that was dialled.
        path: String,
        /// What came of it.
        error: io::Error,
    },
    /// The task that dialled has ended without a result.
    #[error("the dial was interrupted")]
    Interrupted,
    /// There was nothing to dial.
    #[error("no address to dial")]
    NoAddress,
}

/// Finds out whether a backend can be reached.
pub trait Probe: Send + Sync {
    /// Ends before `deadline`.
    fn probe(&self, address: DialAddress, deadline: Instant) -> BoxFuture<Result<(), ProbeError>>;
}

/// Marks backends as broken and sees to it that they return.
#[derive(Clone)]
pub struct HealthChecker {
    /// Where the tasks run.
    pub control: Handle,
    /// `-failTimeout`: wait before each probe.
    pub fail_timeout: Duration,
    /// The same in the canonical form of flags, such as `3s`.
    pub fail_timeout_text: Arc<str>,
    /// How a backend is probed.
    pub probe: Arc<dyn Probe>,
    /// Takes the text of a warning.
    pub warn: Warn,
}

impl HealthChecker {
    /// Marks the backend and starts to check it; does nothing when it is marked already.
    pub fn mark_broken<T>(&self, backend: &Arc<Backend<T>>)
    where
        T: HealthTarget + Send + Sync + 'static,
    {
        let Some(relapses) = backend.set_broken() else { return };
        let reviving = self.clone().revive(Arc::downgrade(backend), relapses);
        self.control.spawn(backend.end().run_until_cancelled_owned(reviving));
    }

    /// Leaves a backend out for a while, unless too many of `all`, the backends of its route, are left out already.
    pub fn eject<T>(&self, backend: &Arc<Backend<T>>, all: Arc<BackendList<T>>, reason: Reason)
    where
        T: HealthTarget + Send + Sync + 'static,
    {
        if backend.has(Mark::Ejected) {
            return;
        }
        let (end, ejected) = (backend.end(), Arc::downgrade(backend));
        // The others are looked at where nobody else ejects at the same time.
        self.control.spawn(async move {
            let time = ejected.upgrade().and_then(|backend| begin_ejection(&backend, &all, reason));
            drop(all);
            if let Some(time) = time {
                end.run_until_cancelled(tokio::time::sleep(time)).await;
                if let Some(backend) = ejected.upgrade() {
                    end_ejection(&backend);
                }
            }
        });
    }

    /// The first wait of a backend that was found broken so often since it served a request.
    fn backoff(&self, relapses: u32) -> Duration {
        let factor = 1 << relapses.saturating_sub(1).min(16);
        self.fail_timeout.saturating_mul(factor).min(MAX_BACKOFF).max(self.fail_timeout).max(MIN_PERIOD)
    }

    /// Probes until the backend answers or is dropped. The backend is held only between two waits.
    async fn revive<T: HealthTarget>(self, backend: Weak<Backend<T>>, relapses: u32) {
        let mut wait = self.backoff(relapses);
        if relapses > 1
            && let Some(backend) = backend.upgrade()
        {
            (self.warn)(format!(
                "ignoring the backend at {} for {}s because it failed again without having served a request",
                backend.target().display_address(),
                wait.as_secs()
            ));
        }
        loop {
            tokio::time::sleep(wait).await;
            wait = self.backoff(1);
            let addresses = |backend: Arc<Backend<T>>| {
                let target = backend.target();
                (target.dial_address(), target.display_address())
            };
            let Some((address, shown)) = backend.upgrade().map(addresses) else {
                return;
            };
            let outcome = self.probe.probe(address, Instant::now() + PROBE_TIMEOUT).await;
            let Some(backend) = backend.upgrade() else {
                return;
            };
            match outcome {
                Ok(()) => return backend.clear_broken(),
                Err(cause) => (self.warn)(format!(
                    "ignoring the backend at {shown} for {} because of dial error: {cause}",
                    self.fail_timeout_text
                )),
            }
        }
    }
}

/// How long the ejection takes, if there is one.
fn begin_ejection<T: HealthTarget>(backend: &Backend<T>, all: &[Arc<Backend<T>>], reason: Reason) -> Option<Duration> {
    let outliers = backend.outliers()?;
    let ejected = all.iter().filter(|backend| backend.has(Mark::Ejected)).count();
    if ejected >= outliers.spec().most_of(all.len()) {
        outliers.forget();
        return None;
    }
    if !backend.mark(Mark::Ejected) {
        return None;
    }
    let time = outliers.ejected();
    let last = backend.last_failure().map(|last| format!(", the last: {}", last.text)).unwrap_or_default();
    vmkit::warn!(
        "the backend at {} is ejected for {}: {reason}{last}",
        backend.target().display_address(),
        GoDuration::from(time)
    );
    Some(time)
}

fn end_ejection<T: HealthTarget>(backend: &Backend<T>) {
    if let Some(outliers) = backend.outliers() {
        outliers.returned();
    }
    backend.clear(Mark::Ejected);
    vmkit::info!("the ejection of the backend at {} is over", backend.target().display_address());
}

/// Opens and closes one connection within a time.
pub type Dial = Arc<dyn Fn(SocketAddr, Duration) -> BoxFuture<io::Result<()>> + Send + Sync>;

/// The probe of production: looks the host up and dials all its addresses at once; one that answers is enough.
#[derive(Clone)]
pub struct TcpProbe {
    /// Answers names.
    pub lookup: Arc<dyn Lookup>,
    /// Opens connections.
    pub dial: Dial,
}

impl Probe for TcpProbe {
    fn probe(&self, address: DialAddress, deadline: Instant) -> BoxFuture<Result<(), ProbeError>> {
        let probe = self.clone();
        Box::pin(async move {
            if address.host.starts_with('/') {
                let connected = unix::dial(&address.host, deadline.saturating_duration_since(Instant::now())).await;
                return connected.map(drop).map_err(|error| ProbeError::Socket { path: address.host, error });
            }
            let late = lookup_error(&address, DnsCause::Timeout);
            let addresses = timeout_at(deadline, probe.resolve(address)).await.map_err(|_| late)??;
            probe.dial_any(addresses, deadline).await
        })
    }
}

impl TcpProbe {
    async fn resolve(&self, address: DialAddress) -> Result<Vec<SocketAddr>, DnsError> {
        let targets = if address.srv {
            self.lookup.srv(&address.host).await?
        } else {
            vec![(address.host.clone(), address.port)]
        };
        let mut found = Vec::new();
        let mut failure = None;
        for (host, port) in targets {
            let host = host.trim_end_matches('.');
            let ips = match host.parse::<IpAddr>() {
                Ok(ip) => Ok(vec![ip]),
                Err(_) => self.lookup.ips(host).await,
            };
            match ips {
                Ok(ips) => found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, port))),
                Err(cause) => failure = failure.or(Some(cause)),
            }
        }
        if found.is_empty() {
            return Err(failure.unwrap_or_else(|| lookup_error(&address, DnsCause::NoSuchHost)));
        }
        Ok(found)
    }

    /// The first success ends the other dials; else the cause of the first address in the list.
    async fn dial_any(&self, addresses: Vec<SocketAddr>, deadline: Instant) -> Result<(), ProbeError> {
        let mut dials = JoinSet::new();
        for (at, address) in addresses.into_iter().enumerate() {
            let dial = (self.dial)(address, deadline.saturating_duration_since(Instant::now()));
            dials.spawn(async move { dial.await.map_err(|error| (at, ProbeError::Dial { address, error })) });
        }
        let mut failures = Vec::new();
        while let Some(ended) = dials.join_next().await {
            match ended {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failures.push(failure),
                Err(_) => failures.push((usize::MAX, ProbeError::Interrupted)),
            }
        }
        let first = failures.into_iter().min_by_key(|(at, _)| *at).map(|(_, error)| error);
        Err(first.unwrap_or(ProbeError::NoAddress))
    }
}

fn lookup_error(address: &DialAddress, cause: DnsCause) -> DnsError {
    DnsError { name: address.host.clone(), server: None, cause }
}

#[cfg(test)]
mod tests;
