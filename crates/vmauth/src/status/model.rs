//! The state of the process as its page and its API show it. Only words and numbers: nothing here can hold a secret, since
//! the collector puts in nothing that was not masked before.
//!
//! Times are seconds since 1970. Fields are added, never renamed: scripts read them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Program and version.
    pub version: String,
    /// When this was collected.
    pub now: u64,
    /// Since when the process runs.
    pub started: u64,
    /// Open connections of clients by worker.
    pub workers: Vec<Worker>,
    /// All requests together.
    pub requests: Requests,
    /// Logins that failed lately, and those that are being checked.
    pub logins: Logins,
    /// Backends by address, worst first.
    pub backends: List<Backend>,
    /// Users in the order of the file.
    pub users: List<User>,
    /// Providers of keys.
    pub issuers: Vec<Issuer>,
    /// Certificates of listeners, and those that backends are shown.
    pub certificates: Vec<Certificate>,
    /// The config and its loads.
    pub config: Config,
    /// What is logged.
    pub logging: Logging,
}

/// A part of a longer list.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// Items that fit the question.
    pub total: usize,
    /// Place of the first one shown.
    pub offset: usize,
    /// Those that are shown.
    pub items: Vec<T>,
}

/// A worker.
#[derive(Debug, Serialize)]
pub struct Worker {
    /// Open connections of clients.
    pub connections: usize,
}

/// Requests of all users.
#[derive(Debug, Serialize)]
pub struct Requests {
    /// Running now.
    pub in_flight: u32,
    /// `-maxConcurrentRequests`
    pub limit: u32,
    /// Replies by status since the start.
    pub responses: BTreeMap<String, u64>,
    /// Replies that did not reach their end, by whom.
    pub cut: BTreeMap<&'static str, u64>,
    /// Logins that failed, by cause.
    pub failed_logins: BTreeMap<&'static str, u64>,
    /// Requests that were asked for credentials.
    pub missing_credentials: u64,
}

/// Who has failed to log in, and what waits to be checked.
#[derive(Debug, Serialize)]
pub struct Logins {
    /// `-maxFailedLoginsPerIP`; 0 = nothing is counted.
    pub limit: u32,
    /// Logins that waited longer because many had failed from their address, since the start.
    pub limited: u64,
    /// Passwords that were checked against slow hashes, since the start.
    pub password_checks: u64,
    /// Logins that wait for that.
    pub password_checks_waiting: u32,
    /// Logins that were refused because too many did, since the start.
    pub password_checks_refused: u64,
    /// Addresses with failures within a minute, those with most first. Names that were tried are kept nowhere: people type
    /// passwords there.
    pub addresses: List<FailingAddress>,
}

/// An address whose logins have failed lately.
#[derive(Debug, Serialize)]
pub struct FailingAddress {
    /// The address, or the /64 of an IPv6 address.
    pub address: String,
    /// Failures since `since`.
    pub failures: u64,
    /// When the first of them was.
    pub since: u64,
    /// When they are forgotten.
    pub until: u64,
    /// How many seconds the answer to a further failure, or to the first login of a user who was not seen from there, takes.
    pub wait: [u32; 2],
}

/// All backends of one address.
#[derive(Debug, Serialize)]
pub struct Backend {
    /// `host:port`
    pub address: String,
    /// `up`; `down`: avoided while others are sound; `partly`: down for some routes. More words may come.
    pub state: &'static str,
    /// Since when, if it ever changed.
    pub since: Option<u64>,
    /// Why it is not up.
    pub why: Option<String>,
    /// Routes that name it.
    pub routes: usize,
    /// Tries that run now.
    pub in_flight: u64,
    /// Tries of the routes that name it.
    pub attempts: u64,
    /// Failed ones by kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// The last failure.
    pub last_failure: Option<Failure>,
    /// Its health checks.
    pub checks: Vec<Check>,
    /// How often it was ejected, where routes have `outlier_detection`.
    pub ejections: Option<u64>,
    /// Replies by class of their status, as long as any config has named it.
    pub responses: BTreeMap<&'static str, u64>,
    /// How long it takes to answer; `None` without replies in the last minutes.
    pub latency: Option<Latency>,
    /// Connections without a request, and those that carry many.
    pub pool: PoolState,
}

/// A health check of a backend.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Path, without secrets.
    pub path: String,
    /// `up` or `down`; `up` before the first probe.
    pub state: &'static str,
    /// Since when; `None` before the first probe.
    pub since: Option<u64>,
    /// Probes so far.
    pub probes: u64,
    /// Failed ones by kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// The last one.
    pub last: Option<Probe>,
}

/// The last probe of a check.
#[derive(Debug, Serialize)]
pub struct Probe {
    /// When.
    pub at: u64,
    /// How long it took, in seconds.
    pub took: f64,
    /// Whether it was good.
    pub ok: bool,
    /// Status of the reply, or why there was none or a wrong one.
    pub text: String,
}

