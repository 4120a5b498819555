//! Starts and stops the process: the only file that knows all parts, in the order in which they depend on each other.
//!
//! Config first, then listeners, then workers (spec server.md §7), so that a broken config never opens a socket. The
//! control plane runs on the main thread; requests run on the workers.

mod background;
mod metrics_page;
mod name_lookup;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vmkit::env_template::Environment as Variables;
use vmkit::flags::FlagSet;
use vmkit::http_client::Client;
use vmkit::http_server::{AppRoute, BasicGate, Listener, Server, ServerMetrics, ServerOptions};
use vmkit::metrics::go_runtime::GoRuntime;
use vmkit::metrics::{CachedPage, Registry};
use vmkit::net::dns::Resolver;
use vmkit::net::listener::{bind, looks_like_ipv6_warning};
use vmkit::process::signals::{Event, Signals};
use vmkit::secret::Secret;
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::tls::server_config::{ServerTls, ServerTlsOptions};
use vmkit::units::GoDuration;

use crate::admission::body_buffer::BufferLimits;
use crate::admission::concurrency::Limiter;
use crate::authn::credentials::AuthHeaders;
use crate::config::{ClientTls, ConfigDefaults};
use crate::control::reload::{Controller, ReloadMetrics, check};
use crate::forward::ForwardSettings;
use crate::generation::{Environment, Generation};
use crate::metrics::{ProxyMetrics, dial_stats, register_limiter};
use crate::oidc::{HttpFetcher, Issuers};
use crate::options::{ListenerOptions, Options};
use crate::proxy::{Proxy, ProxyShared};
use crate::upstream::health_check::TcpProbe;
use crate::upstream::pool::{Pool, PoolOptions};
use background::Background;

/// A text that ends the process with code 255.
pub type Fatal = String;

/// Everything the process was started with.
#[derive(Debug)]
pub struct Start {
    /// Flags as given, for the pages that show them.
    pub flags: FlagSet,
    /// Their meaning.
    pub options: Options,
    /// Environment variables, for `%{NAME}` in the config.
    pub variables: Variables,
}

/// Checks the config and prints what a start would print (`-dryRun`).
pub fn dry_run(start: &Start) -> Result<(), Fatal> {
    let path = &start.options.config.auth_config;
    if path.is_empty() {
        return Err("missing required `-auth.config` command-line flag".to_owned());
    }
    let runtime = runtime()?;
    let client = Client::new(ClientTlsOptions::default());
    let shown = vmkit::go_text::quote(vmkit::redact::url(path).as_bytes());
    let bytes = runtime
        .block_on(crate::control::source::read(path, &client))
        .map_err(|cause| format!("failed to parse {shown}: failed to read -auth.config={shown}: {cause}"))?;
    let users = check(path, &bytes, &start.variables, &config_defaults(&start.options))
        .map_err(|error| format!("failed to parse {shown}: {error}"))?;
    vmkit::info!("loaded information about {users} users from -auth.config={shown}");
    Ok(())
}

/// Runs until a signal ends the process.
pub fn run(start: Start) -> Result<(), Fatal> {
    runtime()?.block_on(App::run(start))
}

fn runtime() -> Result<tokio::runtime::Runtime, Fatal> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|error| format!("cannot start the control plane: {error}"))
}

/// The parts that live as long as the process.
struct App {
    options: Options,
    registry: Arc<Registry>,
    client: Arc<Client>,
    resolver: Arc<Resolver>,
    environment: Arc<Environment>,
    serving: Arc<ArcSwap<Generation>>,
    go_runtime: Arc<GoRuntime>,
    page: Arc<CachedPage>,
    reload: Arc<Notify>,
}

