//! What is asked for, with its limits.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use crate::redact;
use crate::tls::cert_store::MAX_FILE_LEN;

/// Where redirects may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectScope {
    /// Anywhere; credentials do not go along to another origin.
    Anywhere,
    /// Only to the same host, and never from https to http: for replies that are trusted because of the host that they
    /// come from.
    SameHost,
}

/// A request. Its `Debug` shows neither headers nor body nor credentials.
#[derive(Clone)]
pub struct FetchRequest {
    /// Absolute http(s) URL; its userinfo is sent as Basic authentication.
    pub url: String,
    /// Any method; only GET and HEAD follow redirects.
    pub method: Method,
    /// Sent as they are; `Host` and framing are set by the client.
    pub headers: Vec<(String, String)>,
    /// For the proxy alone, such as `Proxy-Authorization`.
    pub proxy_headers: Vec<(String, String)>,
    /// Sent with `Content-Length` when not empty. Clones share the bytes.
    pub body: Bytes,
    /// For everything, redirects and body included.
    pub timeout: Duration,
    /// A longer reply is an error; decoded bytes count.
    pub max_body: usize,
    /// 0 returns the first redirect as the reply.
    pub max_redirects: u32,
    /// Where they may lead.
    pub redirect_scope: RedirectScope,
    /// User name and password; beats the userinfo of the URL.
    pub basic_auth: Option<(String, String)>,
    /// Whether it may be sent again when a kept connection was closed by the server before a reply began. Safe methods
    /// always are (RFC 9110 §9.2.2).
    pub may_repeat: bool,
}

impl FetchRequest {
    /// GET with a timeout of 30 s, a body of at most 16 MiB and up to 10 redirects.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: Method::GET,
            headers: Vec::new(),
            proxy_headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(30),
            max_body: MAX_FILE_LEN,
            max_redirects: 10,
            redirect_scope: RedirectScope::Anywhere,
            basic_auth: None,
            may_repeat: false,
        }
    }

    /// POST of `body` with the limits of [`Self::get`].
    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { method: Method::POST, headers, body: body.into(), ..Self::get(url) }
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.may_repeat || self.method.is_safe()
    }
}

impl fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchRequest")
            .field("url", &redact::url(&self.url))
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
