//! How many files and connections the process may have open.
//!
//! Shells and service managers leave the soft limit at 1024, for programs that use `select`, and the hard one far above.
//! A proxy that stays at the soft one would serve a few hundred clients, so it takes all that it may have, as Go's
//! runtime does for upstream's programs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
pub fn use_all() {
    let limit = getrlimit(Resource::Nofile);
    // Where a sandbox refuses this, the soft limit stays, and limits of connections follow from it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
