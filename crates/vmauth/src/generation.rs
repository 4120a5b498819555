//! One loaded config, alive: users, credentials, backends, counters.
//!
//! A generation is built whole before it serves, and never changes afterwards; requests hold the one they started
//! with. Counters of users with unchanged labels, limits of unchanged users and connection pools live on in the next
//! generation. Dropping or replacing a generation cancels its background tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use vmkit::go_text::quote;
use vmkit::metrics::Set;
use vmkit::tls::client_config::{ClientTls, ClientTlsOptions};

use crate::admission::concurrency::Limiter;
use crate::admission::ip_filter::IpFilter;
use crate::authn::client_cert_users::ClientCertUsers;
use crate::authn::jwt_users::JwtUsers;
use crate::authn::token_users::TokenUsers;
use crate::config::{AuthConfig, Credential, IpFilterSpec, QueryValue, RouteSpec, SrcQueryArg, TargetSpec, UserSpec};
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::header_rules::{HeaderRules, ResponseRules};
use crate::rewrite::target_url::TargetUrl;
use crate::route::matcher::{QueryArgMatcher, RouteMatcher, RouteTable};
use crate::upstream::balance::{BackendSet, Policy};
use crate::upstream::discovery::{Discovery, Entry, Lookup, Resolving, Warn};
use crate::upstream::health_check::{HealthChecker, Probe};
use crate::upstream::pool::PeerRegistry;
use crate::user::{Backends, DeniedPaths, Route, Target, Upstream, User, UserIpFilter, UserMetrics};
use vmkit::go_regex::GoRegex;

/// What generations are built with; lives as long as the process.
pub struct Environment {
    /// Backend addresses and TLS identities, kept over reloads.
    pub peers: Arc<PeerRegistry>,
    /// TLS identities in use.
    pub client_tls: ClientTlsRegistry,
    /// Runtime of the control plane.
    pub control: Handle,
    /// Dials broken backends.
    pub probe: Arc<dyn Probe>,
    /// Looks names up.
    pub lookup: Arc<dyn Lookup>,
    /// `-failTimeout`
    pub fail_timeout: Duration,
    /// The same as log lines show it.
    pub fail_timeout_text: Arc<str>,
    /// `-discoverBackendIPsInterval`
    pub discovery_interval: Duration,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// TLS identities by their options; equal options are the same identity, also across configs.
#[derive(Debug, Default)]
pub struct ClientTlsRegistry {
    known: std::sync::Mutex<Vec<std::sync::Weak<ClientTls>>>,
}

impl ClientTlsRegistry {
    /// The identity with these options.
    pub fn get(&self, options: &ClientTlsOptions) -> Arc<ClientTls> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|weak| weak.strong_count() > 0);
        if let Some(found) = known.iter().filter_map(std::sync::Weak::upgrade).find(|tls| tls.options() == options) {
            return found;
        }
        let created = Arc::new(ClientTls::new(options.clone()));
        known.push(Arc::downgrade(&created));
        created
    }

    /// All identities in use, for the task that re-reads their files.
    pub fn in_use(&self) -> Vec<Arc<ClientTls>> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.iter().filter_map(std::sync::Weak::upgrade).collect()
    }
}

/// A config that serves.
pub struct Generation {
    /// Grows with every generation of the process.
    pub id: u64,
    /// Users by index.
    pub users: Vec<Arc<User>>,
    /// Static credentials.
    pub tokens: TokenUsers,
    /// Users of tokens.
    pub jwt_users: Option<JwtUsers>,
    /// Users of client certificates.
    pub client_cert_users: ClientCertUsers,
    /// `unauthorized_user`
    pub unauthorized_user: Option<Arc<User>>,
    /// Global `ip_filters`.
    pub ip_filter: Option<UserIpFilter>,
    /// Marks backends as broken and finds out when they are back.
    pub health: HealthChecker,
    /// Per-user metrics.
    pub metrics: Arc<Set>,
    /// Counters by label text, for the next generation.
    carried: HashMap<String, Arc<UserMetrics>>,
    limiters: HashMap<LimiterKey, Arc<Limiter>>,
    cancel: CancellationToken,
}