impl App {
    async fn run(start: Start) -> Result<(), Fatal> {
        let started = Instant::now();
        let addrs: Vec<_> = start.options.listeners.public.iter().map(|listener| listener.addr.as_str()).collect();
        let addrs = format!("\"[{}]\"", addrs.join(" "));
        vmkit::info!("starting vmauth at {addrs}...");
        let path = start.options.config.auth_config.clone();
        if path.is_empty() {
            return Err("missing required `-auth.config` command-line flag".to_owned());
        }
        let mut signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
        let (app, controller) = Self::load(&start).await?;
        let (servers, internal_servers) = app.listen(&start.flags)?;
        let cancel = CancellationToken::new();
        let background = Background::start(&app, controller, &cancel)?;
        vmkit::info!("started vmauth in {:.3} seconds", started.elapsed().as_secs_f64());
        loop {
            match signals.next().await {
                Event::Reload => app.reload.notify_one(),
                Event::Stop(signal) => {
                    vmkit::info!("received signal {}", signal.name());
                    break;
                }
            }
        }
        cancel.cancel();
        let stopping = Instant::now();
        vmkit::info!("gracefully shutting down webservice at {addrs}");
        app.stop(servers, &mut signals).await?;
        drop((background, internal_servers));
        vmkit::info!("successfully shut down the webservice in {:.3} seconds", stopping.elapsed().as_secs_f64());
        vmkit::info!("successfully stopped vmauth in {:.3} seconds", stopping.elapsed().as_secs_f64());
        Ok(())
    }

    /// Loads the config and builds everything that needs no listener.
    async fn load(start: &Start) -> Result<(Self, Controller), Fatal> {
        let options = start.options.clone();
        let registry = Arc::new(Registry::new());
        let client = Arc::new(Client::new(ClientTlsOptions::default()));
        let fetcher = client.clone();
        let handle = Handle::current();
        start
            .flags
            .provide_fetcher(&(Arc::new(move |url: &str| background::fetch_secret(&handle, &fetcher, url)) as _));
        let servers = &options.backends.dns_servers;
        let resolver =
            Arc::new(if servers.is_empty() { Resolver::from_system() } else { Resolver::from_servers(servers) });
        let lookup = Arc::new(name_lookup::NameLookup::new(resolver.clone(), options.listeners.enable_tcp6));
        let fail_timeout = options.backends.fail_timeout;
        let environment = Arc::new(Environment {
            peers: Arc::default(),
            client_tls: Default::default(),
            control: Handle::current(),
            probe: Arc::new(TcpProbe { lookup: lookup.clone(), dial: name_lookup::probe_dial() }),
            lookup,
            fail_timeout,
            fail_timeout_text: GoDuration::from(fail_timeout).to_string().into(),
            discovery_interval: options.backends.discover_interval,
        });
        let mut controller = Controller {
            path: options.config.auth_config.clone(),
            variables: start.variables.clone(),
            defaults: config_defaults(&options),
            environment: environment.clone(),
            issuers: Issuers::new(Arc::new(HttpFetcher::new(Arc::new(Client::new(ClientTlsOptions {
                ca_file: options.auth.oidc_ca_file.clone(),
                ..ClientTlsOptions::default()
            }))))),
            client: client.clone(),
            registry: registry.clone(),
            metrics: ReloadMetrics::register(registry.common()),
            loaded: None,
        };
        let generation = controller.start().await.map_err(|error| format!("cannot load auth config: {error}"))?;
        let issuers = controller.issuers.clone();
        registry.add_writer(move |page| issuers.write_metrics(page));
        let go_runtime = Arc::new(GoRuntime::new(options.workers, concat!("rust", env!("CARGO_PKG_RUST_VERSION"))));
        metrics_page::add_writers(&registry, start, &go_runtime);
        let page = Arc::new(CachedPage::new(registry.clone(), options.metrics.expose_metadata));
        let serving = Arc::new(ArcSwap::new(generation));
        let reload = Arc::default();
        Ok((Self { options, registry, client, resolver, environment, serving, go_runtime, page, reload }, controller))
    }

