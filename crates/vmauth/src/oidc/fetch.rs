//! What the refresh of keys needs from an HTTP client, and why a refresh failed.
//!
//! The client is the caller's: it follows redirects, trusts the configured authorities and answers with any status.
//! Its error texts must not hold credentials of the URL.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A GET under way.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Fetched, FetchFailure>> + Send>>;

/// The HTTP client of key refreshes.
pub trait FetchKeys: Send + Sync + 'static {
    /// Sends a GET and reads at most [`crate::oidc::discovery::MAX_DOCUMENT_BYTES`] of the reply; the caller bounds
    /// the time. A reply of any status is a success.
    fn get(&self, url: String) -> FetchFuture;
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

/// Why keys could not be fetched; the text goes to the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FetchFailure {
    /// For the metric.
    pub reason: FailureReason,
    /// For the log.
    pub text: String,
}

impl FetchFailure {
    /// A failure with its text.
    pub fn new(reason: FailureReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// The kind of a failure; its label is the label value of a metric and stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// Name resolution, TCP or TLS failed, or the server broke the protocol.
    Connect,
    /// No whole reply in time.
    Timeout,
    /// Any status but 200.
    Status,
    /// The reply is too large, not JSON, or lacks what must be in it.
    Body,
    /// The discovery document is of another issuer.
    IssuerMismatch,
}

impl FailureReason {
    /// All reasons, in the order of their index.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Timeout, Self::Status, Self::Body, Self::IssuerMismatch];

    /// The label in snake case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
            Self::IssuerMismatch => "issuer_mismatch",
        }
    }

    /// Its place in [`FailureReason::ALL`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Timeout => 1,
            Self::Status => 2,
            Self::Body => 3,
            Self::IssuerMismatch => 4,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_order() {
        for (index, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index, "{reason}");
        }
    }
}
