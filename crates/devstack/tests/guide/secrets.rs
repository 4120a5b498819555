//! The secret of the agent's client: wrong, changed, gone; and it is shown nowhere.

use std::fs;
use std::path::Path;
use std::time::Duration;

use devstack::fault::Fault;
use testkit::Client;
use vmkit::secret::Secret;

use crate::rig::{Rig, SECRET};

const ERRORS: &str = "vmagent_remotewrite_errors_total";
const NEW: &str = "the-new-secret";

fn know(rig: &Rig, secret: &str) {
    rig.stack.provider.change("vmagent", |client| client.secret = Secret::from(secret));
}

#[test]
fn a_wrong_secret_is_told_with_the_reason_and_its_repair_needs_no_restart() {
    let rig = Rig::start(|options| options.faults = vec![Fault::WrongSecret]);
    rig.wait_agent_log(0, "Invalid client or Invalid client credentials");
    rig.wait_agent_log(0, "unauthorized_client");
    let places: Vec<_> = rig.stack.provider.token_requests().iter().take(2).map(|request| request.by_header).collect();
    assert_eq!(places, [true, false], "first by header, then in the form");
    assert_eq!(rig.stack.store.writes(), []);
    know(&rig, NEW);
    fs::write(rig.stack.secret_file(), NEW).unwrap();
    rig.gap_check(0, None);
}

#[test]
fn a_secret_may_change_at_the_provider_first_and_in_the_file_later() {
    let rig = Rig::start(|options| options.setup.token_lifetime = Duration::from_secs(12));
    rig.wait_fresh();
    know(&rig, NEW);
    let errors = rig.agent_metrics().unwrap().sum(ERRORS);
    rig.wait_agent_sum(ERRORS, |now| now > errors);
    fs::write(rig.stack.secret_file(), NEW).unwrap();
    rig.gap_check(0, None);
    nothing_shows(&rig, &[SECRET, NEW]);
}

#[test]
fn a_file_that_is_gone_is_named_and_may_come_back() {
    let rig = Rig::start(|options| options.setup.token_lifetime = Duration::from_secs(12));
    rig.wait_fresh();
    let file = rig.stack.secret_file();
    fs::remove_file(&file).unwrap();
    rig.wait_agent_log(0, &file.display().to_string());
    let errors = rig.agent_metrics().unwrap().sum(ERRORS);
    rig.wait_agent_sum(ERRORS, |now| now > errors);
    fs::write(&file, SECRET).unwrap();
    rig.gap_check(0, None);
    nothing_shows(&rig, &[SECRET]);
}

/// No page, log or file of the agent and no log of the proxy has a secret or a token.
fn nothing_shows(rig: &Rig, secrets: &[&str]) {
    let check = |place: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for secret in secrets.iter().chain(&["eyJ"]) {
            assert!(!text.contains(secret), "{place} shows {secret}");
        }
    };
    for path in ["/metrics", "/flags", "/config", "/targets", "/debug/pprof/cmdline"] {
        check(path, &Client::connect(rig.stack.addresses.agent).get(path, &[]).body);
    }
    for log in [rig.stack.agent.log(), rig.stack.proxy.log()] {
        check(&log.display().to_string(), &fs::read(log).unwrap());
    }
    files(&rig.stack.dir().join("queue"), &check);
}

fn files(dir: &Path, check: &impl Fn(&str, &[u8])) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, check);
        } else {
            // A file of a queue may end while it is read.
            check(&path.display().to_string(), &fs::read(&path).unwrap_or_default());
        }
    }
}
