//! A user of a config that serves: limits, routes, backends and counters, immutable after the build.

pub mod series;

use std::sync::Arc;

use jwt::VmAccess;
use vmkit::exchange::RequestHead;
use vmkit::metrics::{Counter, Summary};

use crate::admission::concurrency::Limiter;
use crate::admission::ip_filter::IpFilter;
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::header_rules::{HeaderRules, ResponseRules};
use crate::rewrite::target_url::{NormalPath, TargetInput, TargetUrl};
use crate::route::matcher::RouteTable;
use crate::upstream::backend::{DialAddress, HealthTarget};
use crate::upstream::balance::BackendSet;
use crate::upstream::discovery::Discovery;
use crate::upstream::peer::Peer;
use crate::upstream::retry_budget::RetryBudget;
use crate::upstream::timeouts::Timeouts;
use vmkit::go_regex::GoRegex;

/// One user, or `unauthorized_user`. What most users lack is boxed: there may be ten thousand of them.
pub struct User {
    /// Where it stands in the config: `users[3]`, `b.yml:users[3]`, `unauthorized_user`.
    pub place: Box<str>,
    /// Name for logs and messages; empty for `unauthorized_user`.
    pub display_name: String,
    /// Counters, shared by users with the same labels and kept over reloads.
    pub metrics: Arc<UserMetrics>,
    /// Slots of requests at a time.
    pub limiter: Arc<Limiter>,
    /// `url_map` conditions; the index is that of `routes`. `None` without `url_map`.
    pub table: Option<Box<RouteTable>>,
    /// Targets of `url_map`.
    pub routes: Vec<Route>,
    /// Target of `url_prefix`.
    pub url_prefix: Option<Arc<Target>>,
    /// Target of `default_url`.
    pub default_url: Option<Arc<Target>>,
    /// Whether requests are logged, and which statuses are not.
    pub access_log: Option<AccessLog>,
    /// Whether a missing route shows the request.
    pub dump_request_on_errors: bool,
    /// Addresses that may use this user.
    pub ip_filter: Option<Box<UserIpFilter>>,
    /// Paths that are refused.
    pub deny_paths: DeniedPaths,
    /// Whether there is anything to proxy to.
    pub has_url_fields: bool,
    /// True for `unauthorized_user`.
    pub is_anonymous: bool,
}

impl User {
    /// The name in messages: `unauthorized` for the anonymous user.
    pub fn name(&self) -> &str {
        if self.display_name.is_empty() { "unauthorized" } else { &self.display_name }
    }
}

/// Which requests of a user are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// Statuses that are not.
    pub skip_status_codes: Vec<u16>,
}

/// An IP filter and the header that tells the client's address.
#[derive(Debug)]
pub struct UserIpFilter {
    /// The networks.
    pub filter: IpFilter,
    /// Header with the real address; `None` for the address of the connection.
    pub real_ip_header: Option<String>,
}

/// Paths that are refused.
#[derive(Debug, Default)]
pub struct DeniedPaths(Vec<Arc<GoRegex>>);

impl DeniedPaths {
    /// Refuses what any of the patterns matches.
    pub fn new(patterns: Vec<Arc<GoRegex>>) -> Self {
        Self(patterns)
    }

    /// Whether the normalised path is refused, as it is or without the slash at its end. One that cannot be decided is.
    pub fn contains(&self, path: &[u8]) -> bool {
        let bare = path.strip_suffix(b"/").filter(|bare| !bare.is_empty());
        let is_denied = |path| self.0.iter().any(|pattern| pattern.matches(path).unwrap_or(true));
        is_denied(path) || bare.is_some_and(is_denied)
    }
}

/// An entry of `url_map`.
pub struct Route {
    /// Its place in `url_map`, from 0; entries that can never match are left out of [`User::routes`].
    pub number: usize,
    /// Where its requests go.
    pub target: Arc<Target>,
    /// Paths that are refused although the entry matches them.
    pub deny_paths: DeniedPaths,
    /// Addresses that may use it.
    pub ip_filter: Option<Box<UserIpFilter>>,
}

