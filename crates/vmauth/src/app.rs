//! Starts and stops vmauth: the only file that knows all parts, in the order in which they depend on each other.
//!
//! Config first, then listeners, then workers, so that a broken config never opens a socket; what any program of the
//! family needs of that is [`vmkit::service`]. The control plane runs on the main thread; requests run on the workers.

mod background;
mod dial_metrics;
mod dry_run;
mod explain_page;
pub mod inspection;
mod name_lookup;
#[cfg(test)]
mod second_codec;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::LocalSet;
use vmkit::config_files::ConfigFiles;
use vmkit::exchange::{ClientCodec, Http2Client};
use vmkit::http_client::Client;
use vmkit::metrics::Set;
use vmkit::net::dns::Resolver;
use vmkit::service::{Fatal, Service};
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::units::GoDuration;

use crate::admission::body_buffer::BufferLimits;
use crate::admission::client_address::TrustedProxies;
use crate::admission::concurrency::Limiter;
use crate::admission::failed_logins::FailedLogins;
use crate::authn::credentials::AuthHeaders;
use crate::authn::password_checks::PasswordChecks;
use crate::config::ConfigDefaults;
use crate::control::reload::{Controller, ReloadMetrics};
use crate::control::{ConfigView, NamedFiles, follow_files};
use crate::forward::ForwardSettings;
use crate::forward::tunnel::TunnelLimits;
use crate::generation::{BuildContext, Generation, Serving};
use crate::metrics::{PasswordMetrics, ProxyMetrics, register_limiter};
use crate::oidc::{HttpFetcher, Issuers};
use crate::options::Options;
use crate::proxy::failed_login::{LineLimit, LoginFailureMetrics};
use crate::proxy::switches::Switches;
use crate::proxy::worker_counters::AllCounters;
use crate::proxy::{Proxy, ProxyShared};
use crate::status::{self, Sources};
use crate::upstream::active_check::checks::{Checks, Orders};
use crate::upstream::active_check::prober::Prober;
use crate::upstream::dialer::{DialStats, Dialer};
use crate::upstream::health_check::TcpProbe;
use crate::upstream::peer::PeerRegistry;
use crate::upstream::pool::{Pool, PoolOptions, PoolReports};

/// What vmauth was started with.
pub type Start = vmkit::service::Start<Options>;

/// Runs until a signal ends the process, or only checks the config (`-dryRun`).
pub async fn run(start: Start) -> Result<(), Fatal> {
    if start.service.listeners.public.is_empty() {
        vmkit::warn!("-httpListenAddr is empty: no requests of users are served");
    }
    if start.options.config.dry_run { dry_run::run(&start).await } else { serve(start).await }
}

async fn serve(start: Start) -> Result<(), Fatal> {
    let mut service = Service::open(&start).await?;
    config_path(&start)?;
    let (app, controller, prober) = App::load(&start, &service).await?;
    let sources = Arc::new(app.status_sources(&start, &service, ConfigView::of(&controller)));
    if start.options.backends.metrics {
        let backends = sources.clone();
        service.registry.add_writer(move |page| status::write_backend_metrics(page, &backends));
        let environment = app.environment.clone();
        service.registry.add_writer(move |page| {
            environment.peers.replies().iter().for_each(|replies| replies.write(page));
        });
        tokio::spawn(service.cancel().run_until_cancelled_owned(background::turn_windows(app.environment.clone())));
    }
    for route in status::routes(&sources, &start.options.auth.status_key, &Handle::current()) {
        service.route(route);
    }
    let on_demand = format!("loading -auth.config={}", controller.source.shown());
    let named_files = controller.named_files.clone();
    let controller = Arc::new(Mutex::new(controller));
    let follow = follow_files(controller.clone(), app.serving.clone());
    tokio::spawn(service.cancel().run_until_cancelled_owned(follow));
    let reloader = background::ServingReloader { controller, serving: app.serving.clone() };
    service.reload_with(start.options.config.check_interval, on_demand, reloader);
    let refresh = background::refresh_client_tls(app.environment.clone(), service.client.clone(), named_files);
    tokio::spawn(service.cancel().run_until_cancelled_owned(refresh));
    let settings = inspection::explain_settings(&start, false);
    service.route(explain_page::route(settings, app.serving.clone(), &start.options.auth.status_key));
    let make_proxy = app.proxies(&start, &service, None);
    let running = service.listen(make_proxy)?;
    let probes = LocalSet::new();
    probes.spawn_local(prober.run());
    probes.run_until(running.run(async || ())).await
}

fn config_path(start: &Start) -> Result<&str, Fatal> {
    match start.options.config.auth_config.as_str() {
        "" => Err("missing required `-auth.config` command-line flag".to_owned()),
        path => Ok(path),
    }
}

