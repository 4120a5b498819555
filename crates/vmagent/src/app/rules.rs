//! Relabeling rules of remote write: read at the start and again with each reload.
//!
//! A file that cannot be read or parsed keeps the rules that were good; at the start it keeps the process from starting.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use vmkit::blocking::off_thread;
use vmkit::env_template::Environment;
use vmkit::http_client::Client;
use vmkit::metrics::{Counter, Gauge};
use vmkit::service::{Service, Trigger};

use super::Start;
use super::config_file::read_file;
use crate::config::parse_rules;
use crate::pages::relabel_debug::RemoteWriteRules;
use crate::relabel::RelabelRules;
use crate::remote_write::{RemoteWrite, RuleSets};

/// Time for reading all files.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// Reads the rules.
pub(super) struct RuleLoader {
    global: String,
    by_url: Vec<String>,
    variables: Environment,
    client: Arc<Client>,
    /// Who uses the rules, once it runs.
    target: Weak<RemoteWrite>,
    /// Only when there is a file.
    metrics: Option<Metrics>,
    /// How pages name the remotes.
    names: Vec<String>,
    shown: Arc<ArcSwap<RemoteWriteRules>>,
}

/// The file of all remotes, and those of each, in order of the URLs.
type Texts = (String, Vec<String>);

struct Metrics {
    reloads: Arc<Counter>,
    errors: Arc<Counter>,
    successful: Arc<Gauge>,
    success_time: Arc<Gauge>,
}

impl RuleLoader {
    pub(super) fn new(start: &Start, service: &Service) -> Self {
        let global = start.flags.text("remoteWrite.relabelConfig").to_owned();
        let by_url = start.flags.texts("remoteWrite.urlRelabelConfig").to_vec();
        let set = service.registry.common();
        let has_files = !global.is_empty() || by_url.iter().any(|file| !file.is_empty());
        let metrics = has_files.then(|| Metrics {
            reloads: set.counter("vmagent_relabel_config_reloads_total"),
            errors: set.counter("vmagent_relabel_config_reloads_errors_total"),
            successful: set.gauge("vmagent_relabel_config_last_reload_successful"),
            success_time: set.gauge("vmagent_relabel_config_last_reload_success_timestamp_seconds"),
        });
        let (variables, client) = (start.variables.clone(), Arc::clone(&service.client));
        let names = start.options.remote_write.urls.iter().map(|url| url.name.clone()).collect();
        let loader =
            Self { global, by_url, variables, client, target: Weak::new(), metrics, names, shown: Arc::default() };
        loader.show(Texts::default());
        loader
    }

    /// The files in force, for pages.
    pub(super) fn shown(&self) -> Arc<ArcSwap<RemoteWriteRules>> {
        Arc::clone(&self.shown)
    }

    fn show(&self, (global, texts): Texts) {
        let of = |(index, name): (usize, &String)| (name.clone(), texts.get(index).cloned().unwrap_or_default());
        let by_url = self.names.iter().enumerate().map(of).collect();
        self.shown.store(Arc::new(RemoteWriteRules { global, by_url }));
    }

    /// Says who gets reloaded rules.
    pub(super) fn started(&mut self, target: Weak<RemoteWrite>) {
        self.target = target;
    }

    /// The rules as they are now.
    pub(super) async fn load(&mut self) -> Result<RuleSets, String> {
        let (rules, texts) = self.read().await?;
        self.show(texts);
        if let Some(metrics) = &self.metrics {
            metrics.succeeded();
        }
        Ok(rules)
    }

    async fn read(&self) -> Result<(RuleSets, Texts), String> {
        if self.metrics.is_none() {
            return Ok(Default::default());
        }
        let (global, by_url, variables) = (self.global.clone(), self.by_url.clone(), self.variables.clone());
        let (client, runtime) = (Arc::clone(&self.client), Handle::current());
        let load = move || {
            let rules = |flag: &str, file: &str| match file {
                "" => Ok((RelabelRules::default(), String::new())),
                file => read_file(file, &client, &runtime)
                    .and_then(|bytes| {
                        let rules = parse_rules(file, &bytes, &variables)?;
                        Ok((rules, variables.expand(&String::from_utf8_lossy(&bytes))))
                    })
                    .map_err(|cause| format!("cannot load -{flag}={:?}: {cause}", vmkit::redact::url(file))),
            };
            let (global, global_text) = rules("remoteWrite.relabelConfig", &global)?;
            let by_url = by_url.iter().map(|file| rules("remoteWrite.urlRelabelConfig", file));
            let (by_url, texts) = by_url.collect::<Result<Vec<_>, String>>()?.into_iter().unzip();
            Ok((RuleSets { global, by_url }, (global_text, texts)))
        };
        off_thread(LOAD_LIMIT, load).await.map_err(|error| error.to_string())?
    }

    /// Puts changed rules in force.
    pub(super) async fn reload(&mut self, trigger: Trigger) -> Result<(), String> {
        let Some(metrics) = &self.metrics else { return Ok(()) };
        let Some(target) = self.target.upgrade() else { return Ok(()) };
        let before = target.rules();
        let mut looks = trigger.looks();
        let (found, is_known) = loop {
            let found = self.read().await;
            let is_known = found.as_ref().is_ok_and(|(rules, _)| *rules == *before);
            if let Some(found) = looks.settled(found, is_known).await {
                break (found, is_known);
            }
        };
        let (rules, texts) = match found {
            Ok(read) => read,
            Err(problem) => {
                // Upstream counts tries here, not changes.
                metrics.reloads.inc();
                metrics.errors.inc();
                metrics.successful.set(0);
                vmkit::error!("{problem}; continuing with the last good rules");
                return Err(problem);
            }
        };
        metrics.succeeded();
        self.show(texts);
        if !is_known {
            metrics.reloads.inc();
            target.set_rules(rules);
            vmkit::info!("reloaded the relabeling rules of remote write");
        }
        Ok(())
    }
}

impl Metrics {
    fn succeeded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.successful.set(1);
        self.success_time.set(i64::try_from(now).unwrap_or(0));
    }
}
