//! A process of the family from its command line to its end: what every `main.rs` needs besides its own work.
//!
//! ```text
//! main: flags ► logger ► Start ► Service::open ► (the program builds its parts, adds routes and a reloader)
//!       ► Service::listen ► Running::run ► signal ► drain ► end
//! ```
//!
//! The control plane is one current-thread runtime on the main thread; requests run on the workers of
//! [`crate::http_server`]. Nothing here blocks that thread: files are read by [`crate::blocking`], so that a signal is
//! always heard. This module knows no program's name but through [`AppInfo`].

pub mod flags;
mod inherited;
mod listen;
mod metrics_page;
pub mod options;
mod push;
mod reload;
mod running;
mod secrets;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::env_template::Environment;
use crate::flags::{AppInfo, FlagDef, FlagExit, FlagSet};
use crate::http_client::Client;
use crate::http_server::{AppRoute, WorkerLoads};
use crate::logger::LoggerOptions;
use crate::metrics::go_runtime::GoRuntime;
use crate::metrics::{CachedPage, Registry};
use crate::process::signals::{Signals, end_on_stop};
use crate::tls::client_config::ClientTlsOptions;
use crate::tls::server_config::ServerTls;

pub use options::ServiceOptions;
pub use reload::{Looks, ReloadHandle, Reloader, Trigger};
pub use running::Running;

/// A text that ends the process with code 255.
pub type Fatal = String;

/// Everything a process was started with.
#[derive(Debug)]
pub struct Start<O> {
    /// Name and version of the program.
    pub app: AppInfo,
    /// Flags as given, for the pages that show them.
    pub flags: FlagSet,
    /// Meaning of the flags that all programs share.
    pub service: ServiceOptions,
    /// Meaning of the program's own flags.
    pub options: O,
    /// Environment variables, for `%{NAME}` in configs.
    pub variables: Environment,
}

/// Runs a program: parses the command line, starts the log, then drives `run` on the control plane to its end.
///
/// `own` are the program's own flags beside [`flags::COMMON`], `options` gives them their meaning and names all
/// problems at once. An error of `run` is logged and ends the process with code 255.
pub fn main<O>(
    app: AppInfo,
    own: &[&[FlagDef]],
    options: impl FnOnce(&FlagSet) -> Result<O, Vec<String>>,
    run: impl AsyncFnOnce(Start<O>) -> Result<(), Fatal>,
) -> ! {
    crate::process::descriptors::use_all();
    let start = match start(app, own, options) {
        Ok(start) => start,
        Err(exit) => crate::process::exit::leave(&exit),
    };
    std::panic::set_hook(Box::new(|panic| {
        crate::logger::log(crate::log_site!(crate::logger::Level::Panic), format_args!("{panic}"));
    }));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => crate::fatal!("cannot start the control plane: {error}"),
    };
    // The runtime is never dropped: that would wait for reads of files that may hang.
    match runtime.block_on(run(start)) {
        Ok(()) => crate::process::exit::with_code(0),
        Err(message) => {
            // Each problem of a config is a line of the log.
            let (before, last) = message.rsplit_once('\n').map_or((None, &*message), |(all, last)| (Some(all), last));
            for line in before.iter().flat_map(|lines| lines.lines()) {
                crate::logger::log(crate::log_site!(crate::logger::Level::Fatal), format_args!("{line}"));
            }
            crate::fatal!("{last}")
        }
    }
}

