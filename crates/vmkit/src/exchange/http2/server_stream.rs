//! One exchange with an HTTP/2 client: the body that is read and the reply that is sent.
//!
//! Pieces of a body give their window back when the next one is asked for, so a slow backend slows its client and no
//! other stream. What is sent waits for the window of the client. A reply that was not sent to its end is reset, so that
//! half of it cannot be taken for the whole (RFC 9113 §8.1).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream as H2Body, SendStream as H2Sender};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::super::body_error::BodyError;
use super::super::hang_up::PeerWatch;
use super::super::header_list::HeaderList;
use super::super::message::{HeadOut, ReplyBody};
use super::super::stream::{RecvStream, SendStream};
use super::super::wire::WireStats;
use super::fields::{read_trailers, write_fields, write_reply};
use super::frame_meter::FrameMeter;
use super::held_heads::HeldHead;
use super::websocket::WebSocket;

/// Less than this is no progress while more is waiting: a client must not hold a reply with windows of a few bytes.
const LEAST_PROGRESS: usize = 512;

/// The sending side, which also knows whether the client has reset the stream.
#[derive(Debug)]
enum Sender {
    /// No head was sent.
    Response(SendResponse<Bytes>),
    Body(H2Sender<Bytes>),
    Ended,
}

impl Sender {
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Response(response) => response.poll_reset(cx).map(drop),
            Self::Body(body) => body.poll_reset(cx).map(drop),
            Self::Ended => Poll::Pending,
        }
    }
}

/// What all streams of a connection share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) meter: FrameMeter,
    pub(super) stats: Arc<WireStats>,
    /// How long a write may make no progress.
    pub(super) write_limit: Option<Duration>,
}

/// What both directions share.
#[derive(Debug)]
struct Stream {
    sender: Sender,
    /// Whether the head of the reply is decided: nothing may be sent before it any more.
    replies: bool,
}

impl PeerWatch for RefCell<Stream> {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.borrow_mut().sender.poll_reset(cx)
    }
}

/// The reply.
#[derive(Debug)]
pub(super) struct Http2Reply {
    stream: Rc<RefCell<Stream>>,
    /// Waits for the first piece.
    head: Option<Response<()>>,
    websocket: Option<WebSocket>,
    link: Rc<Link>,
    /// Since when the client has taken too little to call it progress.
    crawls_since: Option<Instant>,
}

/// The body of the request.
#[derive(Debug)]
pub(super) struct Http2Body {
    stream: Rc<RefCell<Stream>>,
    body: H2Body,
    link: Rc<Link>,
    piece: Bytes,
    trailers: Option<HeaderList>,
    done: bool,
    /// The client sends its body when it is told to.
    awaits_continue: bool,
    /// What comes is no body but waits for the tunnel.
    before_tunnel: bool,
    /// The head of the request, for as long as the exchange lasts.
    head: Option<HeldHead>,
}

/// Both sides of a stream that a client has opened.
pub(super) fn split(response: SendResponse<Bytes>, body: H2Body, link: Rc<Link>) -> (Http2Body, Http2Reply) {
    let stream = Rc::new(RefCell::new(Stream { sender: Sender::Response(response), replies: false }));
    let done = body.is_end_stream();
    let reading = Http2Body {
        stream: stream.clone(),
        body,
        link: link.clone(),
        piece: Bytes::new(),
        trailers: None,
        done,
        awaits_continue: false,
        before_tunnel: false,
        head: None,
    };
    (reading, Http2Reply { stream, head: None, websocket: None, link, crawls_since: None })
}

impl Http2Reply {
    /// The reply to a handshake; anything but a tunnel refuses it.
    pub(super) fn set_websocket(&mut self, websocket: WebSocket) {
        self.websocket = Some(websocket);
    }

    /// Sends the head if it was held back; `ends` when nothing follows.
    fn send_head(&mut self, ends: bool) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let mut stream = self.stream.borrow_mut();
        let Sender::Response(response) = &mut stream.sender else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let body = response.send_response(head, ends).map_err(broken)?;
        stream.sender = if ends { Sender::Ended } else { Sender::Body(body) };
        Ok(())
    }

    /// Waits for room in the client's window; how much there is.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let Sender::Body(body) = &mut stream.sender else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        body.reserve_capacity(wanted);
        let mut room = body.capacity();
        if room == 0 {
            room = match ready!(body.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        Poll::Ready(Ok(room.min(wanted)))
    }

    /// Whether a client that takes `n` bytes of `wanted` has done so for too long.
    fn crawls(&mut self, n: usize, wanted: usize) -> bool {
        if n >= wanted.min(LEAST_PROGRESS) {
            self.crawls_since = None;
            return false;
        }
        let since = *self.crawls_since.get_or_insert_with(Instant::now);
        self.link.write_limit.is_some_and(|limit| since.elapsed() > limit)
    }
}

