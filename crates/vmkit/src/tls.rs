//! TLS of both directions: listeners (with or without client certificates) and backends.
//!
//! Configurations are built by the control plane and swapped as a whole, so a handshake sees one consistent set of
//! certificate, key, roots, ticket keys and session cache. Changed files never touch connections that exist, and a
//! file that cannot be used leaves the last good configuration in force. rustls is used with the aws-lc-rs provider
//! given explicitly: nothing here depends on a process-wide default.

pub mod cert_store;
pub mod cipher_suites;
pub mod client_config;
pub mod client_identity;
pub mod handshake_error;
pub mod issued;
mod peer_verifier;
pub mod plain_http_on_tls;
pub mod server_config;
#[cfg(test)]
pub(crate) mod test_pki;
mod x509;

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// The cryptography that every TLS configuration of the process uses.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// What a look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The configuration in force stays; also after a failure that was reported before.
    Unchanged,
    /// A new configuration is in force.
    Replaced,
}

/// Remembers which failure was reported, so that a file that stays broken is logged once.
#[derive(Debug)]
struct LastFailure<E>(Option<E>);

impl<E> Default for LastFailure<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E: Clone + PartialEq> LastFailure<E> {
    /// The failure if it is news.
    fn report(&mut self, failure: E) -> Result<Refreshed, E> {
        if self.0.as_ref() == Some(&failure) {
            return Ok(Refreshed::Unchanged);
        }
        self.0 = Some(failure.clone());
        Err(failure)
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}
