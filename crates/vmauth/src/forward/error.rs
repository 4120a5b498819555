//! Why forwarding failed, in its own words; the proxy decides what that means for client, counters and log.

use vmkit::exchange::BodyError;
use vmkit::units::GoDuration;

use crate::rewrite::jwt_placeholders::PlaceholderError;

/// A request that no backend has answered, or whose reply broke off.
#[derive(Debug)]
pub enum ForwardError {
    /// The client has left: nothing to send, nobody's fault.
    ClientGone,
    /// The client took nothing of its reply for too long.
    ClientStalled,
    /// The client's body is malformed or ended too early.
    BadBody(BodyError),
    /// A value from the token cannot be sent in a header.
    BadHeaderValue(PlaceholderError),
    /// The route enforces args, and some backends may read the body as a form that others do not see.
    UnclearForm,
    /// The proxy itself cannot open connections: no backend is to blame.
    NoConnection {
        /// What the system says.
        cause: String,
    },
    /// An attempt failed and the body cannot be sent again.
    NotReplayable {
        /// Target URL.
        target: String,
        /// What went wrong.
        cause: String,
    },
    /// A status of the retry list, and the body cannot be sent again.
    RetryStatusNotReplayable {
        /// Target URL.
        target: String,
        /// Status of the backend.
        status: u16,
    },
    /// An attempt failed, and the route's budget of retries is used up.
    RetryBudgetSpent {
        /// Target URL.
        target: String,
        /// What went wrong.
        cause: String,
    },
    /// Every attempt failed.
    AllBackendsFailed {
        /// Number of attempts.
        attempts: usize,
    },
    /// The request as a whole took longer than its route lets it.
    TimedOut {
        /// `request_timeout`
        limit: GoDuration,
        /// Host of the backend whose reply had not begun.
        waiting_for: Option<String>,
    },
    /// The reply broke off after its head was sent.
    BrokenReply {
        /// Target URL.
        target: String,
        /// What went wrong.
        cause: String,
    },
}

impl ForwardError {
    /// A body that could not be read on.
    pub(super) fn of_body(error: BodyError) -> Self {
        match error {
            BodyError::UnexpectedEof | BodyError::Io(_) => Self::ClientGone,
            other => Self::BadBody(other),
        }
    }
}
