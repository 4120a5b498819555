//! The side of an exchange that faces the client: request in, reply out, over HTTP/1.
//!
//! One `ServerHalf` serves all requests of a connection, one after another. It decides when the connection can be
//! used again; handlers only read the body and write the reply. A reply that could not be finished closes the
//! connection, so that the client cannot take half of it for the whole.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::body_decoder::BodyError;
use super::message_reader::{Chunk, MAX_HEAD, MessageReader};
use super::reply_writer::{BodyDuty, ReplyWriter};
use super::request_head::{BodyKind, HeadError, RequestHead};
use super::wire::Wire;

/// Bytes of an unread body that are read and dropped to keep the connection.
const MAX_DRAINED: usize = 256 * 1024;
/// How long a closing connection waits for the client to take the reply and close.
const LINGER: Duration = Duration::from_millis(500);

/// What came instead of a request.
#[derive(Debug)]
pub enum NoRequest {
    /// The client has closed the connection, or it failed: nothing to answer.
    Closed,
    /// The head is malformed: answer and close.
    Refused(HeadError),
}

/// A client connection.
#[derive(Debug)]
pub struct ServerHalf {
    reader: MessageReader,
    head: RequestHead,
    reply: ReplyWriter,
    /// Shared with the writer of replies.
    duty: Rc<Cell<BodyDuty>>,
}

/// One request and the means to answer it.
#[derive(Debug)]
pub struct Exchange<'c> {
    /// What the client asks for.
    pub head: &'c RequestHead,
    /// The rest of the request.
    pub body: RequestBody<'c>,
    /// The reply.
    pub reply: &'c mut ReplyWriter,
}

/// The body of a request, read on demand.
#[derive(Debug)]
pub struct RequestBody<'c> {
    reader: &'c mut MessageReader,
    kind: BodyKind,
    duty: &'c Cell<BodyDuty>,
}

impl ServerHalf {
    /// Serves a connected stream. While `draining` is true every reply closes its connection.
    pub fn new(wire: Wire, draining: Rc<Cell<bool>>) -> Self {
        let wire = Rc::new(wire);
        let duty = Rc::new(Cell::new(BodyDuty::default()));
        Self {
            reply: ReplyWriter::new(wire.clone(), duty.clone(), draining),
            reader: MessageReader::new(wire),
            head: RequestHead::default(),
            duty,
        }
    }

    /// Whether bytes of the next request have arrived.
    pub fn has_begun(&self) -> bool {
        !self.reader.unread().is_empty()
    }