/// What generations are built with, the resolver behind it, and the health checks that wait to be asked. Starts nothing.
fn build_context(start: &Start, metrics: &Set) -> (Arc<Resolver>, Arc<BuildContext>, Orders) {
    let options = &start.options;
    let servers = &options.backends.dns_servers;
    let resolver = if servers.is_empty() { Resolver::from_system() } else { Resolver::from_servers(servers) };
    let resolver = Arc::new(resolver.reporting(|text| vmkit::warn!("{text}")));
    let lookup = Arc::new(name_lookup::NameLookup::new(resolver.clone(), start.service.listeners.enable_tcp6));
    let fail_timeout = options.backends.fail_timeout;
    let (checks, orders) = Checks::new();
    let context = BuildContext {
        peers: Arc::new(if options.backends.metrics { PeerRegistry::counting() } else { PeerRegistry::default() }),
        client_tls: Default::default(),
        control: Handle::current(),
        checks: Arc::new(checks),
        passwords: PasswordChecks::new(PasswordMetrics::register(metrics)),
        probe: Arc::new(TcpProbe { lookup: lookup.clone(), dial: name_lookup::probe_dial() }),
        lookup,
        fail_timeout,
        fail_timeout_text: GoDuration::from(fail_timeout).to_string().into(),
        discovery_interval: options.backends.discover_interval,
        max_concurrent: options.limits.max_concurrent_requests,
    };
    (resolver, Arc::new(context), orders)
}

/// The parts that live as long as the process.
struct App {
    resolver: Arc<Resolver>,
    environment: Arc<BuildContext>,
    serving: Arc<Serving<Generation>>,
    pool_reports: Arc<PoolReports>,
    issuers: Issuers,
    shared: Arc<ProxyShared>,
}

impl App {
    /// Loads the config and builds everything that needs no listener.
    async fn load(start: &Start, service: &Service) -> Result<(Self, Controller, Prober), Fatal> {
        let options = &start.options;
        let (registry, path) = (&service.registry, options.config.auth_config.clone());
        let (resolver, environment, orders) = build_context(start, registry.common());
        let prober = Prober::new(probe_dialer(start, resolver.clone()), orders);
        let passwords = environment.passwords.clone();
        registry.common().callback_gauge("vmauth_password_checks_waiting", move || f64::from(passwords.waiting()));
        let mut controller = Controller {
            source: ConfigFiles::new(&path, &service.client),
            path,
            variables: start.variables.clone(),
            defaults: config_defaults(start),
            named_files: named_files(options),
            environment: environment.clone(),
            issuers: issuers(options),
            client: service.client.clone(),
            registry: registry.clone(),
            metrics: ReloadMetrics::register(registry.common()),
            history: Arc::default(),
            loaded: None,
            slot: Default::default(),
        };
        let generation = controller.start().await.map_err(|error| format!("cannot load auth config: {error}"))?;
        let issuers = controller.issuers.clone();
        registry.add_writer(move |page| issuers.write_metrics(page));
        let serving = Serving::new(generation).map_err(|error| format!("cannot start a thread: {error}"))?;
        let serving = Arc::new(serving);
        let shared = Arc::new(proxy_shared(options, service, serving.clone()));
        let counted = shared.clone();
        registry.add_writer(move |page| counted.counters.write_metrics(page));
        let issuers = controller.issuers.clone();
        let app = Self { resolver, environment, serving, pool_reports: Arc::default(), issuers, shared };
        Ok((app, controller, prober))
    }

    /// What makes the proxy of each worker, with connections of its own. `codec` is what backends may speak besides
    /// HTTP/1, instead of HTTP/2.
    fn proxies(
        &self,
        start: &Start,
        service: &Service,
        codec: Option<Arc<dyn ClientCodec>>,
    ) -> impl Fn(vmkit::http_server::WorkerPlan) -> Proxy + Clone + Send + 'static {
        let shared = self.shared.clone();
        let stats = Arc::new(dial_metrics::dial_stats(service.registry.common()));
        let codec = codec.unwrap_or_else(|| {
            let stats = Arc::new(dial_metrics::http2_stats(service.registry.common()));
            Arc::new(Http2Client::new(start.options.backends.http2_ping_interval, stats))
        });
        let pools = PoolFactory {
            options: start.options.backends.clone(),
            dialer: dialer(start, self.resolver.clone(), codec, stats),
            reports: self.pool_reports.clone(),
        };
        move |plan| {
            let pool = std::rc::Rc::new(Pool::new(pools.options(plan.count)));
            background::sweep(pool.clone());
            Proxy::new(shared.clone(), pool)
        }
    }

    /// Where pages find everything.
    fn status_sources(&self, start: &Start, service: &Service, config: ConfigView) -> Sources {
        Sources {
            version: start.app.version.clone(),
            started: std::time::SystemTime::now(),
            shared: self.shared.clone(),
            pools: self.pool_reports.clone(),
            issuers: self.issuers.clone(),
            environment: self.environment.clone(),
            listening: service.listening(),
            config,
        }
    }
}

