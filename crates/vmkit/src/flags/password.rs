//! Values of password flags, which may live in a file or behind a URL so that they can be rotated.
//!
//! A value from outside is fetched on first use and again on a use two seconds or more later. Before the first
//! success, it is a random text that nobody can know: access is denied, never open. A failed fetch keeps what was
//! known and is told on stderr, with the place, never with the content.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::local_time;
use crate::go_text::{os_error, quote};
use crate::redact;
use crate::secret::Secret;

/// Reads the body behind an `http(s)://` URL; the error text must not show credentials. It may block, so the
/// application decides on which thread passwords are used.
pub type FetchSecret = Arc<dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync>;

const MIN_AGE: Duration = Duration::from_secs(2);
const RANDOM_LEN: usize = 64;

/// Value of a password flag; clones share what was fetched.
#[derive(Clone)]
pub struct Password(Arc<Mutex<Inner>>);

struct Inner {
    flag: &'static str,
    source: Source,
    current: Secret,
    fetched: Option<Instant>,
    fetch_url: Option<FetchSecret>,
}

enum Source {
    Literal,
    File(String),
    Url(String),
}

impl Password {
    pub(crate) fn unset(flag: &'static str) -> Self {
        let current = Secret::from("");
        Self(Arc::new(Mutex::new(Inner { flag, source: Source::Literal, current, fetched: None, fetch_url: None })))
    }

    pub(crate) fn set(&self, text: &str) {
        let mut inner = self.lock();
        inner.fetched = None;
        (inner.source, inner.current) = if let Some(path) = text.strip_prefix("file://") {
            (Source::File(path.to_string()), random_secret())
        } else if text.starts_with("http://") || text.starts_with("https://") {
            (Source::Url(text.to_string()), random_secret())
        } else {
            (Source::Literal, Secret::from(text))
        };
    }

    pub(crate) fn provide_fetcher(&self, fetch: FetchSecret) {
        self.lock().fetch_url = Some(fetch);
    }

    /// Whether there is a password to check at all.
    pub fn is_set(&self) -> bool {
        let inner = self.lock();
        !matches!(inner.source, Source::Literal) || !inner.current.is_empty()
    }

    /// The password as of now. May read a file or call the fetcher.
    pub fn secret(&self) -> Secret {
        let (secret, failure) = self.lock().secret_at(Instant::now());
        if let Some(failure) = failure {
            // Not a log line: it must appear whatever the logger is set to.
            let _ = writeln!(std::io::stderr(), "{} {failure}", local_time());
        }
        secret
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The value at `now`, and the line to print if it could not be read again.
    fn secret_at(&mut self, now: Instant) -> (Secret, Option<String>) {
        if self.fetched.is_some_and(|at| now.saturating_duration_since(at) < MIN_AGE) {
            return (self.current.clone(), None);
        }
        let (place, content) = match &self.source {
            Source::Literal => return (self.current.clone(), None),
            Source::File(path) => (path, read_file(path)),
            Source::Url(url) => (url, self.fetch_url.as_ref().map_or_else(no_fetcher, |fetch| fetch(url))),
        };
        self.fetched = Some(now);
        let content = content.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_string()));
        let failure = match content {
            Ok(text) => {
                self.current = Secret::from(text.trim_end());
                None
            }
            Err(cause) => {
                let (flag, place) = (self.flag, quote(redact::url(place).as_bytes()));
                Some(format!(
                    "flagutil: fall back to the previous password for -{flag}, since failed to re-read it from {place}: {cause}"
                ))
            }
        };
        (self.current.clone(), failure)
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(path)).map_err(|error| format!("open {path}: {}", os_error(&error)))
}

fn no_fetcher() -> Result<Vec<u8>, String> {
    Err("there is no HTTP client yet".to_string())
}

fn random_secret() -> Secret {
    let mut bytes = [0; RANDOM_LEN];
    aws_lc_rs::rand::fill(&mut bytes).expect("BUG: the random source of the system does not fail");
    Secret::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("secret")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn password(text: &str) -> Password {
        let password = Password::unset("reloadAuthKey");
        password.set(text);
        password
    }

    #[test]
    fn literals_are_taken_as_they_are() {
        let f = |text: &str, is_set: bool| {
            let password = password(text);
            assert_eq!((password.secret().expose(), password.is_set()), (text, is_set));
        };
        f("", false);
        f("abc ", true);
        f("file:/x", true);
        f("ftp://x", true);
    }

    #[test]
    fn files_are_read_again_after_two_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let password = password(&format!("file://{}", path.display()));
        assert!(password.is_set());
        let start = Instant::now();
        let at = |millis: u64| password.lock().secret_at(start + Duration::from_millis(millis));

        let (unknown, failure) = at(0);
        assert_eq!(unknown.expose().len(), 2 * RANDOM_LEN);
        let place = quote(path.display().to_string());
        assert_eq!(
            failure.unwrap(),
            format!(
                "flagutil: fall back to the previous password for -reloadAuthKey, since failed to re-read it from \
                 {place}: open {}: no such file or directory",
                path.display()
            )
        );
        std::fs::write(&path, "first \r\n\n").unwrap();
        assert_eq!(at(1_999), (unknown, None));
        assert_eq!(at(2_000), (Secret::from("first"), None));
        std::fs::write(&path, " second").unwrap();
        assert_eq!(at(3_999), (Secret::from("first"), None));
        assert_eq!(at(4_000), (Secret::from(" second"), None));
        std::fs::remove_file(&path).unwrap();
        let (kept, failure) = at(6_000);
        assert_eq!(kept, Secret::from(" second"));
        assert!(failure.is_some());
    }

    #[test]
    fn urls_go_through_the_fetcher() {
        let password = password("http://user:pw@host/key");
        let start = Instant::now();
        let at = |seconds: u64| password.lock().secret_at(start + Duration::from_secs(seconds));
        assert!(at(0).1.unwrap().ends_with("from \"http://xxxxx@host/key\": there is no HTTP client yet"));
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        password.provide_fetcher(Arc::new(move |url| {
            assert_eq!(url, "http://user:pw@host/key");
            match counter.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(b"from url\n".to_vec()),
                1 => Ok(vec![0xff]),
                _ => Err("refused".to_string()),
            }
        }));
        assert_eq!(at(2), (Secret::from("from url"), None));
        assert!(at(4).1.unwrap().ends_with(": it is not UTF-8"));
        let (kept, failure) = at(6);
        assert_eq!(kept, Secret::from("from url"));
        assert!(failure.unwrap().ends_with(": refused"));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn unread_passwords_differ_from_each_other() {
        assert_ne!(password("file:///a"), password("file:///a"));
        assert_eq!(format!("{:?}", password("abc")), "secret");
    }

    impl PartialEq for Password {
        fn eq(&self, other: &Self) -> bool {
            let own = self.lock().current.clone();
            own == other.lock().current
        }
    }
}