    /// Opens all listeners and starts the workers of the public and of the internal server.
    fn listen(&self, flags: &FlagSet) -> Result<(Vec<Server>, Vec<Server>), Fatal> {
        let internal_apart = !self.options.listeners.internal.is_empty();
        let mut public = Vec::new();
        for listener in &self.options.listeners.public {
            let mut listener = self.open(listener, !internal_apart)?;
            listener.internal = !internal_apart;
            public.push(listener);
        }
        let mut internal = Vec::new();
        for listener in &self.options.listeners.internal {
            let mut listener = self.open(listener, true)?;
            listener.public = false;
            internal.push(listener);
        }
        let metrics = ServerMetrics::register(self.registry.common());
        let shared = Arc::new(self.proxy_shared());
        let stats = Arc::new(dial_stats(self.registry.common()));
        let start = |workers: usize, listeners: Vec<Listener>| {
            let pool = PoolFactory {
                app_options: self.options.clone(),
                resolver: self.resolver.clone(),
                stats: stats.clone(),
            };
            let (shared, go_runtime, control) = (shared.clone(), self.go_runtime.clone(), Handle::current());
            let control_too = control.clone();
            let make = move |plan: vmkit::http_server::WorkerPlan| {
                let pool = std::rc::Rc::new(Pool::new(pool.options(plan.count, control_too.clone())));
                background::sweep(pool.clone(), go_runtime.clone());
                Proxy::new(shared.clone(), pool)
            };
            let options = self.server_options(flags, workers);
            Server::start(options, listeners, metrics.clone(), control, make)
                .map_err(|error| format!("cannot start the workers: {error}"))
        };
        let servers = vec![start(self.options.workers, public)?];
        let internal = if internal.is_empty() { Vec::new() } else { vec![start(1, internal)?] };
        Ok((servers, internal))
    }

    fn open(&self, listener: &ListenerOptions, has_internal_routes: bool) -> Result<Listener, Fatal> {
        let listeners = &self.options.listeners;
        let tls = match &listener.tls {
            None => None,
            Some(tls) => {
                let tls = ServerTls::load(ServerTlsOptions {
                    cert_file: tls.cert_file.clone(),
                    key_file: tls.key_file.clone(),
                    min_version: tls.min_version.clone(),
                    cipher_suites: listeners.tls_cipher_suites.clone(),
                    client_ca: tls.client_auth.as_ref().map(|auth| auth.ca_file.clone()),
                    alpn: vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()],
                })
                .map_err(|error| error.to_string())?;
                if !tls.unavailable_cipher_suites().is_empty() {
                    vmkit::warn!("cipher suites that are not available here: {:?}", tls.unavailable_cipher_suites());
                }
                let tls = Arc::new(tls);
                background::refresh_server_tls(tls.clone());
                Some(tls)
            }
        };
        if !listeners.enable_tcp6
            && let Some(warning) = looks_like_ipv6_warning(&listener.addr)
        {
            vmkit::warn!("{warning}");
        }
        let socket = bind(&listener.addr, listeners.enable_tcp6)
            .map_err(|error| format!("cannot start http server at {}: {error}", listener.addr))?;
        let local = socket.local_addr().map_or_else(|_| listener.addr.clone(), |addr| addr.to_string());
        let scheme = if tls.is_some() { "https" } else { "http" };
        vmkit::info!("started server at {scheme}://{local}/");
        if has_internal_routes {
            vmkit::info!("pprof handlers are exposed at {scheme}://{local}/debug/pprof/");
        }
        let mut opened = Listener::new(socket, &listener.addr, tls, self.registry.common());
        opened.proxy_protocol = listener.use_proxy_protocol;
        Ok(opened)
    }

    fn proxy_shared(&self) -> ProxyShared {
        let (limits, auth) = (&self.options.limits, &self.options.auth);
        let limiter = Limiter::new(u32::try_from(limits.max_concurrent_requests).unwrap_or(u32::MAX));
        register_limiter(self.registry.common(), &limiter);
        ProxyShared {
            generation: self.serving.clone(),
            limiter,
            metrics: ProxyMetrics::register(self.registry.common()),
            auth_headers: AuthHeaders::new(auth.headers.clone()),
            max_queue: GoDuration::from(limits.max_queue_duration),
            log_invalid_tokens: auth.log_invalid_tokens,
            forward: ForwardSettings {
                limits: BufferLimits { buffer: limits.request_buffer_size, retry: limits.max_retry_body_size },
                response_timeout: self.options.backends.response_timeout.unwrap_or_default(),
                remove_xff: auth.remove_xff,
            },
        }
    }

    fn server_options(&self, flags: &FlagSet, workers: usize) -> ServerOptions {
        let (http, access, listeners) = (&self.options.http, &self.options.access, &self.options.listeners);
        let page = self.page.clone();
        let (reload, requests) = (self.reload.clone(), "vmauth_http_requests_total{path=\"/-/reload\"}");
        ServerOptions {
            workers,
            path_prefix: http.path_prefix.clone(),
            disable_cors: http.disable_cors,
            disable_keep_alive: listeners.disable_keep_alive,
            disable_compression: http.disable_response_compression,
            server_hostname: (!http.disable_server_hostname).then(background::hostname),
            security_headers: [http.hsts.clone(), http.frame_options.clone(), http.csp.clone()],
            conn_timeout: listeners.conn_timeout.unwrap_or_default(),
            idle_conn_timeout: listeners.idle_timeout.unwrap_or(Duration::from_secs(86_400 * 365)),
            max_graceful_shutdown: listeners.max_graceful_shutdown,
            shutdown_delay: listeners.shutdown_delay,
            gate: (!access.http_auth_username.is_empty()).then(|| BasicGate {
                username: Secret::from(access.http_auth_username.as_str()),
                password: access.http_auth_password.clone(),
            }),
            metrics_key: access.metrics_key.clone(),
            flags_key: access.flags_key.clone(),
            pprof_key: access.pprof_key.clone(),
            metrics_page: Arc::new(move || page.get()),
            flags_page: flags.listing().iter().map(|line| line.line() + "\n").collect(),
            cmdline: metrics_page::masked_cmdline(flags),
            app_routes: vec![AppRoute {
                path: "/-/reload",
                key: (access.reload_key.clone(), "-reloadAuthKey"),
                requests: self.registry.common().counter(requests),
                action: Box::new(move || reload.notify_one()),
            }],
        }
    }

    /// Drains the public server; signals are still heard, so that a second one ends the process at once.
    async fn stop(&self, servers: Vec<Server>, signals: &mut Signals) -> Result<(), Fatal> {
        let addrs: Vec<_> = self.options.listeners.public.iter().map(|listener| listener.addr.clone()).collect();
        let addr = addrs.join(" ");
        let delay = self.options.listeners.shutdown_delay;
        if !delay.is_zero() {
            vmkit::info!(
                "Waiting for {:.3}s before shutdown of http server \"{addr}\", so load balancers could re-route \
                 requests to other servers",
                delay.as_secs_f64()
            );
        }
        let stopping = async {
            for server in servers {
                server.delay_shutdown().await;
                if !delay.is_zero() {
                    vmkit::info!("Starting shutdown for http server \"{addr}\"");
                }
                server.stop().await.map_err(|limit| {
                    format!(
                        "cannot stop the webservice: cannot gracefully shutdown http server at \"{addr}\" in {:.3}s; \
                         probably, `-http.maxGracefulShutdownDuration` command-line flag value must be increased; \
                         error: context deadline exceeded",
                        limit.as_secs_f64()
                    )
                })?;
            }
            Ok(())
        };
        let mut stopping = std::pin::pin!(stopping);
        loop {
            tokio::select! {
                stopped = &mut stopping => return stopped,
                _ = signals.next() => {}
            }
        }
    }
}

