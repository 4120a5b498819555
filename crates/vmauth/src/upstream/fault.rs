//! What went wrong with a backend, told apart for counters and for whoever looks at its state.

use std::time::{SystemTime, UNIX_EPOCH};

/// The kind of a failed try; its label stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its name has no address, or the name servers do not answer.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session: certificate, protocol, or files of our own.
    Tls,
    /// No reply in time.
    Timeout,
    /// The connection broke before the reply.
    Cut,
    /// The reply is no HTTP.
    Malformed,
    /// The reply has a status that is retried elsewhere.
    Status,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Dns, Self::Connect, Self::Tls, Self::Timeout, Self::Cut, Self::Malformed, Self::Status];

    /// Its place in [`Fault::ALL`], for counts by kind.
    pub(super) fn place(self) -> usize {
        self as usize
    }

    /// Word for metrics and pages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::Status => "status",
        }
    }
}

/// The last failure of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Seconds since 1970.
    pub at: u64,
    /// What kind.
    pub fault: Fault,
    /// In the words of the log, without credentials.
    pub text: String,
}

/// Now, in seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_list() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault.place(), place, "{fault:?}");
        }
    }
}
