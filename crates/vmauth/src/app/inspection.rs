//! A config as commands look at it that serve nothing: read and built, but no listener, no worker, no traffic.

use vmkit::config_files::{ConfigFile, ConfigFiles};
use vmkit::http_client::Client;
use vmkit::metrics::Set;
use vmkit::service::Fatal;
use vmkit::service::options::ListenerOptions;
use vmkit::tls::client_config::ClientTlsOptions;

use std::sync::Arc;

use super::{Start, build_context, config_defaults, config_path, issuers, named_files};
use crate::config::AuthConfig;
use crate::control::reload::parse;
use crate::explain::Settings;
use crate::generation::Generation;
use crate::lint::{Finding, Flags, Rule, lint_files};
use crate::status;

/// The files of the config.
///
/// # Errors
/// There is no `-auth.config`, or it cannot be read.
pub async fn read(start: &Start) -> Result<Vec<ConfigFile>, Fatal> {
    let path = config_path(start)?;
    let client = Arc::new(Client::new(ClientTlsOptions::default()));
    let mut source = ConfigFiles::new(path, &client);
    let shown = source.shown();
    source.read().await.map_err(|cause| format!("failed to read -auth.config={shown}: {cause}"))
}

/// The config as the flags complete it.
///
/// # Errors
/// All its problems.
pub fn parsed(start: &Start, files: &[ConfigFile]) -> Result<AuthConfig, Fatal> {
    let path = config_path(start)?;
    let (defaults, named) = (config_defaults(start), named_files(&start.options));
    let (config, _) = parse(path, files, &start.variables, &defaults, &named).map_err(|error| error.to_string())?;
    Ok(config)
}

/// What the rules find in a config that loads.
pub fn findings(
    start: &Start,
    files: &[ConfigFile],
    config: &AuthConfig,
    wants: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let expand = |text: &str| start.variables.expand(text);
    let is_readable = |path: &str| {
        // Opening a pipe would wait for its writer.
        std::fs::metadata(path).is_ok_and(|about| !about.is_file() || std::fs::File::open(path).is_ok())
    };
    lint_files(files, &expand, config, lint_flags(start), &is_readable, wants)
}

/// The config ready to serve. Providers are asked for their keys with `ask`; `offline` believes their tokens.
pub async fn built(start: &Start, config: AuthConfig, offline: bool, ask: bool) -> Generation {
    let issuers = issuers(&start.options);
    let config = if offline { config.without_providers() } else { config };
    let (_, context, _) = build_context(start, &Set::new());
    let generation = Generation::build(config, &issuers, &context, None);
    if ask && let Some(users) = &generation.directory.jwt_users {
        issuers.start(users.issuers()).await;
    }
    generation
}

/// What explanations need to know of the flags.
pub fn explain_settings(start: &Start, offline: bool) -> Settings {
    Settings::new(&start.options, &start.service, &status::PATHS, offline)
}

fn lint_flags(start: &Start) -> Flags {
    let has_mtls = |listener: &ListenerOptions| listener.tls.as_ref().is_some_and(|tls| tls.client_auth.is_some());
    Flags {
        max_concurrent_requests: start.options.limits.max_concurrent_requests,
        has_mtls: start.service.listeners.public.iter().any(has_mtls),
    }
}
