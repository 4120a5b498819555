//! The TLS identity of connections: its files are read again when a connection needs them and they are older than a second.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Handle;

use crate::proxy::Proxy;
use crate::tls::client_config::{ClientTls, ClientTlsOptions, LoadedClientTls};

/// CA and certificate files are looked at again after this time.
const REFRESH: Duration = Duration::from_secs(1);

/// A TLS identity whose files, paths or http(s) URLs, are read when a connection needs them.
pub struct TlsFiles {
    tls: Arc<ClientTls>,
    checked: Mutex<Option<Instant>>,
    urls: Option<FetchUrl>,
}

/// Gets CA and certificate files that are URLs; errors hold no credentials.
pub(super) type FetchUrl = Arc<dyn Fn(String) -> Fetching + Send + Sync>;

pub(super) type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

impl TlsFiles {
    /// Nothing is read before the first use.
    pub(super) fn new(options: ClientTlsOptions, urls: Option<FetchUrl>) -> Self {
        Self { tls: Arc::new(ClientTls::new(options)), checked: Mutex::default(), urls }
    }

    /// What it was made of.
    pub fn options(&self) -> &ClientTlsOptions {
        self.tls.options()
    }

    /// Whether what was loaded last is fresh enough to be used without another look.
    pub(super) fn is_fresh(&self) -> bool {
        let checked = *self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.is_some_and(|checked| self.options().is_static() || checked.elapsed() < REFRESH)
    }

    /// What is in force for a new connection. Files that broke later on leave the last good ones in force, which is logged
    /// once. Boxed, because it may fetch one of them.
    ///
    /// # Errors
    /// The files have never been good.
    pub fn current(&self) -> Pin<Box<dyn Future<Output = Result<Arc<LoadedClientTls>, String>> + Send + '_>> {
        Box::pin(async move {
            if !self.is_fresh() {
                self.refresh().await;
                *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            self.tls.current().map_err(|error| error.to_string())
        })
    }

    /// What is spoken to a proxy whose identity this is: `None` for nothing, because the way to it is in the clear.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub async fn towards(&self, proxy: &Proxy) -> Result<Option<Arc<ClientConfig>>, String> {
        match proxy.is_tls() {
            true => Ok(Some(Arc::clone(&self.current().await?.config))),
            false => Ok(None),
        }
    }

    /// On a thread that may wait: a file may hang, and the control plane must not.
    async fn refresh(&self) {
        let (tls, urls, control) = (Arc::clone(&self.tls), self.urls.clone(), Handle::current());
        let refreshing = tokio::task::spawn_blocking(move || {
            let fetch = |url| async {
                match &urls {
                    Some(fetch) => fetch(url).await,
                    None => Err("no client for URLs".to_owned()),
                }
            };
            control.block_on(tls.refresh(fetch)).map(drop)
        });
        if let Ok(Err(error)) = refreshing.await {
            crate::error!("cannot load TLS files: {error}");
        }
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").field("options", self.options()).finish_non_exhaustive()
    }
}
