//! Why no reply came from a backend.

use std::io;

use super::head_error::HeadError;

/// Why no reply came. The texts are those users know from logs.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The backend has closed the connection before the reply was complete.
    #[error("{}", if *.begun { "unexpected EOF" } else { "EOF" })]
    Eof {
        /// Whether a byte of the reply had arrived.
        begun: bool,
    },
    /// The connection failed.
    #[error("{source}")]
    Io {
        /// Whether a byte of the reply had arrived.
        begun: bool,
        /// What the system says.
        source: io::Error,
    },
    /// The peer has not taken the request: it may be sent again, whatever its method.
    #[error("{text}")]
    Refused {
        /// What has happened.
        text: String,
    },
    /// The peer has given up this stream; its connection goes on.
    #[error("{text}")]
    Reset {
        /// What has happened.
        text: String,
    },
    /// The reply is no HTTP, or ambiguous.
    #[error("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {0}")]
    Malformed(HeadError),
}

impl ReplyError {
    /// Whether the connection died before the first byte of the reply.
    pub fn is_before_reply(&self) -> bool {
        match self {
            Self::Eof { begun } | Self::Io { begun, .. } => !begun,
            Self::Refused { .. } | Self::Reset { .. } | Self::Malformed(_) => false,
        }
    }
}
