//! Opens the listeners of a process and starts its workers.
//!
//! Called when everything else is there, so that a broken config never opens a socket. Internal pages are served on
//! the public listeners unless there are internal ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use super::inherited::Inherited;
use super::options::ListenerOptions;
use super::running::Running;
use super::{Fatal, Listening, Service};
use crate::acme::Acme;
use crate::http_server::{Handler, Listener, Server, ServerMetrics, ServerOptions, WorkerPlan};
use crate::metrics::go_runtime::GoRuntime;
use crate::metrics::{Kind, clock};
use crate::net::listener::{ListenSocket, bind, looks_like_ipv6_warning};
use crate::net::unix::{self, SocketFiles};
use crate::tls::issued::IssuedCertificates;
use crate::tls::server_config::{ServerTls, ServerTlsOptions};

/// How often certificates and clocks are looked after.
const TICK: Duration = Duration::from_secs(1);
/// What stands for "no limit" where a time is needed.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);

impl Service {
    /// Opens all listeners, starts the workers and the tasks of the control plane. `make_handler` runs once in every
    /// worker; [`OnlyRoutes`](crate::http_server::OnlyRoutes) serves programs that have nothing but routes.
    pub fn listen<H: Handler>(
        mut self,
        make_handler: impl Fn(WorkerPlan) -> H + Clone + Send + 'static,
    ) -> Result<Running, Fatal> {
        self.add_page_writers();
        let mut inherited = Inherited::from_environment();
        // Removed again if anything fails from here on.
        let mut files = SocketFiles::default();
        let internal_apart = !self.options.listeners.internal.is_empty();
        let acme = self.options.listeners.acme.clone();
        let acme = acme.map(|options| Acme::open(options, self.registry.common())).transpose()?;
        let issued = acme.as_ref().map(Acme::certificates);
        let mut public = Vec::new();
        for options in &self.options.listeners.public {
            let mut listener =
                self.open_listener(options, !internal_apart, issued.as_ref(), &mut inherited, &mut files)?;
            listener.internal = !internal_apart;
            public.push(listener);
        }
        let mut internal = Vec::new();
        for options in &self.options.listeners.internal {
            let mut listener = self.open_listener(options, true, issued.as_ref(), &mut inherited, &mut files)?;
            listener.public = false;
            internal.push(listener);
        }
        inherited.close_rest();
        let with_tls = |listener: &Listener| Some((listener.flag_value.clone(), listener.tls.clone()?));
        let tls = public.iter().chain(&internal).filter_map(with_tls).collect();
        let metrics = ServerMetrics::register(self.registry.common());
        let go_runtime = self.go_runtime.clone();
        let make = move |plan| {
            tokio::task::spawn_local(measure_delay(go_runtime.clone()));
            make_handler(plan)
        };
        let mut options = self.server_options();
        options.acme_answers = acme.as_ref().map(Acme::http_answers);
        let options = Arc::new(options);
        let start = |workers: usize, listeners: Vec<Listener>| {
            let options = ServerOptions { workers, ..ServerOptions::clone(&options) };
            Server::start(options, listeners, metrics.clone(), Handle::current(), make.clone())
                .map_err(|error| format!("cannot start the workers: {error}"))
        };
        let has_plain_listener = public.iter().chain(&internal).any(|listener| listener.tls.is_none());
        let server = start(self.options.workers, public)?;
        // Nobody else fills it.
        let _ = self.listening.set(Listening { loads: server.loads(), tls });
        let internal = if internal.is_empty() { None } else { Some(start(1, internal)?) };
        if let Some(acme) = acme {
            tokio::spawn(self.cancel.clone().run_until_cancelled_owned(acme.run(has_plain_listener)));
        }
        self.start_pushes()?;
        tokio::spawn(self.cancel.clone().run_until_cancelled_owned(refresh_clock()));
        if let Some(reloads) = self.reloads.take() {
            tokio::spawn(self.cancel.clone().run_until_cancelled_owned(reloads));
        }
        Ok(Running {
            app: self.app.name,
            options: self.options,
            started: self.started,
            server,
            _internal: internal,
            socket_files: files,
            signals: self.signals,
            reload: self.reload,
            cancel: self.cancel,
            starting: self.starting,
        })
    }

