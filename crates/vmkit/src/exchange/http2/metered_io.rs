//! The byte stream under the codec: the wire, with what was read before the protocol was known in front of it.
//!
//! Every byte passes the account of `frame_meter.rs`. A client that has done too much is not read any more, so that
//! nothing it has sent besides costs work; the connection then says so and closes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::wire::Wire;
use super::server_stream::Link;

/// What the codec reads from and writes to.
#[derive(Debug)]
pub(super) struct MeteredIo {
    wire: Wire,
    /// Read before and not given to the codec yet.
    received: Vec<u8>,
    link: Rc<Link>,
    /// Whether others have run since the last read.
    has_paused: bool,
}

/// What is read at once while many small frames wait: no more of them than an exchange passes on in one turn.
const SLOW_READ: usize = 2048;

impl MeteredIo {
    pub(super) fn new(wire: Wire, received: Vec<u8>, link: Rc<Link>) -> Self {
        Self { wire, received, link, has_paused: false }
    }

    /// Reads a little, after the exchanges have had their turn: the codec would read all there is before they run.
    fn poll_slowly(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.has_paused = !self.has_paused;
        if self.has_paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut piece = [0; SLOW_READ];
        let room = buf.remaining().min(SLOW_READ);
        let mut part = ReadBuf::new(piece.get_mut(..room).unwrap_or_default());
        ready!(self.poll_all(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads what there is: what was received before comes first.
    fn poll_all(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, buf);
        }
        let n = self.received.len().min(buf.remaining());
        buf.put_slice(self.received.get(..n).unwrap_or_default());
        self.received.drain(..n);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &written {
            self.link.meter.wrote(*n);
        }
        written
    }
}

impl AsyncRead for MeteredIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        if io.link.meter.excess().is_some() {
            // The task that polls looks at the meter next.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if io.link.meter.small.are_many() {
            ready!(io.poll_slowly(cx, buf))?;
        } else {
            ready!(io.poll_all(cx, buf))?;
        }
        if io.link.meter.read(buf.filled().get(before..).unwrap_or_default()) {
            return Poll::Ready(Ok(()));
        }
        buf.set_filled(before);
        Poll::Pending
    }
}

impl AsyncWrite for MeteredIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        let written = Pin::new(&mut io.wire).poll_write(cx, data);
        io.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        let written = Pin::new(&mut io.wire).poll_write_vectored(cx, parts);
        io.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}
