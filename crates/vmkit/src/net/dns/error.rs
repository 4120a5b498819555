//! Why a name has no answer, in the words of the original: `lookup web.svc on 10.0.0.10:53: no such host`.

use std::fmt;
use std::net::SocketAddr;

/// A lookup that failed: the name, who was asked last, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsError {
    /// The name asked for, as configured.
    pub name: String,
    /// The server whose answer, or silence, decided; `None` when none was asked.
    pub server: Option<SocketAddr>,
    /// What happened.
    pub cause: DnsCause,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsCause {
    /// The name does not exist, or has no record of the wanted type.
    #[error("no such host")]
    NoSuchHost,
    /// No server answered in time.
    #[error("i/o timeout")]
    Timeout,
    /// A server refused or failed to answer.
    #[error("server misbehaving")]
    ServerFailure,
    /// Anything else, such as an unreachable server.
    #[error("{0}")]
    Other(String),
}

impl DnsError {
    /// Whether DNS is at fault, and not the name.
    pub(super) fn is_outage(&self) -> bool {
        self.cause != DnsCause::NoSuchHost
    }

    /// The more telling of two: a failed server must not read as a missing host.
    pub(super) fn worse(kept: Option<Self>, new: Self) -> Self {
        match kept {
            Some(kept) if kept.is_outage() || !new.is_outage() => kept,
            _ => new,
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, server, cause } = self;
        match server {
            Some(server) => write!(f, "lookup {name} on {server}: {cause}"),
            None => write!(f, "lookup {name}: {cause}"),
        }
    }
}

impl std::error::Error for DnsError {}
