//! The config as pages see it: where it comes from, its last loads, and what of it is in force.

use std::sync::Arc;

use vmkit::env_template::Environment as Variables;

use super::history::History;
use super::named_files::NamedFiles;
use super::reload::{Controller, parse};
use crate::config::{ConfigDefaults, dump};

/// The config as pages see it.
#[derive(Clone, Debug)]
pub struct ConfigView {
    path: String,
    /// The path or URL, without secrets.
    pub shown: String,
    variables: Variables,
    defaults: ConfigDefaults,
    named_files: NamedFiles,
    /// The last loads.
    pub history: Arc<History>,
}

impl ConfigView {
    /// That of a controller, before it is given away to reload.
    pub fn of(controller: &Controller) -> Self {
        Self {
            path: controller.path.clone(),
            shown: controller.source.shown(),
            variables: controller.variables.clone(),
            defaults: controller.defaults.clone(),
            named_files: controller.named_files.clone(),
            history: controller.history.clone(),
        }
    }

    /// The config that serves with all inheritance resolved and secrets masked. Reads key files, and takes long for many
    /// users: to be called on a thread of its own.
    pub fn effective(&self) -> Result<String, String> {
        let loaded = self.history.serving().ok_or("no config is loaded")?;
        let parsed = parse(&self.path, loaded.files(), &self.variables, &self.defaults, &self.named_files);
        parsed.map(|(config, _)| dump(&config)).map_err(|error| error.to_string())
    }
}
