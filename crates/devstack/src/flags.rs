//! The flags of devstack beside those that all programs share, and what they mean.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use vmkit::flags::Kind::{Duration as Span, Text, TextList};
use vmkit::flags::{AppInfo, FlagDef, FlagSet};
use vmkit::units::GoDuration;

use crate::fault::{Fault, Planned};
use crate::provider::ClaimForm;
use crate::tenant::Tenant;

/// What `-help` and `-version` show.
pub fn app_info() -> AppInfo {
    AppInfo {
        name: "devstack",
        banner: "devstack runs the whole guide on this machine: an identity provider, the real vmagent, the real vmauth \
                 and a store of many tenants that is kept in memory.",
        version: vmkit::process::build_info::version("devstack"),
        defaults: &[
            ("httpListenAddr", "127.0.0.1:8400"),
            ("http.disableCORS", "true"),
            ("http.maxGracefulShutdownDuration", "300ms"),
            ("loggerLevel", "WARN"),
        ],
    }
}

/// devstack's own flags, by name.
pub static TABLE: &[FlagDef] = &[
    FlagDef::new(
        "claim",
        Text,
        "object",
        "How tokens name the tenant in vm_access: object, or string for what providers do that know texts only",
    ),
    FlagDef::new(
        "clientSecret",
        Text,
        "devstack-secret",
        "Secret of the agent's client at the provider. It is printed: it guards nothing but this demonstration",
    ),
    FlagDef::new(
        "fault",
        TextList,
        "",
        "Faults that come by themselves: NAME@START+LENGTH, such as store-down@10s+15s or rotate-key@30s. The names are those of the table",
    ),
    FlagDef::new(
        "otherTenant",
        Text,
        "1:2",
        "Tenant that tokens name after the fault wrong-tenant, as accountID:projectID",
    ),
    FlagDef::new(
        "providerAddr",
        Text,
        "127.0.0.1:3001",
        "Address of the identity provider, on loopback. Port 0 takes a free one",
    ),
    FlagDef::new(
        "scrapeInterval",
        Span,
        "1s",
        "How often the agent scrapes itself and the proxy. The guide says nothing, which is a minute",
    ),
    FlagDef::new(
        "storeAddr",
        Text,
        "127.0.0.1:8480",
        "Address of the store, on loopback, for writes and reads. Port 0 takes a free one",
    ),
    FlagDef::new("tenant", Text, "0:0", "Tenant that tokens name, as accountID:projectID"),
    FlagDef::new(
        "tokenLifetime",
        Span,
        "20s",
        "How long a token lives. The agent asks for another 10 seconds before the end. At least 1s",
    ),
    FlagDef::new("vmagentAddr", Text, "127.0.0.1:8429", "Address of vmagent, on loopback. Port 0 takes a free one"),
    FlagDef::new("vmagentBinary", Text, "", "Path of another vmagent to run instead of this one, such as upstream's"),
    FlagDef::new(
        "vmagentFlag",
        TextList,
        "",
        "A further flag of vmagent, such as -vmagentFlag=-remoteWrite.forcePromProto. Quote a value with commas",
    ),
    FlagDef::new("vmauthAddr", Text, "127.0.0.1:8427", "Address of vmauth, on loopback. Port 0 takes a free one"),
    FlagDef::new("vmauthBinary", Text, "", "Path of another vmauth to run instead of this one"),
    FlagDef::new(
        "vmauthFlag",
        TextList,
        "",
        "A further flag of vmauth, such as -vmauthFlag=-logInvalidAuthTokens. Quote a value with commas",
    ),
];

/// What the parts are like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `-clientSecret`: secret of the agent's client.
    pub secret: String,
    /// `-tenant`: what the agent's tokens say.
    pub tenant: Tenant,
    /// `-otherTenant`: what they say after the fault `wrong-tenant`.
    pub other_tenant: Tenant,
    /// `-claim`: how they say it.
    pub claim: ClaimForm,
    /// `-tokenLifetime`: how long they live.
    pub token_lifetime: Duration,
    /// `-scrapeInterval`: `scrape_interval` of the agent.
    pub scrape_interval: String,
    /// `-vmauthBinary`: a proxy to run instead of ours, by its path.
    pub proxy_binary: Option<PathBuf>,
    /// `-vmagentBinary`: an agent to run instead of ours.
    pub agent_binary: Option<PathBuf>,
    /// `-vmauthFlag`: further flags of the proxy.
    pub proxy_flags: Vec<String>,
    /// `-vmagentFlag`: further flags of the agent.
    pub agent_flags: Vec<String>,
}

