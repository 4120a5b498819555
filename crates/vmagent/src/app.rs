//! Starts and stops vmagent: the only file that knows all parts, in the order in which they depend on each other.
//!
//! ```text
//! flags ► remote write (queues on disk) ► scrape config ► discovery ► scrapers ► listeners ► signal
//!       ► listeners end ► scrapers end ► what is left is sent or written to disk ► end
//! ```
//!
//! Config first, then sockets, so that a broken config never opens one. The control plane runs on the main thread,
//! scrapes on threads of their own, requests on the workers of the server.

mod dry_run;
mod reload;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use vmkit::http_server::{AppRoute, OnlyRoutes, Reply};
use vmkit::net::dns::Resolver;
use vmkit::service::{Fatal, Service};

use crate::discovery::{Discovery, DiscoveryParts};
use crate::options::{Check, Options};
use crate::remote_write::Sink;
use crate::scrape::Scraping;
use crate::scrape::connection::Network;
use crate::scrape::http_identity::Identities;
use crate::scrape::manager::{Manager, ManagerHandle};
use crate::scrape::metrics::ScrapeMetrics;
use crate::scrape::state::ScrapeState;
use crate::scrape::worker::Workers;

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
    let (sink, intake) = Sink::new(32 << 20);
    std::thread::spawn(move || discard(intake));
    let mut loader = reload::ConfigLoader::new(&start, &service.client);
    let config = Arc::new(loader.load().await?);
    config.skipped.iter().for_each(|job| vmkit::error!("{job}"));
    let (scraping, manager) = start_scraping(&start, &service, &sink)?;
    let has_config = !start.options.config.path.is_empty();
    if has_config {
        let state = Arc::clone(&scraping.state);
        service.registry.add_writer(move |page| state.write_metrics(page));
    }
    scraping.config.store(Arc::clone(&config));
    manager.apply(config);
    let metrics = has_config.then(|| reload::ReloadMetrics::register(service.registry.common()));
    let on_demand = format!("reloading -promscrape.config={}", loader.shown());
    let controller = reload::Controller::new(loader, manager.clone(), Arc::clone(&scraping), metrics);
    service.reload_with(start.options.config.check_interval, on_demand, controller);
    add_routes(&mut service, &scraping);
    let running = service.listen(|_| OnlyRoutes)?;
    running
        .run(async || {
            manager.stop().await;
            drop(sink);
        })
        .await
}

fn discard(mut intake: crate::remote_write::Intake) {
    while let Some((block, _room)) = intake.blocking_recv() {
        intake.recycle(block);
    }
}

fn start_scraping(start: &Start, service: &Service, sink: &Sink) -> Result<(Arc<Scraping>, ManagerHandle), Fatal> {
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
    let network = move || Network {
        resolver: Arc::clone(&resolver),
        control: control.clone(),
        ipv6,
        metrics: Arc::clone(&of_network),
    };
    let workers = Workers::start(options.scrape_threads, &options.scrape, sink, &Arc::<Identities>::default(), network)
        .map_err(|error| format!("cannot start the threads that scrape: {error}"))?;
    let scraping = Arc::new(Scraping {
        state: Arc::new(ScrapeState::default()),
        config: ArcSwap::default(),
        discovery: Arc::clone(&discovery),
        options: Arc::clone(&options.scrape),
    });
    let (options, state) = (Arc::clone(&options.scrape), Arc::clone(&scraping.state));
    let manager = Manager::start(options, metrics, state, discovery, workers);
    Ok((scraping, manager))
}

fn add_routes(service: &mut Service, scraping: &Arc<Scraping>) {
    let discovery = Arc::clone(&scraping.discovery);
    service.route(AppRoute::new("/ready", move |_| {
        let pending = discovery.pending_kinds();
        Box::pin(async move {
            match pending {
                0 => Reply::text(200, "OK"),
                left => Reply::error(425, &format!("waiting for scrapes to init, left: {left}")),
            }
        })
    }));
    let reload = service.reload_handle();
    service.route(AppRoute::new("/prometheus/-/reload", move |_| {
        let reload = reload.clone();
        Box::pin(async move {
            match reload.request_and_wait().await {
                Ok(()) => Reply::text(200, ""),
                Err(problems) => Reply::error(500, &problems),
            }
        })
    }));
}
