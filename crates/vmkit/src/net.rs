//! The transport below HTTP: listening, dialling, names and addresses.
//!
//! Everything here speaks TCP or DNS and nothing higher. Listeners are bound once at start and handed to the
//! acceptor; dialling and name resolution serve the upstream pool and the control plane. Nothing in this tree may
//! know of HTTP, of users or of the config file.

pub mod address;
pub mod dial;
pub mod dns;
pub mod listener;
pub mod proxy_protocol;
pub mod unix;
pub mod zone;
