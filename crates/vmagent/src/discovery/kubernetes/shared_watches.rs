//! The watches of one API server, each URL watched once.
//!
//! Entries with equal settings share them, whatever their roles, namespaces and attached metadata are. A watch ends when
//! the last entry lets go of it.

use super::api_server::ApiServer;
use super::objects::ObjectKind;
use super::watcher::Watcher;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::task::JoinHandle;

/// A server with its watches.
pub(super) struct SharedWatches {
    server: Arc<ApiServer>,
    watches: Mutex<HashMap<WatchKey, Weak<Watch>>>,
}

/// Kind, path and selectors.
type WatchKey = (ObjectKind, String, String);

/// A running watch.
pub(super) struct Watch {
    pub(super) watcher: Arc<Watcher>,
    task: JoinHandle<()>,
    /// Others find the watch as long as it runs.
    _shared: Arc<SharedWatches>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SharedWatches {
    pub(super) fn new(server: Arc<ApiServer>) -> Arc<Self> {
        Arc::new(Self { server, watches: Mutex::default() })
    }

    pub(super) fn server(&self) -> &ApiServer {
        &self.server
    }

    /// The watch of a URL, started if nobody watches it. Must be called on a runtime.
    pub(super) fn watch(self: &Arc<Self>, kind: ObjectKind, path: String, selectors: String) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|_, watch| watch.strong_count() > 0);
        let key = (kind, path, selectors);
        if let Some(watch) = watches.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        let watcher = Watcher::new(kind, Arc::clone(&self.server), key.1.clone(), key.2.clone());
        let running = Arc::clone(&watcher);
        let task = tokio::spawn(async move { running.run().await });
        let watch = Arc::new(Watch { watcher, task, _shared: Arc::clone(self) });
        watches.insert(key, Arc::downgrade(&watch));
        watch
    }
}