/// Users whose slots live on: same labels, same place among users with these labels, same limit.
type LimiterKey = (String, usize, usize);

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Generation {
    /// Whether any user has static credentials: then a missing route may be a matter of missing credentials.
    pub fn has_static_users(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Stops the background tasks; requests that still run go on.
    pub fn retire(&self) {
        self.cancel.cancel();
    }

    /// Builds everything and starts nothing.
    pub fn build(
        config: AuthConfig,
        jwt_users: Option<JwtUsers>,
        environment: &Environment,
        previous: Option<&Self>,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let cancel = CancellationToken::new();
        let mut builder = Builder::new(environment, previous, &cancel);
        let mut tokens = TokenUsers::default();
        let mut client_cert_users = ClientCertUsers::default();
        let mut users = Vec::with_capacity(config.users.len());
        for spec in config.users {
            let index = u32::try_from(users.len()).unwrap_or(u32::MAX);
            tokens.add(&spec.credential, index);
            if let Credential::Mtls(mtls) = &spec.credential {
                client_cert_users.add(mtls, index);
            }
            users.push(Arc::new(builder.user(spec, false)));
        }
        let unauthorized_user = config.unauthorized_user.map(|spec| Arc::new(builder.user(spec, true)));
        let Builder { metrics, carried, limiters, .. } = builder;
        let warn: Warn = Arc::new(|message: String| vmkit::warn!("{message}"));
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            users,
            tokens,
            jwt_users,
            client_cert_users,
            unauthorized_user,
            ip_filter: config.ip_filters.as_ref().map(ip_filter),
            health: HealthChecker {
                control: environment.control.clone(),
                cancel: cancel.clone(),
                fail_timeout: environment.fail_timeout,
                fail_timeout_text: environment.fail_timeout_text.clone(),
                probe: environment.probe.clone(),
                warn,
            },
            metrics: Arc::new(metrics),
            carried,
            limiters,
            cancel,
        }
    }
}

struct Builder<'a> {
    environment: &'a Environment,
    previous: Option<&'a Generation>,
    cancel: &'a CancellationToken,
    metrics: Set,
    carried: HashMap<String, Arc<UserMetrics>>,
    limiters: HashMap<LimiterKey, Arc<Limiter>>,
    /// How many users had these labels so far.
    seen: HashMap<String, usize>,
}

impl<'a> Builder<'a> {
    fn new(environment: &'a Environment, previous: Option<&'a Generation>, cancel: &'a CancellationToken) -> Self {
        Self {
            environment,
            previous,
            cancel,
            metrics: Set::new(),
            carried: HashMap::new(),
            limiters: HashMap::new(),
            seen: HashMap::new(),
        }
    }

    fn user(&mut self, spec: UserSpec, is_anonymous: bool) -> User {
        let prefix = if is_anonymous { "vmauth_unauthorized_user" } else { "vmauth_user" };
        let labels = label_text(&spec.metric_labels);
        let key = format!("{prefix}{labels}");
        let metrics = self.carry_metrics(&key);
        let limiter = self.carry_limiter(&key, spec.max_concurrent_requests);
        metrics.register(&self.metrics, prefix, &labels, &limiter);
        let tls_options = &client_tls_options(&spec.tls);
        let mut matchers = Vec::with_capacity(spec.routes.len());
        let mut routes = Vec::with_capacity(spec.routes.len());
        for route in spec.routes {
            let RouteSpec { src_paths, src_hosts, src_query_args, src_headers, deny_paths, target, ip_filters, .. } =
                route;
            matchers.push(RouteMatcher {
                paths: src_paths.iter().map(|pattern| GoRegex::clone(pattern)).collect(),
                hosts: src_hosts.iter().map(|pattern| GoRegex::clone(pattern)).collect(),
                query_args: src_query_args.into_iter().map(query_arg).collect(),
                headers: src_headers.into_iter().map(|header| (header.name, header.value)).collect(),
            });
            let target = Arc::new(self.target(target, tls_options, false));
            let ip_filter = ip_filters.as_ref().map(ip_filter);
            routes.push(Route { target, deny_paths: DeniedPaths::new(deny_paths), ip_filter });
        }
        User {
            display_name: spec.display_name,
            metrics,
            limiter,
            table: RouteTable::new(matchers),
            routes,
            url_prefix: spec.url_prefix.map(|target| Arc::new(self.target(target, tls_options, false))),
            default_url: spec.default_url.map(|target| Arc::new(self.target(target, tls_options, true))),
            access_log: spec.access_log,
            dump_request_on_errors: spec.dump_request_on_errors,
            ip_filter: spec.ip_filters.as_ref().map(ip_filter),
            deny_paths: DeniedPaths::new(spec.deny_paths),
            has_url_fields: spec.has_url_fields,
            is_anonymous,
        }
    }

    /// Counters with these labels: of another user of this config, of the previous one, or new ones.
    fn carry_metrics(&mut self, key: &str) -> Arc<UserMetrics> {
        if let Some(metrics) = self.carried.get(key) {
            return metrics.clone();
        }
        let before = self.previous.and_then(|previous| previous.carried.get(key));
        let metrics = before.cloned().unwrap_or_default();
        self.carried.insert(key.to_owned(), metrics.clone());
        metrics
    }

