//! The side of an exchange that faces a backend: request out, reply in, whatever protocol the backend speaks.
//!
//! Over HTTP/1 an exchange has its connection for itself, and the same value carries the next exchange when
//! [`is_reusable`](ClientExchange::is_reusable) says so. On a shared connection it is one stream and ends with it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::body_error::BodyError;
use super::framing::BodyKind;
use super::header_list::HeaderList;
use super::header_writer::HeaderWriter;
use super::http1::client::{Http1ReplyReader, Http1Request};
use super::message::{Chunk, HeadOut, RequestLine};
use super::reply_error::ReplyError;
use super::reply_reader::StreamReplyReader;
use super::response_head::ResponseHead;
use super::stream::{RecvReply, RecvStream, SendStream};
use super::stream_sender::StreamSender;
use super::wire::Wire;

/// A connection to a backend, or a stream of one, for one exchange at a time.
#[derive(Debug)]
pub struct ClientExchange {
    /// Sends the request.
    pub request: RequestWriter,
    /// Reads the reply.
    pub reply: ReplyReader,
}

/// Sends one request.
#[derive(Debug)]
pub struct RequestWriter(Sender);

#[derive(Debug)]
enum Sender {
    Http1(Http1Request),
    Stream(Box<StreamRequest>),
}

/// A request on a stream; what the line says is kept until the head is complete.
#[derive(Debug)]
struct StreamRequest {
    sender: StreamSender,
    method: String,
    target: Vec<u8>,
    authority: Vec<u8>,
    upgrade: Option<Vec<u8>>,
    wants_trailers: bool,
}

/// Reads one reply.
#[derive(Debug)]
pub struct ReplyReader(Receiver);

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the small one is rare, and an exchange is boxed as a whole")]
enum Receiver {
    Http1(Http1ReplyReader),
    Stream(Box<StreamReplyReader>),
}

impl ClientExchange {
    /// Takes over a connected stream of bytes and speaks HTTP/1 on it.
    pub fn http1(wire: Wire) -> Self {
        let (request, reply) = super::http1::client::new(wire);
        Self { request: RequestWriter(Sender::Http1(request)), reply: ReplyReader(Receiver::Http1(reply)) }
    }

    /// One stream of a shared connection.
    pub fn stream(send: Box<dyn SendStream>, receive: Box<dyn RecvReply>) -> Self {
        let request = StreamRequest {
            sender: StreamSender::new(send, None),
            method: String::new(),
            target: Vec::new(),
            authority: Vec::new(),
            upgrade: None,
            wants_trailers: false,
        };
        let reply = Receiver::Stream(Box::new(StreamReplyReader::new(receive)));
        Self { request: RequestWriter(Sender::Stream(Box::new(request))), reply: ReplyReader(reply) }
    }

    /// An exchange that fails, for a connection that was closed before it could carry one.
    pub fn closed() -> Self {
        Self::stream(Box::new(Closed), Box::new(Closed))
    }

    /// Begins a request and takes its fields; [`RequestWriter::end_head`] must follow.
    ///
    /// `Host` is written from the line; fields about framing must not be among them.
    pub fn begin(&mut self, line: &RequestLine<'_>) -> HeaderWriter<'_> {
        if let Receiver::Http1(reply) = &mut self.reply.0 {
            reply.start(line.method == "HEAD");
        }
        match &mut self.request.0 {
            Sender::Http1(request) => request.begin(line),
            Sender::Stream(request) => request.begin(line),
        }
    }

    /// Whether this is one stream of a connection: both directions are independent of each other.
    pub fn is_stream(&self) -> bool {
        matches!(self.request.0, Sender::Stream(_))
    }

    /// Whether another exchange may follow on this connection, which nobody shares.
    pub fn is_reusable(&mut self) -> bool {
        match (&self.request.0, &mut self.reply.0) {
            (Sender::Http1(request), Receiver::Http1(reply)) => request.is_complete() && reply.is_reusable(),
            _ => false,
        }
    }

    /// Whether an idle connection is still good: open, and silent. Costs no system call unless something happened.
    pub fn is_idle_and_open(&mut self) -> bool {
        match &mut self.reply.0 {
            Receiver::Http1(reply) => reply.is_silent(),
            Receiver::Stream(_) => false,
        }
    }
}

impl RequestWriter {
    /// Announces a trailer; before the end of the head, for a body of unknown length.
    pub fn announce_trailer(&mut self, name: &[u8]) {
        match &mut self.0 {
            Sender::Http1(request) => request.announce_trailer(name),
            Sender::Stream(request) => request.sender.fields.push("Trailer", name),
        }
    }

    /// Ends the head; it is sent with the first piece of the body.
    pub fn end_head(&mut self, body: BodyKind) {
        match &mut self.0 {
            Sender::Http1(request) => request.end_head(body),
            Sender::Stream(request) => request.end_head(body),
        }
    }

    /// Gives up writes that make no progress for this long: an error of kind `TimedOut`.
    pub fn limit_writes(&mut self, limit: Option<Duration>) {
        match &mut self.0 {
            Sender::Http1(request) => request.limit_writes(limit),
            Sender::Stream(request) => request.sender.write_limit = limit,
        }
    }

