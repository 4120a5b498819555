//! How connections of the control-plane client are opened: directly, or through a proxy.
//!
//! Every connection carries a mark that says whether it has served a request: one that was kept and then failed before
//! a reply was closed by the server in between, and its request may go out again on a new one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::counted::{ConnectionCounts, Counted};
use super::dial::Dialer;
use super::proxy_route::{BoxError, ProxyRoute};
use crate::proxy::ProxyStream;

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
    dialer: Dialer,
    route: Option<Arc<ProxyRoute>>,
    counts: Arc<ConnectionCounts>,
}

impl Connector {
    /// Through the proxy, if there is one.
    pub(super) fn new(route: Option<Arc<ProxyRoute>>, counts: Option<Arc<ConnectionCounts>>) -> Self {
        Self { dialer: Dialer::default(), route, counts: counts.unwrap_or_default() }
    }

    async fn open(&self, target: &Uri) -> Result<ProxyStream, BoxError> {
        let (host, port) = host_and_port(target)?;
        match &self.route {
            Some(route) => route.connect(&self.dialer, is_tls(target), host, port).await,
            None => Ok(ProxyStream::Plain(self.dialer.connect(host, port).await?)),
        }
    }
}

fn is_tls(target: &Uri) -> bool {
    target.scheme_str() == Some("https")
}

/// The host without brackets.
fn host_and_port(target: &Uri) -> Result<(&str, u16), BoxError> {
    let host = target.host().ok_or("missing host")?.trim_matches(['[', ']']);
    let usual = if is_tls(target) { 443 } else { 80 };
    Ok((host, target.port_u16().unwrap_or(usual)))
}

impl Service<Uri> for Connector {
    type Response = Dialed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialed, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let counts = connector.counts.clone();
            counts.dials.inc();
            let is_proxy = connector.route.as_ref().is_some_and(|route| route.takes_requests(is_tls(&target)));
            let dialed = connector.open(&target).await;
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
