//! One byte stream to a peer, plain or TLS, shared by the half that reads and the half that writes.
//!
//! Both halves live in one task of one worker, so the stream sits in a `RefCell` that is borrowed only inside a poll:
//! no lock, no split overhead, and reading can go on while a write waits. Bytes and calls are counted here, because
//! this is the only place that sees all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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
        }
    };
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
}

/// A counted stream; counted as open from creation until it is dropped.
#[derive(Debug)]
pub struct Wire {
    io: RefCell<Stream>,
    stats: Arc<WireStats>,
}

impl Wire {
    /// Takes over a connected stream.
    pub fn new(stream: Stream, stats: Arc<WireStats>) -> Self {
        stats.open.inc();
        Self { io: RefCell::new(stream), stats }
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
        self.stats.reads.inc();
        match result {
            Ok(0) | Err(_) => self.stats.read_errors.inc(),
            Ok(n) => self.stats.read_bytes.add(n as u64),
        };
        Poll::Ready(result)
    }

    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = {
            let mut io = self.io.borrow_mut();
            ready!(match parts {
                [one] => each!(&mut *io, io => io.poll_write(cx, one)),
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

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        while !parts.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, parts)).await?;
            IoSlice::advance_slices(&mut parts, n);
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Lets the connection end with a reset: the peer cannot take what it got for the whole.
    pub(super) fn end_with_reset(&self) {
        match &*self.io.borrow() {
            // Without the lingering option the connection ends in the ordinary way.
            Stream::Plain(tcp) => drop(tcp.set_zero_linger()),
            // An end without `close_notify` says the same.
            Stream::Accepted(_) | Stream::Opened(_) => {}
        }
    }

    /// Closes the sending side; the peer sees the end of the stream.
    pub async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut io = self.io.borrow_mut();
            each!(&mut *io, io => io.poll_shutdown(cx))
        })
        .await
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stats.open.dec();
    }
}
