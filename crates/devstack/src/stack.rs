//! The whole system: provider, store, proxy and agent, started in the order in which they need each other.
//!
//! ```text
//! agent ─(client credentials)─► provider          agent ─(scrapes)─► agent, proxy
//! agent ─(remote write, token)─► proxy ─(tenant of the token)─► store
//! ```
//!
//! Provider and store are servers of this process, proxy and agent are processes of their own. Whoever owns the stack
//! breaks and repairs its parts; nothing here decides when.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vmkit::blocking::off_thread;
use vmkit::secret::Secret;

use crate::embedded::{Embedded, Reserved};
use crate::fault::Fault;
use crate::flags::Setup;
use crate::guide::{self, Addresses};
use crate::program::Program;
use crate::provider::{ClaimForm, Client, Provider};
use crate::store::Store;
use crate::tenant::Tenant;

/// Making a key takes milliseconds on a quiet machine.
const KEY_LIMIT: Duration = Duration::from_secs(60);
/// How long the programs may take to end before they are killed; both together stay below two seconds.
const STOP_PATIENCE: Duration = Duration::from_millis(1_300);

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// devstack's own binary, which is vmauth and vmagent too.
    pub binary: PathBuf,
    /// A folder for configs, logs and the queue; it must be there.
    pub dir: PathBuf,
    /// Address of each part; port 0 takes a free one. `console` is only told to others.
    pub addresses: Addresses,
    /// What the parts are like.
    pub setup: Setup,
    /// Faults from the start on.
    pub faults: Vec<Fault>,
}

/// A running system.
#[derive(Debug)]
pub struct Stack {
    /// Where what is, with the ports that were taken.
    pub addresses: Addresses,
    /// The provider, for its figures and switches.
    pub provider: Arc<Provider>,
    /// The store, for what has arrived.
    pub store: Arc<Store>,
    /// vmauth.
    pub proxy: Program,
    /// vmagent.
    pub agent: Program,
    /// When it was started.
    pub started: Instant,
    options: StackOptions,
    provider_server: Embedded,
    store_server: Embedded,
    active: BTreeSet<Fault>,
}

impl Stack {
    /// Starts everything.
    ///
    /// # Errors
    /// An address is taken, a file cannot be written, a process cannot be started.
    pub async fn start(options: StackOptions) -> Result<Self, String> {
        let take = |address: SocketAddr, flag: &str| Reserved::take(&address.to_string(), flag);
        let wanted = options.addresses;
        let provider_at = take(wanted.provider, "providerAddr")?;
        let store_at = take(wanted.store, "storeAddr")?;
        let (proxy_at, agent_at) = (take(wanted.proxy, "vmauthAddr")?, take(wanted.agent, "vmagentAddr")?);
        let addresses = Addresses {
            console: wanted.console,
            provider: provider_at.address,
            proxy: proxy_at.address,
            agent: agent_at.address,
            store: store_at.address,
        };
        let provider = new_provider(&options, provider_at.url()).await?;
        let store = Arc::<Store>::default();
        let (proxy, agent) = programs(&options, &addresses, proxy_at, agent_at)?;
        let mut stack = Self {
            addresses,
            provider_server: Embedded::new(provider_at, provider.route()),
            store_server: Embedded::new(store_at, store.route()),
            provider,
            store,
            proxy,
            agent,
            started: Instant::now(),
            active: BTreeSet::new(),
            options,
        };
        stack.start_parts().await?;
        Ok(stack)
    }

    async fn start_parts(&mut self) -> Result<(), String> {
        let faults = self.options.faults.clone();
        let is_there = |fault: Fault| !faults.contains(&fault);
        if is_there(Fault::ProviderDown) {
            self.provider_server.up()?;
        }
        if is_there(Fault::StoreDown) {
            self.store_server.up()?;
        }
        for fault in faults.iter().copied() {
            self.set(fault, true).await?;
        }
        if is_there(Fault::ProxyDown) {
            self.proxy.start()?;
        }
        if is_there(Fault::AgentDown) {
            self.agent.start()?;
        }
        Ok(())
    }

    /// The folder of configs, logs and queue.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Where the agent reads its secret.
    pub fn secret_file(&self) -> PathBuf {
        secret_file(&self.options.dir)
    }

    /// Where the proxy reads its config.
    pub fn auth_config(&self) -> PathBuf {
        self.options.dir.join("vm-auth.yaml")
    }

    /// What the agent's tokens say, as long as nothing is wrong.
    pub fn tenant(&self) -> Tenant {
        self.options.setup.tenant
    }

    /// Secret of the agent's client.
    pub fn secret(&self) -> &str {
        &self.options.setup.secret
    }

