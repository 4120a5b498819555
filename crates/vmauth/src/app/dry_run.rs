//! `-dryRun`: says whether the config loads, what is in it and what is most likely a mistake, and starts nothing.

use std::collections::BTreeSet;

use vmkit::config_files::ConfigFile;
use vmkit::go_text::quote;
use vmkit::service::Fatal;

use super::{Start, config_path, inspection};
use crate::config::{AuthConfig, Credential, KeySource, TargetSpec, UserSpec};
use crate::control::reload::of_files;
use crate::lint::{Severity, counted};
use crate::oidc::KeyLocation;

pub(super) async fn run(start: &Start) -> Result<(), Fatal> {
    let shown = quote(vmkit::redact::url(config_path(start)?).as_bytes());
    let files = inspection::read(start).await.map_err(|error| format!("failed to parse {shown}: {error}"))?;
    let config = inspection::parsed(start, &files).map_err(|error| format!("failed to parse {shown}: {error}"))?;
    for user in &config.users {
        if let Credential::Jwt(spec) = &user.credential
            && let KeySource::Provider(KeyLocation::Oidc { issuer }) = &spec.keys
        {
            vmkit::info!("keys of the issuer {} are fetched at start, not by -dryRun", quote(issuer));
        }
    }
    vmkit::info!("loaded information about {} users from -auth.config={shown}{}", config.lookup_keys, of_files(&files));
    let warnings = inspection::findings(start, &files, &config, |rule| rule.severity == Severity::Warning);
    for warning in &warnings {
        vmkit::warn!("-auth.config={shown}: {warning}");
    }
    vmkit::info!("{}", summary(&files, &config, warnings.len()));
    match start.options.config.dry_run_strict && !warnings.is_empty() {
        true => {
            Err(format!("-auth.config={shown} has {}, and -dryRun.strict is set", counted(warnings.len(), "warning")))
        }
        false => Ok(()),
    }
}

/// Files, users, routes, backends and warnings in one line.
fn summary(files: &[ConfigFile], config: &AuthConfig, warnings: usize) -> String {
    let users = || config.users.iter().chain(&config.unauthorized_user);
    let routes: usize = users().map(|user| user.routes.len()).sum();
    let hosts: BTreeSet<_> = users().flat_map(targets).flat_map(|target| &target.urls).map(|url| url.host()).collect();
    let anybody = if config.unauthorized_user.is_some() { " and unauthorized_user" } else { "" };
    let files = match files {
        [only] if only.name.is_empty() => String::new(),
        _ => format!("{}, ", counted(files.len(), "file")),
    };
    format!(
        "-dryRun: {files}{}{anybody}, {} of url_map, {}, {}",
        counted(config.users.len(), "user"),
        if routes == 1 { "1 entry".to_owned() } else { format!("{routes} entries") },
        counted(hosts.len(), "backend host"),
        counted(warnings, "warning")
    )
}

fn targets(user: &UserSpec) -> impl Iterator<Item = &TargetSpec> {
    user.routes.iter().map(|route| &route.target).chain(&user.url_prefix).chain(&user.default_url)
}