    fn open_listener(
        &self,
        listener: &ListenerOptions,
        has_internal_routes: bool,
        issued: Option<&Arc<IssuedCertificates>>,
        inherited: &mut Inherited,
        files: &mut SocketFiles,
    ) -> Result<Listener, Fatal> {
        let listeners = &self.options.listeners;
        let tls = self.open_tls(listener, issued)?;
        let path = listener.addr.strip_prefix(unix::PREFIX);
        if !listeners.enable_tcp6
            && path.is_none()
            && let Some(warning) = looks_like_ipv6_warning(&listener.addr)
        {
            crate::warn!("{warning}");
        }
        let failed = |error: String| format!("cannot start http server at {}: {error}", listener.addr);
        let socket = match (inherited.take(&listener.addr), path) {
            (Some(socket), _) => socket,
            (None, None) => {
                bind(&listener.addr, listeners.enable_tcp6).map_err(|error| failed(error.to_string()))?.into()
            }
            (None, Some(path)) => {
                let (socket, file) = unix::bind(path).map_err(failed)?;
                files.push(file);
                socket.into()
            }
        };
        let local = match &socket {
            ListenSocket::Tcp(socket) => {
                socket.local_addr().map_or_else(|_| listener.addr.clone(), |addr| addr.to_string())
            }
            ListenSocket::Unix(_) => listener.addr.clone(),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        crate::info!("started server at {scheme}://{local}/");
        if has_internal_routes {
            crate::info!("pprof handlers are exposed at {scheme}://{local}/debug/pprof/");
        }
        let mut opened = Listener::new(socket, &listener.addr, tls, self.registry.common());
        opened.proxy_protocol = listener.use_proxy_protocol;
        Ok(opened)
    }

    fn open_tls(
        &self,
        listener: &ListenerOptions,
        issued: Option<&Arc<IssuedCertificates>>,
    ) -> Result<Option<Arc<ServerTls>>, Fatal> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let options = ServerTlsOptions {
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            min_version: tls.min_version.clone(),
            cipher_suites: self.options.listeners.tls_cipher_suites.clone(),
            client_ca: tls.client_auth.as_ref().map(|auth| auth.ca_file.clone()),
            alpn: self.protocols(),
        };
        let has_files = !options.cert_file.is_empty() && !options.key_file.is_empty();
        let tls = ServerTls::load_with(options, issued.cloned()).map_err(|error| match has_files {
            true => error.to_string(),
            false => format!("{error}; -tls needs -tlsCertFile and -tlsKeyFile, or -tlsAutocertHosts"),
        })?;
        if !tls.unavailable_cipher_suites().is_empty() {
            crate::warn!("cipher suites that are not available here: {:?}", tls.unavailable_cipher_suites());
        }
        let tls = Arc::new(tls);
        self.show_expiry(&listener.addr, tls.clone());
        tokio::spawn(self.cancel.clone().run_until_cancelled_owned(refresh_certificate(tls.clone())));
        Ok(Some(tls))
    }

    /// What TLS listeners offer (RFC 7301), best first.
    fn protocols(&self) -> Vec<Vec<u8>> {
        let http1 = [b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        let http2 = self.options.listeners.http2.on_tls.then(|| b"h2".to_vec());
        http2.into_iter().chain(http1).collect()
    }

    /// Adds the end of validity of everything that the listener shows to the metrics page.
    fn show_expiry(&self, addr: &str, tls: Arc<ServerTls>) {
        let addr = addr.to_owned();
        self.registry.add_writer(move |page| {
            const FAMILY: &str = "vm_tls_cert_expiry_timestamp_seconds";
            for served in tls.served() {
                page.family(FAMILY, Kind::Gauge);
                let labels = [("addr", addr.as_str()), ("cert", served.name.as_str())];
                page.labeled(FAMILY, &labels, served.facts.not_after as f64);
            }
        });
    }

    fn server_options(&mut self) -> ServerOptions {
        let (http, access, listeners) = (&self.options.http, &self.options.access, &self.options.listeners);
        let page = self.page.clone();
        ServerOptions {
            workers: self.options.workers,
            path_prefix: http.path_prefix.clone(),
            disable_cors: http.disable_cors,
            disable_keep_alive: listeners.disable_keep_alive,
            disable_compression: http.disable_response_compression,
            server_hostname: (!http.disable_server_hostname).then(hostname),
            security_headers: [http.hsts.clone(), http.frame_options.clone(), http.csp.clone()],
            conn_timeout: listeners.conn_timeout.unwrap_or_default(),
            idle_conn_timeout: listeners.idle_timeout.unwrap_or(FOR_EVER),
            write_limit: listeners.write_timeout,
            max_header_bytes: listeners.max_header_bytes,
            http2: listeners.http2,
            max_connections: listeners.max_connections,
            max_connections_per_address: listeners.max_connections_per_address,
            max_graceful_shutdown: listeners.max_graceful_shutdown,
            shutdown_delay: listeners.shutdown_delay,
            gate: access.gate(),
            metrics_key: access.metrics_key.clone(),
            flags_key: access.flags_key.clone(),
            pprof_key: access.pprof_key.clone(),
            metrics_page: Arc::new(move || page.get()),
            tasks_page: Arc::new(tasks_page(Handle::current())),
            flags_page: self.shown.page.clone(),
            cmdline: self.shown.cmdline.clone(),
            app_routes: Arc::new(std::mem::take(&mut self.routes)),
            acme_answers: None,
        }
    }
}

/// Reads the certificate of a listener again about once a second. A failure keeps the last good one and is logged once.
async fn refresh_certificate(tls: Arc<ServerTls>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let read = {
            let tls = tls.clone();
            tokio::task::spawn_blocking(move || tls.refresh().map(drop))
        };
        if let Ok(Err(error)) = read.await {
            crate::error!("{error}; the last good certificate stays in use");
        }
    }
}

/// Keeps the clock of the summaries.
async fn refresh_clock() {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        clock::refresh();
    }
}

/// Measures how late a worker runs what is due.
async fn measure_delay(go_runtime: Arc<GoRuntime>) {
    loop {
        let due = tokio::time::Instant::now() + TICK;
        tokio::time::sleep_until(due).await;
        go_runtime.record_scheduling_delay(due.elapsed());
    }
}

/// What the control plane and every thread are doing, in the words of SIGQUIT.
fn tasks_page(control: Handle) -> impl Fn() -> bytes::Bytes {
    move || {
        let tasks = control.metrics().num_alive_tasks();
        format!("control plane: {tasks} tasks\n{}", crate::process::threads::report()).into()
    }
}

/// Name of this machine, for `X-Server-Hostname`.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
