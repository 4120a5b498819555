//! Why keys could not be fetched: a text for the log and a reason for the metric.

use std::fmt;

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
