//! Scraping: from discovered labels to samples in the sink.
//!
//! ```text
//! discovery ─► manager ─ relabel, diff ─► worker (one task a target) ─► fetch ─► page ─► sink
//! ```

pub mod auto_metrics;
pub mod cluster;
pub mod label_assembly;
pub mod page;
pub mod series_memory;
pub mod target;
