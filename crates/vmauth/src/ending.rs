//! How a request ends, and if not well, why: one list for all stages, so that a new reason has one place.
//!
//! [`RequestError::meaning`] is the table of what each reason means for client, access log and counters; the texts follow
//! below it. A new reason does not build before it has its row and its text. Stages return a reason and neither count, log nor
//! answer it: `Proxy::serve` does that once.

use vmkit::exchange::BodyError;
use vmkit::go_text::quote;
use vmkit::units::GoDuration;

use crate::rewrite::jwt_placeholders::PlaceholderError;

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Not at all by itself: the process stopped, or a handler panicked.
    #[default]
    Cut,
    /// The whole reply of a backend was sent.
    Complete,
    /// Answered by vmauth itself, because the request may not pass.
    Refused,
    /// Answered by vmauth itself, because no backend did.
    Failed,
    /// The client left before the end.
    ByClient,
    /// The backend broke off after the reply had begun.
    ByBackend,
    /// A limit of number or time was reached.
    ByLimit,
}

impl End {
    /// Word in the access log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::ByClient => "client",
            Self::ByBackend => "backend",
            Self::ByLimit => "limit",
        }
    }
}

/// A refused or failed request.
#[derive(Debug)]
pub enum RequestError {
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
    /// The route enforces args, and some backends may read the body as a form that others do not see.
    UnclearForm,
    /// No route, and credentials may help: asks for them.
    CredentialsNeeded,
    /// No route, after credentials that fit nobody.
    InvalidCredentials,
    /// No route.
    MissingRoute,
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
    BadBody(BodyError),
    /// A value from the token cannot be sent in a header.
    BadHeaderValue(PlaceholderError),
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
        /// Host of the backend that took most of it and has not answered.
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

/// What a reason means.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// Status of the reply; `None` when nothing can be sent any more.
    pub status: Option<u16>,
    /// How the request ended, for the access log.
    pub end: End,
    /// Word for the reason in the access log; stays as it is.
    pub reason: &'static str,
    /// Whether a warning is logged; the rest is either no failure or would let anybody fill the log.
    pub is_logged: bool,
    /// What counts it besides the errors of the proxy.
    pub counter: Option<Counted>,
}

/// Counters of single reasons (docs/reference/metrics.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after what they count")]
pub enum Counted {
    ClientCanceled,
    MissingRoute,
    SlowClient,
    GlobalLimit,
    UserLimit,
    IpDenies,
    PathDenies,
}

impl Meaning {
    const fn answered(status: u16, end: End, reason: &'static str) -> Self {
        Self { status: Some(status), end, reason, is_logged: true, counter: None }
    }

    const fn unanswered(end: End, reason: &'static str) -> Self {
        Self { status: None, end, reason, is_logged: true, counter: None }
    }

    const fn counted(self, counter: Counted) -> Self {
        Self { counter: Some(counter), ..self }
    }

    const fn silent(self) -> Self {
        Self { is_logged: false, ..self }
    }

    /// Whether it counts as an error of the proxy (`*_request_errors_total`): statuses from 500 on that are made here, and
    /// replies that broke off.
    pub fn is_request_error(&self) -> bool {
        self.status.map_or(self.end == End::ByBackend, |status| status >= 500)
    }
}

impl RequestError {
    /// A body that could not be read on.
    pub fn of_body(error: BodyError) -> Self {
        match error {
            BodyError::UnexpectedEof | BodyError::Io(_) => Self::ClientGone,
            other => Self::BadBody(other),
        }
    }

    /// The table: status, end and word of each reason, and what else it has of its own.
    pub const fn meaning(&self) -> Meaning {
        use End::{ByBackend, ByClient, ByLimit, Failed, Refused};
        let (row, unanswered) = (Meaning::answered, Meaning::unanswered);
        match self {
            Self::ClientGone => unanswered(ByClient, "client_gone").silent().counted(Counted::ClientCanceled),
            Self::ClientStalled => unanswered(ByLimit, "client_stalled").silent().counted(Counted::ClientCanceled),
            Self::IpDenied => row(403, Refused, "ip_denied").counted(Counted::IpDenies),
            Self::PathDenied { ask: true } => row(401, Refused, "path_denied").counted(Counted::PathDenies),
            Self::PathDenied { ask: false } => row(403, Refused, "path_denied").counted(Counted::PathDenies),
            Self::CostlyRequest => row(414, Refused, "costly_request"),
            // Agents drop what 400, 409 and 415 answer; this may be a matter of the config.
            Self::UnclearForm => row(403, Refused, "unclear_form"),
            Self::CredentialsNeeded => row(401, Refused, "missing_credentials").silent(),
            Self::InvalidCredentials => row(401, Refused, "invalid_credentials").silent(),
            Self::MissingRoute => row(400, Refused, "missing_route").counted(Counted::MissingRoute),
            Self::GlobalLimit { .. } => row(429, ByLimit, "global_limit").counted(Counted::GlobalLimit),
            Self::UserLimit { .. } => row(429, ByLimit, "user_limit").counted(Counted::UserLimit),
            Self::SlowBody { .. } => row(408, ByLimit, "slow_body").counted(Counted::SlowClient),
            Self::BadBody(_) => row(400, Refused, "bad_body"),
            Self::BadHeaderValue(_) => row(400, Refused, "bad_header_value"),
            Self::NoConnection { .. } => row(503, Failed, "no_connection"),
            Self::NotReplayable { .. } => row(503, Failed, "not_replayable"),
            Self::RetryBudgetSpent { .. } => row(503, Failed, "retry_budget"),
            Self::RetryStatusNotReplayable { .. } => row(503, Failed, "retry_status"),
            Self::AllBackendsFailed { .. } => row(502, Failed, "all_backends_failed"),
            Self::TimedOut { .. } => row(504, ByLimit, "request_timeout"),
            Self::BrokenReply { .. } => unanswered(ByBackend, "broken_reply"),
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

    /// The text for the log, and for the client with the exceptions of [`RequestError::client_text`]
    /// (docs/reference/proxying.md). `name` is the user's name in messages; `asked` shows what was asked for.
    pub fn text(&self, name: &str, anonymous: bool, max_queue: GoDuration, asked: impl FnOnce() -> String) -> String {
        match self {
            Self::ClientGone => "the client has closed the connection".to_owned(),
            Self::ClientStalled => {
                "the client took too little of its reply, or nothing for -http.writeTimeout".to_owned()
            }
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
            Self::MissingRoute => format!("user {name} missing route for {}", asked()),
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
            Self::BadHeaderValue(cause) => cause.to_string(),
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
