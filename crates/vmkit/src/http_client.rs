//! The HTTP client of the control plane: config URLs, CA files, OIDC discovery, key sets, metrics push, scrapes, remote
//! write.
//!
//! Requests of users never pass here; they have a pool of their own per worker. It decides redirects, retries on kept
//! connections, limits of size and time, and what an error may say: texts name the URL without userinfo and query, and
//! never a header or a body.

mod cache_control;
mod connector;
mod counted;
mod dial;
mod error;
mod fetch;
mod proxy_route;
mod redirect;
mod reply_body;
mod request;
mod target;
mod tls_files;

pub use cache_control::cache_control_max_age;
pub use counted::{ConnectionCounts, Counted};
pub use error::{FetchCause, FetchError};
pub use fetch::{Client, ClientOptions, FetchReply, StreamedReply};
pub use hyper::{Method, StatusCode};
pub use proxy_route::ProxyOptions;
pub use request::{FetchRequest, RedirectScope};
pub use tls_files::TlsFiles;
