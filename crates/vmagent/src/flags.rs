//! The flags of vmagent beside those that it shares with other programs ([`vmkit::service::flags`]).
//!
//! Every name that upstream's agent takes is here, so that start scripts work as they are: a flag has its effect, says
//! why it has none, or refuses to start because ignoring it would change what is sent. The texts feed `-help` and the
//! generated page `docs/flags-vmagent.md`; what the values mean is decided in [`crate::options`].

mod elsewhere;
mod intake;
mod page;
mod remote_write;
mod scraping;

use vmkit::flags::{AppInfo, FlagDef};
use vmkit::service::flags::COMMON;

pub use page::docs_page;

/// vmagent's own groups.
pub static OWN: &[&[FlagDef]] =
    &[scraping::TABLE, crate::remote_write::FLAGS, remote_write::TABLE, intake::TABLE, elsewhere::TABLE];

/// What `-help` and `-version` show.
pub fn app_info() -> AppInfo {
    AppInfo {
        name: "vmagent",
        banner: "vmagent scrapes metrics from targets, takes metrics that are pushed to it, and passes them on by remote \
                 write; what cannot be sent waits on disk.\n\nSee the docs at \
                 https://docs.victoriametrics.com/victoriametrics/vmagent/ .",
        version: vmkit::process::build_info::version("vmagent"),
        defaults: &[("httpListenAddr", ":8429")],
    }
}

/// All groups: the shared flags and vmagent's own.
pub fn groups() -> Vec<&'static [FlagDef]> {
    [COMMON, OWN].concat()
}

fn twice_the_cores() -> String {
    (vmkit::service::flags::available_cores() * 2).to_string()
}

const NO_AGGREGATION: &str =
    "not supported: streams are not aggregated here; without it all samples would be sent as they come";
const NO_AGGREGATION_EFFECT: &str = "streams are not aggregated here";
const NO_AWS: &str = "not supported: requests are not signed for AWS; without it the remote would refuse them all";
const NO_AWS_SIGNING: &str = "requests are not signed for AWS";
const NO_BROKER: &str = "not supported: messages are not read from brokers; without it nothing of them would arrive";
const NO_BROKER_EFFECT: &str = "there is no connection to message brokers";
const NO_DISCOVERY_LIMIT: &str = "an entry of discovery has one request at a time";
const NO_KIND: &str = "this kind of discovery is not built in; a config that uses it skips the job";
const NO_LISTENER: &str = "not supported: this protocol has no listener; without it what is sent there would be lost";
const NO_MDX: &str = "not supported: series are not chosen by their origin; without it all series would be sent";
const NO_MDX_EFFECT: &str = "series are not chosen by their origin";
const NO_OBFUSCATION: &str = "not supported: label values are not hidden; without it they would be sent in clear";
const NO_PROTOCOL: &str = "this protocol is not served";
const STORAGE_ONLY: &str = "there is no storage and no such cache here";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use vmkit::env_template::Environment;
    use vmkit::flags::{FlagExit, FlagSet};

    use super::*;

    fn parse(words: &[&str]) -> Result<FlagSet, FlagExit> {
        FlagSet::parse(&groups(), &app_info(), std::iter::once(&"vmagent").chain(words), &Environment::default())
    }

    #[test]
    fn tables_are_sorted_and_names_are_unique() {
        let mut names = HashSet::new();
        for table in [scraping::TABLE, remote_write::TABLE, intake::TABLE, elsewhere::TABLE] {
            assert!(table.is_sorted_by_key(|def| def.name));
        }
        for def in groups().into_iter().flatten() {
            assert!(names.insert(def.name), "{}", def.name);
            assert!(!def.help.is_empty() && !def.help.ends_with('.'), "{}", def.name);
        }
    }

    #[test]
    fn refused_flags_are_fine_while_they_say_nothing() {
        let refused = |words: &[&str]| parse(words).unwrap().refusals().len();
        let words = ["-streamAggr.config=", "-remoteWrite.mdx.enable=false", "-streamAggr.dedupInterval=0s"];
        assert_eq!(refused(&words), 0);
        assert_eq!(refused(&["-remoteWrite.streamAggr.config=,\"\"", "-remoteWrite.streamAggr.dedupInterval=0s,"]), 0);
        let words = ["-streamAggr.config=a.yml", "-remoteWrite.aws.useSigv4", "-graphiteListenAddr=:2003"];
        assert_eq!(refused(&words), 3);
    }

    #[test]
    fn defaults_are_those_of_users_scripts() {
        let flags = parse(&[]).unwrap();
        assert_eq!(flags.texts("httpListenAddr"), [":8429"]);
        assert_eq!(flags.text("remoteWrite.tmpDataPath"), "vmagent-remotewrite-data");
        assert_eq!(flags.bytes("promscrape.maxScrapeSize").bytes(), 16 << 20);
        assert_eq!(flags.duration("promscrape.fileSDCheckInterval").to_string(), "1m0s");
        assert!(flags.bool("promscrape.config.strictParse") && flags.bool("enableMetadata"));
    }
}
