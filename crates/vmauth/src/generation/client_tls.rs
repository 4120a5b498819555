//! The TLS identities towards backends, shared by all users with equal options and kept over reloads.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use vmkit::tls::client_config::{ClientTls, ClientTlsOptions};

/// TLS identities by their options; equal options are the same identity, also across configs.
#[derive(Debug, Default)]
pub struct ClientTlsRegistry {
    known: Mutex<Vec<Weak<ClientTls>>>,
}

impl ClientTlsRegistry {
    /// The identity with these options.
    pub fn get(&self, options: &ClientTlsOptions) -> Arc<ClientTls> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|weak| weak.strong_count() > 0);
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(|tls| tls.options() == options) {
            return found;
        }
        let created = Arc::new(ClientTls::new(options.clone()));
        known.push(Arc::downgrade(&created));
        created
    }

    /// All identities in use, for the task that re-reads their files.
    pub fn in_use(&self) -> Vec<Arc<ClientTls>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter_map(Weak::upgrade).collect()
    }
}
