//! A connection to a backend that speaks HTTP/1: one request after another.
//!
//! It can be used again only if the request was sent whole, the reply was read to its end, the backend keeps the
//! connection and nothing unexpected has arrived since. Request line, `Host` and framing are written here and nowhere
//! else, straight into the buffer that is sent.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::body_error::BodyError;
use super::super::framing::BodyKind;
use super::super::head_error::HeadError;
use super::super::header_list::HeaderList;
use super::super::header_writer::HeaderWriter;
use super::super::message::{Chunk, RequestLine};
use super::super::push_decimal;
use super::super::reply_error::{MAX_INTERIM, ReplyError};
use super::super::response_head::ResponseHead;
use super::super::wire::Wire;
use super::body_decoder::Delimiter;
use super::chunk::ChunkOut;
use super::head_buffer::HeadBuffer;
use super::message_reader::MessageReader;

/// The sending side of the connection.
#[derive(Debug)]
pub(in super::super) struct Http1Request {
    wire: Rc<Wire>,
    /// Head, not sent yet.
    out: HeadBuffer,
    chunked: bool,
    complete: bool,
}

/// The receiving side of the connection.
#[derive(Debug)]
pub(in super::super) struct Http1ReplyReader {
    reader: MessageReader,
    head: ResponseHead,
    begun: bool,
    has_head: bool,
    interim: usize,
    to_head: bool,
}

/// Takes over a connected stream.
pub(in super::super) fn new(wire: Wire) -> (Http1Request, Http1ReplyReader) {
    let wire = Rc::new(wire);
    let request = Http1Request { wire: wire.clone(), out: HeadBuffer::default(), chunked: false, complete: false };
    let reply = Http1ReplyReader {
        reader: MessageReader::new(wire),
        head: ResponseHead::default(),
        begun: false,
        has_head: false,
        interim: 0,
        to_head: false,
    };
    (request, reply)
}

impl Http1Request {
    pub(in super::super) fn begin(&mut self, line: &RequestLine<'_>) -> HeaderWriter<'_> {
        self.complete = false;
        self.out = HeadBuffer::take();
        let out = &mut *self.out;
        out.extend_from_slice(line.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(line.target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut fields = HeaderWriter::Http1(out);
        fields.line(b"Host", line.authority);
        let option: &[u8] = match (line.upgrade, line.wants_trailers) {
            (Some(_), true) => b"Upgrade, TE",
            (Some(_), false) => b"Upgrade",
            (None, true) => b"TE",
            (None, false) => b"",
        };
        if !option.is_empty() {
            fields.line(b"Connection", option);
        }
        if let Some(protocol) = line.upgrade {
            fields.line(b"Upgrade", protocol);
        }
        if line.wants_trailers {
            fields.line(b"TE", b"trailers");
        }
        HeaderWriter::Http1(&mut self.out)
    }

    pub(in super::super) fn announce_trailer(&mut self, name: &[u8]) {
        HeaderWriter::Http1(&mut self.out).line(b"Trailer", name);
    }

    pub(in super::super) fn end_head(&mut self, body: BodyKind) {
        self.chunked = body == BodyKind::Stream;
        match body {
            BodyKind::Stream => self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            BodyKind::Length(length) => {
                self.out.extend_from_slice(b"Content-Length: ");
                push_decimal(&mut self.out, length);
                self.out.extend_from_slice(b"\r\n");
            }
            BodyKind::None => {}
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Gives up writes that make no progress for this long.
    pub(in super::super) fn limit_writes(&self, limit: Option<Duration>) {
        self.wire.limit_writes(limit);
    }

    /// Whether the request was sent to its end.
    pub(in super::super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(in super::super) async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        let mut head = std::mem::take(&mut self.out);
        if self.chunked {
            let mut chunk = ChunkOut::new(data, last, None);
            self.wire.write_all(&mut chunk.parts(&head)).await?;
        } else {
            let data = head.absorb(data);
            self.wire.write_all(&mut [IoSlice::new(&head), IoSlice::new(data)]).await?;
        }
        self.complete = last;
        Ok(())
    }

    pub(in super::super) async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        if !self.chunked {
            return self.send(&[], true).await;
        }
        let head = std::mem::take(&mut self.out);
        let mut chunk = ChunkOut::new(&[], true, Some(trailers));
        self.wire.write_all(&mut chunk.parts(&head)).await?;
        self.complete = true;
        Ok(())
    }

    /// Ends the sending side of a tunnel.
    pub(in super::super) async fn shutdown(&mut self) -> io::Result<()> {
        self.wire.shutdown().await
    }
}

impl Http1ReplyReader {
    /// Prepares for the next exchange; `to_head` when the request is HEAD.
    pub(in super::super) fn start(&mut self, to_head: bool) {
        self.begun = false;
        self.has_head = false;
        self.interim = 0;
        self.to_head = to_head;
    }

    /// Whether the reply was read to its end and the backend keeps the connection.
    pub(in super::super) fn is_reusable(&mut self) -> bool {
        if !(self.has_head && self.head.keep_alive() && self.reader.body_is_done()) {
            return false;
        }
        self.reader.release();
        self.head.release();
        self.reader.unread().is_empty()
    }

    /// Whether the connection is open and nothing has come that nobody asked for.
    pub(in super::super) fn is_silent(&mut self) -> bool {
        let silent = self.reader.wire().is_silent();
        silent.unwrap_or_else(|| self.reader.poll_more(&mut Context::from_waker(Waker::noop())).is_pending())
    }

    /// The head, once [`poll_head`](Self::poll_head) was ready.
    pub(in super::super) fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Whether a byte of the reply has arrived.
    pub(in super::super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Waits for the final reply head; interim ones are swallowed, 101 counts as final. Cancel safe.
    pub(in super::super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        loop {
            self.begun |= !self.reader.unread().is_empty();
            if self.reader.head_may_be_complete() {
                match self.head.parse(self.reader.unread(), self.to_head) {
                    Ok(Some(length)) => {
                        self.reader.consume(length);
                        if self.head.is_interim() && self.head.status() != 101 {
                            self.interim += 1;
                            if self.interim > MAX_INTERIM {
                                return Poll::Ready(Err(ReplyError::TooManyInterim));
                            }
                            continue;
                        }
                        self.has_head = true;
                        self.reader.start_body(if self.head.ends_with_connection() {
                            Delimiter::UntilClose
                        } else {
                            Delimiter::of(self.head.body())
                        });
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(ReplyError::of_head(error, self.reader.unread()))),
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

    /// Next piece of the body; `None` at its end.
    pub(in super::super) async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        self.reader.chunk().await
    }

    pub(in super::super) fn trailers(&self) -> Option<&HeaderList> {
        self.reader.trailers()
    }

    /// From now on everything the backend sends is the body: for tunnels.
    pub(in super::super) fn start_tunnel(&mut self) {
        self.reader.start_body(Delimiter::UntilClose);
    }
}

#[cfg(test)]
mod tests;
