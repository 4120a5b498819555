//! The side of an exchange that faces a backend: request out, reply in, over HTTP/1.
//!
//! A `ClientHalf` carries one exchange after another. It can be used again only if the request was sent whole, the
//! reply was read to its end, the backend keeps the connection and nothing unexpected has arrived since.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::body_decoder::BodyError;
use super::message_reader::{Chunk, MessageReader};
use super::reply_writer::chunk_size;
use super::request_head::{BodyKind, HeadError};
use super::response_head::ResponseHead;
use super::wire::Wire;

/// Largest reply head in bytes is that of requests; more interim replies than this are a fault.
const MAX_INTERIM: usize = 64;

/// Why no reply came. The texts are those users know from logs.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The backend has closed the connection before the reply was complete.
    #[error("{}", if *.begun { "unexpected EOF" } else { "EOF" })]
    Eof {
        /// Whether a byte of the reply had arrived.
        begun: bool,
    },
    /// The connection failed.
    #[error("{source}")]
    Io {
        /// Whether a byte of the reply had arrived.
        begun: bool,
        /// What the system says.
        source: io::Error,
    },
    /// The reply is no HTTP, or ambiguous.
    #[error("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {0}")]
    Malformed(HeadError),
}

impl ReplyError {
    /// Whether the connection died before the first byte of the reply.
    pub fn is_before_reply(&self) -> bool {
        match self {
            Self::Eof { begun } | Self::Io { begun, .. } => !begun,
            Self::Malformed(_) => false,
        }
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub struct ClientHalf {
    /// Sends the request.
    pub request: RequestWriter,
    /// Reads the reply.
    pub reply: ReplyReader,
}

/// Sends one request.
#[derive(Debug)]
pub struct RequestWriter {
    wire: Rc<Wire>,
    complete: bool,
}

/// Reads one reply.
#[derive(Debug)]
pub struct ReplyReader {
    reader: MessageReader,
    head: ResponseHead,
    begun: bool,
    has_head: bool,
    interim: usize,
    to_head: bool,
}

impl ClientHalf {
    /// Takes over a connected stream.
    pub fn new(wire: Wire) -> Self {
        let wire = Rc::new(wire);
        Self {
            request: RequestWriter { wire: wire.clone(), complete: false },
            reply: ReplyReader {
                reader: MessageReader::new(wire),
                head: ResponseHead::default(),
                begun: false,
                has_head: false,
                interim: 0,
                to_head: false,
            },
        }
    }

    /// Prepares for the next exchange; `to_head` when the request is HEAD.
    pub fn start(&mut self, to_head: bool) {
        self.request.complete = false;
        let reply = &mut self.reply;
        reply.begun = false;
        reply.has_head = false;
        reply.interim = 0;
        reply.to_head = to_head;
    }

    /// Whether another exchange may follow on this connection.
    pub fn is_reusable(&mut self) -> bool {
        let reply = &mut self.reply;
        if !(self.request.complete && reply.has_head && reply.head.keep_alive() && reply.reader.body_is_done()) {
            return false;
        }
        reply.reader.release();
        reply.head.release();
        reply.reader.unread().is_empty()
    }

    /// Whether an idle connection is still good: open, and silent. Costs no system call unless something happened.
    pub fn is_idle_and_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.reply.reader.poll_more(&mut cx).is_pending()
    }
}

impl RequestWriter {
    /// Sends the head and the first bytes of the body; `last` when nothing follows.
    pub async fn send_head(&mut self, head: &[u8], body: &[u8], chunked: bool, last: bool) -> io::Result<()> {
        if !chunked {
            self.wire.write_all(&mut [IoSlice::new(head), IoSlice::new(body)]).await?;
            self.complete = last;
            return Ok(());
        }
        self.send_chunk(head, body, last).await
    }

    /// Sends more of the body.
    pub async fn send(&mut self, data: &[u8], chunked: bool, last: bool) -> io::Result<()> {
        if chunked {
            return self.send_chunk(&[], data, last).await;
        }
        self.wire.write_all(&mut [IoSlice::new(data)]).await?;
        self.complete = last;
        Ok(())
    }

    async fn send_chunk(&mut self, head: &[u8], data: &[u8], last: bool) -> io::Result<()> {
        let mut size = [0; 18];
        let size = if data.is_empty() { &[] } else { chunk_size(&mut size, data.len()) };
        let end: &[u8] = match (data.is_empty(), last) {
            (true, true) => b"0\r\n\r\n",
            (true, false) => b"",
            (false, true) => b"\r\n0\r\n\r\n",
            (false, false) => b"\r\n",
        };
        self.wire
            .write_all(&mut [IoSlice::new(head), IoSlice::new(size), IoSlice::new(data), IoSlice::new(end)])
            .await?;
        self.complete = last;
        Ok(())
    }

    /// Ends a chunked body with trailer lines, each `name: value CRLF`.
    pub async fn send_trailers(&mut self, lines: &[u8]) -> io::Result<()> {
        self.wire.write_all(&mut [IoSlice::new(b"0\r\n"), IoSlice::new(lines), IoSlice::new(b"\r\n")]).await?;
        self.complete = true;
        Ok(())
    }

    /// Ends the sending side of a tunnel.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.wire.shutdown().await
    }
}

impl ReplyReader {
    /// The head, once [`poll_head`](Self::poll_head) was ready.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Whether a byte of the reply has arrived.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Waits for the final reply head; interim ones are swallowed, 101 counts as final. Cancel safe.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        loop {
            self.begun |= !self.reader.unread().is_empty();
            if self.reader.head_may_be_complete() {
                match self.head.parse(self.reader.unread(), self.to_head) {
                    Ok(Some(length)) => {
                        self.reader.consume(length);
                        if self.head.is_interim() && self.head.status() != 101 {
                            self.interim += 1;
                            if self.interim > MAX_INTERIM {
                                return Poll::Ready(Err(ReplyError::Malformed(HeadError::Malformed)));
                            }
                            continue;
                        }
                        self.has_head = true;
                        self.reader.start_body(self.head.body());
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(ReplyError::Malformed(error))),
                }
            }
            match self.reader.poll_more(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ReplyError::Eof { begun: self.begun })),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Poll::Ready(Err(ReplyError::Malformed(HeadError::TooLarge)));
                }
                Poll::Ready(Err(source)) => return Poll::Ready(Err(ReplyError::Io { begun: self.begun, source })),
            }
        }
    }

    /// Waits for the final reply head.
    pub async fn read_head(&mut self) -> Result<(), ReplyError> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// Next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        self.reader.chunk().await
    }

    /// Lines of the trailer section once the body has been read.
    pub fn trailers(&self) -> &[u8] {
        self.reader.trailers()
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.reader.body_is_done()
    }

    /// From now on everything the backend sends is the body: for tunnels.
    pub fn start_tunnel(&mut self) {
        self.reader.start_body(BodyKind::UntilClose);
    }
}

#[cfg(test)]
mod tests;
