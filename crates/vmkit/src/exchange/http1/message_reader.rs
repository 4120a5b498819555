//! The reading side of a connection: heads first, then the body piece by piece, then the next head.
//!
//! Pieces are slices of the read buffer, so a byte is copied twice on its way through a proxy: out of one socket and
//! into another. Nothing is read ahead beyond one buffer, so a slow receiver slows the sender down.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::body_error::BodyError;
use super::super::hang_up::PeerWatch;
use super::super::head_budget::{HeadBudget, MAX_HEAD};
use super::super::header_list::HeaderList;
use super::super::message::Chunk;
use super::super::wire::Wire;
use super::body_decoder::{BodyDecoder, Delimiter, Step};
use super::read_buffer::ReadBuffer;

/// Bytes of an unread body that are read and dropped to keep the connection.
pub(in super::super) const MAX_DRAINED: usize = 256 * 1024;
/// A read may take this much before the size of the head is looked at.
const MIN_BUFFERED: usize = 64 * 1024;
/// Bytes of pipelined requests kept while another request is being answered.
const MAX_PIPELINED: usize = 64 * 1024;

/// Reads the messages of one connection.
#[derive(Debug)]
pub(in super::super) struct MessageReader {
    wire: Rc<Wire>,
    buffer: ReadBuffer,
    body: BodyDecoder,
    /// Bytes of the buffer that were handed out with the last piece.
    taken: usize,
    broken: bool,
    /// Unread bytes that were searched for the end of a head.
    searched: usize,
    /// Number of unread bytes at which a head is looked for again.
    look_again_at: usize,
    max_head: usize,
}

/// Where a piece of the body stands in the buffer.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Piece {
    skip: usize,
    len: usize,
    last: bool,
}

impl MessageReader {
    pub(in super::super) fn new(wire: Rc<Wire>) -> Self {
        let body = BodyDecoder::new(Delimiter::None);
        Self {
            wire,
            buffer: ReadBuffer::default(),
            body,
            taken: 0,
            broken: false,
            searched: 0,
            look_again_at: 0,
            max_head: MAX_HEAD,
        }
    }

    /// Heads must fit into this budget.
    pub(in super::super) fn set_budget(&mut self, budget: HeadBudget) {
        self.max_head = budget.max_head();
        self.buffer = ReadBuffer::new(budget);
    }

    /// Largest head.
    pub(in super::super) fn max_head(&self) -> usize {
        self.max_head
    }

    pub(in super::super) fn wire(&self) -> &Rc<Wire> {
        &self.wire
    }

    /// Bytes read and not used.
    pub(in super::super) fn unread(&self) -> &[u8] {
        self.buffer.bytes()
    }

    pub(in super::super) fn consume(&mut self, n: usize) {
        self.buffer.consume(n);
        (self.searched, self.look_again_at) = (0, 0);
    }

    /// Whether looking for a head in the unread bytes is worth it.
    ///
    /// A head that comes byte by byte must not be parsed once a byte: that would take quadratic time. After a look in
    /// vain only the empty line that ends a head, or twice as many bytes, are worth another one.
    pub(in super::super) fn head_may_be_complete(&mut self) -> bool {
        let unread = self.buffer.bytes();
        let from = std::mem::replace(&mut self.searched, unread.len());
        let ends_line = |at: usize| matches!(unread.get(..from + at), Some([.., b'\n'] | [.., b'\n', b'\r']));
        let is_worth_it = !unread.is_empty()
            && (unread.len() >= self.look_again_at
                || memchr::memchr_iter(b'\n', unread.get(from..).unwrap_or_default()).any(ends_line));
        if is_worth_it {
            self.look_again_at = unread.len() * 2;
        }
        is_worth_it
    }

    /// Reads once more for a head; `Ok(0)` is the end of the stream, `FileTooLarge` a head beyond the limit.
    pub(in super::super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.poll_fill(&self.wire, cx, self.max_head.max(MIN_BUFFERED))
    }

