//! Certificates of listeners, obtained and renewed by ACME (RFC 8555) while the process runs.
//!
//! One task of the control plane looks after all hosts, one order after another: it renews in the window that the
//! authority suggests (ARI, RFC 9773), else at two thirds of the lifetime, waits longer and longer after failures, and
//! keeps what it got in a folder. Listeners show new certificates without a restart ([`crate::tls::issued`]). It must
//! never run on a worker, ask for anything while a certificate is good, or take a certificate from a listener: one that
//! cannot be renewed is shown until its end and beyond.
//!
//! ```text
//! run ► (window: ask for ARI) ► renew ► order ► challenges ► (validation) ► cache, IssuedCertificates
//! ```

mod cache;
mod challenges;
mod failure;
mod host;
mod metrics;
mod order;
mod schedule;
mod transport;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{Account, AccountCredentials, CertificateIdentifier, ChallengeType, NewAccount};

use crate::blocking::off_thread;
use crate::http_client::Client;
use crate::metrics::Set;
use crate::tls::client_config::ClientTlsOptions;
use crate::tls::issued::{IssuedCertificate, IssuedCertificates};
use cache::Cache;
use challenges::Challenges;
use failure::{Cause, Failure};
use host::Host;
use metrics::AcmeMetrics;
use order::Order;
use schedule::Window;
use transport::Transport;

pub use challenges::HttpAnswers;
pub use host::check_host;

/// An order that has not ended after this time has failed.
const ORDER_LIMIT: Duration = Duration::from_secs(300);
/// For reads and writes of the cache, which may lie on a network.
const CACHE_LIMIT: Duration = Duration::from_secs(30);
/// The clock may be set, so times are looked at again after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// What the flags `-tlsAutocert…` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeOptions {
    /// Names to get certificates for, in lower case; each one passed [`check_host`].
    pub hosts: Vec<String>,
    /// Contact of the account; empty for none.
    pub email: String,
    /// Folder for certificates and the account; empty for none.
    pub cache_dir: String,
    /// The authority.
    pub directory_url: String,
    /// PEM file with the roots that the authority's own HTTPS is trusted by; empty for the system's.
    pub ca_file: String,
    /// Which kind of certificate the authority shall issue; empty for its default.
    pub profile: String,
}

