//! Connections that count what passes over them, under the names that dashboards read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::{Counter, Gauge, Set};

/// Counters of all connections of one kind.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: Arc<Gauge>,
    /// Attempts to connect.
    pub dials: Arc<Counter>,
    /// Attempts that failed, by TCP or by the proxy.
    pub dial_errors: Arc<Counter>,
    bytes_read: Arc<Counter>,
    bytes_written: Arc<Counter>,
    reads: Arc<Counter>,
    writes: Arc<Counter>,
    read_errors: Arc<Counter>,
    write_errors: Arc<Counter>,
}

impl ConnectionCounts {
    /// `<prefix>_conns`, `<prefix>_dials_total`, `<prefix>_conn_bytes_read_total` and so on.
    pub fn new(set: &Set, prefix: &str) -> Self {
        let counter = |name: &str| set.counter(&format!("{prefix}_{name}_total"));
        Self {
            open: set.gauge(&format!("{prefix}_conns")),
            dials: counter("dials"),
            dial_errors: counter("dial_errors"),
            bytes_read: counter("conn_bytes_read"),
            bytes_written: counter("conn_bytes_written"),
            reads: counter("conn_reads"),
            writes: counter("conn_writes"),
            read_errors: counter("conn_read_errors"),
            write_errors: counter("conn_write_errors"),
        }
    }
}

/// A connection that is counted as open until it is dropped.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    counts: Arc<ConnectionCounts>,
}

impl<S> Counted<S> {
    /// Takes over a connected stream.
    pub fn new(stream: S, counts: Arc<ConnectionCounts>) -> Self {
        counts.open.inc();
        Self { stream, counts }
    }

    fn written(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(result) = polled {
            self.counts.writes.inc();
            match result {
                Ok(len) => self.counts.bytes_written.add(*len as u64),
                Err(_) => self.counts.write_errors.inc(),
            }
        }
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.counts.open.dec();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(result) = &polled {
            self.counts.reads.inc();
            match result {
                Ok(()) => self.counts.bytes_read.add((buf.filled().len() - before) as u64),
                Err(_) => self.counts.read_errors.inc(),
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