/// What devstack's own flags say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Provider, proxy, agent, store.
    pub addresses: [SocketAddr; 4],
    /// What the parts are like.
    pub setup: Setup,
    /// `-fault`
    pub planned: Vec<Planned>,
}

impl Options {
    /// Checks all flags.
    ///
    /// # Errors
    /// All problems at once.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let addresses = ["providerAddr", "vmauthAddr", "vmagentAddr", "storeAddr"].map(|name| {
            let text = flags.text(name);
            let address = text.parse().map_err(|_| format!("-{name}={text}: write an address such as 127.0.0.1:0"));
            keep(address, &mut problems).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
        });
        let mut tenant = |name: &str| {
            let parsed = flags.text(name).parse().map_err(|error| format!("-{name}: {error}"));
            keep(parsed, &mut problems).unwrap_or_default()
        };
        let (own, other) = (tenant("tenant"), tenant("otherTenant"));
        let claim = match flags.text("claim") {
            "object" => ClaimForm::Object,
            "string" => ClaimForm::Text,
            claim => {
                problems.push(format!("-claim={claim}: write object or string"));
                ClaimForm::Object
            }
        };
        let mut span = |name: &str, least: Duration| {
            let span = flags.duration(name);
            if span.as_std() < least {
                problems.push(format!("-{name}={span}: write {} or more", GoDuration::from(least)));
            }
            span
        };
        let token_lifetime = span("tokenLifetime", Duration::from_secs(1)).as_std();
        let scrape_interval = span("scrapeInterval", Duration::from_millis(100)).to_string();
        let parsed = flags.texts("fault").iter().map(|text| text.parse::<Planned>());
        let planned = parsed.filter_map(|planned| keep(planned, &mut problems)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let path = |name: &str| Some(flags.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            addresses,
            setup: Setup {
                secret: flags.text("clientSecret").to_owned(),
                tenant: own,
                other_tenant: other,
                claim,
                token_lifetime,
                scrape_interval,
                proxy_binary: path("vmauthBinary"),
                agent_binary: path("vmagentBinary"),
                proxy_flags: flags.texts("vmauthFlag").to_vec(),
                agent_flags: flags.texts("vmagentFlag").to_vec(),
            },
            planned,
        })
    }

    /// Faults that are there when the parts start.
    pub fn from_the_start(&self) -> Vec<Fault> {
        self.planned.iter().filter(|planned| planned.begins.is_zero()).map(|planned| planned.fault).collect()
    }
}

fn keep<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// Content of `docs/flags-devstack.md`.
pub fn docs_page() -> String {
    let introduction = "Generated from the flag table; to change a text, change the table and run `UPDATE_DOCS=1 cargo test -p devstack flags`.\n\n\
        These are devstack's own. Beside them it has those that all programs share, which are among [vmauth's](flags-vmauth.md); of \
        these, `-httpListenAddr` is the address of the page, `127.0.0.1:8400` by default, and `-loggerLevel` is `WARN`.";
    vmkit::flags::markdown_page(&app_info(), introduction, &[TABLE])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use std::path::Path;

    use vmkit::env_template::Environment;

    use super::*;

    fn options(args: &[&str]) -> Result<Options, Vec<String>> {
        let args = std::iter::once("devstack").chain(args.iter().copied()).map(str::to_owned);
        let groups = [vmkit::service::flags::COMMON, &[TABLE]].concat();
        Options::from_flags(&FlagSet::parse(&groups, &app_info(), args, &Environment::default()).unwrap())
    }

    #[test]
    fn problems_are_named_all_at_once() {
        let options = options(&[
            "-claim=list",
            "-tenant=x",
            "-tokenLifetime=10ms",
            "-storeAddr=here",
            "-fault=store-down@1s,nothing@2s",
        ]);
        let problems = options.unwrap_err().join("\n");
        for want in
            ["-claim=list", "-tenant: \"x\"", "-tokenLifetime=10ms: write 1s or more", "-storeAddr=here", "\"nothing\""]
        {
            assert!(problems.contains(want), "{want}: {problems}");
        }
    }

    #[test]
    fn faults_at_zero_are_there_from_the_start() {
        let options = options(&["-fault=store-down@0s+5s,rotate-key@3s", "-claim=string"]).unwrap();
        assert_eq!((options.from_the_start(), options.setup.claim), (vec![Fault::StoreDown], ClaimForm::Text));
    }

    #[test]
    fn the_page_in_docs_is_what_the_table_generates() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags-devstack.md");
        testkit::golden::expect_page(&path, &docs_page(), "cargo test -p devstack flags");
    }
}
