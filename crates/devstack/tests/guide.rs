//! The scenarios of the guide with the real proxy, the real agent, and this crate's provider and store, over real sockets.
//!
//! Each test starts a system of its own. What it waits for are conditions that are looked at again and again, never a
//! time that should be enough. After each outage the gap check counts what was scraped and what is in the store.

#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

#[path = "guide/binary.rs"]
mod binary;
#[path = "guide/happy.rs"]
mod happy;
#[path = "guide/keys_and_tenants.rs"]
mod keys_and_tenants;
#[path = "guide/outages.rs"]
mod outages;
#[path = "guide/rig.rs"]
mod rig;
#[path = "guide/secrets.rs"]
mod secrets;
#[path = "guide/tokens.rs"]
mod tokens;
