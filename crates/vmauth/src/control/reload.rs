//! Loads the config at start, on SIGHUP, on `/-/reload` and when its file is due (docs/config-reload.md).
//!
//! Read all files → same bytes? → parse → fetch keys → build → swap → retire the old generation → metrics. Files that the
//! config names count as part of it: when one of them has changed, an unchanged config is loaded again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vmkit::blocking::Slot;
use vmkit::config_files::{ConfigFile, ConfigFiles};
use vmkit::env_template::Environment as Variables;
use vmkit::go_text::{os_error, quote};
use vmkit::http_client::Client;
use vmkit::metrics::{Counter, Gauge, Registry, Set};
use vmkit::service::Trigger;
use vmkit::tls::client_config::ClientTls;
use vmkit::units::counted;

use super::history::{History, Loaded};
use super::named_files::NamedFiles;
use crate::config::{self, AuthConfig, ConfigDefaults, Inputs};
use crate::generation::{BuildContext, Generation, Serving};
use crate::lint::{self, Finding};
use crate::oidc::Issuers;

/// Time for reading key files and certificates, for parsing and building.
const FILES_LIMIT: Duration = Duration::from_secs(30);

/// Warnings about a config that a load logs; the rest is counted.
const MAX_DOUBTS: usize = 10;

/// Counters of reloads (docs/reference/metrics.md).
#[derive(Debug)]
pub struct ReloadMetrics {
    total: Arc<Counter>,
    errors: Arc<Counter>,
    successful: Arc<Gauge>,
    success_timestamp: Arc<Counter>,
    file_changes: Arc<Counter>,
    file_errors: Arc<Counter>,
}

impl ReloadMetrics {
    /// Registers them in the set of the process.
    pub fn register(set: &Set) -> Self {
        Self {
            total: set.counter("vmauth_config_last_reload_total"),
            errors: set.counter("vmauth_config_last_reload_errors_total"),
            successful: set.gauge("vmauth_config_last_reload_successful"),
            success_timestamp: set.counter("vmauth_config_last_reload_success_timestamp_seconds"),
            file_changes: set.counter("vmauth_config_file_changes_total"),
            file_errors: set.counter("vmauth_config_file_errors_total"),
        }
    }

    fn succeeded(&self) {
        self.successful.set(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.success_timestamp.set(now);
    }
}

/// Why a config was not loaded; the text names file and place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The bytes could not be read.
    #[error("failed to read -auth.config={0}: {1}")]
    Read(String, String),
    /// There is nothing in the file, while there was before.
    #[error("-auth.config={0} is empty; write {{}} into it if nobody is to be let in")]
    Empty(String),
    /// The same for one of many files.
    #[error("{1} of -auth.config={0} is empty; remove it or write {{}} into it if its users are to go")]
    EmptyFile(String, String),
    /// The bytes are no valid config.
    #[error("failed to parse -auth.config={0}: {1}")]
    Parse(String, String),
}

/// Reads configs and makes generations of them.
pub struct Controller {
    /// Where the config is read from.
    pub source: ConfigFiles,
    /// `-auth.config`
    pub path: String,
    /// Values of `%{NAME}`.
    pub variables: Variables,
    /// What flags decide.
    pub defaults: ConfigDefaults,
    /// Which files the config may name.
    pub named_files: NamedFiles,
    /// What generations are built with.
    pub environment: Arc<BuildContext>,
    /// Keys of identity providers, kept over reloads.
    pub issuers: Issuers,
    /// Fetches what is given by URL.
    pub client: Arc<Client>,
    /// Where per-user metrics are shown.
    pub registry: Arc<Registry>,
    /// Counters of reloads.
    pub metrics: ReloadMetrics,
    /// The last loads.
    pub history: Arc<History>,
    /// What the serving generation was made from; `None` before the first load.
    pub loaded: Option<Arc<Loaded>>,
    /// For reading and parsing away from the control plane.
    pub slot: Slot,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The path or URL of a config as it may be shown, in quotes.
fn shown(path: &str) -> String {
    quote(vmkit::redact::url(path).as_bytes())
}

/// Parses and checks a config without starting anything; returns it with the files it has read.
///
/// # Errors
/// All problems of the config, with the path in front.
pub fn parse(
    path: &str,
    files: &[ConfigFile],
    variables: &Variables,
    defaults: &ConfigDefaults,
    named: &NamedFiles,
) -> Result<(AuthConfig, BTreeMap<String, Vec<u8>>), LoadError> {
    let contents = std::cell::RefCell::new(BTreeMap::new());
    let read_file = |path: &str| {
        let content = named.read(path)?;
        contents.borrow_mut().insert(path.to_owned(), content.clone());
        Ok(content)
    };
    let check_file = |path: &str| named.check(path);
    let expand = |text: &str| variables.expand(text);
    let inputs = Inputs { expand: &expand, defaults, read_file: &read_file, check_file: &check_file };
    let quoted = shown(path);
    let problem = |text: String| LoadError::Parse(quoted.clone(), text);
    let config = config::parse_files(files, &inputs).map_err(|errors| problem(errors.to_string()))?;
    if defaults.strict_variables {
        let found = lint::unset_variables(files, &|text| variables.expand(text), &config);
        if !found.is_empty() {
            return Err(problem(found.join("\n")));
        }
    }
    Ok((config, contents.into_inner()))
}

impl Controller {
    /// Loads the config for the first time.
    pub async fn start(&mut self) -> Result<Arc<Generation>, LoadError> {
        let files = self.read().await?;
        if files.iter().all(is_blank) {
            vmkit::warn!("-auth.config={} is empty: nobody is let in", self.source.shown());
        }
        let generation = Arc::new(self.build(files, None).await?);
        self.registry.replace_generation(Some(generation.metrics.clone()));
        self.announce();
        Ok(generation)
    }