/// Seconds from sending a request to the last byte of its reply, over the last 2.5 to 5 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Replies that were looked at.
    pub count: u64,
    /// Half of them took at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// All but one of a hundred.
    pub p99: f64,
}

/// A failed try.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// When.
    pub at: u64,
    /// Kind.
    pub cause: &'static str,
    /// In the words of the log.
    pub text: String,
}

/// Connections to a backend, at most seconds old.
#[derive(Debug, Default, Serialize)]
pub struct PoolState {
    /// Idle ones.
    pub idle: usize,
    /// Those that carry many requests at once.
    pub shared: usize,
    /// Requests on those.
    pub streams: usize,
}

/// A user.
#[derive(Debug, Serialize)]
pub struct User {
    /// Where it stands in the config: `users[3]`, `b.yml:users[3]`.
    pub place: String,
    /// Name in messages.
    pub name: String,
    /// Requests that run now.
    pub in_flight: u32,
    /// How many may.
    pub limit: u32,
    /// Since the start, like the following ones; shared by users with the same labels.
    pub requests: u64,
    /// 502, 503 and broken replies.
    pub request_errors: u64,
    /// Failed tries at backends.
    pub backend_errors: u64,
    /// 429 by the user's limit.
    pub limit_reached: u64,
    /// Refused by `ip_filters`.
    pub ip_denies: u64,
    /// Refused by `deny_paths`.
    pub path_denies: u64,
    /// Where its requests go.
    pub routes: Vec<Route>,
}

/// A route of a user.
#[derive(Debug, Serialize)]
pub struct Route {
    /// `url_map[2]`, `url_prefix` or `default_url`.
    pub place: String,
    /// What it takes, in the words of the config.
    pub takes: String,
    /// Balancing.
    pub policy: &'static str,
    /// Its backends.
    pub backends: Vec<RouteBackend>,
}

/// A backend of a route.
#[derive(Debug, Serialize)]
pub struct RouteBackend {
    /// Its URL without credentials.
    pub url: String,
    /// `up` or `down`.
    pub state: &'static str,
    /// Why it is down: `broken` after a failed try, `unhealthy` by its check, `ejected`
    /// after too many failures; `warming` while it is up and gets a growing share. More words may come.
    pub marks: Vec<&'static str>,
    /// Its part of the route's load; 0 takes no requests.
    pub weight: u16,
    /// Tries that run now.
    pub in_flight: u32,
    /// Tries so far.
    pub attempts: u64,
    /// Failed ones.
    pub failures: u64,
}

/// A provider of keys.
#[derive(Debug, Serialize)]
pub struct Issuer {
    /// Its URL.
    pub location: String,
    /// Usable keys.
    pub keys: usize,
    /// When they were fetched last.
    pub last_success: Option<u64>,
    /// When they will be.
    pub next_fetch: Option<u64>,
    /// Failed fetches since the start.
    pub failures: u64,
    /// What is wrong now.
    pub last_error: Option<String>,
}

/// A certificate.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// Listener, or `backends`.
    pub place: String,
    /// Its file, or the host that it was requested for.
    pub file: String,
    /// Its subject.
    pub subject: String,
    /// Its life.
    pub not_before: i64,
    /// Its end.
    pub not_after: i64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// The config.
#[derive(Debug, Serialize)]
pub struct Config {
    /// Path or URL.
    pub source: String,
    /// SHA-256 of the text that serves; of several files that of the list that `sha256sum` prints of them.
    pub sha256: Option<String>,
    /// Those files; empty for a single one.
    pub files: Vec<ConfigFile>,
    /// The last loads, the newest first.
    pub loads: Vec<Load>,
}

/// A file of many.
#[derive(Debug, Serialize)]
pub struct ConfigFile {
    /// Its name below the directory.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// A load of the config.
#[derive(Debug, Serialize)]
pub struct Load {
    /// When, the last time.
    pub at: u64,
    /// Whether it serves since.
    pub ok: bool,
    /// Users, when it does.
    pub users: Option<usize>,
    /// Problems, when it does not.
    pub problems: Option<String>,
    /// How often in a row.
    pub times: u64,
}

/// Logging.
#[derive(Debug, Serialize)]
pub struct Logging {
    /// From this level on.
    pub level: &'static str,
    /// `-logInvalidAuthTokens` now.
    pub log_invalid_auth_tokens: bool,
    /// Users with switches of their own.
    pub users: Vec<UserLogging>,
}

/// Logging of one user.
#[derive(Debug, Serialize)]
pub struct UserLogging {
    /// Name.
    pub user: String,
    /// Details of failed logins.
    pub log_invalid_auth_tokens: bool,
    /// Access log.
    pub access_log: bool,
    /// Until when.
    pub until: u64,
}
