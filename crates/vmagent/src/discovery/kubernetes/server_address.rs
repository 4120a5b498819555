//! An API server as lists, watches and their metrics know it, wherever its settings come from.

use crate::config::HttpOptions;

/// A server and how it is spoken to; equal settings share everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerSettings {
    /// Without a slash at the end; may have a path.
    pub(super) url: String,
    pub(super) http: HttpOptions,
}