/// Backends and everything that decides how requests reach them.
pub struct Target {
    /// The backends.
    pub backends: Backends,
    /// Statuses after which another backend is tried.
    pub retry_status_codes: Vec<u16>,
    /// Whether what a backend may have read is sent again only if its method is idempotent.
    pub retry_only_idempotent: bool,
    /// How many requests may be tried again; `None` = all.
    pub retry_budget: Option<Box<RetryBudget>>,
    /// Args of the client that are added to equally named ones of the URL.
    pub merge_query_args: Vec<String>,
    /// Leading parts of the path that are cut off.
    pub drop_parts: usize,
    /// Limits of time that go before those of the flags.
    pub timeouts: Timeouts,
    /// Edits of the request's headers; targets with the same ones share them.
    pub request_rules: Arc<HeaderRules>,
    /// Edits of the reply's headers; targets with the same ones share them.
    pub response_rules: Arc<ResponseRules>,
    /// Args that a form must not hold either, because the URL enforces them.
    pub protected_form_args: ProtectedArgs,
    /// Whether this is a `default_url`: its path is used as it is, and `request_path` is added.
    pub is_default_url: bool,
}

impl Target {
    /// Appends what a backend is asked for: path and query.
    pub fn write_target(
        &self,
        url: &TargetUrl,
        out: &mut Vec<u8>,
        head: &RequestHead,
        path: &NormalPath<'_>,
        placeholders: Option<&VmAccess>,
    ) {
        if self.is_default_url {
            return url.write_default_url_target(out, head, path, placeholders);
        }
        let input = TargetInput {
            path,
            query: head.query(),
            drop_parts: self.drop_parts,
            merge_args: &self.merge_query_args,
            placeholders,
        };
        url.write_request_target(out, &input);
    }
}

/// Where the backends of a target come from.
pub enum Backends {
    /// The URLs of the config.
    Configured(BackendSet<Upstream>),
    /// The addresses that DNS tells.
    Discovered(Arc<Discovery<Upstream>>),
}

impl Backends {
    /// The list to select from, looked up again if it is due.
    pub async fn fresh(&self) -> &BackendSet<Upstream> {
        if let Self::Discovered(discovery) = self {
            discovery.ensure_fresh().await;
        }
        self.known()
    }

    /// The list as it is known.
    pub fn known(&self) -> &BackendSet<Upstream> {
        match self {
            Self::Configured(backends) => backends,
            Self::Discovered(discovery) => discovery.backends(),
        }
    }
}

/// A backend as the balancer holds it.
#[derive(Debug)]
pub struct Upstream {
    /// Precomputed URL.
    pub url: TargetUrl,
    /// Pool key.
    pub peer: Arc<Peer>,
}

impl Upstream {
    /// Whether it is that of this URL, as text, and peer.
    pub fn is_same(&self, url: &str, peer: &Arc<Peer>) -> bool {
        Arc::ptr_eq(&self.peer, peer) && self.url.to_string() == url
    }
}

impl HealthTarget for Upstream {
    fn dial_address(&self) -> DialAddress {
        let key = &self.peer.key;
        DialAddress { host: key.host.clone(), port: key.port, srv: key.srv }
    }

    fn display_address(&self) -> String {
        self.peer.key.shown()
    }
}

/// Counters of a user (docs/reference/metrics.md).
#[derive(Debug, Default)]
pub struct UserMetrics {
    /// Requests that entered the user's pipeline.
    pub requests: Counter,
    /// Statuses from 500 on that were made here, and replies that broke off.
    pub request_errors: Counter,
    /// Tries on the wire.
    pub backend_requests: Counter,
    /// Failed attempts.
    pub backend_errors: Counter,
    /// Duration of the whole pipeline.
    pub duration: Summary,
    /// 429 of the user's own limit.
    pub limit_reached: Counter,
    /// Requests denied by an IP filter.
    pub ip_denies: Counter,
    /// Requests denied by `deny_paths`.
    pub path_denies: Counter,
    /// Retries that were not made because of `retry_budget`.
    pub retries_over_budget: Counter,
}
