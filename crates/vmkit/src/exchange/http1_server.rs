//! A client's HTTP/1 connection: one exchange after another.
//!
//! One `Http1Server` serves all requests of a connection. It decides when the connection can be used again; handlers
//! only read the body and write the reply. A reply that could not be finished closes the connection, so that the
//! client cannot take half of it for the whole.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::draining::Draining;
use super::framing::BodyKind;
use super::head_budget::{HeadBudget, HeadClaim};
use super::head_error::HeadError;
use super::http1::body::Http1Body;
use super::http1::body_decoder::Delimiter;
use super::http1::message_reader::{MAX_DRAINED, MessageReader};
use super::http1::reply::{BodyDuty, Http1Reply};
use super::http2::PREFACE;
use super::reply_writer::ReplyWriter;
use super::request_body::RequestBody;
use super::request_head::RequestHead;
use super::wire::Wire;

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

/// What came instead of a request.
#[derive(Debug)]
pub enum NoRequest {
    /// The client has closed the connection, or it failed: nothing to answer.
    Closed,
    /// The head is malformed: answer and close.
    Refused(HeadError),
}

/// Heads up to this size are as good as free.
const COUNTED_HEAD: usize = 16 * 1024;
/// How long a closing connection waits for the client to take the reply and close.
const LINGER: Duration = Duration::from_millis(500);

/// A client connection.
#[derive(Debug)]
pub struct Http1Server {
    wire: Rc<Wire>,
    reader: MessageReader,
    head: RequestHead,
    reply: ReplyWriter,
    /// Shared with the writer of replies.
    duty: Rc<Cell<BodyDuty>>,
    budget: HeadBudget,
    /// What is counted of a large head while its request is served.
    head_claim: Option<HeadClaim>,
}

impl Http1Server {
    /// Serves a connected stream. Once `draining` has begun every reply closes its connection.
    pub fn new(wire: Wire, draining: Rc<Draining>) -> Self {
        let wire = Rc::new(wire);
        let duty = Rc::new(Cell::new(BodyDuty::default()));
        Self {
            reply: ReplyWriter::http1(Http1Reply::new(wire.clone(), duty.clone(), draining)),
            wire: wire.clone(),
            reader: MessageReader::new(wire),
            head: RequestHead::default(),
            duty,
            budget: HeadBudget::default(),
            head_claim: None,
        }
    }

    /// Heads must fit into this budget, which other connections may share.
    pub fn set_head_budget(&mut self, budget: HeadBudget) {
        self.reader.set_budget(budget.clone());
        self.budget = budget;
    }

    /// Whether bytes of the next request have arrived.
    pub fn has_begun(&self) -> bool {
        !self.reader.unread().is_empty()
    }

    /// Waits until it is clear whether the client begins with the preface of HTTP/2 (RFC 9113 §3.4); `None` when it
    /// closes before. Asked before anything else.
    pub fn poll_is_http2(&mut self, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        loop {
            let received = self.reader.unread();
            if received.starts_with(PREFACE) {
                return Poll::Ready(Some(true));
            }
            if !received.is_empty() && !PREFACE.starts_with(received) {
                return Poll::Ready(Some(false));
            }
            match self.reader.poll_more(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
            }
        }
    }

    /// Gives the connection to another codec, with what was read of it.
    pub fn into_parts(self) -> Option<(Wire, Vec<u8>)> {
        let received = self.reader.unread().to_vec();
        let Self { wire, reader, reply, .. } = self;
        drop((reader, reply));
        Some((Rc::into_inner(wire)?, received))
    }

    /// Waits for the next request head.
    ///
    /// Cancel safe. `on_begin` is called once when the first bytes are there but the head is not complete, so that
    /// the caller can replace its idle deadline by that for heads.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, on_begin: &mut dyn FnMut()) -> Poll<Result<(), NoRequest>> {
        let found = self.poll_request(cx, on_begin);
        if let Poll::Ready(Err(_)) = &found {
            self.duty.set(BodyDuty::default());
            if let Some(reply) = self.reply.as_http1() {
                reply.start_refusal();
            }
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
                    Ok(Some(length)) if length > self.reader.max_head() || !self.claim_head(length) => {
                        return Poll::Ready(Err(NoRequest::Refused(HeadError::TooLarge)));
                    }
                    Ok(Some(length)) => {
                        self.reader.consume(length);
                        self.start();
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if self.reader.unread().len() > self.reader.max_head() => {
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

    /// Counts a large head that is kept while its request is served.
    fn claim_head(&mut self, length: usize) -> bool {
        if length > COUNTED_HEAD {
            self.head_claim = self.budget.claim(length);
        }
        length <= COUNTED_HEAD || self.head_claim.is_some()
    }

    /// The client has closed; what it sent may have been malformed without having been looked at.
    fn at_end(&mut self) -> NoRequest {
        match self.head.parse(self.reader.unread()) {
            Err(error) => NoRequest::Refused(error),
            Ok(_) => NoRequest::Closed,
        }
    }

    fn start(&mut self) {
        self.reader.start_body(Delimiter::of(self.head.body()));
        let has_body = !matches!(self.head.body(), BodyKind::None | BodyKind::Length(0));
        self.duty.set(BodyDuty {
            awaits_continue: self.head.expect_continue() && has_body,
            interim_unfinished: false,
            ends_connection: self.reader.rest_is_too_much(),
        });
        if let Some(reply) = self.reply.as_http1() {
            reply.start(&self.head);
        }
    }

    /// The request that `poll_head` has found.
    pub fn exchange(&mut self) -> Exchange<'_> {
        Exchange {
            head: &self.head,
            body: RequestBody::http1(Http1Body { kind: self.head.body(), reader: &mut self.reader, duty: &self.duty }),
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
        self.head_claim = None;
        true
    }

    /// Reads and drops what is left of the body; false when that is too much, too slow or malformed.
    async fn drain_body(&mut self) -> bool {
        if self.reader.body_is_done() {
            return true;
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
        let Some(reply) = self.reply.as_http1() else { return };
        if reply.end_would_deceive() {
            return self.wire.end_with_reset();
        }
        // Without a proper end of a TLS stream its client sees that the reply is cut off.
        if !reply.has_sent() || !reply.is_finished() {
            return;
        }
        // With nothing left unread the system sends no reset that could overtake the reply.
        let all_read = self.reader.body_is_done() && self.reader.unread().is_empty();
        if all_read && !self.wire.is_tls() {
            return;
        }
        let linger = async {
            let mut dropped = 0;
            if self.wire.shutdown().await.is_err() || all_read {
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

#[cfg(test)]
mod tests;