impl SendStream for Http2Reply {
    fn head(&mut self, head: &HeadOut<'_>, fields: &HeaderList) -> io::Result<()> {
        let HeadOut::Reply { status, body } = *head else { return Err(io::ErrorKind::Unsupported.into()) };
        self.stream.borrow_mut().replies = true;
        self.head = Some(match &self.websocket {
            Some(socket) => websocket_head(socket, status, body, fields)?,
            None => write_reply(status, fields)?,
        });
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<io::Result<usize>> {
        self.send_head(last && data.is_empty())?;
        if data.is_empty() && !last {
            return Poll::Ready(Ok(0));
        }
        let n = if data.is_empty() { 0 } else { ready!(self.poll_room(cx, data.len()))? };
        if self.crawls(n, data.len()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let mut stream = self.stream.borrow_mut();
        let ends = last && n == data.len();
        if let Sender::Body(body) = &mut stream.sender {
            let piece = Bytes::copy_from_slice(data.get(..n).unwrap_or_default());
            body.send_data(piece, ends).map_err(broken)?;
            self.link.meter.sends_data();
            if ends {
                stream.sender = Sender::Ended;
            }
        }
        Poll::Ready(Ok(n))
    }

    fn poll_trailers(&mut self, _: &mut Context<'_>, fields: &HeaderList) -> Poll<io::Result<()>> {
        self.send_head(false)?;
        let mut stream = self.stream.borrow_mut();
        let Sender::Body(body) = &mut stream.sender else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        body.send_trailers(write_fields(fields)).map_err(broken)?;
        stream.sender = Sender::Ended;
        Poll::Ready(Ok(()))
    }

    fn stalled(&self) {
        self.link.stats.write_timeouts.inc();
    }
}

impl Drop for Http2Reply {
    fn drop(&mut self) {
        match &mut self.stream.borrow_mut().sender {
            Sender::Response(response) => response.send_reset(Reason::INTERNAL_ERROR),
            Sender::Body(body) => body.send_reset(Reason::INTERNAL_ERROR),
            Sender::Ended => {}
        }
    }
}

impl Http2Body {
    /// The head of the request is in use.
    pub(super) fn hold(&mut self, head: HeldHead) {
        self.head = Some(head);
    }

    /// The client waits to be told to go on.
    pub(super) fn set_awaits_continue(&mut self) {
        self.awaits_continue = !self.done;
    }

    /// There is no body until there is a tunnel.
    pub(super) fn set_before_tunnel(&mut self) {
        self.before_tunnel = true;
    }

    /// Gives back the window that the last piece has taken.
    fn give_back(&mut self) {
        let n = std::mem::take(&mut self.piece).len();
        if n > 0 {
            let _ = self.body.flow_control().release_capacity(n);
        }
    }

    /// Tells the client to go on, unless the reply says enough.
    fn send_continue(&mut self) {
        if std::mem::take(&mut self.awaits_continue) {
            let mut stream = self.stream.borrow_mut();
            let replies = stream.replies;
            if let (Sender::Response(response), false) = (&mut stream.sender, replies) {
                let mut go_on = Response::new(());
                *go_on.status_mut() = StatusCode::CONTINUE;
                let _ = response.send_informational(go_on);
            }
        }
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        self.link.meter.small.closed(self.body.stream_id().as_u32());
    }
}

impl RecvStream for Http2Body {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<bool>, BodyError>> {
        self.give_back();
        if self.done || self.before_tunnel {
            return Poll::Ready(Ok(None));
        }
        self.send_continue();
        while let Some(piece) = ready!(self.body.poll_data(cx)) {
            self.piece = piece.map_err(|error| body_error(&error))?;
            if !self.piece.is_empty() {
                self.done = self.body.is_end_stream();
                if !self.done {
                    self.link.meter.small.taken(self.body.stream_id().as_u32(), self.piece.len());
                }
                return Poll::Ready(Ok(Some(self.done)));
            }
        }
        let trailers = ready!(self.body.poll_trailers(cx)).map_err(|error| body_error(&error))?;
        if let Some(trailers) = trailers {
            self.trailers = Some(read_trailers(&trailers).map_err(|_| BodyError::BadTrailer)?);
        }
        self.done = true;
        Poll::Ready(Ok(None))
    }

    fn piece(&self) -> &[u8] {
        &self.piece
    }

    fn is_done(&self) -> bool {
        self.done || self.before_tunnel
    }

    fn trailers(&self) -> Option<&HeaderList> {
        self.trailers.as_ref()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_gone(cx)
    }

    fn watch(&self) -> Option<Rc<dyn PeerWatch>> {
        Some(self.stream.clone())
    }

    fn release(&mut self) {
        self.give_back();
    }

    fn start_tunnel(&mut self) {
        self.before_tunnel = false;
    }
}

/// The reply to a handshake in the words of HTTP/2: 200 stands for 101 and for nothing else (RFC 8441 §5).
fn websocket_head(socket: &WebSocket, status: u16, body: ReplyBody, fields: &HeaderList) -> io::Result<Response<()>> {
    if body != ReplyBody::Tunnel {
        return write_reply(if (200..300).contains(&status) { 502 } else { status }, fields);
    }
    if !socket.is_accepted_by(fields) {
        return Err(io::Error::other("the backend has not understood the WebSocket handshake"));
    }
    let mut rest = HeaderList::default();
    let others = fields.iter().filter(|line| !WebSocket::is_handshake(line.name));
    others.for_each(|line| rest.push(line.name, line.value));
    write_reply(200, &rest)
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

/// A stream that the client has reset, or that has ended with its connection, is over before its end. What the codec
/// resets has not the announced length.
fn body_error(error: &h2::Error) -> BodyError {
    match error.is_library() && error.is_reset() {
        true => BodyError::WrongLength,
        false => BodyError::UnexpectedEof,
    }
}
