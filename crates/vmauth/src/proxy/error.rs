//! Why a request of a known user was not served, and what that means for client, counters and log.
//!
//! One closed enum: status, headers and counters follow from exhaustive matches, so a new reason cannot forget one.

use vmkit::go_text::quote;
use vmkit::units::GoDuration;

use crate::forward::error::ForwardError;
use crate::forward::record::End;

/// A refused or failed request.
#[derive(Debug)]
pub enum ProxyError {
    /// The client has left: nothing to send, nobody's fault.
    ClientGone,
    /// The client took nothing of its reply for too long.
    ClientStalled,
    /// The address is denied by an IP filter of the user or of its route.
    IpDenied,
    /// The path is one of `deny_paths`.
    PathDenied {
        /// Whether credentials may help: nobody is logged in, and there are users.
        ask: bool,
    },
    /// Path, host or query are too long for the patterns of the routes.
    CostlyRequest,
    /// The route enforces args, and the body may be a form that brings others in.
    UnclearForm,
    /// No route, and credentials may help: asks for them.
    CredentialsNeeded,
    /// No route, after credentials that fit nobody.
    InvalidCredentials,
    /// No route. Holds the URL and, if wanted, the dump of the request.
    MissingRoute {
        /// Normalised URL.
        url: Vec<u8>,
        /// ` (host: …)` or empty.
        dump: String,
    },
    /// No global slot in time.
    GlobalLimit {
        /// `-maxConcurrentRequests`
        capacity: u32,
    },
    /// No slot of the user in time.
    UserLimit {
        /// The user's limit.
        capacity: u32,
    },
    /// The body did not arrive in time.
    SlowBody {
        /// Bytes that arrived.
        read: usize,
        /// Whole seconds waited.
        seconds: u64,
    },
    /// The body is malformed or ended too early.
    BadBody(String),
    /// A value from the token cannot be sent in a header.
    BadHeaderValue(String),
    /// The proxy itself cannot open connections to backends.
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

impl From<ForwardError> for ProxyError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::ClientGone => Self::ClientGone,
            ForwardError::ClientStalled => Self::ClientStalled,
            ForwardError::BadBody(error) => Self::BadBody(error.to_string()),
            ForwardError::BadHeaderValue(error) => Self::BadHeaderValue(error.to_string()),
            ForwardError::UnclearForm => Self::UnclearForm,
            ForwardError::NoConnection { cause } => Self::NoConnection { cause },
            ForwardError::NotReplayable { target, cause } => Self::NotReplayable { target, cause },
            ForwardError::RetryStatusNotReplayable { target, status } => {
                Self::RetryStatusNotReplayable { target, status }
            }
            ForwardError::RetryBudgetSpent { target, cause } => Self::RetryBudgetSpent { target, cause },
            ForwardError::AllBackendsFailed { attempts } => Self::AllBackendsFailed { attempts },
            ForwardError::TimedOut { limit, waiting_for } => Self::TimedOut { limit, waiting_for },
            ForwardError::BrokenReply { target, cause } => Self::BrokenReply { target, cause },
        }
    }
}

impl ProxyError {
    /// Status of the reply; `None` when nothing can be sent any more.
    pub fn status(&self) -> Option<u16> {
        Some(match self {
            Self::ClientGone | Self::ClientStalled | Self::BrokenReply { .. } => return None,
            Self::IpDenied => 403,
            Self::PathDenied { ask: true } => 401,
            Self::PathDenied { ask: false } => 403,
            Self::CostlyRequest => 414,
            // Agents drop what 400, 409 and 415 answer; this may be a matter of the config.
            Self::UnclearForm => 403,
            Self::CredentialsNeeded | Self::InvalidCredentials => 401,
            Self::MissingRoute { .. } | Self::BadBody(_) | Self::BadHeaderValue(_) => 400,
            Self::GlobalLimit { .. } | Self::UserLimit { .. } => 429,
            Self::SlowBody { .. } => 408,
            Self::NoConnection { .. }
            | Self::NotReplayable { .. }
            | Self::RetryBudgetSpent { .. }
            | Self::RetryStatusNotReplayable { .. } => 503,
            Self::AllBackendsFailed { .. } => 502,
            Self::TimedOut { .. } => 504,
        })
    }

