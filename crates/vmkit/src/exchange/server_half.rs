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
use super::reply_writer::ReplyWriter;
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
    /// True while the client waits for `100 Continue`.
    awaits_continue: Rc<Cell<bool>>,
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
    awaits_continue: &'c Cell<bool>,
}

impl ServerHalf {
    /// Serves a connected stream. While `draining` is true every reply closes its connection.
    pub fn new(wire: Wire, draining: Rc<Cell<bool>>) -> Self {
        let wire = Rc::new(wire);
        let awaits_continue = Rc::new(Cell::new(false));
        Self {
            reply: ReplyWriter::new(wire.clone(), awaits_continue.clone(), draining),
            reader: MessageReader::new(wire),
            head: RequestHead::default(),
            awaits_continue,
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
        loop {
            // Empty lines before a request are tolerated (RFC 9112 §2.2).
            while self.reader.unread().starts_with(b"\r\n") {
                self.reader.consume(2);
            }
            if !self.reader.unread().is_empty() {
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
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoRequest::Closed)),
            }
        }
    }

    fn start(&mut self) {
        self.reader.start_body(self.head.body());
        let has_body = !matches!(self.head.body(), BodyKind::None | BodyKind::Length(0));
        self.awaits_continue.set(self.head.expect_continue() && has_body);
        self.reply.start(&self.head);
    }

    /// The request that `poll_head` has found.
    pub fn exchange(&mut self) -> Exchange<'_> {
        Exchange {
            head: &self.head,
            body: RequestBody {
                kind: self.head.body(),
                reader: &mut self.reader,
                awaits_continue: &self.awaits_continue,
            },
            reply: &mut self.reply,
        }
    }

    /// Writer of the reply, also without a request: for answers to malformed ones.
    pub fn reply(&mut self) -> &mut ReplyWriter {
        &mut self.reply
    }

    /// Ends the exchange; true when the connection can carry another one.
    pub async fn finish(&mut self) -> bool {
        if !self.reply.is_finished() || !self.reply.keeps_alive() || self.awaits_continue.get() {
            return false;
        }
        if self.reader.body_is_done() {
            self.reader.release();
            return true;
        }
        if self.reader.body_remaining().is_some_and(|left| left > MAX_DRAINED as u64) {
            return false;
        }
        let mut dropped = 0;
        let drain = async {
            while let Ok(Some(chunk)) = self.reader.chunk().await {
                dropped += chunk.data.len();
                if dropped > MAX_DRAINED {
                    break;
                }
            }
        };
        let in_time = tokio::time::timeout(LINGER, drain).await.is_ok();
        in_time && self.reader.body_is_done()
    }

    /// Closes the connection so that the client can still read what was sent (RFC 9112 §9.6).
    pub async fn close(mut self) {
        if !self.reply.has_sent() || self.reply.wire().shutdown().await.is_err() || !self.reply.is_finished() {
            return;
        }
        let linger = async {
            let mut dropped = 0;
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
        if self.awaits_continue.replace(false) && self.reader.unread().is_empty() {
            let wire = self.reader.wire().clone();
            wire.write_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")]).await?;
        }
        self.reader.chunk().await
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