fn start<O>(
    app: AppInfo,
    own: &[&[FlagDef]],
    read_options: impl FnOnce(&FlagSet) -> Result<O, Vec<String>>,
) -> Result<Start<O>, FlagExit> {
    let variables = Environment::from_process();
    let args: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let flags = FlagSet::parse(&[flags::COMMON, own].concat(), &app, args, &variables)?;
    crate::logger::init(&LoggerOptions::from_flags(&flags))?;
    crate::logger::log_start(&app.version, &flags);
    for notice in flags.notices() {
        match notice.is_mistake {
            true => crate::warn!("{}", notice.text),
            false => crate::info!("{}", notice.text),
        }
    }
    if let Some(warning) = options::unused_tls_files(&flags) {
        crate::warn!("{warning}");
    }
    match (ServiceOptions::from_flags(&flags), read_options(&flags)) {
        (Ok(service), Ok(options)) => Ok(Start { app, flags, service, options, variables }),
        (service, options) => {
            let problems: Vec<_> = [service.err(), options.err()].into_iter().flatten().flatten().collect();
            crate::fatal!("{}", problems.join("; "))
        }
    }
}

/// What a process is made of before it listens.
pub struct Service {
    app: AppInfo,
    options: ServiceOptions,
    started: Instant,
    /// What `vm_app_prev_shutdown_unclean` shows; programs that leave a mark while they run say so.
    pub prev_shutdown_unclean: bool,
    /// Where all metrics of the process are shown.
    pub registry: Arc<Registry>,
    /// The HTTP client of the control plane, without a TLS identity of its own.
    pub client: Arc<Client>,
    go_runtime: Arc<GoRuntime>,
    page: Arc<CachedPage>,
    signals: Signals,
    routes: Vec<AppRoute>,
    reload: ReloadHandle,
    /// The task that reloads, once the program has said how.
    reloads: Option<reload::ReloadTask>,
    /// What the pages show of the flags.
    shown: metrics_page::ShownFlags,
    cancel: CancellationToken,
    /// Ends the process on a stop signal while it starts.
    starting: AbortHandle,
    /// What pages may ask for once the process listens.
    listening: Arc<OnceLock<Listening>>,
}

/// What a process listens with.
#[derive(Debug, Default)]
pub struct Listening {
    /// Connections of the workers that serve users.
    pub loads: WorkerLoads,
    /// Address and TLS of the listeners that have any.
    pub tls: Vec<(String, Arc<ServerTls>)>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("app", &self.app.name).finish_non_exhaustive()
    }
}

impl Service {
    /// Says that the program starts, catches signals and reads secrets that live in files or behind URLs.
    pub async fn open<O>(start: &Start<O>) -> Result<Self, Fatal> {
        let started = Instant::now();
        let options = start.service.clone();
        let no_signals = |error: std::io::Error| format!("cannot listen to signals: {error}");
        let starting = tokio::spawn(end_on_stop().map_err(no_signals)?).abort_handle();
        let signals = Signals::listen().map_err(no_signals)?;
        crate::info!("starting {} at {}...", start.app.name, running::shown_addrs(&options));
        let registry = Arc::new(Registry::new());
        let client = Arc::new(Client::new(ClientTlsOptions::default()));
        secrets::keep_current(start.flags.passwords_from_outside(), &client).await;
        let go_runtime = Arc::new(GoRuntime::new(options.workers, concat!("rust", env!("CARGO_PKG_RUST_VERSION"))));
        Ok(Self {
            app: start.app.clone(),
            started,
            prev_shutdown_unclean: false,
            page: Arc::new(CachedPage::new(registry.clone(), options.metrics.expose_metadata)),
            registry,
            client,
            go_runtime,
            signals,
            routes: Vec::new(),
            reload: ReloadHandle::new(),
            reloads: None,
            shown: metrics_page::ShownFlags::new(&start.flags),
            cancel: CancellationToken::new(),
            starting,
            listening: Arc::default(),
            options,
        })
    }

    /// Adds a route of the program; earlier ones go first.
    pub fn route(&mut self, route: AppRoute) {
        self.routes.push(route);
    }

    /// For what else asks for reloads than signals, the interval and `/-/reload`.
    pub fn reload_handle(&self) -> ReloadHandle {
        self.reload.clone()
    }

    /// Is filled when the process listens.
    pub fn listening(&self) -> Arc<OnceLock<Listening>> {
        self.listening.clone()
    }

    /// Ends when the process begins to stop.
    pub fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }
}
