//! A secret in a file, read again when it is older than a second.
//!
//! Deployments replace such files while the process runs. The last reading is kept, failures too, so that many requests
//! cost one read a second; reading happens off the threads that serve. The path may be an http(s) URL.

use crate::go_text::os_error;
use crate::http_client::{Client, FetchRequest, StatusCode};
use crate::redact;
use crate::secret::Secret;
use crate::tls::client_config::ClientTlsOptions;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A reading is used for so long.
const LIFETIME: Duration = Duration::from_millis(950);
/// Longer files hold no secret.
const MAX_LEN: u64 = 64 * 1024;
/// A file system may hang.
const TIMEOUT: Duration = Duration::from_secs(10);

type Reading = Result<Secret, String>;

/// A path with its last reading.
pub struct SecretFile {
    path: String,
    lifetime: Duration,
    last: Mutex<Option<(Instant, Reading)>>,
    client: Option<Client>,
}

impl SecretFile {
    /// Nothing is read yet; the file may be missing.
    pub fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        let is_url = path.starts_with("http://") || path.starts_with("https://");
        let client = is_url.then(|| Client::new(ClientTlsOptions::default()));
        Self { path, lifetime: LIFETIME, last: Mutex::new(None), client }
    }

    /// Another time for which a reading is used.
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// The content without white space at its end.
    ///
    /// # Errors
    /// Why it cannot be read, for the log.
    pub async fn get(&self) -> Result<Secret, String> {
        let mut last = self.last.lock().await;
        if let Some((at, reading)) = &*last
            && at.elapsed() < self.lifetime
        {
            return reading.clone();
        }
        let reading = match tokio::time::timeout(TIMEOUT, self.read()).await {
            Ok(reading) => reading,
            Err(_) => Err(format!("cannot read {:?} within {} seconds", redact::url(&self.path), TIMEOUT.as_secs())),
        };
        *last = Some((Instant::now(), reading.clone()));
        reading
    }

    async fn read(&self) -> Reading {
        let shown = redact::url(&self.path);
        let bytes = match &self.client {
            Some(client) => {
                let request = FetchRequest { max_body: MAX_LEN as usize, ..FetchRequest::get(&self.path) };
                let reply = client.fetch(request).await.map_err(|err| err.to_string())?;
                if reply.status != StatusCode::OK {
                    return Err(format!("cannot read {shown:?}: unexpected status code {}", reply.status.as_u16()));
                }
                reply.body
            }
            None => {
                let path = self.path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                let read = read.unwrap_or_else(|_| Err(std::io::Error::other("the reading thread has ended")));
                read.map_err(|err| format!("cannot read {shown:?}: {}", os_error(&err)))?
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| format!("cannot use {shown:?}: it is not UTF-8"))?;
        Ok(Secret::from(text.trim_end()))
    }
}

fn read_file(path: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(MAX_LEN).read_to_end(&mut content)?;
    Ok(content)
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("path", &redact::url(&self.path)).finish_non_exhaustive()
    }
}