/// The client of one authority.
pub struct Acme {
    options: AcmeOptions,
    http: Arc<Client>,
    cache: Option<Arc<Cache>>,
    certificates: Arc<IssuedCertificates>,
    challenges: Arc<Challenges>,
    metrics: AcmeMetrics,
    hosts: Vec<Host>,
    /// The account with its key, in the form of the library; from the cache or registered in this run.
    credentials: Option<String>,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Acme {
    /// Takes what the cache has. Blocks on the disk: for the start of the process, before it listens.
    ///
    /// # Errors
    /// The folder of the cache cannot be used.
    pub fn open(options: AcmeOptions, set: &Set) -> Result<Self, String> {
        let certificates = IssuedCertificates::new(options.hosts.clone())
            .map_err(|error| format!("cannot use TLS for -tlsAutocertHosts: {error}"))?;
        let certificates = Arc::new(certificates);
        let cache = match options.cache_dir.as_str() {
            "" => {
                crate::warn!(
                    "-tlsAutocertCacheDir is not set: certificates are requested anew at each start, and authorities limit \
                     how often they issue one"
                );
                None
            }
            dir => Some(Arc::new(Cache::open(dir, &options.directory_url)?)),
        };
        let ca_file = Some(options.ca_file.clone()).filter(|file| !file.is_empty());
        let mut acme = Self {
            http: Arc::new(Client::new(ClientTlsOptions { ca_file, ..ClientTlsOptions::default() })),
            challenges: Arc::new(Challenges::new(certificates.clone())),
            metrics: AcmeMetrics::register(set, &options.hosts),
            hosts: options.hosts.iter().map(|name| Host::new(name)).collect(),
            credentials: None,
            cache,
            certificates,
            options,
        };
        if let Some(cache) = acme.cache.clone() {
            acme.credentials = cache.account().unwrap_or_else(|problem| {
                crate::error!("{problem}; a new ACME account will be registered");
                None
            });
            for index in 0..acme.hosts.len() {
                acme.take_cached(index, cache.certificate(&acme.hosts[index].name));
            }
        }
        Ok(acme)
    }

    /// What listeners show.
    pub fn certificates(&self) -> Arc<IssuedCertificates> {
        self.certificates.clone()
    }

    /// What plain listeners answer to validation servers.
    pub fn http_answers(&self) -> HttpAnswers {
        HttpAnswers::new(self.challenges.clone())
    }

    /// Looks after the hosts for ever. `has_plain_listener` allows validation over HTTP when that over TLS fails.
    pub async fn run(mut self, has_plain_listener: bool) {
        let kinds: &[ChallengeType] = match has_plain_listener {
            true => &[ChallengeType::TlsAlpn01, ChallengeType::Http01],
            false => &[ChallengeType::TlsAlpn01],
        };
        loop {
            let now = unix_now();
            let Some(next) = (0..self.hosts.len()).min_by_key(|index| self.hosts[*index].next_step()) else { return };
            let wait = self.hosts[next].next_step().saturating_sub(now);
            if let Ok(seconds @ 1..) = u64::try_from(wait) {
                tokio::time::sleep(Duration::from_secs(seconds).min(LONGEST_SLEEP)).await;
            } else if self.hosts[next].renew_at <= now {
                self.renew(next, kinds).await;
            } else {
                self.ask_for_window(next).await;
            }
        }
    }

    /// Takes over a certificate of the cache; whether it is one to keep.
    fn take_cached(&mut self, index: usize, cached: Result<Option<cache::Cached>, String>) -> bool {
        let Some(host) = self.hosts.get_mut(index) else { return false };
        let cached = match cached {
            Ok(Some(cached)) => cached,
            Ok(None) => return false,
            Err(problem) => {
                crate::error!("{problem}");
                return false;
            }
        };
        let certificate = match IssuedCertificate::parse(&host.name, &cached.pem) {
            Ok(certificate) => certificate,
            Err(error) => {
                crate::error!("the cached certificate of {} cannot be used: {error}", host.name);
                return false;
            }
        };
        if self.certificates.get(&host.name).is_some_and(|known| known.not_after >= certificate.not_after) {
            return false;
        }
        let now = unix_now();
        host.has(&certificate, cached.is_of_this_authority, now, fastrand::f64());
        self.certificates.put(&host.name, certificate);
        host.renew_at > now
    }

    /// Obtains a certificate for the host, and says when to do so again.
    async fn renew(&mut self, index: usize, kinds: &[ChallengeType]) {
        let name = self.hosts[index].name.clone();
        // Another process that shares the folder may have been quicker.
        if let Some(cache) = self.cache.clone() {
            let asked = name.clone();
            let cached = off_thread(CACHE_LIMIT, move || cache.certificate(&asked)).await;
            if self.take_cached(index, cached.unwrap_or_else(|error| Err(error.to_string()))) {
                return;
            }
        }
        let retry_after = Arc::<Mutex<Option<SystemTime>>>::default();
        let attempt = tokio::time::timeout(ORDER_LIMIT, self.obtain(index, kinds, &retry_after)).await;
        let failure = match attempt {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Cause::Timeout, format!("no certificate in {ORDER_LIMIT:?}")),
        };
        self.metrics.failed(&name, failure.cause);
        let host = &mut self.hosts[index];
        host.failures = host.failures.saturating_add(1);
        let pause = schedule::pause(failure.cause, host.failures, fastrand::f64());
        let asked_for = retry_after.lock().ok().and_then(|at| (*at)?.duration_since(SystemTime::now()).ok());
        let pause = pause.max(asked_for.unwrap_or_default().min(schedule::LONGEST_PAUSE));
        host.renew_at = unix_now().saturating_add_unsigned(pause.as_secs().max(1));
        crate::error!("cannot obtain a TLS certificate for {name}: {failure}; trying again in {}s", pause.as_secs());
    }