    fn carry_limiter(&mut self, key: &str, capacity: usize) -> Arc<Limiter> {
        let position = self.seen.entry(key.to_owned()).or_default();
        let full_key = (key.to_owned(), *position, capacity);
        *position += 1;
        let before = self.previous.and_then(|previous| previous.limiters.get(&full_key));
        let limiter = before.cloned().unwrap_or_else(|| Limiter::new(u32::try_from(capacity).unwrap_or(u32::MAX)));
        self.limiters.insert(full_key, limiter.clone());
        limiter
    }

    fn target(&self, spec: TargetSpec, tls: &ClientTlsOptions, is_default_url: bool) -> Target {
        let environment = self.environment;
        let tls = spec.urls.iter().any(TargetUrl::is_https).then(|| environment.client_tls.get(tls));
        let mut protected_form_args = ProtectedArgs::default();
        for (i, url) in spec.urls.iter().enumerate() {
            let of_url = url.protected_args(&spec.merge_query_args);
            if i == 0 {
                protected_form_args = of_url;
            } else {
                protected_form_args.extend(&of_url);
            }
        }
        let policy = spec.load_balancing_policy;
        Target {
            request_rules: HeaderRules::new(&spec.request_headers, spec.keep_original_host),
            response_rules: ResponseRules::new(&spec.response_headers),
            backends: if spec.discover_backend_ips {
                Backends::Discovered(self.discovery(policy, &spec.urls, tls))
            } else {
                let upstreams = spec.urls.iter().map(|url| upstream(&environment.peers, url.clone(), tls.as_ref()));
                Backends::Configured(BackendSet::of_targets(policy, upstreams))
            },
            retry_status_codes: spec.retry_status_codes,
            merge_query_args: spec.merge_query_args,
            drop_parts: spec.drop_src_path_prefix_parts,
            protected_form_args,
            is_default_url,
        }
    }

    fn discovery(&self, policy: Policy, urls: &[TargetUrl], tls: Option<Arc<ClientTls>>) -> Arc<Discovery<Upstream>> {
        let entries = urls.iter().map(|url| Entry {
            url: url.to_string(),
            host: url.hostname().trim_start_matches("srv+").to_owned(),
            port: url.explicit_port().and_then(|port| port.parse().ok()),
            srv: url.is_srv(),
        });
        let (urls, peers) = (urls.to_vec(), self.environment.peers.clone());
        let factory = Box::new(move |index: usize, host: &str, port: Option<u16>| {
            let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let authority = port.map_or_else(|| bare.clone(), |port| format!("{bare}:{port}"));
            upstream(&peers, urls[index].with_host(&authority), tls.as_ref())
        });
        let resolving = Resolving {
            lookup: self.environment.lookup.clone(),
            interval: self.environment.discovery_interval,
            control: self.environment.control.clone(),
            cancel: self.cancel.clone(),
            warn: Arc::new(|message: String| vmkit::warn!("{message}")),
        };
        Discovery::new(policy, entries.collect(), factory, resolving)
    }
}

fn client_tls_options(tls: &crate::config::ClientTls) -> ClientTlsOptions {
    ClientTlsOptions {
        ca_file: tls.ca_file.clone(),
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        server_name: tls.server_name.clone(),
        insecure_skip_verify: tls.insecure_skip_verify,
        min_version: None,
    }
}

fn query_arg(arg: SrcQueryArg) -> QueryArgMatcher {
    let value = match arg.value {
        QueryValue::Exact(text) => GoRegex::literal(&text),
        QueryValue::Regex(pattern) => GoRegex::clone(&pattern),
    };
    QueryArgMatcher { name: arg.name, value: Some(value) }
}

fn upstream(peers: &PeerRegistry, url: TargetUrl, tls: Option<&Arc<ClientTls>>) -> Upstream {
    let srv = url.is_srv();
    let host = if srv { url.hostname().trim_start_matches("srv+") } else { url.hostname() };
    let tls = if url.is_https() { tls } else { None };
    let peer = peers.peer(host, url.port().unwrap_or(0), srv, tls);
    Upstream { url, peer }
}

fn ip_filter(spec: &IpFilterSpec) -> UserIpFilter {
    UserIpFilter {
        filter: IpFilter::new(&spec.allow_list, &spec.deny_list),
        real_ip_header: spec.real_ip_header.clone(),
    }
}

/// `{a="b",c="d"}`, or nothing without labels.
fn label_text(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
    format!("{{{}}}", pairs.join(","))
}
