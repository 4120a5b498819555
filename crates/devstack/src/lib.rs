//! The whole guide in one command: an identity provider, the agent, the proxy and a store in memory.
//!
//! ```text
//! main ─► program::dispatch (vmauth? vmagent?) ─► app ─► stack: provider, store │ vmauth, vmagent as processes
//!                                                  └──► figures ─► table │ page
//! ```
//!
//! It is for trying things out, for watching what breaks and recovers, and for tests: everything is on loopback, and
//! everything is forgotten at the end.

pub mod app;
pub mod console;
pub mod embedded;
pub mod fault;
pub mod figures;
pub mod flags;
pub mod folder;
pub mod guide;
pub mod keyboard;
pub mod output;
pub mod program;
pub mod provider;
pub mod stack;
pub mod store;
pub mod table;
pub mod tenant;
