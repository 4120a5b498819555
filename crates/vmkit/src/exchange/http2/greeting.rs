//! The bytes of an HTTP/2 connection to a backend, watched: whether the peer speaks HTTP/2 at all, and whether it says
//! anything.
//!
//! A server of HTTP/2 begins with a SETTINGS frame (RFC 9113 §3.4). Requests wait for it, because a server that speaks
//! HTTP/1 would answer them with an error of its own, and because it tells how many streams the server takes.
//! Here nothing else is read from the bytes; `reply_frames.rs` counts their frames, which are the business of the `h2` crate.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::wire::Wire;
use super::frame_heads::HEAD;
use super::life::Life;

const SETTINGS: u8 = 4;

/// A connection whose first bytes are judged.
#[derive(Debug)]
pub(super) struct Greeted {
    wire: Wire,
    life: Rc<Life>,
    first: Vec<u8>,
}

impl Greeted {
    pub(super) fn new(wire: Wire, life: Rc<Life>) -> Self {
        Self { wire, life, first: Vec::with_capacity(HEAD) }
    }

    fn judge(&mut self, bytes: &[u8]) -> io::Result<()> {
        let missing = HEAD - self.first.len();
        self.first.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        if self.first.starts_with(b"HTTP/1") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the backend does not speak HTTP/2: it answers in HTTP/1",
            ));
        }
        if self.first.len() < HEAD {
            return Ok(());
        }
        let is_settings = self.first[3] == SETTINGS && self.first[4] & 1 == 0 && self.first[5..] == [0; 4];
        if !is_settings {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the backend does not speak HTTP/2"));
        }
        self.life.greet();
        Ok(())
    }
}

impl AsyncRead for Greeted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.life.frames.is_over() {
            // The task that polls brings relief next.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        let bytes = buf.filled().get(before..).unwrap_or_default();
        self.life.note_read(bytes.len());
        self.life.frames.read(bytes);
        if self.first.len() < HEAD && !bytes.is_empty() {
            self.judge(bytes)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