/// Settings of the pools, made in every worker.
#[derive(Clone)]
struct PoolFactory {
    app_options: Options,
    resolver: Arc<Resolver>,
    stats: Arc<crate::upstream::pool::DialStats>,
}

impl PoolFactory {
    fn options(&self, workers: usize, control: Handle) -> PoolOptions {
        let backends = &self.app_options.backends;
        PoolOptions {
            max_idle: backends.max_idle_conns.div_ceil(workers.max(1)),
            idle_timeout: backends.idle_timeout.unwrap_or(Duration::from_secs(86_400 * 365)),
            ipv6: self.app_options.listeners.enable_tcp6,
            stats: self.stats.clone(),
            control,
            resolver: self.resolver.clone(),
        }
    }
}

fn config_defaults(options: &Options) -> ConfigDefaults {
    let backends = &options.backends;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    ConfigDefaults {
        load_balancing_policy: backends.load_balancing_policy.clone(),
        retry_status_codes: backends.retry_status_codes.clone(),
        merge_query_args: backends.merge_query_args.clone(),
        discover_backend_ips: backends.discover_ips,
        backend_tls: Arc::new(ClientTls {
            ca_file: given(&backends.tls.ca_file),
            cert_file: given(&backends.tls.cert_file),
            key_file: given(&backends.tls.key_file),
            server_name: given(&backends.tls.server_name),
            insecure_skip_verify: backends.tls.insecure_skip_verify,
        }),
        max_concurrent_requests_per_user: options.limits.max_concurrent_per_user,
        real_ip_header: options.auth.real_ip_header.clone(),
    }
}
