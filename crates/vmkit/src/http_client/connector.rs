//! How connections of the control-plane client are opened: directly, or through a proxy.
//!
//! Every connection carries a mark that says whether it has served a request: one that was kept and then failed before
//! a reply was closed by the server in between, and its request may go out again on a new one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::counted::{ConnectionCounts, Counted};
use super::proxy_route::{BoxError, ProxyRoute};
use crate::proxy::ProxyStream;

/// A server that swallows SYNs must not use up the whole time of a request.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Whether a connection has served a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<AtomicBool>);

impl Used {
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    route: Option<Arc<ProxyRoute>>,
    counts: Arc<ConnectionCounts>,
}

impl Connector {
    /// Through the proxy, if there is one.
    pub(super) fn new(route: Option<Arc<ProxyRoute>>, counts: Option<Arc<ConnectionCounts>>) -> Self {
        Self { tcp: tcp(), route, counts: counts.unwrap_or_default() }
    }
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector
}

impl Service<Uri> for Connector {
    type Response = Dialed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialed, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Self { mut tcp, route, counts } = self.clone();
        Box::pin(async move {
            counts.dials.inc();
            let is_proxy =
                route.as_ref().is_some_and(|route| route.takes_requests(target.scheme_str() == Some("https")));
            let dialed = match &route {
                Some(route) => route.connect(tcp, &target).await,
                None => match tcp.call(target).await {
                    Ok(io) => Ok(ProxyStream::Plain(io.into_inner())),
                    Err(error) => Err(error.into()),
                },
            };
            match dialed {
                Ok(stream) => {
                    let io = TokioIo::new(Counted::new(stream, counts));
                    Ok(Dialed { io, is_proxy, used: Used::default() })
                }
                Err(error) => {
                    counts.dial_errors.inc();
                    Err(error)
                }
            }
        })
    }
}

/// An open connection.
pub(super) struct Dialed {
    io: TokioIo<Counted<ProxyStream>>,
    is_proxy: bool,
    used: Used,
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxy).extra(self.used.clone())
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}
