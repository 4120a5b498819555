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
pub mod label_assembly;
pub mod manager;
pub mod metrics;
pub mod page;
pub mod schedule;
pub mod series_memory;
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
}
