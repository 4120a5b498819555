//! Why a fetch failed, in texts that may go to any log.
//!
//! The URL is redacted when the error is made, so no later formatting can undo it. Causes come from the transport and
//! name addresses and certificates only.

use crate::redact;
use crate::tls::handshake_error;
use hyper::Method;
use std::error::Error;
use std::io;
use std::time::Duration;

/// A failed fetch: `Get "http://host/path": <cause>`.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {url:?}: {cause}")]
pub struct FetchError {
    /// Method with one capital letter.
    operation: String,
    /// Without userinfo and query.
    url: String,
    /// What happened.
    #[source]
    pub cause: FetchCause,
}

/// What happened to a fetch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchCause {
    /// Not an absolute http(s) URL.
    #[error("invalid URL: {0}")]
    InvalidUrl(&'static str),
    /// A header name or value that cannot be sent.
    #[error("invalid request header {0:?}")]
    InvalidHeader(String),
    /// No whole reply in time.
    #[error("timeout of {0:?} exceeded")]
    Timeout(Duration),
    /// Name resolution, TCP or TLS failed, or the server broke the protocol.
    #[error("{0}")]
    Transport(String),
    /// The reply is larger than the caller allows.
    #[error("the response body exceeds {0} bytes")]
    BodyTooLarge(usize),
    /// More redirects than the caller allows.
    #[error("stopped after {0} redirects")]
    TooManyRedirects(u32),
    /// A redirect to another host or from https to http, where the caller does not want that.
    #[error("redirects to another host or from https to http are refused")]
    RedirectRefused,
    /// The CA or certificate of the client cannot be used.
    #[error("{0}")]
    Tls(String),
}

impl FetchError {
    pub(super) fn new(method: &Method, url: &str, cause: FetchCause) -> Self {
        let name = method.as_str();
        let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
        Self {
            operation: format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase()),
            url: redact::url(url).into_owned(),
            cause,
        }
    }
}

/// The innermost cause of a transport error, in the words of the original where there are any.
pub(super) fn transport(error: &(dyn Error + 'static)) -> FetchCause {
    let mut current = error;
    loop {
        if let Some(error) = current.downcast_ref::<rustls::Error>() {
            return FetchCause::Transport(handshake_error::client_text(&io::Error::other(error.clone())));
        }
        // An I/O error passes over what it wraps when it is asked for its source.
        let inner = match current.downcast_ref::<io::Error>() {
            Some(error) => match error.get_ref() {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => return FetchCause::Transport(handshake_error::text(error)),
            },
            None => current.source(),
        };
        match inner {
            None => return FetchCause::Transport(current.to_string()),
            Some(inner) => current = inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hold_no_credentials() {
        let err = FetchError::new(&Method::GET, "http://u:secret@h/p?t=secret", FetchCause::TooManyRedirects(3));
        assert_eq!(err.to_string(), "Get \"http://xxxxx@h/p?xxxxx\": stopped after 3 redirects");
        assert!(!format!("{err:?}").contains("secret"));
    }

    #[test]
    fn innermost_causes() {
        let f = |error: io::Error, want: &str| {
            assert_eq!(transport(&error), FetchCause::Transport(want.to_owned()));
        };
        f(io::Error::from_raw_os_error(104), "connection reset by peer");
        f(io::Error::other(rustls::Error::NoCertificatesPresented), "tls: client didn't provide a certificate");
        f(io::Error::other(io::Error::from_raw_os_error(111)), "connection refused");
    }
}
