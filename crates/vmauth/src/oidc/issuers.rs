//! All providers of the process, so that keys are shared by users and outlive reloads.
//!
//! The app owns one [`Issuers`]. A reload gets the providers it names (known ones with their keys), validates itself,
//! and only then calls [`Issuers::start`]; a reload that fails has started nothing. The registry holds providers
//! weakly: those that no serving configuration holds end, with their tasks and their series.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use vmkit::http_client::Client;
use vmkit::metrics::{Kind, Page};
use vmkit::tls::client_config::ClientTlsOptions;

use super::failure::FailureReason;
use super::http_fetcher::HttpFetcher;
use super::issuer_keys::{IssuerFacts, IssuerKeys, unix_seconds};
use super::key_refresher::KeyRefresher;
use super::location::KeyLocation;
use super::transport::FetchKeys;

/// How long a (re)load waits for the keys of new providers.
const START_WAIT: Duration = Duration::from_secs(10);

/// The providers by location; clones share them.
#[derive(Clone)]
pub struct Issuers {
    fetcher: Arc<dyn FetchKeys>,
    known: Arc<Mutex<HashMap<KeyLocation, Weak<IssuerKeys>>>>,
}

impl Default for Issuers {
    /// Asks providers over HTTP and HTTPS, trusting the authorities of the system.
    fn default() -> Self {
        Self::new(Arc::new(HttpFetcher::new(Arc::new(Client::new(ClientTlsOptions::default())), None)))
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.lock().keys()).finish()
    }
}

impl Issuers {
    /// No providers; all will be asked through `fetcher`.
    pub fn new(fetcher: Arc<dyn FetchKeys>) -> Self {
        Self { fetcher, known: Arc::default() }
    }

    /// The provider at `location`, with its keys if any configuration still holds it. Starts nothing.
    pub fn get_or_create(&self, location: KeyLocation) -> Arc<IssuerKeys> {
        let mut known = self.lock();
        if let Some(keys) = known.get(&location).and_then(Weak::upgrade) {
            return keys;
        }
        known.retain(|_, keys| keys.strong_count() > 0);
        let keys = Arc::new(IssuerKeys::new(location.clone()));
        known.insert(location, Arc::downgrade(&keys));
        keys
    }

    /// Starts what is new on the runtime it is called on, the control plane's, and waits until all that have no keys
    /// have been asked once, in parallel and for at most ten seconds. Providers that have keys are asked for news, but not waited for.
    /// Failures are logged and retried in the background, so there is nothing to return.
    pub async fn start(&self, issuers: Vec<Arc<IssuerKeys>>) {
        let control = Handle::current();
        let deadline = Instant::now() + START_WAIT;
        let mut awaited = Vec::new();
        for keys in &issuers {
            if keys.claim_start() {
                control.spawn(KeyRefresher::new(keys, self.fetcher.clone()).run());
                awaited.push((keys, 1));
            } else {
                let done = keys.request();
                if keys.version() == 0 {
                    awaited.push((keys, done));
                }
            }
        }
        for (keys, done) in awaited {
            keys.wait_for(done, deadline).await;
        }
    }

    /// All providers in use.
    pub fn in_use(&self) -> Vec<Arc<IssuerKeys>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Appends the series of all live providers; register it as a writer of the metrics page.
    pub fn write_metrics(&self, page: &mut Page) {
        let alive: Vec<Arc<IssuerKeys>> = self.lock().values().filter_map(Weak::upgrade).collect();
        let mut live: Vec<_> = alive.iter().map(|keys| (keys.location().shown(), keys.facts())).collect();
        live.sort_by(|a, b| a.0.cmp(&b.0));
        live.dedup_by(|a, b| a.0 == b.0);
        write_page(page, &live, unix_seconds());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyLocation, Weak<IssuerKeys>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_page(page: &mut Page, live: &[(String, IssuerFacts)], now: u64) {
    let mut gauge = |family: &str, value: &dyn Fn(&IssuerFacts) -> Option<f64>| {
        let values: Vec<_> = live.iter().filter_map(|(issuer, facts)| Some((issuer, value(facts)?))).collect();
        if !values.is_empty() {
            page.family(family, Kind::Gauge);
        }
        for (issuer, value) in values {
            page.labeled(family, &[("issuer", issuer)], value);
        }
    };
    gauge("vmauth_oidc_keys", &|facts| Some(facts.keys as f64));
    gauge("vmauth_oidc_keys_age_seconds", &|facts| Some(now.saturating_sub(facts.last_success?) as f64));
    gauge("vmauth_oidc_last_success_timestamp_seconds", &|facts| Some(facts.last_success.unwrap_or(0) as f64));
    let family = "vmauth_oidc_refresh_failures_total";
    if !live.is_empty() {
        page.family(family, Kind::Counter);
    }
    for (issuer, facts) in live {
        for (reason, count) in FailureReason::ALL.into_iter().zip(facts.failures) {
            page.labeled(family, &[("issuer", issuer), ("reason", reason.label())], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_series_by_issuer() {
        let loaded = IssuerFacts { keys: 2, last_success: Some(1000), failures: [1, 0, 2, 0, 0] };
        let missing = IssuerFacts { keys: 0, last_success: None, failures: [0, 3, 0, 0, 0] };
        let mut page = Page::new(false);
        write_page(&mut page, &[("https://a".to_owned(), loaded), ("https://b".to_owned(), missing)], 1042);
        let text = String::from_utf8(page.into_bytes()).unwrap();
        for line in [
            "vmauth_oidc_keys{issuer=\"https://a\"} 2\n",
            "vmauth_oidc_keys{issuer=\"https://b\"} 0\n",
            "vmauth_oidc_keys_age_seconds{issuer=\"https://a\"} 42\n",
            "vmauth_oidc_last_success_timestamp_seconds{issuer=\"https://a\"} 1000\n",
            "vmauth_oidc_last_success_timestamp_seconds{issuer=\"https://b\"} 0\n",
            "vmauth_oidc_refresh_failures_total{issuer=\"https://a\", reason=\"status\"} 2\n",
            "vmauth_oidc_refresh_failures_total{issuer=\"https://b\", reason=\"timeout\"} 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("age_seconds{issuer=\"https://b\""), "{text}");
        let mut page = Page::new(true);
        write_page(&mut page, &[], 0);
        assert!(page.into_bytes().is_empty());
    }
}
