//! Scraping: from discovered labels to samples in the sink.
//!
//! ```text
//! discovery ─► manager ─ relabel, diff ─► worker (one task a target) ─► fetch ─► page ─► sink
//! ```

pub mod cluster;
pub mod target;