    /// Faults that last.
    pub fn active(&self) -> impl Iterator<Item = Fault> + '_ {
        self.active.iter().copied()
    }

    /// Whether a lasting fault is on.
    pub fn is_active(&self, fault: Fault) -> bool {
        self.active.contains(&fault)
    }

    /// Whether the provider can be reached.
    pub fn provider_is_up(&self) -> bool {
        self.provider_server.is_up()
    }

    /// Whether the store can be reached.
    pub fn store_is_up(&self) -> bool {
        self.store_server.is_up()
    }

    /// Switches a fault on or off; one of those that happen at once happens when it is switched on.
    ///
    /// # Errors
    /// A part does not come back. The fault then stays on.
    pub async fn set(&mut self, fault: Fault, on: bool) -> Result<(), String> {
        if on && !fault.is_momentary() {
            self.active.insert(fault);
        }
        match (fault, on) {
            (Fault::ProviderDown, true) => self.provider_server.down().await,
            (Fault::ProviderDown, false) => self.provider_server.up()?,
            (Fault::ProviderHangs, hangs) => self.provider.hang(hangs),
            (Fault::RotateKey | Fault::ReplaceKey, false) => {}
            (Fault::RotateKey | Fault::ReplaceKey, true) => self.rotate(fault == Fault::RotateKey).await?,
            (Fault::WrongTenant, wrong) => {
                let (right, other) = (self.options.setup.tenant, self.options.setup.other_tenant);
                self.change(|client| client.tenant = if wrong { other } else { right });
            }
            (Fault::NoTenant, missing) => {
                let claim = self.options.setup.claim;
                self.change(|client| client.claim = if missing { ClaimForm::Missing } else { claim });
            }
            (Fault::WrongSecret, wrong) => {
                let known = if wrong { "another-secret" } else { &self.options.setup.secret };
                self.change(|client| client.secret = Secret::from(known));
            }
            (Fault::StoreDown, true) => self.store_server.down().await,
            (Fault::StoreDown, false) => self.store_server.up()?,
            (Fault::ProxyDown, true) => self.proxy.stop(STOP_PATIENCE).await,
            (Fault::ProxyDown, false) => self.proxy.start()?,
            (Fault::AgentDown, true) => self.agent.stop(STOP_PATIENCE).await,
            (Fault::AgentDown, false) => self.agent.start()?,
        }
        if !on {
            self.active.remove(&fault);
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Client)) {
        self.provider.change(guide::CLIENT_ID, change);
    }

    async fn rotate(&self, overlap: bool) -> Result<(), String> {
        let provider = self.provider.clone();
        let made = off_thread(KEY_LIMIT, move || provider.rotate(overlap)).await;
        made.map_err(|error| format!("cannot make a key: {error}"))?
    }

    /// Ends the programs, within two seconds; the servers end with this process.
    pub async fn stop(&mut self) {
        let (proxy, agent) = (&mut self.proxy, &mut self.agent);
        // The agent hands over what it has while the proxy still drains.
        tokio::join!(agent.stop(STOP_PATIENCE), proxy.stop(STOP_PATIENCE));
    }
}

async fn new_provider(options: &StackOptions, url: String) -> Result<Arc<Provider>, String> {
    let client = Client {
        id: guide::CLIENT_ID.to_owned(),
        secret: Secret::from(options.setup.secret.as_str()),
        tenant: options.setup.tenant,
        claim: options.setup.claim,
    };
    let lifetime = options.setup.token_lifetime;
    let made = off_thread(KEY_LIMIT, move || Provider::new(&url, lifetime, vec![client])).await;
    made.map_err(|error| format!("cannot make keys: {error}"))?
}

fn secret_file(dir: &Path) -> PathBuf {
    dir.join("client-secret")
}

/// Writes the configs; returns proxy and agent, not started.
fn programs(
    options: &StackOptions,
    addresses: &Addresses,
    proxy_at: Reserved,
    agent_at: Reserved,
) -> Result<(Program, Program), String> {
    let dir = &options.dir;
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    let auth_config = write("vm-auth.yaml", &guide::auth_config(addresses))?;
    let scrapes = write("scrape.yaml", &guide::scrape_config(addresses, &options.setup.scrape_interval))?;
    write("client-secret", &options.setup.secret)?;
    let mut proxy_flags = guide::proxy_flags(addresses, &auth_config);
    proxy_flags.extend(options.setup.proxy_flags.iter().cloned());
    let mut agent_flags = guide::agent_flags(addresses, &scrapes, &secret_file(dir), &dir.join("queue"));
    if options.setup.agent_binary.is_none() {
        agent_flags.extend(guide::own_agent_flags());
    }
    agent_flags.extend(options.setup.agent_flags.iter().cloned());
    let binary = |own: &Option<PathBuf>| own.clone().unwrap_or_else(|| options.binary.clone());
    let proxy = Program::new("vmauth", binary(&options.setup.proxy_binary), proxy_flags, dir, proxy_at);
    Ok((proxy, Program::new("vmagent", binary(&options.setup.agent_binary), agent_flags, dir, agent_at)))
}
