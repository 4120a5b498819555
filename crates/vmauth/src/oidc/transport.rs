//! What the refresh of keys needs from an HTTP client.
//!
//! The client is the caller's: it trusts the configured authorities, follows redirects within the host that was asked,
//! never from https to http, and answers with any status. Its error texts must not hold credentials.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jwt::MAX_JWKS_BYTES;

use super::failure::FetchFailure;
use super::location::KeyLocation;

/// Time for each request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer replies are failures.
pub(super) const MAX_DOCUMENT_BYTES: usize = MAX_JWKS_BYTES;

/// A GET under way.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Fetched, FetchFailure>> + Send>>;

/// The HTTP client of key refreshes.
pub trait FetchKeys: Send + Sync + 'static {
    /// Sends a GET on behalf of the provider at `location` and reads at most `MAX_DOCUMENT_BYTES` of the reply; the
    /// caller bounds the time. A reply of any status is a success.
    fn get(&self, url: String, location: &KeyLocation) -> FetchFuture;
}

/// A reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    /// How long the reply may be kept by its `Cache-Control` (RFC 9111 §5.2.2); `None` if it does not say.
    pub max_age: Option<Duration>,
}
