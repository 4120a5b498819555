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
}

impl MeteredIo {
    pub(super) fn new(wire: Wire, received: Vec<u8>, link: Rc<Link>) -> Self {
        Self { wire, received, link }
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
        if io.received.is_empty() {
            ready!(Pin::new(&mut io.wire).poll_read(cx, buf))?;
        } else {
            let n = io.received.len().min(buf.remaining());
            buf.put_slice(io.received.get(..n).unwrap_or_default());
            io.received.drain(..n);
            if io.received.is_empty() {
                io.received = Vec::new();
            }
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
