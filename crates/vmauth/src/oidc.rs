//! Keys of identity providers (OpenID Connect Discovery 1.0, RFC 7517): fetched, refreshed, shared, never lost.
//!
//! [`Issuers`] has one [`IssuerKeys`] for each provider that the serving configuration names. A task on the control
//! runtime fetches its keys (`discovery`) and keeps them fresh; workers only read the last good set, and may ask for
//! an early fetch when a token names an unknown key. A provider that is down costs nobody keys that were known: they
//! survive failed refreshes and reloads.
//!
//! Nothing here may fail a reload, block a worker or start work before a reload is known to succeed.

mod asked_pause;
mod discovery;
mod failure;
mod http_fetcher;
mod issuer_keys;
mod issuers;
mod key_refresher;
mod location;
mod transport;

#[cfg(test)]
pub(crate) mod test_provider;
#[cfg(test)]
mod tests;

pub use failure::{FailureReason, FetchFailure};
pub use http_fetcher::HttpFetcher;
pub use issuer_keys::{IssuerFacts, IssuerKeys, refetch_all};
pub use issuers::Issuers;
pub use location::KeyLocation;
pub use transport::{FetchFuture, FetchKeys, Fetched};
