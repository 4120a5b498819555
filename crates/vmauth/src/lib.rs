//! A drop-in `vmauth`: authenticates, routes, balances and proxies HTTP requests.
//!
//! The path of a request, one file a stage:
//!
//! ```text
//! http_server ► proxy ► authn ► admission ► route ► forward ⟲ (upstream ► rewrite) ► reply
//!                 ▲
//!     ArcSwap<Generation> ◄── control/reload ◄── SIGHUP │ timer │ /-/reload
//! ```

pub mod admission;
pub mod app;
pub mod authn;
pub mod cli;
pub mod config;
pub mod control;
pub mod ending;
pub mod explain;
pub mod flags;
pub mod forward;
pub mod generation;
pub mod lint;
pub mod metrics;
pub mod oidc;
pub mod options;
pub mod password_hash;
pub mod proxy;
pub mod rewrite;
pub mod route;
pub mod status;
pub mod upstream;
pub mod user;
