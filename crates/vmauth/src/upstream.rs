//! The backends of a route: which one is next, which are broken, where their addresses come from.

pub mod active_check;
pub mod backend;
pub mod balance;
pub mod connect_error;
pub mod dialer;
pub mod discovery;
mod epoch;
pub mod fault;
pub mod health_check;
pub mod outliers;
pub mod peer;
pub mod pool;
pub mod reply_stats;
pub mod retry_budget;
pub mod shares;
mod slow_start;
pub mod timeouts;
