//! The account at the authority: one for all hosts, registered once.
//!
//! It comes from the cache, or is registered when the first host needs it; hosts that need it meanwhile, also those of
//! another process that shares the folder, wait and use the same. Its key is a secret: texts of the parser, which may
//! quote it, go nowhere.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use instant_acme::{Account, AccountCredentials, NewAccount};

use super::cache::{self, Cache};
use super::failure::{Cause, Failure};
use super::lock::Lock;
use super::transport::Transport;
use crate::blocking::off_thread;
use crate::http_client::Client;

/// When the authority that refused for now may be asked again; noted by the transport of one try.
pub(super) type RetryAfter = Arc<Mutex<Option<SystemTime>>>;

/// How long another process may take to register it, and between two looks.
const OTHERS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(250));

/// The account with its key, in the form of the library.
type Credentials = Arc<String>;

pub(super) struct Accounts {
    http: Arc<Client>,
    cache: Option<Arc<Cache>>,
    email: String,
    directory_url: String,
    current: ArcSwapOption<String>,
    /// Held while one host registers it.
    registration: tokio::sync::Mutex<()>,
}

/// What a host works with.
pub(super) struct Known {
    pub(super) account: Account,
    credentials: Credentials,
}

impl Accounts {
    /// With what the cache has. Blocks on the disk.
    pub(super) fn open(http: Arc<Client>, cache: Option<Arc<Cache>>, email: &str, directory_url: &str) -> Self {
        let cached = cache.as_ref().map_or(Ok(None), |cache| cache.account()).unwrap_or_else(|problem| {
            crate::error!("{problem}; a new ACME account will be registered");
            None
        });
        Self {
            http,
            cache,
            email: email.to_owned(),
            directory_url: directory_url.to_owned(),
            current: ArcSwapOption::from_pointee(cached),
            registration: tokio::sync::Mutex::default(),
        }
    }

    /// The account; registers one the first time.
    pub(super) async fn get(&self, retry_after: &RetryAfter) -> Result<Known, Failure> {
        if let Some(known) = self.known(retry_after).await? {
            return Ok(known);
        }
        let _turn = self.registration.lock().await;
        if let Some(known) = self.known(retry_after).await? {
            return Ok(known);
        }
        let _lock = self.wait_for_others().await;
        if let Some(credentials) = self.registered_by_others().await {
            self.current.store(Some(Arc::new(credentials)));
            if let Some(known) = self.known(retry_after).await? {
                return Ok(known);
            }
        }
        self.register(retry_after).await
    }

    /// The turn to register among processes, or none after a while.
    async fn wait_for_others(&self) -> Option<Lock> {
        let cache = self.cache.clone()?;
        let turn = async {
            loop {
                let cache = cache.clone();
                match off_thread(cache::LIMIT, move || cache.lock_account()).await {
                    Ok(Some(lock)) => return Some(lock),
                    Ok(None) => tokio::time::sleep(OTHERS.1).await,
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(OTHERS.0, turn).await.ok().flatten()
    }

    /// What has come into the cache since the start, if it can be read.
    async fn registered_by_others(&self) -> Option<String> {
        let cache = self.cache.clone()?;
        let cached = off_thread(cache::LIMIT, move || cache.account()).await.ok()?.ok()??;
        serde_json::from_str::<AccountCredentials>(&cached).is_ok().then_some(cached)
    }

    /// The account, if there is one; asks for none.
    pub(super) async fn known(&self, retry_after: &RetryAfter) -> Result<Option<Known>, Failure> {
        let Some(credentials) = self.current.load_full() else { return Ok(None) };
        match serde_json::from_str::<AccountCredentials>(&credentials) {
            Ok(parsed) => {
                let account = self.builder(retry_after).from_credentials(parsed).await?;
                Ok(Some(Known { account, credentials }))
            }
            Err(_) => {
                crate::error!("the cached ACME account cannot be read; a new one will be registered");
                self.give_up(&credentials);
                Ok(None)
            }
        }
    }

    /// The authority does not know it (any more).
    pub(super) async fn forget(&self, refused: &Known) {
        if self.give_up(&refused.credentials)
            && let Some(cache) = self.cache.clone()
        {
            let credentials = refused.credentials.clone();
            let _ = off_thread(cache::LIMIT, move || cache.remove_account(&credentials)).await;
        }
    }

    /// Whether it was still in use: another host may have registered a new one since.
    fn give_up(&self, credentials: &Credentials) -> bool {
        let current = self.current.load();
        if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, credentials)) {
            return false;
        }
        let before = self.current.compare_and_swap(&current, None);
        before.as_ref().is_some_and(|before| Arc::ptr_eq(before, credentials))
    }

    async fn register(&self, retry_after: &RetryAfter) -> Result<Known, Failure> {
        let contact = format!("mailto:{}", self.email);
        let contact = [contact.as_str()];
        let contact = if self.email.is_empty() { &[][..] } else { &contact[..] };
        let request = NewAccount { contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.directory_url.clone();
        let (account, credentials) = self.builder(retry_after).create(&request, directory, None).await?;
        crate::info!("registered ACME account {} at {}", account.id(), self.directory_url);
        let credentials = serde_json::to_string(&credentials)
            .map_err(|error| Failure::new(Cause::Account, format!("cannot keep the account: {error}")))?;
        let credentials = Arc::new(credentials);
        self.current.store(Some(credentials.clone()));
        if let Some(cache) = self.cache.clone() {
            let stored = credentials.clone();
            let stored = off_thread(cache::LIMIT, move || cache.store_account(&stored)).await;
            if let Err(problem) = stored.unwrap_or_else(|error| Err(error.to_string())) {
                crate::error!("{problem}; the ACME account will be registered again after a restart");
            }
        }
        Ok(Known { account, credentials })
    }

    fn builder(&self, retry_after: &RetryAfter) -> instant_acme::AccountBuilder {
        Account::builder_with_http(Box::new(Transport::new(self.http.clone(), retry_after.clone())))
    }
}
