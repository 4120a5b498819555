//! Starts and stops vmagent: the only file that knows all parts, in the order in which they depend on each other.
//!
//! ```text
//! flags ► remote write (queues on disk) ► scrape config ► discovery ► scrapers ► listeners ► signal
//!       ► listeners end ► scrapers end ► what is left is sent or written to disk ► end
//! ```
//!
//! Config first, then sockets, so that a broken config never opens one. The control plane runs on the main thread,
//! scrapes on threads of their own, requests on the workers of the server.

mod config_file;
mod dry_run;
mod reload;
mod routes;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use vmkit::blocking::off_thread;
use vmkit::http_server::OnlyRoutes;
use vmkit::metrics::app::allowed_memory;
use vmkit::metrics::resources::SystemRoot;
use vmkit::net::dns::Resolver;
use vmkit::service::options::AllowedMemory;
use vmkit::service::{Fatal, Service};

use crate::discovery::{Discovery, DiscoveryParts};
use crate::http_identity::Identities;
use crate::options::{Check, Options};
use crate::pages::relabel_debug::RemoteWriteRules;
use crate::pages::routes::PageParts;
use crate::remote_write::{RemoteWrite, RuleSets, Sink};
use crate::scrape::Scraping;
use crate::scrape::connection::Network;
use crate::scrape::manager::{Manager, ManagerHandle};
use crate::scrape::metrics::ScrapeMetrics;
use crate::scrape::state::ScrapeState;
use crate::scrape::worker::Workers;

/// Longest time for writing the rest to disk.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What vmagent was started with.
pub type Start = vmkit::service::Start<Options>;

/// Runs until a signal ends the process, or only checks the configs.
///
/// # Errors
/// What keeps the process from starting or from ending in order.
pub async fn run(start: Start) -> Result<(), Fatal> {
    match start.options.check {
        Check::Nothing => serve(start).await,
        check => dry_run::run(&start, check == Check::Everything).await,
    }
}

async fn serve(start: Start) -> Result<(), Fatal> {
    let mut service = Service::open(&start).await?;
    let mut loader = reload::ConfigLoader::new(&start, &service.client);
    let config = Arc::new(loader.load().await?);
    config.skipped.iter().for_each(|job| vmkit::error!("{job}"));
    let mut rules = rules::RuleLoader::new(&start, &service);
    let remote_write = Arc::new(start_remote_write(&start, &service, rules.load().await?)?);
    service.prev_shutdown_unclean = remote_write.is_after_crash();
    let sink = remote_write.sink().clone();
    let (scraping, manager, pages) = start_scraping(&start, &service, &sink, rules.shown())?;
    let has_config = !start.options.config.path.is_empty();
    if has_config {
        let state = Arc::clone(&scraping.state);
        service.registry.add_writer(move |page| state.write_metrics(page));
    }
    scraping.config.store(Arc::clone(&config));
    manager.apply(config);
    let metrics = has_config.then(|| reload::ReloadMetrics::register(service.registry.common()));
    let on_demand = format!("reloading -promscrape.config={}", loader.shown());
    rules.started(Arc::downgrade(&remote_write));
    let controller = reload::Controller::new(loader, manager.clone(), Arc::clone(&scraping), metrics, rules);
    routes::add_reload(&mut service, &start);
    service.reload_with(start.options.config.check_interval, on_demand, controller);
    routes::add(&mut service, &start, pages, &sink);
    let running = service.listen(|_| OnlyRoutes)?;
    running
        .run(async || {
            manager.stop().await;
            drop(sink);
            stop_remote_write(remote_write).await;
        })
        .await
}

fn start_remote_write(start: &Start, service: &Service, rules: RuleSets) -> Result<RemoteWrite, Fatal> {
    let (bytes, percent) = match start.service.metrics.allowed_memory {
        AllowedMemory::Bytes(bytes) => (bytes, 0.0),
        AllowedMemory::Percent(percent) => (0, percent),
    };
    let memory = allowed_memory(SystemRoot::default().memory_limit(), bytes, percent);
    RemoteWrite::start(&start.options.remote_write, rules, memory, service.registry.common())
}

/// Sends or stores what is left, on a thread that may block.
async fn stop_remote_write(remote_write: Arc<RemoteWrite>) {
    let Ok(remote_write) = Arc::try_unwrap(remote_write) else {
        vmkit::error!("remote write is still in use; what is in memory may be lost");
        return;
    };
    if off_thread(STOP_LIMIT, move || remote_write.stop()).await.is_err() {
        vmkit::error!("remote write has not stopped in {STOP_LIMIT:?}");
    }
}

fn start_scraping(
    start: &Start,
    service: &Service,
    sink: &Sink,
    remote_rules: Arc<ArcSwap<RemoteWriteRules>>,
) -> Result<(Arc<Scraping>, ManagerHandle, PageParts), Fatal> {
    let registry = service.registry.common();
    let options = &start.options;
    let resolver = Arc::new(Resolver::from_system());
    let metrics = Arc::new(ScrapeMetrics::register(registry));
    let parts = DiscoveryParts {
        environment: Arc::new(start.variables.clone()),
        resolver: Arc::clone(&resolver),
        metrics: Arc::clone(registry),
    };
    let discovery = Arc::new(Discovery::new(options.discovery.clone(), parts));
    let (control, ipv6, of_network) = (Handle::current(), options.scrape.ipv6, Arc::clone(&metrics));
    let network = Arc::new(move || Network {
        resolver: Arc::clone(&resolver),
        control: control.clone(),
        ipv6,
        metrics: Arc::clone(&of_network),
    });
    let (identities, of_workers) = (Arc::<Identities>::default(), Arc::clone(&network));
    let workers = Workers::start(options.scrape_threads, &options.scrape, sink, &identities, move || of_workers())
        .map_err(|error| format!("cannot start the threads that scrape: {error}"))?;
    let scraping = Arc::new(Scraping {
        state: Arc::new(ScrapeState::default()),
        config: ArcSwap::default(),
        discovery: Arc::clone(&discovery),
        options: Arc::clone(&options.scrape),
    });
    let pages = PageParts {
        scraping: Arc::clone(&scraping),
        network,
        identities,
        remote_rules,
        member_url: start.flags.text("promscrape.cluster.memberURLTemplate").to_owned(),
        config_key: options.config_key.clone(),
        version: start.app.version.clone(),
    };
    let (options, state) = (Arc::clone(&options.scrape), Arc::clone(&scraping.state));
    let manager = Manager::start(options, metrics, state, discovery, workers);
    Ok((scraping, manager, pages))
}
