//! Writes one reply to a client over HTTP/1: status line, header lines, framing, body, trailers.
//!
//! The head waits for the first piece of the body, so that a small reply leaves in one write; every later piece is
//! sent at once. Framing headers are written here and nowhere else.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::super::draining::Draining;
use super::super::framing::Version;
use super::super::header_list::HeaderList;
use super::super::header_writer::HeaderWriter;
use super::super::message::ReplyBody;
use super::super::request_head::RequestHead;
use super::super::status::reason;
use super::super::wire::Wire;
use super::super::{date, push_decimal};
use super::chunk::ChunkOut;
use super::head_buffer::HeadBuffer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Length(u64),
    Chunked,
    UntilClose,
    Finished,
    Broken,
}

/// What the state of the request's body means for the reply.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct BodyDuty {
    /// The client waits for `100 Continue`.
    pub(in super::super) awaits_continue: bool,
    /// `100 Continue` was begun and perhaps not sent to its end: nothing may follow it.
    pub(in super::super) interim_unfinished: bool,
    /// So much of the body is unread, or it is malformed, that no other request can follow.
    pub(in super::super) ends_connection: bool,
}

/// The reply of one exchange.
#[derive(Debug)]
pub(in super::super) struct Http1Reply {
    wire: Rc<Wire>,
    duty: Rc<Cell<BodyDuty>>,
    draining: Rc<Draining>,
    /// Head, not sent yet.
    out: HeadBuffer,
    mode: Mode,
    status: u16,
    keep_alive: bool,
    http10: bool,
    to_head: bool,
    has_date: bool,
    takes_trailers: bool,
    sent: bool,
    /// Whether the end of the connection is the end of the body.
    ends_with_connection: bool,
}

impl Http1Reply {
    pub(in super::super) fn new(wire: Rc<Wire>, duty: Rc<Cell<BodyDuty>>, draining: Rc<Draining>) -> Self {
        Self {
            wire,
            duty,
            draining,
            out: HeadBuffer::default(),
            mode: Mode::Idle,
            status: 0,
            keep_alive: false,
            http10: false,
            to_head: false,
            has_date: false,
            takes_trailers: false,
            sent: false,
            ends_with_connection: false,
        }
    }

    pub(in super::super) fn start(&mut self, head: &RequestHead) {
        self.start_refusal();
        self.keep_alive = head.keep_alive();
        self.http10 = head.version == Version::Http10;
        self.takes_trailers = head.takes_trailers();
        self.to_head = head.method() == "HEAD";
    }

    /// Prepares for the answer to something that is no request: nothing of the last exchange may shine through.
    pub(in super::super) fn start_refusal(&mut self) {
        self.out = HeadBuffer::default();
        self.takes_trailers = false;
        self.mode = Mode::Idle;
        self.status = 0;
        self.keep_alive = false;
        self.http10 = false;
        self.to_head = false;
        self.ends_with_connection = false;
    }

    /// Whether the client would take the end of the connection for the end of a body that is not complete.
    pub(in super::super) fn end_would_deceive(&self) -> bool {
        self.ends_with_connection && !self.is_finished()
    }

    /// Whether anything of any reply was sent on this connection.
    pub(in super::super) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Whether the reply has been sent to its end.
    pub(in super::super) fn is_finished(&self) -> bool {
        self.mode == Mode::Finished
    }

    /// Whether the connection stays open after this reply.
    pub(in super::super) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Closes the connection after this reply.
    pub(in super::super) fn set_close(&mut self) {
        self.keep_alive = false;
    }

    /// Status of the reply, 0 while no head was begun.
    pub(in super::super) fn status(&self) -> u16 {
        self.status
    }

    /// Whether a head was begun: after that the status cannot change any more.
    pub(in super::super) fn has_begun(&self) -> bool {
        self.mode != Mode::Idle
    }

    /// Whether the request was HEAD: the reply has no body whatever its headers say.
    pub(in super::super) fn is_to_head(&self) -> bool {
        self.to_head
    }