    /// Sends a piece of the body; `last` when nothing follows.
    pub async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        match &mut self.0 {
            Sender::Http1(request) => request.send(data, last).await,
            Sender::Stream(request) => request.sender.send(data, last).await,
        }
    }

    /// Sends some bytes of a piece of the body and says how many; `last` when nothing follows the piece. Dropping the
    /// future has sent nothing on a stream; elsewhere the exchange is over.
    pub async fn send_some(&mut self, data: &[u8], last: bool) -> io::Result<usize> {
        match &mut self.0 {
            Sender::Http1(request) => request.send(data, last).await.map(|()| data.len()),
            Sender::Stream(request) => request.sender.send_some(data, last).await,
        }
    }

    /// Ends a body of unknown length with trailers.
    pub async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        match &mut self.0 {
            Sender::Http1(request) => request.finish_with(trailers).await,
            Sender::Stream(request) => request.sender.finish_with(trailers).await,
        }
    }

    /// Ends the sending side of a tunnel.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Sender::Http1(request) => request.shutdown().await,
            Sender::Stream(request) => request.sender.shutdown().await,
        }
    }
}

impl StreamRequest {
    fn begin(&mut self, line: &RequestLine<'_>) -> HeaderWriter<'_> {
        line.method.clone_into(&mut self.method);
        line.target.clone_into(&mut self.target);
        line.authority.clone_into(&mut self.authority);
        self.upgrade = line.upgrade.map(<[u8]>::to_vec);
        self.wants_trailers = line.wants_trailers;
        self.sender.fields.clear();
        HeaderWriter::List(&mut self.sender.fields)
    }

    fn end_head(&mut self, body: BodyKind) {
        let length = match body {
            BodyKind::None => Some(0),
            BodyKind::Length(n) => {
                self.sender.fields.push("Content-Length", itoa::Buffer::new().format(n).as_bytes());
                Some(n)
            }
            BodyKind::Stream => None,
        };
        let line = RequestLine {
            method: &self.method,
            target: &self.target,
            authority: &self.authority,
            upgrade: self.upgrade.as_deref(),
            wants_trailers: self.wants_trailers,
        };
        self.sender.head(&HeadOut::Request { line, body }, if self.upgrade.is_some() { None } else { length });
    }
}

impl ReplyReader {
    /// The head, once [`poll_head`](Self::poll_head) was ready.
    pub fn head(&self) -> &ResponseHead {
        match &self.0 {
            Receiver::Http1(reply) => reply.head(),
            Receiver::Stream(reply) => reply.head(),
        }
    }

    /// Whether a byte of the reply has arrived.
    pub fn has_begun(&self) -> bool {
        match &self.0 {
            Receiver::Http1(reply) => reply.has_begun(),
            Receiver::Stream(reply) => reply.has_head(),
        }
    }

    /// Waits for the final reply head; interim ones are swallowed, a change of protocol counts as final. Cancel safe.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        match &mut self.0 {
            Receiver::Http1(reply) => reply.poll_head(cx),
            Receiver::Stream(reply) => reply.poll_head(cx),
        }
    }

    /// Waits for the final reply head.
    pub async fn read_head(&mut self) -> Result<(), ReplyError> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// Next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        match &mut self.0 {
            Receiver::Http1(reply) => reply.chunk().await,
            Receiver::Stream(reply) => reply.chunk().await,
        }
    }

    /// Trailers, once the body has been read.
    pub fn trailers(&self) -> Option<&HeaderList> {
        match &self.0 {
            Receiver::Http1(reply) => reply.trailers(),
            Receiver::Stream(reply) => reply.trailers(),
        }
    }

    /// From now on everything the backend sends is the body: for tunnels.
    pub fn start_tunnel(&mut self) {
        match &mut self.0 {
            Receiver::Http1(reply) => reply.start_tunnel(),
            // The bytes of a tunnel are the body of such a stream from the beginning.
            Receiver::Stream(_) => {}
        }
    }
}

/// A stream of a connection that is gone, or has room for none.
#[derive(Debug)]
struct Closed;

impl Closed {
    fn error() -> io::Error {
        io::Error::other("the backend takes no requests on the connection that was just opened")
    }
}

impl SendStream for Closed {
    fn head(&mut self, _: &HeadOut<'_>, _: &HeaderList) -> io::Result<()> {
        // What follows says why not.
        Ok(())
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &[u8], _: bool) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(Self::error()))
    }

    fn poll_trailers(&mut self, _: &mut Context<'_>, _: &HeaderList) -> Poll<io::Result<()>> {
        Poll::Ready(Err(Self::error()))
    }
}

impl RecvStream for Closed {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<bool>, BodyError>> {
        Poll::Ready(Err(BodyError::UnexpectedEof))
    }

    fn piece(&self) -> &[u8] {
        &[]
    }

    fn is_done(&self) -> bool {
        false
    }

    fn trailers(&self) -> Option<&HeaderList> {
        None
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl RecvReply for Closed {
    fn poll_head(&mut self, _: &mut Context<'_>, _: &mut ResponseHead) -> Poll<Result<(), ReplyError>> {
        Poll::Ready(Err(ReplyError::Eof { begun: false }))
    }
}
