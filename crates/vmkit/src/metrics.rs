//! Metrics of the process: what is counted, and the text page that shows it.
//!
//! Counters, gauges, summaries and histograms are plain atomics behind `Arc`; the request path updates them without a
//! lock. They are named by a [`Set`]; a [`Registry`] holds the common set, the set of the serving configuration and
//! the writers of everything that is read at scrape time (process, application, flags, log messages). The page goes
//! out through [`CachedPage`] and, when asked for, through [`push`].
//!
//! Nothing here may block or allocate in proportion to traffic: memory of a series is bounded, and a page costs time
//! linear in the number of series.

pub mod app;
pub mod clock;
mod counter;
mod gauge;
pub mod go_runtime;
mod group;
mod histogram;
pub mod process;
pub mod prometheus_text;
pub mod push;
mod registry;
pub mod resources;
mod set;
mod summary;

pub use counter::Counter;
pub use gauge::{CallbackGauge, Gauge};
pub use group::{Reading, SeriesGroup};
pub use histogram::{Histogram, HistogramCounts};
pub use prometheus_text::{Kind, Page};
pub use registry::{CachedPage, Registry};
pub use set::{Metric, Set};
pub use summary::Summary;