    /// Begins a reply; framing fields, `Connection` and the empty line are added by [`end_head`](Self::end_head).
    pub(in super::super) fn begin(&mut self, status: u16) -> HeaderWriter<'_> {
        self.status = status;
        self.has_date = false;
        self.out = HeadBuffer::take();
        self.out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(&mut self.out, u64::from(status));
        self.out.push(b' ');
        match reason(status) {
            "" => {
                self.out.extend_from_slice(b"status code ");
                push_decimal(&mut self.out, u64::from(status));
            }
            text => self.out.extend_from_slice(text.as_bytes()),
        }
        self.out.extend_from_slice(b"\r\n");
        HeaderWriter::Http1(&mut self.out)
    }

    /// Begins the reply that leaves HTTP on this connection (RFC 9110 §7.8).
    pub(in super::super) fn begin_tunnel(&mut self, protocol: &[u8]) -> HeaderWriter<'_> {
        let mut out = self.begin(101);
        if !protocol.is_empty() {
            out.line(b"Connection", b"Upgrade");
            out.line(b"Upgrade", protocol);
        }
        HeaderWriter::Http1(&mut self.out)
    }

    pub(in super::super) fn set_has_date(&mut self) {
        self.has_date = true;
    }

    /// Whether trailers can follow a body of unknown length (RFC 9110 §6.5.1).
    pub(in super::super) fn takes_trailers(&self) -> bool {
        self.takes_trailers && !self.http10 && !self.to_head
    }

    pub(in super::super) fn announce_trailer(&mut self, name: &[u8]) {
        HeaderWriter::Http1(&mut self.out).line(b"Trailer", name);
    }

    /// Ends the head; `body` says how the body is delimited.
    pub(in super::super) fn end_head(&mut self, body: ReplyBody) {
        if !self.has_date {
            HeaderWriter::Http1(&mut self.out).line(b"Date", &date::now());
        }
        self.ends_with_connection = body == ReplyBody::Stream && self.http10 && !self.to_head;
        let mut duty = self.duty.get();
        if duty.awaits_continue || duty.ends_connection || self.draining.has_begun() || self.ends_with_connection {
            self.keep_alive = false;
        }
        // The final reply answers the expectation; an interim one must not come into its middle.
        duty.awaits_continue = false;
        self.duty.set(duty);
        let mut length = |n: u64| {
            self.out.extend_from_slice(b"Content-Length: ");
            push_decimal(&mut self.out, n);
            self.out.extend_from_slice(b"\r\n");
        };
        self.mode = match body {
            ReplyBody::Length(n) => {
                length(n);
                Mode::Length(if self.to_head { 0 } else { n })
            }
            ReplyBody::None(n) => {
                if let Some(n) = n {
                    length(n);
                }
                Mode::Length(0)
            }
            ReplyBody::Stream if self.to_head => Mode::Length(0),
            ReplyBody::Stream if self.http10 => Mode::UntilClose,
            ReplyBody::Stream => {
                self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Mode::Chunked
            }
            ReplyBody::Tunnel => Mode::UntilClose,
        };
        if body == ReplyBody::Tunnel {
            self.keep_alive = false;
        } else if !self.keep_alive {
            self.out.extend_from_slice(b"Connection: close\r\n");
        } else if self.http10 {
            self.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends a piece of the body, and the head before the first one; `last` ends the reply with it.
    ///
    /// Bytes beyond an announced length are not sent.
    pub(in super::super) async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        let mut head = std::mem::take(&mut self.out);
        let result = self.send_after(&mut head, data, last, None).await;
        drop(head);
        if result.is_err() {
            self.mode = Mode::Broken;
        }
        result
    }

    /// Ends the reply with trailers, if its form has room for them.
    pub(in super::super) async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        if !self.takes_trailers() || self.mode != Mode::Chunked {
            return self.finish().await;
        }
        let mut head = std::mem::take(&mut self.out);
        let result = self.send_after(&mut head, &[], true, Some(trailers)).await;
        drop(head);
        if result.is_err() {
            self.mode = Mode::Broken;
        }
        result
    }

    async fn send_after(
        &mut self,
        head: &mut HeadBuffer,
        data: &[u8],
        last: bool,
        trailers: Option<&HeaderList>,
    ) -> io::Result<()> {
        // Until the write is complete the reply is broken: the future may be dropped in its middle.
        let mode = std::mem::replace(&mut self.mode, Mode::Broken);
        self.sent = true;
        match mode {
            Mode::Idle | Mode::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            _ if self.duty.get().interim_unfinished => return Err(io::ErrorKind::BrokenPipe.into()),
            Mode::Finished => {}
            Mode::Length(left) => {
                let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                let left = left - data.len() as u64;
                let data = head.absorb(data);
                self.wire.write_all(&mut [IoSlice::new(head), IoSlice::new(data)]).await?;
                self.mode = if left == 0 { Mode::Finished } else { Mode::Length(left) };
                return Ok(());
            }
            Mode::UntilClose => {
                self.wire.write_all(&mut [IoSlice::new(head), IoSlice::new(data)]).await?;
                self.mode = if last { Mode::Finished } else { mode };
                return Ok(());
            }
            Mode::Chunked if data.is_empty() && !last => {
                self.wire.write_all(&mut [IoSlice::new(head)]).await?;
            }
            Mode::Chunked => {
                let mut chunk = ChunkOut::new(data, last, trailers);
                self.wire.write_all(&mut chunk.parts(head)).await?;
                self.mode = if last { Mode::Finished } else { Mode::Chunked };
                return Ok(());
            }
        }
        self.mode = mode;
        Ok(())
    }

    /// Sends what is left of the head and ends the reply. A body shorter than announced leaves the reply unfinished.
    pub(in super::super) async fn finish(&mut self) -> io::Result<()> {
        if self.mode == Mode::Finished {
            return Ok(());
        }
        self.send(&[], true).await?;
        if self.mode == Mode::Finished { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Ends a tunnel: the client sees the end of the stream.
    pub(in super::super) async fn shutdown(&mut self) -> io::Result<()> {
        self.wire.shutdown().await
    }
}
