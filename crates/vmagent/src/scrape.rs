//! Scraping: from discovered labels to samples in the sink.
//!
//! ```text
//! discovery ─► manager ─ relabel, diff ─► worker (one task a target) ─► fetch ─► page ─► sink
//! ```

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::ScrapeConfig;
use crate::discovery::Discovery;

pub mod auto_metrics;
pub mod cluster;
pub mod connection;
pub mod fetch;
pub mod http_identity;
pub mod label_assembly;
pub mod manager;
pub mod metrics;
pub mod page;
pub mod schedule;
pub mod series_memory;
mod socks5;
pub mod state;
pub mod target;
pub mod worker;

/// What pages look at.
pub struct Scraping {
    /// Jobs and their targets.
    pub state: Arc<state::ScrapeState>,
    /// The config in force.
    pub config: ArcSwap<ScrapeConfig>,
    /// What finds targets.
    pub discovery: Arc<Discovery>,
    /// Settings of scraping; the cluster is among them.
    pub options: Arc<worker::ScrapeOptions>,
    /// Shared credentials and TLS.
    pub identities: Arc<http_identity::Identities>,
    /// Makes what connections stand on, on the thread that needs it.
    pub network: Box<dyn Fn() -> connection::Network + Send + Sync>,
}

impl Scraping {
    /// Gets the page of a target now, besides its scrapes.
    ///
    /// # Errors
    /// Why there is no page.
    pub async fn fetch_page(&self, active: &state::ActiveTarget) -> Result<Vec<u8>, String> {
        let target = &active.target;
        let identity = self.identities.get(&target.settings.http);
        let mut fetcher = fetch::Fetcher::new(std::rc::Rc::new((self.network)()), identity, self.options.max_head);
        let mut page = WholePage::default();
        match tokio::time::timeout(target.timeout, fetcher.fetch(target, &mut page)).await {
            Ok(Ok(_)) => Ok(page.0),
            Ok(Err(error)) => Err(error.text(target)),
            Err(_) => Err(fetch::timeout_text(target)),
        }
    }
}

/// A page that somebody looks at; bounded by the limit of the target.
#[derive(Default)]
struct WholePage(Vec<u8>);

impl fetch::PageSink for WholePage {
    fn piece(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    async fn pass_on(&mut self) -> Result<(), fetch::FetchError> {
        Ok(())
    }
}
