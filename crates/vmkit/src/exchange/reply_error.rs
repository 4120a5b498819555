//! Why no reply came from a backend.

use std::io;

use super::head_error::HeadError;
use crate::go_text::quote;

/// Why a peer has not taken a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has enough to do.
    Busy,
    /// Its connection ends; another one may well take it.
    ConnectionEnds,
    /// It wants HTTP/1.1 for this request (RFC 9113 §7), as servers do that know clients by their connection.
    WantsHttp1,
}

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
        /// Why.
        why: Refusal,
    },
    /// The peer has given up this stream; its connection goes on.
    #[error("{text}")]
    Reset {
        /// What has happened.
        text: String,
    },
    /// The reply breaks the rules of its protocol; its connection goes on.
    #[error("{text}")]
    Invalid {
        /// What is wrong.
        text: String,
    },
    /// Interim replies came without end.
    #[error("net/http: too many 1xx informational responses")]
    TooManyInterim,
    /// The reply is no HTTP/1, or ambiguous.
    #[error("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {0}")]
    Malformed(HeadError),
    /// The peer speaks another protocol.
    #[error("net/http: HTTP/1.x transport connection broken: malformed HTTP response {start}{hint}")]
    NotHttp {
        /// The first bytes, in quotes.
        start: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// More interim replies to one request than this are a fault. Go takes 5; a server that works for long may send some as a
/// sign of life.
pub(super) const MAX_INTERIM: usize = 64;
/// Bytes of another protocol that are shown.
const SHOWN: usize = 64;

impl ReplyError {
    /// Why this is no head of a reply; what does not even begin like one is shown.
    pub(super) fn of_head(error: HeadError, bytes: &[u8]) -> Self {
        if bytes.starts_with(b"HTTP/") {
            return Self::Malformed(error);
        }
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        // An alert of TLS (RFC 8446 §5.1).
        let hint = if bytes.starts_with(&[0x15, 3]) { "; it speaks TLS on this port: write https://" } else { "" };
        Self::NotHttp { start: quote(line.get(..SHOWN).unwrap_or(line)), hint }
    }

    /// Whether what came is no reply: neither the connection nor time is to blame.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Invalid { .. } | Self::TooManyInterim | Self::Malformed(_) | Self::NotHttp { .. } => true,
            Self::Eof { .. } | Self::Io { .. } | Self::Refused { .. } | Self::Reset { .. } => false,
        }
    }

    /// Whether this stream alone has ended, and its connection goes on.
    pub fn is_of_one_stream(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Reset { .. } | Self::Invalid { .. })
    }

    /// Whether the connection died before the first byte of the reply.
    pub fn is_before_reply(&self) -> bool {
        match self {
            Self::Eof { begun } | Self::Io { begun, .. } => !begun,
            Self::Refused { .. }
            | Self::Reset { .. }
            | Self::Invalid { .. }
            | Self::TooManyInterim
            | Self::Malformed(_)
            | Self::NotHttp { .. } => false,
        }
    }
}
