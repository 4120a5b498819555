//! What looks after one host: waits until something is due, renews, asks for windows, waits longer after failures.
//!
//! All hosts go on beside each other, so that one whose validation hangs holds up no other; [`Turns`] bounds how many
//! are at the authority at once. Of processes that share the folder one orders for a host at a time, and the others take
//! over what it got. A host never ends looking, whatever fails.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{CertificateIdentifier, ChallengeType};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Shared;
use super::account::{Known, RetryAfter};
use super::cache::{self, Cached};
use super::failure::{Cause, Failure};
use super::host::Host;
use super::lock::Lock;
use super::order::Order;
use super::schedule::{self, Window};
use crate::blocking::off_thread;
use crate::tls::issued::IssuedCertificate;

/// An order that has not ended after this time has failed.
const ORDER_LIMIT: Duration = Duration::from_secs(300);
/// A question for a window that has no answer after this time has failed.
const QUESTION_LIMIT: Duration = Duration::from_secs(30);
/// The clock may be set, so times are looked at again after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// How often a host whose tries fail looks whether another process has had more luck.
const OTHERS_LUCK: Duration = Duration::from_secs(60);
/// Between two looks at an order that another process runs, in seconds.
const OTHERS_ORDER: i64 = 2;

/// How many hosts may be at the authority at once.
pub(super) struct Turns {
    usual: Semaphore,
    /// Hosts whose last try has failed have turns of their own: however many they are, and however long they hang,
    /// they take none of those that may well succeed.
    failed: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { usual: Semaphore::new(4), failed: Semaphore::new(2) }
    }
}

impl Turns {
    async fn wait(&self, has_failed: bool) -> Option<SemaphorePermit<'_>> {
        let turns = if has_failed { &self.failed } else { &self.usual };
        // They are never closed.
        turns.acquire().await.ok()
    }
}

pub(super) struct Keeper {
    host: Host,
    shared: Arc<Shared>,
    /// What was wrong with the host's file at the last look; it is told once.
    problem: Option<String>,
}

impl Keeper {
    pub(super) fn new(name: &str, shared: Arc<Shared>) -> Self {
        Self { host: Host::new(name), shared, problem: None }
    }

    /// Takes what the cache has. Blocks on the disk: for the start of the process.
    pub(super) fn start_with_cached(&mut self) {
        if let Some(cache) = &self.shared.cache {
            let cached = cache.certificate(&self.host.name);
            self.take(cached);
        }
    }

    /// Looks after the host for ever, with these ways of validation.
    pub(super) async fn run(mut self, kinds: &'static [ChallengeType]) {
        let shared = self.shared.clone();
        loop {
            let wait = self.host.next_step().saturating_sub(unix_now());
            if let Ok(seconds @ 1..) = u64::try_from(wait) {
                let has_failed = self.host.failures > 0;
                let longest = if has_failed { OTHERS_LUCK } else { LONGEST_SLEEP };
                tokio::time::sleep(Duration::from_secs(seconds).min(longest)).await;
                if has_failed {
                    self.take_from_cache().await;
                }
                continue;
            }
            let _turn = shared.turns.wait(self.host.failures > 0).await;
            if self.host.renew_at <= unix_now() {
                self.renew(kinds).await;
            } else {
                self.ask_for_window().await;
            }
        }
    }