    async fn obtain(
        &mut self,
        index: usize,
        kinds: &[ChallengeType],
        retry_after: &Arc<Mutex<Option<SystemTime>>>,
    ) -> Result<(), Failure> {
        let account = self.account(retry_after).await?;
        let host = &self.hosts[index];
        let name = host.name.clone();
        let replaces = host.identifier.clone().filter(|_| host.is_of_this_authority);
        let mut failure = None;
        for kind in host.in_order_of_hope(kinds) {
            let order = Order {
                account: &account,
                host: &name,
                kind: kind.clone(),
                profile: Some(self.options.profile.as_str()).filter(|profile| !profile.is_empty()),
                challenges: &self.challenges,
            };
            match order.run(replaces.clone()).await {
                Ok(pem) => {
                    self.hosts[index].worked = Some(kind);
                    return self.install(index, pem).await;
                }
                // Only a validation may go better the other way.
                Err(error) if matches!(error.cause, Cause::Validation | Cause::NoChallenge) => {
                    failure.get_or_insert(error);
                }
                Err(error) => {
                    if error.cause == Cause::Account {
                        self.forget_account().await;
                    }
                    return Err(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new(Cause::NoChallenge, "no way of validation is left".to_owned())))
    }

    async fn install(&mut self, index: usize, pem: String) -> Result<(), Failure> {
        let host = &mut self.hosts[index];
        let parsed = IssuedCertificate::parse(&host.name, pem.as_bytes());
        let certificate = parsed.map_err(|error| Failure::new(Cause::BadCertificate, error.to_string()))?;
        let now = unix_now();
        if certificate.not_after <= now {
            return Err(Failure::new(Cause::BadCertificate, "it has expired already; check the clock".to_owned()));
        }
        host.obtained(&certificate, now, fastrand::f64());
        let left = certificate.not_after.saturating_sub(now);
        self.certificates.put(&host.name, certificate);
        self.metrics.issued(&host.name);
        crate::info!("obtained a TLS certificate for {}; it is valid for {left} more seconds", host.name);
        let Some(cache) = self.cache.clone() else { return Ok(()) };
        let name = host.name.clone();
        let stored = off_thread(CACHE_LIMIT, move || cache.store_certificate(&name, &pem)).await;
        if let Err(problem) = stored.unwrap_or_else(|error| Err(error.to_string())) {
            // It serves all the same.
            self.metrics.failed(&self.hosts[index].name, Cause::Cache);
            crate::error!(
                "{problem}; the certificate of {} will be requested again after a restart",
                self.hosts[index].name
            );
        }
        Ok(())
    }

    /// The account at the authority; registers one the first time.
    async fn account(&mut self, retry_after: &Arc<Mutex<Option<SystemTime>>>) -> Result<Account, Failure> {
        let transport = Transport::new(self.http.clone(), retry_after.clone());
        let builder = Account::builder_with_http(Box::new(transport));
        if let Some(credentials) = &self.credentials {
            match serde_json::from_str::<AccountCredentials>(credentials) {
                Ok(credentials) => return Ok(builder.from_credentials(credentials).await?),
                // The parser's text may quote the key.
                Err(_) => crate::error!("the cached ACME account cannot be read; a new one will be registered"),
            }
        }
        let contact = format!("mailto:{}", self.options.email);
        let contact = [contact.as_str()];
        let contact = if self.options.email.is_empty() { &[][..] } else { &contact[..] };
        let request = NewAccount { contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.options.directory_url.clone();
        let (account, credentials) = builder.create(&request, directory, None).await?;
        crate::info!("registered ACME account {} at {}", account.id(), self.options.directory_url);
        let credentials = serde_json::to_string(&credentials)
            .map_err(|error| Failure::new(Cause::Account, format!("cannot keep the account: {error}")))?;
        self.credentials = Some(credentials.clone());
        if let Some(cache) = self.cache.clone() {
            let stored = off_thread(CACHE_LIMIT, move || cache.store_account(&credentials)).await;
            if let Err(problem) = stored.unwrap_or_else(|error| Err(error.to_string())) {
                crate::error!("{problem}; the ACME account will be registered again after a restart");
            }
        }
        Ok(account)
    }

    /// The authority does not know it (any more).
    async fn forget_account(&mut self) {
        self.credentials = None;
        if let Some(cache) = self.cache.clone() {
            let _ = off_thread(CACHE_LIMIT, move || cache.remove_account()).await;
        }
    }

    /// Asks the authority when it would like the certificate to be renewed.
    async fn ask_for_window(&mut self, index: usize) {
        let now = unix_now();
        let answer = match &self.hosts[index].identifier {
            Some(identifier) if self.hosts[index].is_of_this_authority && self.credentials.is_some() => {
                tokio::time::timeout(CACHE_LIMIT, self.window_of(identifier.clone())).await.ok()
            }
            _ => None,
        };
        let host = &mut self.hosts[index];
        match answer {
            Some(Ok((window, again_after))) => {
                host.ask_at = now.saturating_add_unsigned(schedule::until_next_question(again_after).as_secs());
                host.suggested(window, fastrand::f64());
            }
            // What was known before stays in force.
            Some(Err(_)) | None => {
                host.ask_at = now.saturating_add_unsigned(schedule::until_next_question(Duration::MAX).as_secs());
            }
        }
    }

    async fn window_of(&self, identifier: CertificateIdentifier<'static>) -> Result<(Window, Duration), Failure> {
        let transport = Transport::new(self.http.clone(), Arc::default());
        let credentials = self.credentials.as_deref().unwrap_or_default();
        let credentials = serde_json::from_str::<AccountCredentials>(credentials)
            .map_err(|_| Failure::new(Cause::Account, "the account cannot be read".to_owned()))?;
        let account = Account::builder_with_http(Box::new(transport)).from_credentials(credentials).await?;
        let (info, again_after) = account.renewal_info(&identifier).await?;
        let window = info.suggested_window;
        Ok((Window::new(window.start.unix_timestamp(), window.end.unix_timestamp()), again_after))
    }
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
