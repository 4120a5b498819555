//! Why a head is refused, and with what status: the same for every protocol.

/// Why a head was refused. The text is what the client gets as reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is described by its text")]
pub enum HeadError {
    #[error("malformed request")]
    Malformed,
    #[error("invalid header name")]
    BadHeaderName,
    #[error("invalid header value")]
    BadHeaderValue,
    #[error("a line ends without CR")]
    BareLf,
    #[error("too many headers")]
    TooManyHeaders,
    #[error("missing required Host header")]
    MissingHost,
    #[error("too many Host headers")]
    ManyHosts,
    #[error("malformed Host header")]
    BadHost,
    #[error("malformed request target")]
    BadTarget,
    #[error("bad Content-Length")]
    BadContentLength,
    #[error("Content-Length together with Transfer-Encoding")]
    LengthAndCoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    #[error("Unsupported transfer encoding")]
    UnsupportedCoding,
    #[error("unsupported protocol version")]
    BadVersion,
    #[error("unknown expectation")]
    BadExpect,
    #[error("head is too large")]
    TooLarge,
    #[error("connection-specific header")]
    ConnectionHeader,
    #[error("unknown protocol of CONNECT")]
    UnknownProtocol,
}

impl HeadError {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 18] = [
        Self::Malformed,
        Self::BadHeaderName,
        Self::BadHeaderValue,
        Self::BareLf,
        Self::TooManyHeaders,
        Self::MissingHost,
        Self::ManyHosts,
        Self::BadHost,
        Self::BadTarget,
        Self::BadContentLength,
        Self::LengthAndCoding,
        Self::CodingInHttp10,
        Self::UnsupportedCoding,
        Self::BadVersion,
        Self::BadExpect,
        Self::TooLarge,
        Self::ConnectionHeader,
        Self::UnknownProtocol,
    ];

    /// Word for metrics; stays as it is.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "syntax",
            Self::BadHeaderName => "header_name",
            Self::BadHeaderValue => "header_value",
            Self::BareLf => "bare_lf",
            Self::TooManyHeaders => "too_many_headers",
            Self::MissingHost => "missing_host",
            Self::ManyHosts => "many_hosts",
            Self::BadHost => "bad_host",
            Self::BadTarget => "bad_target",
            Self::BadContentLength => "content_length",
            Self::LengthAndCoding => "length_and_coding",
            Self::CodingInHttp10 => "coding_in_http10",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::BadVersion => "version",
            Self::BadExpect => "expect",
            Self::TooLarge => "too_large",
            Self::ConnectionHeader => "connection_header",
            Self::UnknownProtocol => "connect_protocol",
        }
    }

    /// Status of the answer: 400, 417, 431, 501 or 505.
    pub fn status(self) -> u16 {
        match self {
            Self::BadExpect => 417,
            Self::TooLarge | Self::TooManyHeaders => 431,
            Self::UnsupportedCoding | Self::UnknownProtocol => 501,
            Self::BadVersion => 505,
            Self::Malformed
            | Self::BadHeaderName
            | Self::BadHeaderValue
            | Self::BareLf
            | Self::MissingHost
            | Self::ManyHosts
            | Self::BadHost
            | Self::BadTarget
            | Self::BadContentLength
            | Self::LengthAndCoding
            | Self::CodingInHttp10
            | Self::ConnectionHeader => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_word() {
        let labels: HashSet<_> = HeadError::ALL.iter().map(|error| error.label()).collect();
        assert_eq!(labels.len(), HeadError::ALL.len());
        for (place, error) in HeadError::ALL.iter().enumerate() {
            assert_eq!(*error as usize, place, "{error}");
        }
    }
}
