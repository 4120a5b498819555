//! The agent: scrapes targets, relabels their samples, keeps them in a queue while the remote is away, and pushes them.
//!
//! ```text
//! discovery ─► scrape/pool ─► worker ─► fetch ─► exposition ─► relabel ─► remote_write ─► batch ─► queue ─► client
//! ```
//!
//! Nothing that was accepted is lost: a sample that leaves a scrape or a push is in memory for seconds at most, then
//! on its way or on disk.

pub mod app;
pub mod config;
pub mod discovery;
pub mod exposition;
pub mod flags;
pub mod http_identity;
pub mod labels;
pub mod options;
pub mod pages;
pub mod push_in;
pub mod relabel;
pub mod remote_write;
pub mod scrape;