/// What the workers share.
fn proxy_shared(options: &Options, service: &Service, serving: Arc<Serving<Generation>>) -> ProxyShared {
    let (limits, auth, metrics) = (&options.limits, &options.auth, service.registry.common());
    let limiter = Limiter::new(u32::try_from(limits.max_concurrent_requests).unwrap_or(u32::MAX));
    let (capacity, current) = (limiter.clone(), limiter.clone());
    register_limiter(metrics, move || f64::from(capacity.capacity()), move || f64::from(current.current()));
    ProxyShared {
        serving,
        limiter,
        metrics: ProxyMetrics::register(metrics),
        auth_headers: AuthHeaders::new(auth.headers.clone()),
        max_queue: GoDuration::from(limits.max_queue_duration),
        switches: Switches::new(auth.log_invalid_tokens),
        login_failures: LoginFailureMetrics::register(metrics),
        login_lines: LineLimit::default(),
        counters: AllCounters::default(),
        request_id_header: auth.request_id_header.clone(),
        real_ip_header: auth.real_ip_header.clone(),
        failed_logins: FailedLogins::new(u32::try_from(auth.max_failed_logins).unwrap_or(u32::MAX)),
        trusted_proxies: TrustedProxies::new(auth.trusted_proxies.clone()),
        forward: ForwardSettings {
            limits: BufferLimits { buffer: limits.request_buffer_size, retry: limits.max_retry_body_size },
            response_timeout: options.backends.response_timeout.unwrap_or_default(),
            tunnels: TunnelLimits { idle: options.limits.tunnel_idle, age: options.limits.tunnel_age },
            remove_xff: auth.remove_xff,
        },
    }
}

/// How connections to backends are opened. Starts nothing.
fn dialer(start: &Start, resolver: Arc<Resolver>, codec: Arc<dyn ClientCodec>, stats: Arc<DialStats>) -> Dialer {
    let backends = &start.options.backends;
    Dialer {
        dial_timeout: backends.dial_timeout,
        ipv6: start.service.listeners.enable_tcp6,
        stats,
        control: Handle::current(),
        resolver,
        codec,
        offers_http2: !backends.http2_disabled,
    }
}

/// The same for health checks, which are not counted among the connections of requests.
fn probe_dialer(start: &Start, resolver: Arc<Resolver>) -> Dialer {
    let codec = Arc::new(Http2Client::new(None, Arc::default()));
    dialer(start, resolver, codec, Arc::default())
}

/// Settings of the pools, made in every worker.
#[derive(Clone)]
struct PoolFactory {
    options: crate::options::Backends,
    dialer: Dialer,
    reports: Arc<PoolReports>,
}

impl PoolFactory {
    fn options(&self, workers: usize) -> PoolOptions {
        PoolOptions {
            max_idle: self.options.max_idle_conns.div_ceil(workers.max(1)),
            idle_timeout: self.options.idle_timeout.unwrap_or(Duration::from_secs(86_400 * 365)),
            dialer: self.dialer.clone(),
            reports: self.reports.clone(),
        }
    }
}

fn issuers(options: &Options) -> Issuers {
    let tls = ClientTlsOptions { ca_file: options.auth.oidc_ca_file.clone(), ..ClientTlsOptions::default() };
    let token_file = options.auth.oidc_token_file.as_ref().map(PathBuf::from);
    Issuers::new(Arc::new(HttpFetcher::new(Arc::new(Client::new(tls)), token_file)))
}

fn named_files(options: &Options) -> NamedFiles {
    let tls = &options.backends.tls;
    let of_flags = [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().cloned();
    NamedFiles::new(&options.config.allowed_file_dirs, of_flags)
}

fn config_defaults(start: &Start) -> ConfigDefaults {
    let (backends, options) = (&start.options.backends, &start.options);
    ConfigDefaults {
        load_balancing_policy: backends.load_balancing_policy.clone(),
        retry_status_codes: backends.retry_status_codes.clone(),
        retry_only_idempotent: backends.retry_only_idempotent,
        merge_query_args: backends.merge_query_args.clone(),
        discover_backend_ips: backends.discover_ips,
        backend_tls: Arc::new(backends.tls.clone()),
        max_concurrent_requests_per_user: options.limits.max_concurrent_per_user,
        real_ip_header: options.auth.real_ip_header.clone(),
        strict_variables: options.config.strict_variables,
    }
}
