//! The task that keeps the keys of one provider fresh.
//!
//! Fetches at once, then as often as the provider's `Cache-Control` says, between one minute and one hour; after a
//! failure within a second, then ever later up to ten; and early when a token names an unknown key. All fetches of a
//! provider are made here, one after the other, so no crowd of requests can become a crowd of fetches. Ends as soon
//! as nobody uses the keys any more.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jwt::SkippedKey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use vmkit::{error, info, warn};

use super::asked_pause::AskedPause;
use super::discovery::{FetchedKeys, fetch_keys};
use super::failure::{FailureReason, FetchFailure};
use super::issuer_keys::{IssuerKeys, Progress};
use super::location::KeyLocation;
use super::transport::FetchKeys;

/// Time between fetches when the provider does not say.
const DEFAULT_AGE: Duration = Duration::from_secs(5 * 60);
const MIN_AGE: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// The same failure is not logged more often than this.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The task's state. It holds the keys only while it writes them, so it cannot keep them alive.
pub(super) struct KeyRefresher {
    keys: Weak<IssuerKeys>,
    location: KeyLocation,
    fetcher: Arc<dyn FetchKeys>,
    progress: watch::Receiver<Progress>,
    /// Failures since the last success.
    failures: u32,
    is_first: bool,
    logged: Option<(Instant, String)>,
}

impl KeyRefresher {
    /// The refresher of `keys`; holds them weakly.
    pub(super) fn new(keys: &Arc<IssuerKeys>, fetcher: Arc<dyn FetchKeys>) -> Self {
        Self {
            keys: Arc::downgrade(keys),
            location: keys.location().clone(),
            fetcher,
            progress: keys.progress(),
            failures: 0,
            is_first: true,
            logged: None,
        }
    }

    /// Refreshes until the keys are dropped.
    pub(super) async fn run(mut self) {
        let mut pause = AskedPause::default();
        loop {
            let result = tokio::select! {
                result = fetch_keys(&*self.fetcher, &self.location) => result,
                () = dropped(&mut self.progress) => return,
            };
            let Some(keys) = self.keys.upgrade() else { return };
            let version = keys.version();
            let delay = self.take_over(&keys, result);
            keys.plan(delay);
            if keys.version() != version {
                pause.reset();
            }
            keys.finish_fetch();
            drop(keys);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                wish = wish(&mut self.progress) => {
                    if !wish {
                        return;
                    }
                    tokio::select! {
                        () = sleep_until(pause.ends()) => {}
                        () = dropped(&mut self.progress) => return,
                    }
                    pause.begin();
                }
            }
        }
    }

    /// Publishes the result of a fetch; gives the time until the next.
    fn take_over(&mut self, keys: &IssuerKeys, result: Result<FetchedKeys, FetchFailure>) -> Duration {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match result {
            Ok(fetched) => {
                let count = fetched.keys.len();
                if count == 0 && keys.facts().keys > 0 {
                    // Nobody publishes an empty set on purpose: a deployment without its keys mounted does.
                    let text = "the key set has no usable keys; the last good ones stay in use";
                    return self.failed(keys, &FetchFailure::new(FailureReason::Body, text), is_first);
                }
                if self.failures > 0 {
                    info!("keys of {} are fetched again after {} failures", self.location.described(), self.failures);
                }
                self.failures = 0;
                self.logged = None;
                if keys.succeed(fetched.keys) {
                    self.log_change(count, &fetched.skipped);
                }
                refresh_delay(fetched.max_age)
            }
            Err(failure) => self.failed(keys, &failure, is_first),
        }
    }

    fn failed(&mut self, keys: &IssuerKeys, failure: &FetchFailure, is_first: bool) -> Duration {
        self.failures = self.failures.saturating_add(1);
        keys.fail(failure.reason, failure.to_string());
        self.log_failure(&failure_line(&self.location, failure, is_first));
        retry_delay(self.failures)
    }

    fn log_change(&self, count: usize, skipped: &[SkippedKey]) {
        match count {
            0 => warn!("{} has no usable keys, so its tokens are refused", self.location.described()),
            count => info!("loaded {count} keys of {}", self.location.described()),
        }
        for key in skipped.iter().filter(|key| !key.reason.is_expected()) {
            let kid = key.kid.as_deref().unwrap_or_default();
            warn!("skipping JWKS key kid={kid} of {}: {}", self.location.described(), key.reason);
        }
    }

    fn log_failure(&mut self, line: &str) {
        let now = Instant::now();
        let is_news = self.logged.as_ref().is_none_or(|(at, text)| text != line || now - *at >= LOG_EVERY);
        if is_news {
            error!("{line}");
            self.logged = Some((now, line.to_owned()));
        }
    }
}

