//! Scripted backends, raw clients, certificates and spawned binaries for the tests.
//!
//! Everything here is plain threads and blocking sockets with deadlines: a test says on each side exactly which bytes
//! go over the wire and when, and a lost byte ends in a clear failure instead of a hang. Nothing is normalised, so the
//! tests see what was really sent. Waiting is done on conditions ([`Gate`], `wait_…`, [`eventually`]), never by guessing
//! a pause. The crate is a development dependency only; a failed expectation panics with the reason.

pub mod backend;
pub mod black_hole;
pub mod certs;
pub mod client;
pub mod deadline;
pub mod dns_server;
pub mod doc_page;
pub mod golden;
pub mod metrics;
pub mod process;
pub mod wire;

pub use backend::{Backend, Reply, Step};
pub use black_hole::BlackHole;
pub use client::Client;
pub use deadline::{Gate, PATIENCE, eventually};
pub use metrics::Metrics;
pub use process::{Launch, Program, Signal};
