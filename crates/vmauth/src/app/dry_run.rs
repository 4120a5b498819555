//! `-dryRun`: says whether the config loads, what is in it and what is most likely a mistake, and starts nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use vmkit::blocking::FileReader;
use vmkit::config_files::ConfigFile;
use vmkit::flags::Source;
use vmkit::go_text::quote;
use vmkit::service::Fatal;
use vmkit::units::counted;

use super::{Start, config_path, inspection};
use crate::config::{AuthConfig, Credential, KeySource, UserSpec};
use crate::control::reload::of_files;
use crate::lint::Severity;
use crate::oidc::KeyLocation;

/// Time for reading a key.
const KEY_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run(start: &Start) -> Result<(), Fatal> {
    let shown = quote(vmkit::redact::url(config_path(start)?).as_bytes());
    let files = inspection::read(start).await?;
    let config = inspection::parsed(start, &files)?;
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
    let count = warnings.len() + missing_keys(start).await;
    vmkit::info!("{}", summary(&files, &config, count));
    match start.options.config.dry_run_strict && count > 0 {
        true => Err(format!("-auth.config={shown} has {}, and -dryRun.strict is set", counted(count, "warning"))),
        false => Ok(()),
    }
}

/// Warns about keys in files that cannot be read; returns how many.
async fn missing_keys(start: &Start) -> usize {
    let mut missing = 0;
    for password in start.flags.passwords_from_outside() {
        let Source::File(path) = password.source() else { continue };
        if let Err(cause) = FileReader::new(path).read(KEY_LIMIT).await {
            vmkit::warn!("-{} is not known, so nobody passes by it: {cause}", password.flag());
            missing += 1;
        }
    }
    missing
}

/// Files, users, routes, backends and warnings in one line.
fn summary(files: &[ConfigFile], config: &AuthConfig, warnings: usize) -> String {
    let users = || config.users.iter().chain(&config.unauthorized_user);
    let routes: usize = users().map(|user| user.routes.len()).sum();
    let hosts: BTreeSet<_> =
        users().flat_map(UserSpec::targets).flat_map(|target| &target.urls).map(|url| url.host()).collect();
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
