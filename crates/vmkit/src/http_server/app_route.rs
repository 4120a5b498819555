//! Routes of the application beside the built-in ones: what they are asked, and what they answer.
//!
//! A route is found by its exact path or by a prefix, checked against its key or the gate, and answers one [`Reply`].
//! Its future runs on the worker of the connection: it must not block, and work that takes milliseconds belongs on the
//! control plane. Bodies are read in pieces, each of which must come within [`PIECE_TIMEOUT`].

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Request;
use crate::exchange::BodyError;
use crate::flags::Password;
use crate::metrics::Counter;
use crate::percent;

/// How long a client may keep a route waiting for the next piece of a body.
pub const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// The answer of a route, made on the worker.
pub type ReplyFuture<'r> = Pin<Box<dyn Future<Output = Reply> + 'r>>;

type Answer = dyn for<'r, 'c> Fn(&'r mut Request<'c>) -> ReplyFuture<'r> + Send + Sync;

/// A route of the application's own, such as `/-/reload`.
pub struct AppRoute {
    pub(super) path: RoutePath,
    pub(super) key: Option<(Password, &'static str)>,
    pub(super) requests: Option<Arc<Counter>>,
    pub(super) is_public: bool,
    pub(super) folds_slashes: bool,
    /// Where requests of users are served, the route is only there if this key is set.
    pub(super) guard: Option<Password>,
    pub(super) answer: Box<Answer>,
}

/// Which paths a route takes; compared decoded, and not normalised unless the route says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoutePath {
    Exact(&'static str),
    Prefix(&'static str),
}

impl RoutePath {
    fn takes(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(own) => own.as_bytes() == path,
            Self::Prefix(own) => path.starts_with(own.as_bytes()),
        }
    }
}

impl AppRoute {
    /// A route at exactly this path.
    pub fn new<F>(path: &'static str, answer: F) -> Self
    where
        F: for<'r, 'c> Fn(&'r mut Request<'c>) -> ReplyFuture<'r> + Send + Sync + 'static,
    {
        let (path, answer) = (RoutePath::Exact(path), Box::new(answer));
        Self { path, key: None, requests: None, is_public: false, folds_slashes: false, guard: None, answer }
    }

    /// A route for all paths that begin like this. Earlier routes go first.
    pub fn prefix<F>(path: &'static str, answer: F) -> Self
    where
        F: for<'r, 'c> Fn(&'r mut Request<'c>) -> ReplyFuture<'r> + Send + Sync + 'static,
    {
        Self { path: RoutePath::Prefix(path), ..Self::new("", answer) }
    }

    /// Asks for a key in the `authKey` arg, if the flag of that name is set; the gate of `-httpAuth.*` otherwise.
    #[must_use]
    pub fn with_key(self, key: Password, flag: &'static str) -> Self {
        Self { key: Some((key, flag)), ..self }
    }

    /// Counts the requests that may pass.
    #[must_use]
    pub fn counted(self, requests: Arc<Counter>) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Serves the route where requests of users are served, not where internal pages are.
    #[must_use]
    pub fn public(self) -> Self {
        Self { is_public: true, ..self }
    }

    /// Takes `//` for `/`.
    #[must_use]
    pub fn folding_slashes(self) -> Self {
        Self { folds_slashes: true, ..self }
    }

    /// Serves the route on internal listeners, and where requests of users are served only when this key is set: there the
    /// path belongs to the users otherwise. Does not ask for the key; [`with_key`](Self::with_key) does.
    #[must_use]
    pub fn guarded_by(self, key: Password) -> Self {
        Self { guard: Some(key), ..self }
    }

    /// Whether a listener of internal pages, of requests of users, or of both, has the route.
    pub(super) fn is_served(&self, internal: bool, public: bool) -> bool {
        match &self.guard {
            _ if self.is_public => public,
            None => internal,
            Some(key) => !public || key.is_set(),
        }
    }

    /// Whether listeners of users without internal pages must look for it.
    pub(super) fn is_for_users(&self) -> bool {
        self.is_public || self.guard.as_ref().is_some_and(Password::is_set)
    }

    pub(super) fn takes(&self, path: &[u8]) -> bool {
        if self.folds_slashes && path.windows(2).any(|pair| pair == b"//") {
            let mut folded = path.to_vec();
            folded.dedup_by(|next, before| *next == b'/' && *before == b'/');
            return self.path.takes(&folded);
        }
        self.path.takes(path)
    }
}

impl std::fmt::Debug for AppRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppRoute").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Value of `Content-Type`; empty for none.
    pub content_type: Cow<'static, str>,
    /// Further header lines; not those of framing.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The whole body. Large ones are compressed when the client takes that.
    pub body: Bytes,
}

impl Reply {
    /// A body of any type.
    pub fn new(status: u16, content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: content_type.into(), headers: Vec::new(), body: body.into() }
    }