    /// Loads the config again if it has changed, and lets it serve.
    ///
    /// # Errors
    /// Why it was not loaded; that has been logged and counted, and the last good config goes on serving.
    pub async fn reload(&mut self, trigger: Trigger, serving: &Serving<Generation>) -> Result<(), LoadError> {
        self.metrics.total.inc();
        match self.next(trigger, serving).await {
            Ok(None) => {
                self.metrics.successful.set(1);
                Ok(())
            }
            Ok(Some(generation)) => {
                self.swap(serving, generation);
                self.announce();
                Ok(())
            }
            Err(error) => {
                self.metrics.successful.set(0);
                self.metrics.errors.inc();
                self.history.failed(&error.to_string());
                log_failure(&error.to_string());
                Err(error)
            }
        }
    }

    /// Builds the config that serves again when files that it names have changed; `false` when that has to be tried again.
    pub(super) async fn use_changed_files(&mut self, loaded: &Arc<Loaded>, serving: &Serving<Generation>) -> bool {
        if !self.loaded.as_ref().is_some_and(|current| Arc::ptr_eq(current, loaded)) {
            return false;
        }
        let (before, named) = (loaded.clone(), self.named_files.clone());
        let Ok(changed) = self.off_thread(move || before.changed_files(&named)).await else { return false };
        if changed.is_empty() {
            return true;
        }
        let changed: Vec<_> = changed.iter().take(MAX_DOUBTS).map(quote).collect();
        let (changed, shown) = (changed.join(", "), self.source.shown());
        match self.build(loaded.files.clone(), Some(serving.load())).await {
            Ok(generation) => {
                self.swap(serving, generation);
                self.metrics.file_changes.inc();
                if let Some(loaded) = &self.loaded {
                    self.history.loaded(loaded);
                }
                vmkit::info!("files of -auth.config={shown} have changed and are in use: {changed}");
                false
            }
            Err(LoadError::Read(..)) => false,
            Err(error) => {
                self.metrics.file_errors.inc();
                self.history.failed(&error.to_string());
                vmkit::error!(
                    "cannot use changed files of -auth.config={shown}, going on with the old ones: {changed}; error: {error}"
                );
                true
            }
        }
    }

    fn swap(&self, serving: &Serving<Generation>, generation: Generation) {
        let generation = Arc::new(generation);
        self.registry.replace_generation(Some(generation.metrics.clone()));
        let old = serving.load();
        serving.replace(generation);
        old.retire();
    }

    async fn next(&mut self, trigger: Trigger, serving: &Serving<Generation>) -> Result<Option<Generation>, LoadError> {
        let mut looks = trigger.looks();
        let (files, is_known) = loop {
            let found = self.read().await;
            let is_known =
                self.loaded.as_ref().zip(found.as_ref().ok()).is_some_and(|(loaded, new)| loaded.files == *new);
            if let Some(found) = looks.settled(found, is_known).await {
                break (found?, is_known);
            }
        };
        let loaded = self.loaded.clone().filter(|_| is_known);
        let named = self.named_files.clone();
        if let Some(loaded) = loaded
            && self.off_thread(move || loaded.changed_files(&named).is_empty()).await?
        {
            return Ok(None);
        }
        self.refuse_truncated(&files)?;
        let previous = serving.load();
        self.build(files, Some(previous)).await.map(Some)
    }

    /// Who writes a file in place truncates it first; nobody means to lock its users out that way.
    fn refuse_truncated(&self, files: &[ConfigFile]) -> Result<(), LoadError> {
        let before = self.loaded.as_ref().map(|loaded| loaded.files.as_slice()).unwrap_or_default();
        let had_text = |name: &str| before.iter().any(|file| file.name == name && !is_blank(file));
        match files.iter().find(|file| is_blank(file) && had_text(&file.name)) {
            None => Ok(()),
            Some(file) if file.name.is_empty() => Err(LoadError::Empty(self.source.shown())),
            Some(file) => Err(LoadError::EmptyFile(self.source.shown(), file.name.clone())),
        }
    }

    async fn read(&mut self) -> Result<Vec<ConfigFile>, LoadError> {
        self.source.read().await.map_err(|cause| LoadError::Read(self.source.shown(), cause))
    }

