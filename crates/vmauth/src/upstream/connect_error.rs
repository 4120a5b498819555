//! Why a connection to a backend could not be opened, and whose fault that is.
//!
//! A backend is only marked as broken for what it can be blamed for. That the proxy has no descriptor left, or cannot
//! use its own certificate files, says nothing about any backend.

use std::io;
use std::net::SocketAddr;

use vmkit::net::dial::dial_error_text;
use vmkit::net::unix;
use vmkit::units::GoDuration;

use super::fault::Fault;

/// A failed dial. The texts are those users know from logs.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configured name cannot be asked for in a certificate, or the TLS files cannot be used.
    #[error("{0}")]
    OwnTls(String),
    /// The proxy has reached the limit of its descriptors.
    #[error("{0}")]
    NoDescriptor(String),
    /// The process ends.
    #[error("the process is shutting down")]
    ShuttingDown,
    /// The name of the backend has no address, or its name servers do not answer.
    #[error("{0}")]
    Lookup(String),
    /// No connection.
    #[error("{0}")]
    Tcp(String),
    /// No connection in time.
    #[error("{0}")]
    TcpTimeout(String),
    /// The backend does not speak TLS, or shows a certificate that is not trusted.
    #[error("{0}")]
    Handshake(String),
    /// The handshake was not finished in time.
    #[error("net/http: TLS handshake timeout")]
    HandshakeTimeout,
    /// The backend does not speak the protocol that was negotiated or that its URL names.
    #[error("{0}")]
    Protocol(String),
    /// The backend takes connections and says nothing on them.
    #[error("http2: timeout awaiting the settings of the backend")]
    ProtocolTimeout,
    /// One of the timeouts above, and the limit of the route that was reached.
    #[error("{cause}; connect_timeout={limit}")]
    RouteTimeout {
        /// What took too long.
        cause: Box<Self>,
        /// The route's limit.
        limit: GoDuration,
    },
}

impl ConnectError {
    /// A failed connect to this address.
    pub(super) fn tcp(addr: SocketAddr, error: &io::Error) -> Self {
        Self::of(dial_error_text(addr, error), error)
    }

    /// A failed connect to the socket at this path.
    pub(super) fn unix(path: &str, error: &io::Error) -> Self {
        Self::of(unix::dial_error_text(path, error), error)
    }

    fn of(text: String, error: &io::Error) -> Self {
        match error.kind() {
            _ if is_out_of_descriptors(error) => Self::NoDescriptor(text),
            io::ErrorKind::TimedOut => Self::TcpTimeout(text),
            _ => Self::Tcp(text),
        }
    }

    /// The same, with the limit of the route by its name where that was reached.
    pub(super) fn within(self, limit: GoDuration) -> Self {
        match self {
            Self::TcpTimeout(_) | Self::HandshakeTimeout | Self::ProtocolTimeout => {
                Self::RouteTimeout { cause: Box::new(self), limit }
            }
            other => other,
        }
    }

    /// What went wrong with the backend.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Lookup(_) => Fault::Dns,
            Self::NoDescriptor(_) | Self::ShuttingDown | Self::Tcp(_) | Self::TcpTimeout(_) => Fault::Connect,
            Self::RouteTimeout { cause, .. } => cause.fault(),
            Self::OwnTls(_) | Self::Handshake(_) | Self::HandshakeTimeout => Fault::Tls,
            Self::Protocol(_) => Fault::Malformed,
            Self::ProtocolTimeout => Fault::Timeout,
        }
    }

    /// Whether no backend is to blame, and trying another one is in vain.
    pub fn is_our_own(&self) -> bool {
        match self {
            Self::NoDescriptor(_) | Self::ShuttingDown => true,
            Self::OwnTls(_)
            | Self::Lookup(_)
            | Self::Tcp(_)
            | Self::TcpTimeout(_)
            | Self::RouteTimeout { .. }
            | Self::Handshake(_)
            | Self::HandshakeTimeout
            | Self::Protocol(_)
            | Self::ProtocolTimeout => false,
        }
    }
}

/// `EMFILE` and `ENFILE`.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_here_is_our_own() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let f = |code: i32, want: bool| {
            let error = ConnectError::tcp(addr, &io::Error::from_raw_os_error(code));
            assert_eq!(error.is_our_own(), want, "{error}");
        };
        f(24, true);
        f(23, true);
        f(111, false);
        f(110, false);
        assert!(!ConnectError::Lookup("dial tcp4: lookup x: no such host".to_owned()).is_our_own());
    }
}
