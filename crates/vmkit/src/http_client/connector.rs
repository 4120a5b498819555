//! How connections of the control-plane client are opened: directly, or through an HTTP proxy.
//!
//! Requests in the clear are handed to the proxy whole, TLS goes through a tunnel (`CONNECT`, RFC 9110 §9.3.6). Every
//! connection carries a mark that says whether it has served a request: one that was kept and then failed before a
//! reply was closed by the server in between, and its request may go out again on a new one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

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

/// Which way connections take.
#[derive(Clone, Debug)]
pub(super) enum Connector {
    Direct(HttpConnector),
    /// Every connection goes to the proxy, which gets requests with absolute targets.
    Forward {
        proxy: Uri,
        inner: HttpConnector,
    },
    Tunnel(Tunnel<HttpConnector>),
}

impl Connector {
    pub(super) fn direct() -> Self {
        Self::Direct(tcp())
    }

    /// For requests in the clear.
    pub(super) fn forward(proxy: Uri) -> Self {
        Self::Forward { proxy, inner: tcp() }
    }

    /// For TLS.
    pub(super) fn tunnel(proxy: Uri, authorization: Option<HeaderValue>) -> Self {
        let tunnel = Tunnel::new(proxy, tcp());
        Self::Tunnel(match authorization {
            Some(value) => tunnel.with_auth(value),
            None => tunnel,
        })
    }
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Dialed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialed, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(inner) | Self::Forward { inner, .. } => inner.poll_ready(cx).map_err(Into::into),
            Self::Tunnel(inner) => inner.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dialed = |is_proxy: bool| move |io| Dialed { io, is_proxy, used: Used::default() };
        match self {
            Self::Direct(inner) => {
                let dial = inner.call(target);
                Box::pin(async move { Ok(dial.await.map(dialed(false))?) })
            }
            Self::Forward { proxy, inner } => {
                let dial = inner.call(proxy.clone());
                Box::pin(async move { Ok(dial.await.map(dialed(true))?) })
            }
            Self::Tunnel(inner) => {
                let dial = inner.call(target);
                Box::pin(async move { Ok(dial.await.map(dialed(false))?) })
            }
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Dialed {
    io: TokioIo<TcpStream>,
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