    /// The head has been consumed; what follows is a body that ends like this.
    pub(in super::super) fn start_body(&mut self, delimiter: Delimiter) {
        self.release();
        self.body = BodyDecoder::new(delimiter);
    }

    /// Whether the body was read to its end and nothing went wrong.
    pub(in super::super) fn body_is_done(&self) -> bool {
        self.body.is_done() && !self.broken
    }

    /// Whether what is left of the body cannot be skipped for sure: it is long, or it has not arrived and nobody knows
    /// how long it is.
    pub(in super::super) fn rest_is_too_much(&self) -> bool {
        match self.body.remaining() {
            Some(left) => left > MAX_DRAINED as u64,
            None => !self.body.ends_within(self.buffer.bytes().get(self.taken..).unwrap_or_default()),
        }
    }

    pub(in super::super) fn trailers(&self) -> Option<&HeaderList> {
        self.body.trailers()
    }

    /// Next piece of the body; `None` at its end. Cancel safe: nothing is lost when the future is dropped.
    pub(in super::super) async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        let piece = self.next_piece().await?;
        Ok(piece.map(|piece| self.chunk_at(piece)))
    }

    /// Finds the next piece of the body; `None` at its end. Cancel safe.
    pub(in super::super) async fn next_piece(&mut self) -> Result<Option<Piece>, BodyError> {
        let found = poll_fn(|cx| self.poll_step(cx)).await;
        self.broken |= found.is_err();
        found
    }

    /// The bytes of the piece that was found last.
    pub(in super::super) fn chunk_at(&self, piece: Piece) -> Chunk<'_> {
        let data = self.buffer.bytes().get(piece.skip..piece.skip + piece.len).unwrap_or_default();
        Chunk { data, last: piece.last }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, BodyError>> {
        self.buffer.consume(std::mem::take(&mut self.taken));
        loop {
            match self.body.step(self.buffer.bytes())? {
                Step::Data { skip, len } => {
                    let following = self.buffer.bytes().get(skip + len..).unwrap_or_default();
                    let end = self.body.ends_with(following);
                    self.taken = skip + len + end.unwrap_or(0);
                    return Poll::Ready(Ok(Some(Piece { skip, len, last: end.is_some() })));
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
    pub(in super::super) fn release(&mut self) {
        self.buffer.consume(std::mem::take(&mut self.taken));
    }

    /// Resolves when the peer has gone. Pipelined bytes are kept; with more than fits, or before the body was read, it
    /// takes a moment until that is seen.
    pub(in super::super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.is_done() {
            return self.wire.poll_gone(cx);
        }
        // Nobody can hold a piece while this is called, so the last one has been used.
        self.release();
        while self.buffer.bytes().len() < MAX_PIPELINED {
            match self.buffer.poll_fill(&self.wire, cx, MAX_PIPELINED) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
            }
        }
        self.wire.poll_gone(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::exchange::{Stream, WireStats};

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_looked_for_a_few_times() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::Plain(listener.accept().await.unwrap().0);
        let mut reader = MessageReader::new(Rc::new(Wire::new(stream, Arc::new(WireStats::default()))));
        let lines: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let mut looks = 0;
        for (at, byte) in head.bytes().enumerate() {
            peer.write_all(&[byte]).await.unwrap();
            poll_fn(|cx| reader.poll_more(cx)).await.unwrap();
            let is_last = at + 1 == head.len();
            let look = reader.head_may_be_complete();
            assert!(look || !is_last, "the end of the head was missed");
            looks += u32::from(look);
        }
        assert!(looks <= head.len().ilog2() + 2, "{looks} looks");
        assert!(!reader.head_may_be_complete(), "nothing new has come");
        reader.consume(head.len());
        assert!(!reader.head_may_be_complete(), "nothing is there");
    }
}
