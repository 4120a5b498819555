//! One loaded config, alive: users, credentials, backends, counters.
//!
//! A generation is built whole before it serves, and never changes afterwards; requests hold the one they started
//! with. Counters of users with unchanged labels, limits of unchanged users and connection pools live on in the next
//! generation (`carry_over`). Dropping or retiring a generation cancels its background tasks.

mod build;
mod carry_over;
mod client_tls;
mod jwt_users;
mod serving;
mod shared_rules;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use vmkit::metrics::Set;

use crate::authn::Directory;
use crate::authn::password_checks::PasswordChecks;
use crate::upstream::active_check::checks::Checks;
use crate::upstream::discovery::Lookup;
use crate::upstream::health_check::{HealthChecker, Probe};
use crate::upstream::peer::PeerRegistry;
use crate::user::{User, UserIpFilter};
use carry_over::CarriedOver;

pub use client_tls::ClientTlsRegistry;
pub use serving::{Held, Seen, Serving};

/// What generations are built with; lives as long as the process.
pub struct BuildContext {
    /// Backend addresses and TLS identities, kept over reloads.
    pub peers: Arc<PeerRegistry>,
    /// TLS identities in use.
    pub client_tls: ClientTlsRegistry,
    /// Runtime of the control plane.
    pub control: Handle,
    /// Checks passwords against slow hashes.
    pub passwords: Arc<PasswordChecks>,
    /// Dials broken backends.
    pub probe: Arc<dyn Probe>,
    /// Health checks in use, kept over reloads.
    pub checks: Arc<Checks>,
    /// Looks names up.
    pub lookup: Arc<dyn Lookup>,
    /// `-failTimeout`
    pub fail_timeout: Duration,
    /// The same as log lines show it.
    pub fail_timeout_text: Arc<str>,
    /// `-discoverBackendIPsInterval`
    pub discovery_interval: Duration,
    /// `-maxConcurrentRequests`
    pub max_concurrent: usize,
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildContext").finish_non_exhaustive()
    }
}

/// A config that serves.
pub struct Generation {
    /// Whom credentials belong to; numbers are places in `users`.
    pub directory: Directory,
    /// Users by index.
    pub users: Vec<Arc<User>>,
    /// `unauthorized_user`
    pub unauthorized_user: Option<Arc<User>>,
    /// Global `ip_filters`.
    pub ip_filter: Option<UserIpFilter>,
    /// Marks backends as broken and finds out when they are back.
    pub health: HealthChecker,
    /// Per-user metrics.
    pub metrics: Arc<Set>,
    /// What the next generation takes over.
    carried: CarriedOver,
    cancel: CancellationToken,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Generation {
    /// The user of this number.
    pub fn user(&self, index: u32) -> Option<&User> {
        self.users.get(index as usize).map(Arc::as_ref)
    }

    /// Stops the background tasks; requests that still run go on.
    pub fn retire(&self) {
        self.cancel.cancel();
    }
}
