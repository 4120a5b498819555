//! Reading the files that make up a scrape config.
//!
//! The text of each file gets its `%{ENV}` placeholders replaced before it is read as YAML. Files named by
//! `scrape_config_files` that cannot be read are left out with an error in the log; what cannot be parsed refuses the
//! whole config in strict mode and is left out otherwise. Blocking: call it where that is allowed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use vmkit::env_template::Environment;
use vmkit::yaml::{Decoder, Place, Problems};

use super::global::Global;
use super::paths::{absolute, directory_of, is_url};
use super::{ConfigProblems, ConfigStage, JobDefaults, ScrapeConfig, SkippedJob, fields, job, relabel_rules};
use crate::relabel::RelabelRules;

/// A text that belongs to the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path or URL.
    pub name: String,
    /// Its text, placeholders replaced.
    pub text: String,
}

/// Why there is no config.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Read {
        /// Path or URL.
        name: String,
        /// The cause.
        cause: String,
    },
    /// The file is no config.
    Parse {
        /// Path or URL.
        name: String,
        /// All that is wrong.
        problems: Box<ConfigProblems>,
    },
    /// Two jobs of one name.
    DuplicateJob {
        /// The name.
        name: String,
        /// Where the second one stands.
        second: String,
        /// Where the first one stands.
        first: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &str| vmkit::go_text::quote(vmkit::redact::url(name).as_bytes());
        match self {
            Self::Read { name, cause } => write!(f, "cannot read {}: {cause}", quoted(name)),
            Self::Parse { name, problems } => write!(f, "cannot parse {}: {problems}", quoted(name)),
            Self::DuplicateJob { name, second, first } => {
                write!(f, "duplicate `job_name` in `scrape_configs`: {} ({second}; ", quoted(name))?;
                write!(f, "{first} has it already; give each job its own name)")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Gives the bytes of a path or URL; the error is the cause alone.
pub type ReadFile<'r> = &'r dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Reads the config at `name` and the files it names.
///
/// # Errors
/// The file cannot be read, or the config is refused as a whole.
pub fn load(
    name: &str,
    read: ReadFile<'_>,
    environment: &Environment,
    defaults: &JobDefaults,
) -> Result<ScrapeConfig, LoadError> {
    let bytes = read(name).map_err(|cause| LoadError::Read { name: name.to_owned(), cause })?;
    load_text(name, &bytes, read, environment, defaults)
}

/// Reads a config whose text is already here.
///
/// # Errors
/// The config is refused as a whole.
pub fn load_text(
    name: &str,
    bytes: &[u8],
    read: ReadFile<'_>,
    environment: &Environment,
    defaults: &JobDefaults,
) -> Result<ScrapeConfig, LoadError> {
    let mut loader = Loader { read, environment, defaults, config: ScrapeConfig::default(), names: Vec::new() };
    let files = loader.main_file(name, bytes)?;
    let directory = directory_of(name);
    for pattern in files.patterns {
        loader.more_files(&directory, &pattern, &files.global)?;
    }
    loader.finish()
}

struct Loader<'l> {
    read: ReadFile<'l>,
    environment: &'l Environment,
    defaults: &'l JobDefaults,
    config: ScrapeConfig,
    /// The name of each job, and where it stands.
    names: Vec<(String, String)>,
}

/// What the main file says beside its own jobs.
struct MainFile {
    global: Global,
    patterns: Vec<String>,
}

const TOP_FIELDS: &[&str] = &["global", "scrape_configs", "scrape_config_files"];

impl Loader<'_> {
    fn main_file(&mut self, name: &str, bytes: &[u8]) -> Result<MainFile, LoadError> {
        let mut main = MainFile { global: Global::default(), patterns: Vec::new() };
        self.parse(name, bytes, |loader, reader, root| {
            let place = Place::root();
            let Some(fields) = reader.fields(root, &place, "promscrape.Config", TOP_FIELDS) else { return };
            if let Some(id) = fields::field(&fields, "global") {
                main.global = Global::read(reader, id, &place.field("global"));
            }
            main.patterns = fields::texts(reader, &fields, &place, "scrape_config_files");
            if let Some(id) = fields::field(&fields, "scrape_configs") {
                loader.jobs(name, reader, id, &place.field("scrape_configs"), &main.global);
            }
        })?;
        self.config.external_labels = main.global.external_labels.clone();
        Ok(main)
    }

    fn more_files(&mut self, directory: &str, pattern: &str, global: &Global) -> Result<(), LoadError> {
        let pattern = absolute(directory, pattern);
        let names = if is_url(&pattern) { vec![pattern] } else { vmkit::path_pattern::expand(&pattern) };
        for name in names {
            let bytes = match (self.read)(&name) {
                Ok(bytes) => bytes,
                Err(cause) => {
                    vmkit::error!("skipping {:?} from `scrape_config_files`: {cause}", vmkit::redact::url(&name));
                    continue;
                }
            };
            let parsed = self.parse(&name, &bytes, |loader, reader, root| {
                loader.jobs(&name, reader, root, &Place::file(&vmkit::redact::url(&name)), global);
            });
            match parsed {
                Err(error) if self.defaults.strict => return Err(error),
                Err(error) => vmkit::error!("skipping a file of `scrape_config_files`: {error}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Parses one text and hands its root to `read`.
    fn parse(
        &mut self,
        name: &str,
        bytes: &[u8],
        read: impl FnOnce(&mut Self, &mut fields::Reader<'_, '_>, vmkit::yaml::NodeId),
    ) -> Result<(), LoadError> {
        let strict = self.defaults.strict;
        let text = parse_text(name, bytes, self.environment, strict, |reader, root| read(self, reader, root))?;
        self.config.sources.push(Source { name: name.to_owned(), text });
        Ok(())
    }

    fn jobs(
        &mut self,
        name: &str,
        reader: &mut fields::Reader<'_, '_>,
        id: vmkit::yaml::NodeId,
        place: &Place<'_>,
        global: &Global,
    ) {
        let ids = reader.items(id, place, "[]*promscrape.ScrapeConfig").unwrap_or_default();
        let directory = directory_of(name);
        for (index, &id) in ids.iter().enumerate() {
            let place = place.index(index);
            let Some(job) = job::read(reader, id, &place, &directory, global, self.defaults) else { continue };
            let job_name = job.as_ref().map_or_else(|skipped| &skipped.name, |job| &job.name);
            self.names.push((job_name.clone(), fields::position(reader, id, &place)));
            match job {
                Ok(job) => self.config.jobs.push(Arc::new(job)),
                Err(skipped) => self.config.skipped.push(skipped),
            }
        }
    }

    fn finish(self) -> Result<ScrapeConfig, LoadError> {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for (name, position) in self.names.iter().filter(|(name, _)| !name.is_empty()) {
            if let Some(first) = seen.insert(name, position) {
                let (second, first) = (position.clone(), first.to_owned());
                return Err(LoadError::DuplicateJob { name: name.clone(), second, first });
            }
        }
        Ok(self.config)
    }
}

/// Parses YAML and reads its root; returns the text with placeholders replaced.
fn parse_text(
    name: &str,
    bytes: &[u8],
    environment: &Environment,
    strict: bool,
    read: impl FnOnce(&mut fields::Reader<'_, '_>, vmkit::yaml::NodeId),
) -> Result<String, LoadError> {
    let mut problems = Problems::<ConfigStage>::default();
    let failed = |problems: Problems<ConfigStage>| {
        Err(LoadError::Parse { name: name.to_owned(), problems: Box::new(problems.into_list()) })
    };
    let Some(text) = vmkit::yaml::utf8(bytes, &mut problems) else { return failed(problems) };
    let text = environment.expand(text);
    let Some(tree) = vmkit::yaml::parse(&text, &mut problems) else { return failed(problems) };
    if let Some(root) = tree.root() {
        read(&mut Decoder { tree: &tree, problems: &mut problems }, root);
    }
    if !strict {
        problems.forgive_fields();
    }
    if problems.is_empty() {
        drop(tree);
        return Ok(text);
    }
    failed(problems)
}

/// Reads a file of relabeling rules, as `-remoteWrite.relabelConfig` names it.
///
/// # Errors
/// The text is no list of rules, or a rule is wrong.
pub fn parse_rules(name: &str, bytes: &[u8], environment: &Environment) -> Result<RelabelRules, String> {
    let mut specs = Vec::new();
    parse_text(name, bytes, environment, true, |reader, root| {
        specs = relabel_rules::specs(reader, root, &Place::root());
    })
    .map_err(|error| error.to_string())?;
    relabel_rules::build(name, &specs)
}

impl fmt::Display for SkippedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipping `scrape_config` for job_name={} because of error: {}", self.name, self.reason)
    }
}
