//! From a parsed config to a generation: compiles rules and routes, makes backends, starts nothing.
//!
//! Nothing here can fail: what the config holds has been parsed into types that can be used as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;
use vmkit::go_regex::GoRegex;
use vmkit::go_text::quote;
use vmkit::metrics::Set;
use vmkit::tls::client_config::{ClientTls, ClientTlsOptions};
use xxhash_rust::xxh64::xxh64;

use super::carry_over::{ByAddress, Collector, Discovered, Owner};
use super::jwt_users::jwt_users;
use super::shared_rules::SharedRules;
use super::{BuildContext, Generation};
use crate::admission::concurrency::most_of_one_user;
use crate::admission::ip_filter::IpFilter;
use crate::authn::Directory;
use crate::authn::client_cert_users::{CertificateNames, ClientCertUsers};
use crate::authn::hashed_users::HashedUsersBuilder;
use crate::authn::token_users::TokenUsers;
use crate::config::{
    AuthConfig, Credential, IpFilterSpec, QueryValue, RouteSpec, SrcQueryArg, TargetSpec, UserSpec, Watching,
};
use crate::oidc::Issuers;
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::target_url::TargetUrl;
use crate::route::matcher::{QueryArgMatcher, RouteMatcher, RouteTable};
use crate::upstream::active_check::checks::Checks;
use crate::upstream::backend::{Backend, HealthTarget, Watch};
use crate::upstream::balance::BackendSet;
use crate::upstream::discovery::{self, Discovery, Entry, Resolving};
use crate::upstream::health_check::{self, HealthChecker};
use crate::upstream::peer::PeerRegistry;
use crate::upstream::retry_budget::RetryBudget;
use crate::upstream::shares::Share;
use crate::user::series;
use crate::user::{AccessLog, Backends, DeniedPaths, Route, Target, Upstream, User, UserIpFilter};

impl Generation {
    /// Builds everything and starts nothing. Providers of keys are taken from `issuers` or made there.
    pub fn build(config: AuthConfig, issuers: &Issuers, context: &BuildContext, previous: Option<&Self>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let cancel = CancellationToken::new();
        let carried = Collector::new(previous.map(|previous| &previous.carried));
        let is_shared = config.users.len() + usize::from(config.unauthorized_user.is_some()) > 1;
        let slots_of_one = if is_shared { most_of_one_user(context.max_concurrent) } else { usize::MAX };
        let rules = SharedRules::default();
        let mut builder = Builder { context, cancel: &cancel, metrics: Set::new(), carried, rules, slots_of_one };
        let jwt_users = jwt_users(&config, issuers);
        let (mut tokens, mut hashed) = (TokenUsers::default(), HashedUsersBuilder::default());
        let mut client_cert_users = ClientCertUsers::default();
        let mut users = Vec::with_capacity(config.users.len());
        for spec in config.users {
            let index = u32::try_from(users.len()).unwrap_or(u32::MAX);
            for credential in spec.credentials() {
                tokens.add(credential.lookup_values(), index);
                match credential {
                    Credential::Basic { username, .. } => tokens.add_name(username),
                    Credential::PasswordHash { username, hash } => {
                        tokens.add_name(username);
                        hashed.add_password(username, (**hash).clone(), index);
                    }
                    Credential::BearerHash(digest) => hashed.add_token(*digest, index),
                    Credential::Bearer(_)
                    | Credential::AuthToken(_)
                    | Credential::Jwt(_)
                    | Credential::Mtls(_)
                    | Credential::None => {}
                }
            }
            if let Credential::Mtls(mtls) = &spec.credential {
                let names = CertificateNames {
                    organizational_unit: mtls.organizational_unit.clone(),
                    organization: mtls.organization.clone(),
                    common_name: mtls.common_name.clone(),
                };
                client_cert_users.add(names, index);
            }
            users.push(Arc::new(builder.user(spec, false)));
        }
        let unauthorized_user = config.unauthorized_user.map(|spec| Arc::new(builder.user(spec, true)));
        let serves_anybody = unauthorized_user.as_ref().is_some_and(|user| user.has_url_fields);
        let directory = Directory {
            id: NEXT_ID.fetch_add(1, Relaxed),
            tokens,
            hashed: hashed.finish(&context.passwords, !serves_anybody),
            jwt_users,
            client_cert_users,
            serves_anybody,
        };
        let Builder { metrics, carried, .. } = builder;
        Self {
            directory,
            users,
            unauthorized_user,
            ip_filter: config.ip_filters.as_ref().map(ip_filter),
            health: HealthChecker {
                control: context.control.clone(),
                fail_timeout: context.fail_timeout,
                fail_timeout_text: context.fail_timeout_text.clone(),
                probe: context.probe.clone(),
                warn: health_check::warn_in_log(),
            },
            metrics: Arc::new(metrics),
            carried: carried.finish(),
            cancel,
        }
    }
}

