//! `-dryRun` and `-promscrape.config.dryRun`: reads what a start would read, says what is wrong, opens nothing.

use std::sync::Arc;

use tokio::runtime::Handle;
use vmkit::blocking::off_thread;
use vmkit::http_client::Client;
use vmkit::service::Fatal;
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::units::counted;

use super::Start;
use super::config_file::read_file;
use super::reload::ConfigLoader;
use crate::config::parse_rules;

/// Checks the scrape config and, with `everything`, the relabeling rules of remote write.
pub(super) async fn run(start: &Start, everything: bool) -> Result<(), Fatal> {
    let client = Arc::new(Client::new(ClientTlsOptions::default()));
    let (mut problems, mut checked) = (Vec::new(), Vec::new());
    match ConfigLoader::new(start, &client).load().await {
        Ok(config) => {
            for job in &config.skipped {
                vmkit::error!("{job}");
            }
            if !config.skipped.is_empty() {
                problems
                    .push(format!("{} of the scrape config would be skipped", counted(config.skipped.len(), "job")));
            }
            checked.push(counted(config.jobs.len(), "job"));
        }
        Err(problem) => problems.push(problem),
    }
    if everything {
        let global = std::iter::once(start.flags.text("remoteWrite.relabelConfig").to_owned());
        let files = global.chain(start.flags.texts("remoteWrite.urlRelabelConfig").iter().cloned());
        let files: Vec<_> = files.filter(|file| !file.is_empty()).collect();
        checked.push(counted(files.len(), "file") + " of relabeling rules");
        for file in files {
            problems.extend(check_rules(file, start, &client).await.err());
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    // Silence would leave open whether anything was looked at.
    vmkit::info!("checked: {}; no mistakes", checked.join(", "));
    Ok(())
}

async fn check_rules(file: String, start: &Start, client: &Arc<Client>) -> Result<(), String> {
    let (client, runtime, variables) = (Arc::clone(client), Handle::current(), start.variables.clone());
    let check = move || {
        let bytes = read_file(&file, &client, &runtime)
            .map_err(|cause| format!("cannot read {:?}: {cause}", vmkit::redact::url(&file)))?;
        parse_rules(&file, &bytes, &variables).map(drop)
    };
    off_thread(std::time::Duration::from_secs(60), check).await.map_err(|error| error.to_string())?
}