    /// Takes over a certificate of the cache; whether it is one to keep.
    fn take(&mut self, cached: Result<Option<Cached>, String>) -> bool {
        let parsed = cached.and_then(|cached| {
            let Some(cached) = cached else { return Ok(None) };
            match IssuedCertificate::parse(&self.host.name, &cached.pem) {
                Ok(certificate) => Ok(Some((certificate, cached.is_of_this_authority))),
                Err(error) => Err(format!("the cached certificate of {} cannot be used: {error}", self.host.name)),
            }
        });
        let (certificate, is_of_this_authority) = match parsed {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return false,
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    crate::error!("{problem}");
                    self.problem = Some(problem);
                }
                return false;
            }
        };
        self.problem = None;
        let host = &mut self.host;
        let certificates = &self.shared.certificates;
        if certificates.get(&host.name).is_some_and(|known| known.not_after >= certificate.not_after) {
            return false;
        }
        let now = unix_now();
        host.has(&certificate, is_of_this_authority, now, fastrand::f64());
        certificates.put(&host.name, certificate);
        host.renew_at > now
    }

    /// Takes over what another process that shares the folder has put there.
    async fn take_from_cache(&mut self) -> bool {
        let Some(cache) = self.shared.cache.clone() else { return false };
        let name = self.host.name.clone();
        let cached = off_thread(cache::LIMIT, move || cache.certificate(&name)).await;
        self.take(cached.unwrap_or_else(|error| Err(error.to_string())))
    }

    /// The turn among processes; `None` while another one orders for the host.
    async fn lock(&self) -> Option<Option<Lock>> {
        let Some(cache) = self.shared.cache.clone() else { return Some(None) };
        let name = self.host.name.clone();
        match off_thread(cache::LIMIT, move || cache.lock_host(&name)).await {
            Ok(lock) => Some(Some(lock?)),
            // A folder that hangs keeps nobody from ordering.
            Err(_) => Some(None),
        }
    }

    /// Obtains a certificate for the host, and says when to do so again.
    async fn renew(&mut self, kinds: &[ChallengeType]) {
        let Some(_lock) = self.lock().await else {
            self.host.renew_at = unix_now().saturating_add(OTHERS_ORDER);
            return;
        };
        // Another process may have been quicker.
        if self.take_from_cache().await {
            return;
        }
        let retry_after = RetryAfter::default();
        let attempt = tokio::time::timeout(ORDER_LIMIT, self.obtain(kinds, &retry_after)).await;
        let failure = match attempt {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Cause::Timeout, format!("no certificate in {ORDER_LIMIT:?}")),
        };
        let host = &mut self.host;
        self.shared.metrics.failed(&host.name, failure.cause);
        host.failures = host.failures.saturating_add(1);
        let pause = schedule::pause(failure.cause, host.failures, fastrand::f64());
        let asked_for = retry_after.lock().ok().and_then(|at| (*at)?.duration_since(SystemTime::now()).ok());
        let pause = pause.max(asked_for.unwrap_or_default().min(schedule::LONGEST_PAUSE));
        host.renew_at = unix_now().saturating_add_unsigned(pause.as_secs().max(1));
        let seconds = pause.as_secs();
        crate::error!("cannot obtain a TLS certificate for {}: {failure}; trying again in {seconds}s", host.name);
    }

    async fn obtain(&mut self, kinds: &[ChallengeType], retry_after: &RetryAfter) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let known = shared.accounts.get(retry_after).await?;
        let mut failure = None;
        for kind in self.host.in_order_of_hope(kinds) {
            match self.order(&known, &kind).await {
                Ok(pem) => {
                    self.host.worked = Some(kind);
                    return self.install(pem).await;
                }
                // Only a validation may go better the other way.
                Err(error) if matches!(error.cause, Cause::Validation | Cause::NoChallenge) => {
                    failure.get_or_insert(error);
                }
                Err(error) => {
                    if error.cause == Cause::Account {
                        shared.accounts.forget(&known).await;
                    }
                    return Err(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new(Cause::NoChallenge, "no way of validation is left".to_owned())))
    }

    /// Key and chain as one PEM text.
    async fn order(&self, known: &Known, kind: &ChallengeType) -> Result<String, Failure> {
        let (host, shared) = (&self.host, &self.shared);
        let replaces = host.identifier.clone().filter(|_| host.is_of_this_authority);
        let order = Order {
            account: &known.account,
            host: &host.name,
            kind: kind.clone(),
            profile: Some(shared.profile.as_str()).filter(|profile| !profile.is_empty()),
            challenges: &shared.challenges,
        };
        order.run(replaces).await
    }

    async fn install(&mut self, pem: String) -> Result<(), Failure> {
        let (host, shared) = (&mut self.host, &self.shared);
        let parsed = IssuedCertificate::parse(&host.name, pem.as_bytes());
        let certificate = parsed.map_err(|error| Failure::new(Cause::BadCertificate, error.to_string()))?;
        let now = unix_now();
        if certificate.not_after <= now {
            return Err(Failure::new(Cause::BadCertificate, "it has expired already; check the clock".to_owned()));
        }
        host.obtained(&certificate, now, fastrand::f64());
        let left = certificate.not_after.saturating_sub(now);
        shared.certificates.put(&host.name, certificate);
        shared.metrics.issued(&host.name);
        crate::info!("obtained a TLS certificate for {}; it is valid for {left} more seconds", host.name);
        let Some(cache) = shared.cache.clone() else { return Ok(()) };
        let name = host.name.clone();
        let stored = off_thread(cache::LIMIT, move || cache.store_certificate(&name, &pem)).await;
        if let Err(problem) = stored.unwrap_or_else(|error| Err(error.to_string())) {
            // It serves all the same.
            shared.metrics.failed(&host.name, Cause::Cache);
            crate::error!("{problem}; the certificate of {} will be requested again after a restart", host.name);
        }
        Ok(())
    }

    /// Asks the authority when it would like the certificate to be renewed.
    async fn ask_for_window(&mut self) {
        let now = unix_now();
        let answer = match &self.host.identifier {
            Some(identifier) if self.host.is_of_this_authority => {
                tokio::time::timeout(QUESTION_LIMIT, self.window_of(identifier)).await.ok()
            }
            _ => None,
        };
        match answer {
            Some(Ok(Some((window, again_after)))) => {
                self.host.ask_at = now.saturating_add_unsigned(schedule::until_next_question(again_after).as_secs());
                self.host.suggested(window, fastrand::f64());
            }
            // What was known before stays in force.
            Some(Ok(None) | Err(_)) | None => {
                self.host.ask_at = now.saturating_add_unsigned(schedule::until_next_question(Duration::MAX).as_secs());
            }
        }
    }

    /// The window, and when to ask again; `None` without an account.
    async fn window_of(
        &self,
        identifier: &CertificateIdentifier<'static>,
    ) -> Result<Option<(Window, Duration)>, Failure> {
        let Some(known) = self.shared.accounts.known(&RetryAfter::default()).await? else { return Ok(None) };
        let (info, again_after) = known.account.renewal_info(identifier).await?;
        let window = info.suggested_window;
        Ok(Some((Window::new(window.start.unix_timestamp(), window.end.unix_timestamp()), again_after)))
    }
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
