//! The reading side of a connection: heads first, then the body piece by piece, then the next head.
//!
//! Pieces are slices of the read buffer, so a byte is copied twice on its way through a proxy: out of one socket and
//! into another. Nothing is read ahead beyond one buffer, so a slow receiver slows the sender down.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body_decoder::{BodyDecoder, BodyError, Step};
use super::read_buffer::ReadBuffer;
use super::request_head::BodyKind;
use super::wire::Wire;

/// Largest head that is accepted (spec server.md §3).
pub(super) const MAX_HEAD: usize = 1024 * 1024;
/// Bytes of pipelined requests kept while another request is being answered.
const MAX_PIPELINED: usize = 64 * 1024;

/// A piece of a body.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// At least one byte.
    pub data: &'a [u8],
    /// True when the body is known to end with this piece. False says nothing.
    pub last: bool,
}

/// Reads the messages of one connection.
#[derive(Debug)]
pub(super) struct MessageReader {
    wire: Rc<Wire>,
    buffer: ReadBuffer,
    body: BodyDecoder,
    /// Bytes of the buffer that were handed out with the last piece.
    taken: usize,
    broken: bool,
}

impl MessageReader {
    pub(super) fn new(wire: Rc<Wire>) -> Self {
        Self { wire, buffer: ReadBuffer::default(), body: BodyDecoder::new(BodyKind::None), taken: 0, broken: false }
    }

    pub(super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    /// Bytes read and not used.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.bytes()
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.buffer.consume(n);
    }

    /// Reads once more for a head; `Ok(0)` is the end of the stream, `FileTooLarge` a head beyond the limit.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.poll_fill(&self.wire, cx, MAX_HEAD)
    }

    /// The head has been consumed; what follows is a body of this kind.
    pub(super) fn start_body(&mut self, kind: BodyKind) {
        self.body = BodyDecoder::new(kind);
        self.taken = 0;
    }

    /// Whether the body was read to its end and nothing went wrong.
    pub(super) fn body_is_done(&self) -> bool {
        self.body.is_done() && !self.broken
    }

    pub(super) fn body_remaining(&self) -> Option<u64> {
        self.body.remaining()
    }

    pub(super) fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    /// Next piece of the body; `None` at its end. Cancel safe: nothing is lost when the future is dropped.
    pub(super) async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        let (skip, len, last) = match poll_fn(|cx| self.poll_step(cx)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.broken = true;
                return Err(error);
            }
        };
        let data = self.buffer.bytes().get(skip..skip + len).unwrap_or_default();
        Ok(Some(Chunk { data, last }))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(usize, usize, bool)>, BodyError>> {
        self.buffer.consume(std::mem::take(&mut self.taken));
        loop {
            match self.body.step(self.buffer.bytes())? {
                Step::Data { skip, len } => {
                    let following = self.buffer.bytes().get(skip + len..).unwrap_or_default();
                    let end = self.body.ends_with(following);
                    self.taken = skip + len + end.unwrap_or(0);
                    return Poll::Ready(Ok(Some((skip, len, end.is_some()))));
                }
                Step::End { skip } => {
                    self.buffer.consume(skip);
                    return Poll::Ready(Ok(None));
                }
                Step::NeedMore { skip } => {
                    self.buffer.consume(skip);
                    match self.buffer.poll_fill(&self.wire, cx, MAX_HEAD) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(0)) => {
                            self.body.eof()?;
                            return Poll::Ready(Ok(None));
                        }
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    }
                }
            }
        }
    }

    /// The last piece has been used; its storage may go.
    pub(super) fn release(&mut self) {
        self.buffer.consume(std::mem::take(&mut self.taken));
    }

    /// Resolves when the peer has gone. Pipelined bytes are kept; with more than fits the answer is never.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.is_done() || self.taken > 0 {
            return Poll::Pending;
        }
        while self.buffer.bytes().len() < MAX_PIPELINED {
            match self.buffer.poll_fill(&self.wire, cx, MAX_PIPELINED) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}
