//! Reading the scrape config again: at the start, on SIGHUP, on `/-/reload`, from time to time.
//!
//! A config that cannot be read or parsed changes nothing; the last good one goes on. One that means the same as before
//! restarts nothing. Files are read and parsed on threads that may block.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use vmkit::blocking::off_thread;
use vmkit::config_source::ConfigSource;
use vmkit::env_template::Environment;
use vmkit::http_client::Client;
use vmkit::metrics::{Counter, Gauge, Set};
use vmkit::service::{Reloader, Trigger};

use super::Start;
use super::config_file::read_file;
use super::rules::RuleLoader;
use crate::config::{JobDefaults, ScrapeConfig, load_text};
use crate::scrape::Scraping;
use crate::scrape::manager::ManagerHandle;

/// Time for reading and parsing all files of a config.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// Reads the scrape config.
#[derive(Debug)]
pub(super) struct ConfigLoader {
    path: String,
    source: ConfigSource,
    client: Arc<Client>,
    variables: Environment,
    defaults: JobDefaults,
}

impl ConfigLoader {
    pub(super) fn new(start: &Start, client: &Arc<Client>) -> Self {
        let config = &start.options.config;
        Self {
            path: config.path.clone(),
            source: ConfigSource::new(&config.path, client),
            client: Arc::clone(client),
            variables: start.variables.clone(),
            defaults: config.defaults.clone(),
        }
    }

    /// The path as it may be shown, in quotes.
    pub(super) fn shown(&self) -> String {
        self.source.shown()
    }

    /// The config as it is now; an empty one when there is no file.
    pub(super) async fn load(&mut self) -> Result<ScrapeConfig, String> {
        if self.path.is_empty() {
            return Ok(ScrapeConfig::default());
        }
        let shown = self.shown();
        let failed = |cause: String| format!("cannot read -promscrape.config={shown}: {cause}");
        let bytes = self.source.read().await.map_err(failed)?;
        let (path, variables, defaults) = (self.path.clone(), self.variables.clone(), self.defaults.clone());
        let (client, runtime) = (Arc::clone(&self.client), Handle::current());
        let parse = move || {
            let read = |name: &str| read_file(name, &client, &runtime);
            load_text(&path, &bytes, &read, &variables, &defaults).map_err(|error| error.to_string())
        };
        off_thread(LOAD_LIMIT, parse).await.map_err(|error| error.to_string()).and_then(|result| result).map_err(failed)
    }
}

/// Figures about reloads.
#[derive(Debug)]
pub(super) struct ReloadMetrics {
    reloads: Arc<Counter>,
    errors: Arc<Counter>,
    successful: Arc<Gauge>,
    success_time: Arc<Gauge>,
}

impl ReloadMetrics {
    /// Registers them after a good start.
    pub(super) fn register(set: &Set) -> Self {
        let metrics = Self {
            reloads: set.counter("vm_promscrape_config_reloads_total"),
            errors: set.counter("vm_promscrape_config_reloads_errors_total"),
            successful: set.gauge("vm_promscrape_config_last_reload_successful"),
            success_time: set.gauge("vm_promscrape_config_last_reload_success_timestamp_seconds"),
        };
        metrics.succeeded();
        metrics
    }

    fn succeeded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.successful.set(1);
        self.success_time.set(i64::try_from(now).unwrap_or(0));
    }
}

/// Puts changed configs in force.
pub(super) struct Controller {
    loader: ConfigLoader,
    manager: ManagerHandle,
    scraping: Arc<Scraping>,
    metrics: Option<ReloadMetrics>,
    rules: RuleLoader,
}

impl Controller {
    pub(super) fn new(
        loader: ConfigLoader,
        manager: ManagerHandle,
        scraping: Arc<Scraping>,
        metrics: Option<ReloadMetrics>,
        rules: RuleLoader,
    ) -> Self {
        Self { loader, manager, scraping, metrics, rules }
    }

    async fn reload_scrape_config(&mut self, trigger: Trigger) -> Result<(), String> {
        let Some(metrics) = &self.metrics else { return Ok(()) };
        let before = self.scraping.config.load_full();
        let mut looks = trigger.looks();
        let (found, is_known) = loop {
            let found = self.loader.load().await;
            let is_known = found.as_ref().is_ok_and(|config| config.means_the_same(&before));
            if let Some(found) = looks.settled(found, is_known).await {
                break (found, is_known);
            }
        };
        let config = match found {
            Ok(config) => Arc::new(config),
            Err(problem) => {
                metrics.errors.inc();
                metrics.successful.set(0);
                vmkit::error!("{problem}; continuing with the last good config");
                return Err(problem);
            }
        };
        metrics.succeeded();
        if is_known {
            vmkit::info!("nothing changed in {}", self.loader.shown());
            // Comments may have changed; pages show them.
            self.scraping.config.store(config);
            return Ok(());
        }
        metrics.reloads.inc();
        config.skipped.iter().for_each(|job| vmkit::error!("{job}"));
        self.scraping.config.store(Arc::clone(&config));
        self.manager.apply(config);
        vmkit::info!("reloaded -promscrape.config={}", self.loader.shown());
        Ok(())
    }
}

impl Reloader for Controller {
    async fn reload(&mut self, trigger: Trigger) -> Result<(), String> {
        let (scraping, rules) = (self.reload_scrape_config(trigger).await, self.rules.reload(trigger).await);
        scraping.and(rules)
    }
}
