//! Certificates of listeners, obtained and renewed by ACME (RFC 8555) while the process runs.
//!
//! Each host has a task of the control plane, and a few of them may be at the authority at once. It renews in the window
//! that the authority suggests (ARI, RFC 9773), else at two thirds of the lifetime, waits longer and longer after
//! failures, and keeps what it got in a folder. Listeners show new certificates without a restart
//! ([`crate::tls::issued`]). It must never run on a worker, ask for anything while a certificate is good, or take a
//! certificate from a listener: one that cannot be renewed is shown until its end and beyond.
//!
//! ```text
//! run ► keeper (window: ask for ARI) ► renew ► account ► order ► challenges ► (validation) ► cache, IssuedCertificates
//! ```

mod account;
mod cache;
mod challenges;
mod failure;
mod host;
mod keeper;
mod lock;
mod metrics;
mod order;
mod schedule;
mod shared_answers;
mod transport;

use std::sync::Arc;

use instant_acme::ChallengeType;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::http_client::Client;
use crate::metrics::Set;
use crate::tls::client_config::ClientTlsOptions;
use crate::tls::issued::IssuedCertificates;
use account::Accounts;
use cache::Cache;
use challenges::Challenges;
use keeper::{Keeper, Turns};
use metrics::AcmeMetrics;
use shared_answers::SharedAnswers;

pub use challenges::HttpAnswers;
pub use host::check_host;

/// What the flags `-tlsAutocert…` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeOptions {
    /// Names to get certificates for, in lower case; each one passed [`check_host`].
    pub hosts: Vec<String>,
    /// Contact of the account; empty for none.
    pub email: String,
    /// Folder for certificates and the account; empty for none.
    pub cache_dir: String,
    /// The authority.
    pub directory_url: String,
    /// PEM file with the roots that the authority's own HTTPS is trusted by; empty for the system's.
    pub ca_file: String,
    /// Which kind of certificate the authority shall issue; empty for its default.
    pub profile: String,
}

/// The client of one authority.
pub struct Acme {
    shared: Arc<Shared>,
    keepers: Vec<Keeper>,
}

/// What all hosts have in common.
struct Shared {
    /// Which kind of certificate; empty for the authority's default.
    profile: String,
    accounts: Accounts,
    cache: Option<Arc<Cache>>,
    certificates: Arc<IssuedCertificates>,
    challenges: Arc<Challenges>,
    metrics: AcmeMetrics,
    turns: Turns,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("certificates", &self.shared.certificates).finish_non_exhaustive()
    }
}

impl Acme {
    /// Takes what the cache has. Blocks on the disk: for the start of the process, before it listens, within the runtime
    /// of the control plane.
    ///
    /// # Errors
    /// The folder of the cache cannot be used.
    pub fn open(options: AcmeOptions, set: &Set) -> Result<Self, String> {
        let AcmeOptions { hosts, email, cache_dir, directory_url, ca_file, profile } = options;
        let certificates = IssuedCertificates::new(hosts.clone())
            .map_err(|error| format!("cannot use TLS for -tlsAutocertHosts: {error}"))?;
        let certificates = Arc::new(certificates);
        let cache = match cache_dir.as_str() {
            "" => {
                crate::warn!(
                    "-tlsAutocertCacheDir is not set: certificates are requested anew at each start, and authorities limit \
                     how often they issue one"
                );
                None
            }
            dir => Some(Arc::new(Cache::open(dir, &directory_url)?)),
        };
        let ca_file = Some(ca_file).filter(|file| !file.is_empty());
        let http = Arc::new(Client::new(ClientTlsOptions { ca_file, ..ClientTlsOptions::default() }));
        let answers = cache.clone().map(|cache| SharedAnswers::new(cache, Handle::current()));
        let shared = Arc::new(Shared {
            profile,
            accounts: Accounts::open(http, cache.clone(), &email, &directory_url),
            cache,
            challenges: Arc::new(Challenges::new(certificates.clone(), answers)),
            certificates,
            metrics: AcmeMetrics::register(set, &hosts),
            turns: Turns::default(),
        });
        let mut keepers: Vec<_> = hosts.iter().map(|name| Keeper::new(name, shared.clone())).collect();
        keepers.iter_mut().for_each(Keeper::start_with_cached);
        Ok(Self { shared, keepers })
    }

    /// What listeners show.
    pub fn certificates(&self) -> Arc<IssuedCertificates> {
        self.shared.certificates.clone()
    }

    /// What plain listeners answer to validation servers.
    pub fn http_answers(&self) -> HttpAnswers {
        HttpAnswers::new(self.shared.challenges.clone())
    }

    /// Looks after the hosts for ever. `has_plain_listener` allows validation over HTTP when that over TLS fails.
    pub async fn run(self, has_plain_listener: bool) {
        let kinds: &[ChallengeType] = match has_plain_listener {
            true => &[ChallengeType::TlsAlpn01, ChallengeType::Http01],
            false => &[ChallengeType::TlsAlpn01],
        };
        // They end with this future.
        let mut hosts = JoinSet::new();
        for keeper in self.keepers {
            hosts.spawn(keeper.run(kinds));
        }
        while let Some(ended) = hosts.join_next().await {
            if let Err(error) = ended {
                crate::error!("BUG: a host of -tlsAutocertHosts is no longer looked after: {error}");
            }
        }
    }
}
