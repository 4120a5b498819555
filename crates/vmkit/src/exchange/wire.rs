//! One byte stream to a peer, plain or TLS, shared by the half that reads and the half that writes.
//!
//! Both halves live in one task of one worker, so the stream sits in a `RefCell` that is borrowed only inside a poll:
//! no lock, no split overhead, and reading can go on while a write waits. Bytes and calls are counted here, because
//! this is the only place that sees all of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::hang_up::{HangUp, PeerWatch, has_hung_up};
use super::stall::Stall;
use crate::metrics::{Counter, Gauge};

/// A TCP connection, with TLS on either side of the handshake or without.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS accepted from a client.
    Accepted(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS opened to a backend.
    Opened(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// The same inside the TLS of a proxy.
    Nested(Box<tokio_rustls::client::TlsStream<tokio_rustls::client::TlsStream<TcpStream>>>),
}

macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            Stream::Accepted($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
            Stream::Opened($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
            Stream::Nested($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl Stream {
    /// The connection below all TLS.
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Accepted(tls) => tls.get_ref().0,
            Self::Opened(tls) => tls.get_ref().0,
            Self::Nested(tls) => tls.get_ref().0.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => io.poll_read(cx, buf))
    }
}

/// Counters of one kind of connection: of a listener, or of all backends together.
#[derive(Debug, Default)]
pub struct WireStats {
    /// Connections open now.
    pub open: Arc<Gauge>,
    /// Bytes read.
    pub read_bytes: Arc<Counter>,
    /// Reads, end of stream included.
    pub reads: Arc<Counter>,
    /// Reads that ended with an error or the end of the stream.
    pub read_errors: Arc<Counter>,
    /// Bytes written.
    pub written_bytes: Arc<Counter>,
    /// Writes.
    pub writes: Arc<Counter>,
    /// Failed writes.
    pub write_errors: Arc<Counter>,
    /// Writes given up because the peer took nothing for too long.
    pub write_timeouts: Arc<Counter>,
}

/// A counted stream; counted as open from creation until it is dropped.
#[derive(Debug)]
pub struct Wire {
    io: RefCell<Stream>,
    stats: Arc<WireStats>,
    /// How long a write may make no progress.
    write_limit: Cell<Option<Duration>>,
    hang_up: HangUp,
}

impl Wire {
    /// Takes over a connected stream.
    pub fn new(stream: Stream, stats: Arc<WireStats>) -> Self {
        stats.open.inc();
        Self { io: RefCell::new(stream), stats, write_limit: Cell::new(None), hang_up: HangUp::default() }
    }

    /// Gives up writes that make no progress for this long.
    pub fn with_write_limit(self, limit: Option<Duration>) -> Self {
        self.limit_writes(limit);
        self
    }

    /// The same from now on.
    pub(super) fn limit_writes(&self, limit: Option<Duration>) {
        self.write_limit.set(limit);
    }

    /// How long a write may make no progress; for codecs that watch their streams by themselves.
    pub fn write_limit(&self) -> Option<Duration> {
        self.write_limit.get()
    }

    /// Where its bytes and calls are counted.
    pub(super) fn stats(&self) -> Arc<WireStats> {
        self.stats.clone()
    }

    /// The protocol that TLS has negotiated.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match &*self.io.borrow() {
            Stream::Plain(_) => None,
            Stream::Accepted(tls) => tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
            Stream::Opened(tls) => tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
            Stream::Nested(tls) => tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// Whether TLS has negotiated this protocol.
    pub fn speaks(&self, protocol: &[u8]) -> bool {
        match &*self.io.borrow() {
            Stream::Plain(_) => false,
            Stream::Accepted(tls) => tls.get_ref().1.alpn_protocol() == Some(protocol),
            Stream::Opened(tls) => tls.get_ref().1.alpn_protocol() == Some(protocol),
            Stream::Nested(tls) => tls.get_ref().1.alpn_protocol() == Some(protocol),
        }
    }

    /// Whether the bytes are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        !matches!(&*self.io.borrow(), Stream::Plain(_))
    }

    /// Reads into the spare room of `buf`; 0 means that the peer has closed its side.
    pub(super) fn poll_read_buf<B: BufMut>(&self, cx: &mut Context<'_>, buf: &mut B) -> Poll<io::Result<usize>> {
        let result = {
            let mut io = self.io.borrow_mut();
            ready!(tokio_util::io::poll_read_buf(Pin::new(&mut *io), cx, buf))
        };
        self.count_read(&result);
        Poll::Ready(result)
    }

    /// Whether the connection is open and nothing has come that was not read; `None` when only reading can tell. Nobody
    /// is woken when that changes.
    pub(super) fn is_silent(&self) -> Option<bool> {
        let Stream::Plain(tcp) = &*self.io.borrow() else { return None };
        let result = tcp.try_read(&mut [0]);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return Some(true);
        }
        self.count_read(&result);
        Some(false)
    }

    fn count_read(&self, result: &io::Result<usize>) {
        self.stats.reads.inc();
        match result {
            Ok(0) | Err(_) => self.stats.read_errors.inc(),
            Ok(n) => self.stats.read_bytes.add(*n as u64),
        };
    }

    fn poll_write_parts(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = {
            let mut io = self.io.borrow_mut();
            ready!(match parts {
                // The kernel takes one piece more quickly than a list of one.
                [one, rest @ ..] if rest.iter().all(|part| part.is_empty()) =>
                    each!(&mut *io, io => io.poll_write(cx, one)),
                _ => each!(&mut *io, io => io.poll_write_vectored(cx, parts)),
            })
        };
        self.stats.writes.inc();
        match result {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                self.stats.written_bytes.add(n as u64);
                Poll::Ready(Ok(n))
            }
            Err(error) => {
                self.stats.write_errors.inc();
                Poll::Ready(Err(error))
            }
        }
    }

    fn poll_flush_records(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        match &mut *io {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            other => each!(other, io => io.poll_flush(cx)),
        }
    }

    /// Writes all parts in order, as few calls as the socket allows, and flushes TLS records.
    pub async fn write_all(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // A leading empty part would look like a write of nothing.
        IoSlice::advance_slices(&mut parts, 0);
        // The socket of a peer that reads takes everything at once: nothing to watch.
        if !parts.is_empty() {
            let written = poll_fn(|cx| Poll::Ready(self.poll_write_parts(cx, parts))).await;
            if let Poll::Ready(written) = written {
                IoSlice::advance_slices(&mut parts, written.inspect_err(|error| self.count_timeout(error))?);
            }
        }
        if parts.is_empty() && !self.is_tls() {
            return Ok(());
        }
        self.write_rest(parts).await
    }

    async fn write_rest(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut stall = Stall::new(self.write_limit.get());
        while !parts.is_empty() {
            let written = poll_fn(|cx| {
                let written = self.poll_write_parts(cx, parts);
                stall.watch(cx, written)
            });
            let n = written.await.inspect_err(|error| self.count_timeout(error))?;
            IoSlice::advance_slices(&mut parts, n);
        }
        let flushed = poll_fn(|cx| {
            let flushed = self.poll_flush_records(cx);
            stall.watch(cx, flushed)
        });
        flushed.await.inspect_err(|error| self.count_timeout(error))
    }

    fn count_timeout(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.stats.write_timeouts.inc();
        }
    }

    /// Lets the connection end with a reset: the peer cannot take what it got for the whole.
    pub(super) fn end_with_reset(&self) {
        // Without the lingering option the connection ends in the ordinary way. An end of TLS without `close_notify`
        // says the same, but clients often take it for a proper end.
        let _ = self.io.borrow().tcp().set_zero_linger();
    }

    /// Closes the sending side; the peer sees the end of the stream.
    pub async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        each!(&mut *io, io => io.poll_shutdown(cx))
    }
}

// For peers whose bytes nobody reads: with what was read last in use elsewhere, or before more of them are wanted.
impl PeerWatch for Wire {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.hang_up.poll(cx, || has_hung_up(self.io.borrow().tcp()))
    }
}

// For codecs that take over the whole connection.
impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_read_buf(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_parts(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_parts(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_records(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_close(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stats.open.dec();
    }
}
