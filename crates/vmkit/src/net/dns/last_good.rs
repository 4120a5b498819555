//! Last good answers, for the time while DNS fails (RFC 8767).
//!
//! An answer stands in when no server gave one: never when a server said that the name does not exist. It is used at
//! once while DNS is known to fail, and after a short wait otherwise. Entries are bounded in number and age.

use super::error::DnsError;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long an answer may stand in.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long a lookup may take before the last good answer is given; RFC 8767, section 5.
const PATIENCE: Duration = Duration::from_millis(1800);
/// While DNS fails it is asked again for a name after this time.
const RETRY: Duration = Duration::from_secs(5);
/// Names of backends; far more than any config has.
const MAX_ENTRIES: usize = 4096;

/// Takes the text of a warning.
pub(super) type Report = dyn Fn(&str) + Send + Sync;

/// Last good answers by what was asked.
#[derive(Debug)]
pub(super) struct LastGood<K, V>(Mutex<HashMap<K, Entry<V>>>);

#[derive(Debug)]
struct Entry<V> {
    answer: V,
    at: Instant,
    failed: Option<Instant>,
}

impl<K, V> Default for LastGood<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> LastGood<K, V> {
    /// The outcome of `lookup`, or the last good one in place of an outage, which `report` is told of when it begins.
    pub(super) async fn or_last(
        &self,
        key: K,
        lookup: impl Future<Output = Result<V, DnsError>>,
        report: &Report,
    ) -> Result<V, DnsError> {
        let outcome = match self.last(&key) {
            None => lookup.await,
            Some((answer, true)) => return Ok(answer),
            Some((answer, false)) => match timeout(PATIENCE, lookup).await {
                Ok(Err(error)) if error.is_outage() => {
                    self.failed(&key, &error.to_string(), report);
                    return Ok(answer);
                }
                Ok(outcome) => outcome,
                Err(_) => {
                    self.failed(&key, "no answer in time", report);
                    return Ok(answer);
                }
            },
        };
        match &outcome {
            Ok(answer) => self.keep(key, answer.clone()),
            Err(error) if error.is_outage() => {}
            Err(_) => drop(self.lock().remove(&key)),
        }
        outcome
    }

    /// The last good answer, if it is young enough, and whether DNS has just failed for this name.
    fn last(&self, key: &K) -> Option<(V, bool)> {
        let entries = self.lock();
        let entry = entries.get(key).filter(|entry| entry.at.elapsed() < MAX_AGE)?;
        Some((entry.answer.clone(), entry.failed.is_some_and(|failed| failed.elapsed() < RETRY)))
    }

    /// Notes that DNS fails for a name; says so once an outage.
    fn failed(&self, key: &K, cause: &str, report: &Report) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(key) else { return };
        let is_new = entry.failed.replace(Instant::now()).is_none();
        let age = entry.at.elapsed().as_secs();
        drop(entries);
        if is_new {
            report(&format!(
                "DNS fails: {cause}; the last good answer, {age} seconds old, is used for up to 10 minutes"
            ));
        }
    }

    fn keep(&self, key: K, answer: V) {
        let mut entries = self.lock();
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            entries.retain(|_, entry| entry.at.elapsed() < MAX_AGE);
            if entries.len() >= MAX_ENTRIES {
                return;
            }
        }
        entries.insert(key, Entry { answer, at: Instant::now(), failed: None });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::DnsCause;
    use super::*;

    fn failed(cause: DnsCause) -> Result<u8, DnsError> {
        Err(DnsError { name: "foo".to_owned(), server: None, cause })
    }

    async fn ask(last: &LastGood<&str, u8>, outcome: Result<u8, DnsError>) -> Result<u8, DnsError> {
        last.or_last("foo", std::future::ready(outcome), &|_| {}).await
    }

    #[tokio::test(start_paused = true)]
    async fn outages_are_bridged_for_a_bounded_time() {
        let last = LastGood::default();
        assert!(ask(&last, failed(DnsCause::Timeout)).await.is_err());
        assert_eq!(ask(&last, Ok(1)).await, Ok(1));
        static REPORTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
        for cause in [DnsCause::Timeout, DnsCause::ServerFailure, DnsCause::Other("refused".to_owned())] {
            tokio::time::advance(RETRY).await;
            let report = |text: &str| REPORTS.lock().unwrap().push(text.to_owned());
            let outcome = std::future::ready(failed(cause));
            assert_eq!(last.or_last("foo", outcome, &report).await, Ok(1));
        }
        let first =
            "DNS fails: lookup foo: i/o timeout; the last good answer, 5 seconds old, is used for up to 10 minutes";
        assert_eq!(*REPORTS.lock().unwrap(), [first], "once an outage");
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(ask(&last, failed(DnsCause::Timeout)).await, failed(DnsCause::Timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_name_is_an_answer() {
        let last = LastGood::default();
        assert_eq!(ask(&last, Ok(1)).await, Ok(1));
        assert!(ask(&last, failed(DnsCause::NoSuchHost)).await.is_err());
        assert!(ask(&last, failed(DnsCause::Timeout)).await.is_err(), "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_costs_little_and_only_now_and_then() {
        let last = LastGood::default();
        assert_eq!(ask(&last, Ok(1)).await, Ok(1));
        let silence = || last.or_last("foo", std::future::pending(), &|_| {});
        let begin = Instant::now();
        assert_eq!(silence().await, Ok(1));
        assert_eq!(begin.elapsed(), PATIENCE);
        assert_eq!(silence().await, Ok(1));
        assert_eq!(begin.elapsed(), PATIENCE, "known to fail");
        tokio::time::advance(RETRY).await;
        assert_eq!(ask(&last, Ok(2)).await, Ok(2));
        assert_eq!(ask(&last, Ok(3)).await, Ok(3), "asked again at once");
    }
}