    /// Waits for the next request head.
    ///
    /// Cancel safe. `on_begin` is called once when the first bytes are there but the head is not complete, so that
    /// the caller can replace its idle deadline by that for heads.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, on_begin: &mut dyn FnMut()) -> Poll<Result<(), NoRequest>> {
        let found = self.poll_request(cx, on_begin);
        if let Poll::Ready(Err(_)) = &found {
            self.duty.set(BodyDuty::default());
            self.reply.start_refusal();
        }
        found
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, on_begin: &mut dyn FnMut()) -> Poll<Result<(), NoRequest>> {
        loop {
            // Empty lines before a request are tolerated (RFC 9112 §2.2).
            while self.reader.unread().starts_with(b"\r\n") {
                self.reader.consume(2);
            }
            if self.reader.unread().starts_with(b"\n") {
                return Poll::Ready(Err(NoRequest::Refused(HeadError::BareLf)));
            }
            if self.reader.head_may_be_complete() {
                match self.head.parse(self.reader.unread()) {
                    Ok(Some(length)) => {
                        self.reader.consume(length);
                        self.start();
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if self.reader.unread().len() > MAX_HEAD => {
                        return Poll::Ready(Err(NoRequest::Refused(HeadError::TooLarge)));
                    }
                    Ok(None) => on_begin(),
                    Err(error) => return Poll::Ready(Err(NoRequest::Refused(error))),
                }
            }
            match self.reader.poll_more(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Poll::Ready(Err(NoRequest::Refused(HeadError::TooLarge)));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.at_end())),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(NoRequest::Closed)),
            }
        }
    }

    /// The client has closed; what it sent may have been malformed without having been looked at.
    fn at_end(&mut self) -> NoRequest {
        match self.head.parse(self.reader.unread()) {
            Err(error) => NoRequest::Refused(error),
            Ok(_) => NoRequest::Closed,
        }
    }

    fn start(&mut self) {
        self.reader.start_body(self.head.body());
        let has_body = !matches!(self.head.body(), BodyKind::None | BodyKind::Length(0));
        self.duty.set(BodyDuty {
            awaits_continue: self.head.expect_continue() && has_body,
            interim_unfinished: false,
            ends_connection: is_too_much(self.reader.body_remaining()),
        });
        self.reply.start(&self.head);
    }

    /// The request that `poll_head` has found.
    pub fn exchange(&mut self) -> Exchange<'_> {
        Exchange {
            head: &self.head,
            body: RequestBody { kind: self.head.body(), reader: &mut self.reader, duty: &self.duty },
            reply: &mut self.reply,
        }
    }

    /// Writer of the reply, also without a request: for answers to malformed ones.
    pub fn reply(&mut self) -> &mut ReplyWriter {
        &mut self.reply
    }

    /// Ends the exchange; true when the connection can carry another one.
    pub async fn finish(&mut self) -> bool {
        if !self.reply.is_finished() || !self.reply.keeps_alive() || !self.drain_body().await {
            return false;
        }
        // The last piece is still in the buffer; the next request starts behind it.
        self.reader.release();
        self.head.release();
        self.reply.release();
        true
    }

    /// Reads and drops what is left of the body; false when that is too much, too slow or malformed.
    async fn drain_body(&mut self) -> bool {
        if self.reader.body_is_done() {
            return true;
        }
        if is_too_much(self.reader.body_remaining()) {
            return false;
        }
        let drain = async {
            let mut dropped = 0;
            while let Ok(Some(chunk)) = self.reader.chunk().await {
                dropped += chunk.data.len();
                if dropped > MAX_DRAINED {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(LINGER, drain).await.is_ok_and(|small| small) && self.reader.body_is_done()
    }

    /// Closes the connection so that the client can still read what was sent (RFC 9112 §9.6).
    pub async fn close(mut self) {
        if self.reply.end_would_deceive() {
            return self.reply.wire().end_with_reset();
        }
        // Without a proper end of a TLS stream its client sees that the reply is cut off.
        if !self.reply.has_sent() || !self.reply.is_finished() {
            return;
        }
        // With nothing left unread the system sends no reset that could overtake the reply.
        let all_read = self.reader.body_is_done() && self.reader.unread().is_empty();
        if all_read && !self.reply.wire().is_tls() {
            return;
        }
        let linger = async {
            let mut dropped = 0;
            if self.reply.wire().shutdown().await.is_err() || all_read {
                return;
            }
            while dropped <= MAX_DRAINED {
                match poll_fn(|cx| self.reader.poll_more(cx)).await {
                    Ok(n @ 1..) => {
                        dropped += n;
                        self.reader.consume(self.reader.unread().len());
                    }
                    Ok(0) | Err(_) => break,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, linger).await;
    }
}

impl RequestBody<'_> {
    /// How the body is delimited on the client's side.
    pub fn kind(&self) -> BodyKind {
        self.kind
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        self.reader.body_is_done()
    }

    /// Next piece; `None` at the end. Sends `100 Continue` before the first read when the client waits for it.
    pub async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        if self.duty.get().awaits_continue {
            self.send_continue().await?;
        }
        let found = self.reader.next_piece().await;
        let mut duty = self.duty.get();
        duty.ends_connection = found.is_err() || is_too_much(self.reader.body_remaining());
        self.duty.set(duty);
        Ok(found?.map(|piece| self.reader.chunk_at(piece)))
    }

    /// Tells the client to go on, unless it has done so already.
    async fn send_continue(&mut self) -> io::Result<()> {
        let mut duty = self.duty.get();
        duty.awaits_continue = false;
        // This future may be dropped half way; the mark then stays.
        duty.interim_unfinished = self.reader.unread().is_empty();
        self.duty.set(duty);
        if duty.interim_unfinished {
            let wire = self.reader.wire().clone();
            wire.write_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")]).await?;
            duty.interim_unfinished = false;
            self.duty.set(duty);
        }
        Ok(())
    }

    /// Lines of the trailer section once the body has been read.
    pub fn trailers(&self) -> &[u8] {
        self.reader.trailers()
    }

    /// The last piece is no longer used: its storage may go while the backend is waited for.
    pub fn release(&mut self) {
        self.reader.release();
    }

    /// Resolves when the client has left; never while its body is being read.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_gone(cx)
    }

    /// Waits until the client leaves.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// From now on everything the client sends is the body, up to the end of the stream: for tunnels.
    pub fn start_tunnel(&mut self) {
        self.reader.start_body(BodyKind::UntilClose);
    }
}

/// Whether an unread rest of this length is too long to be read only for keeping the connection.
fn is_too_much(remaining: Option<u64>) -> bool {
    remaining.is_some_and(|left| left > MAX_DRAINED as u64)
}

#[cfg(test)]
mod tests;