    /// Everything that takes long happens on one thread away from the control plane: memory that parsing frees serves the
    /// generation, and nothing else waits for ten thousand users.
    async fn build(
        &mut self,
        files: Vec<ConfigFile>,
        previous: Option<Arc<Generation>>,
    ) -> Result<Generation, LoadError> {
        let (path, variables, defaults) = (self.path.clone(), self.variables.clone(), self.defaults.clone());
        let (named, issuers, environment) = (self.named_files.clone(), self.issuers.clone(), self.environment.clone());
        let flags = lint::Flags { max_concurrent_requests: self.environment.max_concurrent, has_mtls: true };
        let work = move || {
            let parsed = parse(&path, &files, &variables, &defaults, &named);
            let doubts =
                parsed.as_ref().map_or_else(|_| Vec::new(), |(config, _)| doubts(&files, &variables, config, flags));
            let built = parsed.map(|(config, named_files)| {
                let users = config.lookup_keys;
                (Generation::build(config, &issuers, &environment, previous.as_deref()), named_files, users)
            });
            (built, doubts, files)
        };
        let (built, doubts, files) = self.off_thread(work).await?;
        let (generation, named_files, users) = built?;
        self.warn(&doubts);
        // Nothing can fail any more: only now are files read, keys fetched and tasks started.
        self.load_client_tls().await;
        if let Some(users) = &generation.directory.jwt_users {
            self.issuers.start(users.issuers()).await;
        }
        self.loaded = Some(Arc::new(Loaded { files, named_files, users }));
        Ok(generation)
    }

    /// Says what loads and is most likely not meant.
    fn warn(&self, doubts: &[Finding]) {
        let shown = self.source.shown();
        for doubt in doubts.iter().take(MAX_DOUBTS) {
            vmkit::warn!("-auth.config={shown}: {doubt}");
        }
        if let Some(rest @ 1..) = doubts.len().checked_sub(MAX_DOUBTS) {
            vmkit::warn!("-auth.config={shown}: {} more; `vmauth lint` lists them", counted(rest, "warning"));
        }
    }

    /// Says that the config serves; never before it does, because people and tests wait for this line.
    fn announce(&self) {
        self.metrics.succeeded();
        if let Some(loaded) = &self.loaded {
            self.history.loaded(loaded);
        }
        let users = self.loaded.as_ref().map_or(0, |loaded| loaded.users);
        let files = self.loaded.as_ref().map_or_else(String::new, |loaded| of_files(&loaded.files));
        vmkit::info!("loaded information about {users} users from -auth.config={}{files}", self.source.shown());
    }

    /// Reads certificates of TLS identities that are new, so that the first request does not find them missing.
    async fn load_client_tls(&self) {
        let new = self.environment.client_tls.in_use().into_iter().filter(|tls| tls.current().is_err());
        let read = |tls| tokio::spawn(refresh(tls, self.client.clone(), self.named_files.clone()));
        let reads: Vec<_> = new.map(read).collect();
        let until = tokio::time::Instant::now() + FILES_LIMIT;
        for read in reads {
            // What hangs goes on by itself; its backends answer 502 until then.
            let _ = tokio::time::timeout_at(until, read).await;
        }
    }

    /// Runs what reads files or takes long away from the control plane.
    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
        let result = self.slot.run(FILES_LIMIT, work).await;
        result.map_err(|error| LoadError::Read(self.source.shown(), error.to_string()))
    }
}

/// Each problem is a line of the log.
fn log_failure(problems: &str) {
    for (number, problem) in problems.lines().enumerate() {
        let start = if number == 0 {
            "failed to load auth config; using the last successfully loaded config; error: "
        } else {
            ""
        };
        vmkit::error!("{start}{problem}");
    }
}

/// Reads the files of a TLS identity again, on a thread of its own because they may hang.
pub async fn refresh(tls: Arc<ClientTls>, client: Arc<Client>, named: NamedFiles) {
    let control = tokio::runtime::Handle::current();
    let may_read = move |path: &str| named.check(path).map_err(|error| os_error(&error));
    let read = tokio::task::spawn_blocking(move || {
        control.block_on(tls.refresh_allowed(may_read, |url| client.fetch_file(url))).map(drop)
    });
    if let Ok(Err(error)) = read.await {
        vmkit::error!("{error}");
    }
}

/// What the rules for loading find; they look at no other file.
fn doubts(files: &[ConfigFile], variables: &Variables, config: &AuthConfig, flags: lint::Flags) -> Vec<Finding> {
    lint::lint_files(files, &|text| variables.expand(text), config, flags, &|_| true, |rule| rule.at_load)
}

/// ` (3 files)`, where there may be several.
pub fn of_files(files: &[ConfigFile]) -> String {
    match files {
        [only] if only.name.is_empty() => String::new(),
        _ => format!(" ({})", counted(files.len(), "file")),
    }
}

/// Whether there is nothing but blanks and comments.
fn is_blank(file: &ConfigFile) -> bool {
    let mut lines = file.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.all(|line| line.is_empty() || line.starts_with(b"#"))
}