    /// How the request ended, for the access log.
    pub fn end(&self) -> End {
        match self {
            Self::ClientGone => End::ByClient,
            Self::BrokenReply { .. } => End::ByBackend,
            Self::ClientStalled
            | Self::GlobalLimit { .. }
            | Self::UserLimit { .. }
            | Self::SlowBody { .. }
            | Self::TimedOut { .. } => End::ByLimit,
            Self::IpDenied
            | Self::PathDenied { .. }
            | Self::CostlyRequest
            | Self::UnclearForm
            | Self::CredentialsNeeded
            | Self::InvalidCredentials
            | Self::MissingRoute { .. }
            | Self::BadBody(_)
            | Self::BadHeaderValue(_) => End::Refused,
            Self::NoConnection { .. }
            | Self::NotReplayable { .. }
            | Self::RetryBudgetSpent { .. }
            | Self::RetryStatusNotReplayable { .. }
            | Self::AllBackendsFailed { .. } => End::Failed,
        }
    }

    /// Word for the reason in the access log; stays as it is.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::IpDenied => "ip_denied",
            Self::PathDenied { .. } => "path_denied",
            Self::CostlyRequest => "costly_request",
            Self::UnclearForm => "unclear_form",
            Self::CredentialsNeeded => "missing_credentials",
            Self::InvalidCredentials => "invalid_credentials",
            Self::MissingRoute { .. } => "missing_route",
            Self::GlobalLimit { .. } => "global_limit",
            Self::UserLimit { .. } => "user_limit",
            Self::SlowBody { .. } => "slow_body",
            Self::BadBody(_) => "bad_body",
            Self::BadHeaderValue(_) => "bad_header_value",
            Self::NoConnection { .. } => "no_connection",
            Self::NotReplayable { .. } => "not_replayable",
            Self::RetryBudgetSpent { .. } => "retry_budget",
            Self::RetryStatusNotReplayable { .. } => "retry_status",
            Self::AllBackendsFailed { .. } => "all_backends_failed",
            Self::TimedOut { .. } => "request_timeout",
            Self::BrokenReply { .. } => "broken_reply",
        }
    }

    /// Whether it counts as an error of the proxy (`*_request_errors_total`).
    pub fn is_request_error(&self) -> bool {
        match self {
            Self::NoConnection { .. }
            | Self::NotReplayable { .. }
            | Self::RetryBudgetSpent { .. }
            | Self::RetryStatusNotReplayable { .. }
            | Self::AllBackendsFailed { .. }
            | Self::TimedOut { .. }
            | Self::BrokenReply { .. } => true,
            Self::ClientGone
            | Self::ClientStalled
            | Self::IpDenied
            | Self::PathDenied { .. }
            | Self::CostlyRequest
            | Self::UnclearForm
            | Self::CredentialsNeeded
            | Self::InvalidCredentials
            | Self::MissingRoute { .. }
            | Self::GlobalLimit { .. }
            | Self::UserLimit { .. }
            | Self::SlowBody { .. }
            | Self::BadBody(_)
            | Self::BadHeaderValue(_) => false,
        }
    }

    /// Whether a warning is logged; the rest is either no failure or would let anybody fill the log.
    pub fn is_logged(&self) -> bool {
        match self {
            Self::ClientGone | Self::ClientStalled | Self::CredentialsNeeded | Self::InvalidCredentials => false,
            Self::IpDenied
            | Self::PathDenied { .. }
            | Self::CostlyRequest
            | Self::UnclearForm
            | Self::MissingRoute { .. }
            | Self::GlobalLimit { .. }
            | Self::UserLimit { .. }
            | Self::SlowBody { .. }
            | Self::BadBody(_)
            | Self::BadHeaderValue(_)
            | Self::NoConnection { .. }
            | Self::NotReplayable { .. }
            | Self::RetryBudgetSpent { .. }
            | Self::RetryStatusNotReplayable { .. }
            | Self::AllBackendsFailed { .. }
            | Self::TimedOut { .. }
            | Self::BrokenReply { .. } => true,
        }
    }

    /// The text for the client: that for the log, unless it names a backend. URLs of backends hold credentials and tell
    /// what stands behind the proxy.
    pub fn client_text(&self, log_text: &str) -> String {
        match self {
            Self::NotReplayable { .. } => {
                "cannot proxy the request to the backend: it has failed, and the request body cannot be sent again"
                    .to_owned()
            }
            Self::RetryBudgetSpent { .. } => {
                "cannot proxy the request to the backend: it has failed, and too many requests are retried already"
                    .to_owned()
            }
            Self::RetryStatusNotReplayable { status, .. } => format!(
                "got response status code={status} from the backend, but cannot retry the request at another backend, \
                 because the request body has been already consumed"
            ),
            Self::TimedOut { limit, .. } => timed_out(*limit),
            _ => log_text.to_owned(),
        }
    }

    /// The text for the log, and for the client with the exceptions of [`ProxyError::client_text`]
    /// (docs/reference/proxying.md). `name` is the user's name in messages.
    pub fn text(&self, name: &str, anonymous: bool, max_queue: GoDuration) -> String {
        match self {
            Self::ClientGone => "the client has closed the connection".to_owned(),
            Self::ClientStalled => "the client took nothing of its reply for -http.writeTimeout".to_owned(),
            Self::IpDenied => format!("access denied for the client address of the user {name}"),
            Self::PathDenied { .. } => format!("access to the path is denied for the user {name}"),
            Self::UnclearForm => format!(
                "the request of the user {name} may hold a form, and its route enforces query args; send forms as \
                 `Content-Type: application/x-www-form-urlencoded` once, without other parameters than charset=utf-8 and \
                 without compression"
            ),
            Self::CostlyRequest => {
                format!("the request of the user {name} is too long for the patterns of `url_map`")
            }
            Self::CredentialsNeeded => "missing 'Authorization' request header".to_owned(),
            Self::InvalidCredentials => "Unauthorized".to_owned(),
            Self::MissingRoute { url, dump } => format!("user {name} missing route for {}{dump}", quote(url)),
            Self::GlobalLimit { capacity } => format!(
                "cannot start executing the request during -maxQueueDuration={max_queue} because \
                 -maxConcurrentRequests={capacity} concurrent requests are executed"
            ),
            Self::UserLimit { capacity } => {
                let name = if anonymous { "" } else { name };
                format!(
                    "cannot start executing the request during -maxQueueDuration={max_queue} because {capacity} \
                     concurrent requests from the user {name} are executed"
                )
            }
            Self::SlowBody { read, seconds } => format!(
                "reject request from the user {name} because the request body couldn't be read in \
                 -maxQueueDuration={max_queue}; read {read} bytes in {seconds}s"
            ),
            Self::BadBody(cause) => format!("cannot read request body: {cause}"),
            Self::BadHeaderValue(cause) => cause.clone(),
            Self::NoConnection { cause } => format!("cannot open a connection to any backend: {cause}"),
            Self::NotReplayable { target, cause } => format!("cannot proxy the request to {target}: {cause}"),
            Self::RetryBudgetSpent { target, cause } => {
                format!("cannot proxy the request to {target}: {cause}; no retry, because `retry_budget` is used up")
            }
            Self::RetryStatusNotReplayable { target, status } => format!(
                "got response status code={status} from {target}, but cannot retry the request at another backend, \
                 because the request body has been already consumed"
            ),
            Self::AllBackendsFailed { attempts } => format!(
                "all the {attempts} backends for the user {} are unavailable for proxying the request - check \
                 previous WARN logs to see the exact error for each failed backend",
                quote(name)
            ),
            Self::TimedOut { limit, waiting_for: None } => timed_out(*limit),
            Self::TimedOut { limit, waiting_for: Some(backend) } => {
                format!("{}; {backend} has not answered", timed_out(*limit))
            }
            Self::BrokenReply { target, cause } => {
                format!("error when proxying response body from {target}: {cause}")
            }
        }
    }
}

fn timed_out(limit: GoDuration) -> String {
    format!("the request took longer than request_timeout={limit} of its route")
}