fn failure_line(location: &KeyLocation, failure: &FetchFailure, is_first: bool) -> String {
    let location = location.described();
    if is_first {
        format!("failed to initialize OIDC verifier pool at start for {location}: {failure}")
    } else {
        format!("failed to refresh OIDC verifier pool for {location}: {failure}")
    }
}

/// True when newer keys are wanted, false when nobody wants keys any more.
async fn wish(progress: &mut watch::Receiver<Progress>) -> bool {
    progress.wait_for(|progress| progress.wanted).await.is_ok()
}

async fn dropped(progress: &mut watch::Receiver<Progress>) {
    // Ends with an error when the sender is gone, and never otherwise.
    let _ = progress.wait_for(|_| false).await;
}

/// A tenth of the time, at most ten seconds, is added at random: providers see no herd.
fn refresh_delay(max_age: Option<Duration>) -> Duration {
    let age = max_age.unwrap_or(DEFAULT_AGE).clamp(MIN_AGE, MAX_AGE);
    age + (age / 10).min(Duration::from_secs(10)).mul_f64(fastrand::f64())
}

/// Doubles with every failure; up to a quarter is taken off at random.
fn retry_delay(failures: u32) -> Duration {
    let factor = 1 << failures.saturating_sub(1).min(10);
    (FIRST_RETRY * factor).min(LAST_RETRY).mul_f64(1.0 - 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_bounded() {
        let f = |max_age: Option<u64>, least: u64, most: u64| {
            for _ in 0..100 {
                let delay = refresh_delay(max_age.map(Duration::from_secs));
                let range = Duration::from_secs(least)..=Duration::from_secs(most);
                assert!(range.contains(&delay), "{max_age:?}: {delay:?}");
            }
        };
        f(None, 300, 310);
        f(Some(0), 60, 66);
        f(Some(90), 90, 99);
        f(Some(3600), 3600, 3610);
        f(Some(u64::MAX), 3600, 3610);
        let f = |failures: u32, most: u64| {
            for _ in 0..100 {
                let delay = retry_delay(failures);
                let most = Duration::from_secs(most);
                assert!((most.mul_f64(0.74)..=most).contains(&delay), "{failures}: {delay:?}");
            }
        };
        for (failures, most) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (u32::MAX, 10)] {
            f(failures, most);
        }
    }

    #[test]
    fn log_lines() {
        let failure = FetchFailure::new(FailureReason::Status, "why");
        let oidc = KeyLocation::Oidc { issuer: "https://idp".to_owned() };
        let url = KeyLocation::JwksUrl("https://idp/keys".to_owned());
        let f = |location: &KeyLocation, is_first: bool, want: &str| {
            assert_eq!(failure_line(location, &failure, is_first), want);
        };
        f(&oidc, true, "failed to initialize OIDC verifier pool at start for issuer \"https://idp\": why");
        f(&oidc, false, "failed to refresh OIDC verifier pool for issuer \"https://idp\": why");
        f(&url, false, "failed to refresh OIDC verifier pool for jwks_url \"https://idp/keys\": why");
    }
}