    /// A plain text.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// A JSON text.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// 204 without a body.
    pub fn no_content() -> Self {
        Self::new(204, "", Bytes::new())
    }

    /// An error in the form of all errors of the server: the message and a line end.
    pub fn error(status: u16, message: &str) -> Self {
        Self::text(status, format!("{message}\n")).with_header("X-Content-Type-Options", "nosniff".to_owned())
    }

    /// One more header line.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }
}

/// Why a body could not be read; the text may be shown to the client.
#[derive(Debug, thiserror::Error)]
pub enum ReadBodyError {
    /// Longer than the caller takes.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// The next piece did not come in time.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// It broke off or is malformed.
    #[error("cannot read the request body: {0}")]
    Broken(String),
}

impl ReadBodyError {
    /// Status of the reply that says so.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::TooSlow => 408,
            Self::Broken(_) => 400,
        }
    }
}

impl From<BodyError> for ReadBodyError {
    fn from(error: BodyError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Request<'_> {
    /// First value of an arg of the query, decoded.
    pub fn query_arg(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.exchange.head.query().and_then(|query| percent::arg(query, name))
    }

    /// First header of that name, as text; values that are no UTF-8 count as missing.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.exchange.head.values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The next piece of the body, as sent; `None` at the end.
    pub async fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadBodyError> {
        match tokio::time::timeout(PIECE_TIMEOUT, self.exchange.body.chunk()).await {
            Ok(piece) => Ok(piece?.map(|chunk| chunk.data)),
            Err(_) => Err(ReadBodyError::TooSlow),
        }
    }

    /// The whole body, as sent, of at most `limit` bytes.
    pub async fn read_body(&mut self, limit: usize) -> Result<Vec<u8>, ReadBodyError> {
        let mut body = Vec::new();
        while let Some(piece) = self.next_piece().await? {
            if body.len() + piece.len() > limit {
                return Err(ReadBodyError::TooLarge(limit));
            }
            body.extend_from_slice(piece);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let f = |path: RoutePath, asked: &str, want: bool| assert_eq!(path.takes(asked.as_bytes()), want, "{asked}");
        f(RoutePath::Exact("/targets"), "/targets", true);
        f(RoutePath::Exact("/targets"), "/targets/", false);
        f(RoutePath::Prefix("/insert/"), "/insert/0/x", true);
        f(RoutePath::Prefix("/insert/"), "/insert", false);
    }

    #[test]
    fn slashes_are_folded_where_a_route_says_so() {
        let route = || AppRoute::new("/api/v1/targets", |_| Box::pin(async { Reply::no_content() }));
        assert!(!route().takes(b"//api/v1/targets"));
        let folding = route().folding_slashes();
        assert!(folding.takes(b"//api///v1/targets") && folding.takes(b"/api/v1/targets"));
        assert!(!folding.takes(b"/api/v1/targets//"));
    }

    #[test]
    fn statuses_of_unreadable_bodies() {
        let statuses = [ReadBodyError::TooLarge(1), ReadBodyError::TooSlow, ReadBodyError::Broken(String::new())];
        assert_eq!(statuses.map(|error| error.status()), [413, 408, 400]);
    }
}
