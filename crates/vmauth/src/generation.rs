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
use crate::config::model::{AuthConfig, Credential, IpFilterSpec, LoadBalancingPolicy, RouteSpec, TargetSpec, UserSpec};
use crate::rewrite::header_rules::{HeaderRules, ResponseRules};
use crate::rewrite::target_url::TargetUrl;
use crate::route::matcher::{QueryArgMatcher, RouteMatcher, RouteTable};
use crate::upstream::backend::Backend;
use crate::upstream::balance::{BackendSet, Policy};
use crate::upstream::discovery::{Discovery, DiscoveryOptions, Entry, Lookup};
use crate::upstream::health_check::{HealthChecker, Probe};
use crate::upstream::pool::PeerRegistry;
use crate::user::{Route, Target, Upstream, User, UserIpFilter, UserMetrics};

/// What generations are built with; lives as long as the process.
pub struct Environment {
    /// Backend addresses and TLS identities, kept over reloads.
    pub peers: PeerRegistry,
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
    /// `-discoverBackendIPsInterval`
    pub discovery_interval: Duration,
    /// `-httpRealIPHeader`
    pub real_ip_header: Option<String>,
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
#[derive(Debug)]
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

    /// Builds everything; nothing is started and nothing can fail.
    pub fn build(
        config: AuthConfig,
        jwt_users: Option<JwtUsers>,
        environment: &Environment,
        previous: Option<&Self>,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let cancel = CancellationToken::new();
        let mut builder = Builder { environment, previous, cancel: &cancel, ..Builder::new(environment, &cancel) };
        builder.previous = previous;
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
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            users,
            tokens,
            jwt_users,
            client_cert_users,
            unauthorized_user,
            ip_filter: config.ip_filters.as_ref().map(ip_filter),
            health: HealthChecker::new(
                environment.control.clone(),
                cancel.clone(),
                environment.fail_timeout,
                environment.probe.clone(),
                Arc::new(|message: String| vmkit::warn!("{message}")),
            ),
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
    fn new(environment: &'a Environment, cancel: &'a CancellationToken) -> Self {
        Self {
            environment,
            previous: None,
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
        let tls_options = &spec.tls;
        let mut matchers = Vec::with_capacity(spec.routes.len());
        let mut routes = Vec::with_capacity(spec.routes.len());
        for route in spec.routes {
            let RouteSpec { src_paths, src_hosts, src_query_args, src_headers, target, ip_filters, .. } = route;
            matchers.push(RouteMatcher {
                paths: src_paths,
                hosts: src_hosts,
                query_args: src_query_args.into_iter().map(QueryArgMatcher::from).collect(),
                headers: src_headers.into_iter().map(|header| (header.name, header.value)).collect(),
            });
            let target = Arc::new(self.target(target, tls_options, false));
            routes.push(Route { target, ip_filter: ip_filters.as_ref().map(ip_filter) });
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
            deny_paths: spec.deny_paths,
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
        let limiter = before.cloned().unwrap_or_else(|| Arc::new(Limiter::new(capacity)));
        self.limiters.insert(full_key, limiter.clone());
        limiter
    }

    fn target(&self, spec: TargetSpec, tls: &ClientTlsOptions, is_default_url: bool) -> Target {
        let environment = self.environment;
        let is_https = spec.urls.iter().any(TargetUrl::is_https);
        let tls = is_https.then(|| environment.client_tls.get(tls));
        let protected_form_args = spec
            .urls
            .iter()
            .map(|url| url.protected_args(&spec.merge_query_args))
            .reduce(|mut all, more| {
                all.extend(&more);
                all
            })
            .unwrap_or_default();
        let policy = match spec.load_balancing_policy {
            LoadBalancingPolicy::LeastLoaded => Policy::LeastLoaded,
            LoadBalancingPolicy::FirstAvailable => Policy::FirstAvailable,
        };
        let backends: Vec<_> = spec
            .urls
            .iter()
            .map(|url| Arc::new(Backend::new(upstream(environment, url.clone(), tls.as_ref()))))
            .collect();
        let discovery = spec.discover_backend_ips.then(|| self.discovery(&spec.urls, tls.clone()));
        Target {
            backends: BackendSet::new(backends, policy),
            discovery,
            request_rules: HeaderRules::build(&spec.request_headers, spec.keep_original_host),
            response_rules: ResponseRules::build(&spec.response_headers),
            retry_status_codes: spec.retry_status_codes,
            merge_query_args: spec.merge_query_args,
            drop_parts: spec.drop_src_path_prefix_parts,
            protected_form_args,
            is_default_url,
        }
    }

    fn discovery(&self, urls: &[TargetUrl], tls: Option<Arc<ClientTls>>) -> Discovery<Upstream> {
        let _ = (urls, tls, self.cancel);
        unimplemented!()
    }
}

fn upstream(environment: &Environment, url: TargetUrl, tls: Option<&Arc<ClientTls>>) -> Upstream {
    let srv = url.is_srv();
    let host = if srv { url.hostname().trim_start_matches("srv+") } else { url.hostname() };
    let tls = if url.is_https() { tls } else { None };
    let peer = environment.peers.peer(host, url.port().unwrap_or(0), srv, tls);
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
