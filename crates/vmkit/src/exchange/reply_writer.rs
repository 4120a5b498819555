//! The reply of one exchange, whatever protocol the client speaks: begin, fields, end of the head, body, trailers.
//!
//! The head waits for the first piece of the body, so that a small reply leaves in one write; every later piece is
//! sent at once. How the body is delimited, and whether the connection stays, is written behind this type only.

use std::io;
use std::time::Duration;

use super::header_list::HeaderList;
use super::header_writer::HeaderWriter;
use super::http1::reply::Http1Reply;
use super::message::ReplyBody;
use super::request_head::RequestHead;
use super::stream::SendStream;
use super::stream_reply::StreamReply;

/// The reply of one exchange.
#[derive(Debug)]
pub struct ReplyWriter(Kind);

#[derive(Debug)]
enum Kind {
    Http1(Http1Reply),
    Stream(Box<StreamReply>),
}

macro_rules! each {
    ($writer:expr, $reply:ident => $call:expr) => {
        match $writer {
            Kind::Http1($reply) => $call,
            Kind::Stream($reply) => $call,
        }
    };
}

impl ReplyWriter {
    pub(super) fn http1(reply: Http1Reply) -> Self {
        Self(Kind::Http1(reply))
    }

    /// The reply to `head` on a stream of another codec; its writes must make progress within `write_limit`.
    pub fn stream(stream: Box<dyn SendStream>, head: &RequestHead, write_limit: Option<Duration>) -> Self {
        Self(Kind::Stream(Box::new(StreamReply::new(stream, head, write_limit))))
    }

    pub(super) fn as_http1(&mut self) -> Option<&mut Http1Reply> {
        match &mut self.0 {
            Kind::Http1(reply) => Some(reply),
            Kind::Stream(_) => None,
        }
    }

    /// Whether this is one stream of a connection: the client may send on while the reply comes.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Stream(_))
    }

    /// Whether the reply has been sent to its end.
    pub fn is_finished(&self) -> bool {
        each!(&self.0, reply => reply.is_finished())
    }

    /// Whether the connection stays open after this reply.
    pub fn keeps_alive(&self) -> bool {
        each!(&self.0, reply => reply.keeps_alive())
    }

    /// Closes the connection after this reply, where a connection carries one exchange after another; otherwise a
    /// reply that is not finished is reset.
    pub fn set_close(&mut self) {
        each!(&mut self.0, reply => reply.set_close());
    }

    /// Status of the reply, 0 while no head was begun.
    pub fn status(&self) -> u16 {
        each!(&self.0, reply => reply.status())
    }

    /// Whether a head was begun: after that the status cannot change any more.
    pub fn has_begun(&self) -> bool {
        each!(&self.0, reply => reply.has_begun())
    }

    /// Whether the request was HEAD: the reply has no body whatever its headers say.
    pub fn is_to_head(&self) -> bool {
        each!(&self.0, reply => reply.is_to_head())
    }

    /// The content type of the reply to a gRPC call; `None` for other requests.
    pub fn grpc_type(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Http1(_) => None,
            Kind::Stream(reply) => reply.grpc_type(),
        }
    }

    /// Begins a reply and takes its fields; [`end_head`](Self::end_head) must follow.
    ///
    /// Fields about framing must not be among them.
    pub fn begin(&mut self, status: u16) -> HeaderWriter<'_> {
        each!(&mut self.0, reply => reply.begin(status))
    }

    /// Begins the reply after which this protocol is spoken; `end_head(ReplyBody::Tunnel)` must follow.
    pub fn begin_tunnel(&mut self, protocol: &[u8]) -> HeaderWriter<'_> {
        each!(&mut self.0, reply => reply.begin_tunnel(protocol))
    }

    /// The fields hold a `Date` already, or must not.
    pub fn set_has_date(&mut self) {
        each!(&mut self.0, reply => reply.set_has_date());
    }

    /// Whether the client can take trailers behind a body of unknown length, and wants them.
    pub fn takes_trailers(&self) -> bool {
        each!(&self.0, reply => reply.takes_trailers())
    }

    /// Announces a trailer; before the end of the head, where [`takes_trailers`](Self::takes_trailers) says yes.
    pub fn announce_trailer(&mut self, name: &[u8]) {
        each!(&mut self.0, reply => reply.announce_trailer(name));
    }

    /// Ends the head; `body` says what follows it.
    pub fn end_head(&mut self, body: ReplyBody) {
        each!(&mut self.0, reply => reply.end_head(body));
    }

    /// Sends a piece of the body, and the head before the first one; `last` ends the reply with it.
    ///
    /// Bytes beyond an announced length are not sent.
    pub async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        each!(&mut self.0, reply => reply.send(data, last).await)
    }

    /// Sends what is left of the head and ends the reply. A body shorter than announced leaves the reply unfinished.
    pub async fn finish(&mut self) -> io::Result<()> {
        each!(&mut self.0, reply => reply.finish().await)
    }

    /// Ends the reply with trailers; they are left out when the client cannot take them.
    pub async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        each!(&mut self.0, reply => reply.finish_with(trailers).await)
    }

    /// Sends a complete reply.
    pub async fn send_all(&mut self, status: u16, fields: &HeaderList, body: &[u8]) -> io::Result<()> {
        self.begin(status).list(fields);
        let empty = matches!(status, 204 | 304);
        self.end_head(if empty { ReplyBody::None(None) } else { ReplyBody::Length(body.len() as u64) });
        self.send(if empty || self.is_to_head() { &[] } else { body }, true).await
    }

    /// Ends a tunnel: the client sees the end of the stream.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        each!(&mut self.0, reply => reply.shutdown().await)
    }
}