struct Builder<'a> {
    context: &'a BuildContext,
    cancel: &'a CancellationToken,
    metrics: Set,
    carried: Collector<'a>,
    rules: SharedRules,
    /// Slots that one user may take at most, so that several do not take all from each other.
    slots_of_one: usize,
}

impl Builder<'_> {
    fn user(&mut self, spec: UserSpec, is_anonymous: bool) -> User {
        let labels: Arc<str> = label_text(&spec.metric_labels).into();
        // Labels begin with a brace, so that nobody else is called like that.
        let key = if is_anonymous { format!("unauthorized_user{labels}").into() } else { labels.clone() };
        let slots = spec.max_concurrent_requests.min(self.slots_of_one);
        let (owner, metrics, limiter) = self.carried.user(key, slots);
        series::register(&self.metrics, is_anonymous, &labels, &metrics, &limiter);
        if spec.targets().any(|target| target.watching.retry_budget.is_some()) {
            series::register_budget(&self.metrics, is_anonymous, &labels, &metrics);
        }
        let tls_options = &*spec.tls;
        let mut matchers = Vec::with_capacity(spec.routes.len());
        let mut routes = Vec::with_capacity(spec.routes.len());
        for route in spec.routes {
            let RouteSpec {
                number,
                src_paths,
                src_hosts,
                src_query_args,
                src_headers,
                deny_paths,
                target,
                ip_filters,
                ..
            } = route;
            matchers.push(RouteMatcher {
                paths: src_paths.iter().map(|pattern| GoRegex::clone(pattern)).collect(),
                hosts: src_hosts.iter().map(|pattern| GoRegex::clone(pattern)).collect(),
                query_args: src_query_args.into_iter().map(query_arg).collect(),
                headers: src_headers.into_iter().map(|header| (header.name, header.value)).collect(),
            });
            let target = Arc::new(self.target(&owner, target, tls_options, false));
            let ip_filter = ip_filters.as_ref().map(|spec| Box::new(ip_filter(spec)));
            routes.push(Route { number, target, deny_paths: DeniedPaths::new(deny_paths), ip_filter });
        }
        User {
            place: spec.place.into(),
            display_name: spec.display_name,
            metrics,
            limiter,
            table: (!matchers.is_empty()).then(|| Box::new(RouteTable::new(matchers))),
            routes,
            url_prefix: spec.url_prefix.map(|target| Arc::new(self.target(&owner, *target, tls_options, false))),
            default_url: spec.default_url.map(|target| Arc::new(self.target(&owner, *target, tls_options, true))),
            access_log: spec.access_log.map(|log| AccessLog { skip_status_codes: log.skip_status_codes }),
            dump_request_on_errors: spec.dump_request_on_errors,
            ip_filter: spec.ip_filters.as_ref().map(|spec| Box::new(ip_filter(spec))),
            deny_paths: DeniedPaths::new(spec.deny_paths),
            has_url_fields: spec.has_url_fields,
            is_anonymous,
        }
    }

    fn target(&mut self, owner: &Owner, spec: TargetSpec, tls: &ClientTlsOptions, is_default_url: bool) -> Target {
        let context = self.context;
        let tls = spec.urls.iter().any(TargetUrl::is_https).then(|| context.client_tls.get(tls));
        let mut protected_form_args = ProtectedArgs::default();
        for (i, url) in spec.urls.iter().enumerate() {
            let of_url = url.protected_args(&spec.merge_query_args);
            if i == 0 {
                protected_form_args = of_url;
            } else {
                protected_form_args.extend(&of_url);
            }
        }
        Target {
            request_rules: self.rules.of_requests(&spec.request_headers, spec.keep_original_host),
            response_rules: self.rules.of_replies(&spec.response_headers),
            backends: if spec.discover_backend_ips {
                Backends::Discovered(self.discovery(owner, &spec, tls))
            } else {
                let backends = spec.urls.iter().enumerate().map(|(index, url)| {
                    let upstream = upstream(&context.peers, url.clone(), tls.as_ref());
                    let watch = watch(&upstream, &spec.watching, &context.checks);
                    let url = url.to_string();
                    let identity = xxh64(url.as_bytes(), 0);
                    (self.carried.backend(owner, &url, upstream, watch), Share { weight: spec.weight(index), identity })
                });
                Backends::Configured(BackendSet::new(spec.load_balancing_policy, backends.collect()))
            },
            retry_status_codes: spec.retry_status_codes,
            retry_only_idempotent: spec.retry_only_idempotent,
            retry_budget: spec.watching.retry_budget.map(|budget| Box::new(RetryBudget::new(budget))),
            merge_query_args: spec.merge_query_args,
            drop_parts: spec.drop_src_path_prefix_parts,
            timeouts: spec.timeouts,
            protected_form_args,
            is_default_url,
        }
    }

    fn discovery(&mut self, owner: &Owner, spec: &TargetSpec, tls: Option<Arc<ClientTls>>) -> Arc<Discovery<Upstream>> {
        let key = Discovered {
            urls: spec.urls.iter().map(ToString::to_string).collect(),
            tls: tls.clone().map(ByAddress),
            watching: spec.watching.clone(),
        };
        let entries = spec.urls.iter().enumerate().map(|(index, url)| Entry {
            url: url.to_string(),
            host: url.hostname().trim_start_matches("srv+").to_owned(),
            port: url.explicit_port().and_then(|port| port.parse().ok()),
            srv: url.is_srv(),
            weight: spec.weight(index),
        });
        let (urls, watching) = (spec.urls.clone(), spec.watching.clone());
        let (peers, checks) = (self.context.peers.clone(), self.context.checks.clone());
        let factory = Box::new(move |index: usize, host: &str, port: Option<u16>| {
            let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let authority = port.map_or_else(|| bare.clone(), |port| format!("{bare}:{port}"));
            let upstream = upstream(&peers, urls[index].with_host(&authority), tls.as_ref());
            let watch = watch(&upstream, &watching, &checks);
            Backend::watched(upstream, watch)
        });
        let resolving = Resolving {
            lookup: self.context.lookup.clone(),
            interval: self.context.discovery_interval,
            control: self.context.control.clone(),
            cancel: self.cancel.clone(),
            warn: discovery::warn_in_log(),
        };
        let discovery = Discovery::new(spec.load_balancing_policy, entries.collect(), factory, resolving);
        self.carried.discovery(owner, key, &discovery);
        discovery
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
    if let Some(path) = url.socket() {
        let peer = peers.peer(path, 0, false, false, None);
        return Upstream { url, peer };
    }
    let srv = url.is_srv();
    let host = if srv { url.hostname().trim_start_matches("srv+") } else { url.hostname() };
    let tls = if url.is_https() { tls } else { None };
    let peer = peers.peer(host, url.port().unwrap_or(0), srv, url.is_http2(), tls);
    Upstream { url, peer }
}

fn watch(upstream: &Upstream, watching: &Watching, checks: &Checks) -> Watch {
    let check = watching.check.as_ref();
    let check = check.map(|spec| checks.check(spec, &upstream.peer, upstream.url.host(), upstream.display_address()));
    Watch { check, outliers: watching.outliers.clone(), slow_start: watching.slow_start }
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
