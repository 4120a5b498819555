//! One exchange with a backend on a stream of an HTTP/2 connection.
//!
//! The request leaves with the first piece of its body, so that a small one is a single write. Both sides work at the same
//! time: a backend may answer before the request has ended. Dropping both sides before the end resets the stream.
//!
//! The handshake of a WebSocket becomes an extended CONNECT where the backend takes that (RFC 8441), and its answer the
//! one that HTTP/1 knows; elsewhere it is sent as the GET that it is, without the upgrade, and the backend says no.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use http::header::{HOST, HeaderValue, SEC_WEBSOCKET_KEY, TE};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Version};

use super::super::body_error::BodyError;
use super::super::framing::BodyKind;
use super::super::header_list::HeaderList;
use super::super::message::{HeadOut, RequestLine};
use super::super::reply_error::ReplyError;
use super::super::response_head::{ResponseHead, ResponseParts};
use super::super::stream::{RecvReply, RecvStream, SendStream};
use super::fields;
use super::life::StreamClaim;
use super::reply_frames::Inbox;
use super::websocket::WebSocket;

/// Largest piece that is copied at once.
const MAX_PIECE: usize = 16 * 1024;

/// Both sides of a new stream.
pub(super) fn new(
    sender: SendRequest<Bytes>,
    is_tls: bool,
    claim: StreamClaim,
) -> (Box<dyn SendStream>, Box<dyn RecvReply>) {
    let pair = Rc::new(Pair {
        claim,
        reply: RefCell::new(Reply::NotAsked(None)),
        websocket: RefCell::default(),
        stream: Cell::new(0),
        inbox: Rc::default(),
    });
    let send = Send { pair: pair.clone(), is_tls, to_head: false, is_tunnel: false, state: State::Idle(sender) };
    let receive = Receive { pair, piece: Bytes::new(), trailers: None, is_bodiless: false, done: false };
    (Box::new(send), Box::new(receive))
}

/// What both sides share.
#[derive(Debug)]
struct Pair {
    claim: StreamClaim,
    reply: RefCell<Reply>,
    /// The handshake that the request stands for.
    websocket: RefCell<Option<WebSocket>>,
    /// Its number; 0 before the request was sent.
    stream: Cell<u32>,
    inbox: Rc<Inbox>,
}

/// How far the reply is.
#[derive(Debug)]
enum Reply {
    /// The request was not sent; who waits for its reply.
    NotAsked(Option<Waker>),
    Awaited {
        response: ResponseFuture,
        to_head: bool,
    },
    /// The request could not be sent.
    Failed(h2::Error),
    Taken,
}

impl Pair {
    fn set(&self, reply: Reply) {
        if let Reply::NotAsked(Some(waker)) = self.reply.replace(reply) {
            waker.wake();
        }
    }

    /// The request was sent on this stream.
    fn opened(&self, stream: u32) {
        self.stream.set(stream);
        self.claim.0.frames.open(stream, &self.inbox);
    }

    /// Nobody takes the reply any more.
    fn close(&self) {
        self.claim.0.frames.close(self.stream.get());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.close();
    }
}

/// The sending side.
#[derive(Debug)]
struct Send {
    pair: Rc<Pair>,
    is_tls: bool,
    to_head: bool,
    is_tunnel: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(SendRequest<Bytes>),
    Head(SendRequest<Bytes>, Box<Request<()>>),
    Body(h2::SendStream<Bytes>),
    /// The stream is kept: dropping it would not end the request, but nothing more may be sent.
    Ended(#[allow(dead_code, reason = "held")] h2::SendStream<Bytes>),
    Failed,
}

impl Send {
    /// Sends the head, and the end of the message if nothing follows.
    fn ask(&mut self, ends: bool) -> io::Result<()> {
        let State::Head(mut sender, request) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match sender.send_request(*request, ends) {
            Ok((response, stream)) => {
                self.pair.opened(response.stream_id().as_u32());
                self.state = if ends { State::Ended(stream) } else { State::Body(stream) };
                self.pair.set(Reply::Awaited { response, to_head: self.to_head });
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                self.pair.set(Reply::Failed(error));
                Err(io::Error::other(text))
            }
        }
    }
}

impl SendStream for Send {
    fn head(&mut self, head: &HeadOut<'_>, fields: &HeaderList) -> io::Result<()> {
        let HeadOut::Request { line, .. } = head else { return Err(io::ErrorKind::InvalidInput.into()) };
        let State::Idle(sender) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        self.to_head = line.method == "HEAD";
        let websocket = WebSocket::of_request(line.method, line.upgrade, fields)
            .filter(|_| sender.is_extended_connect_protocol_enabled());
        let mut request = request(line, self.is_tls, fields)?;
        if websocket.is_some() {
            connect(&mut request);
        }
        self.is_tunnel = websocket.is_some();
        self.pair.websocket.replace(websocket);
        self.state = State::Head(sender, Box::new(request));
        Ok(())
    }

    fn asks_for_tunnel(&self) -> bool {
        self.is_tunnel
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<io::Result<usize>> {
        if matches!(self.state, State::Head(..)) {
            let ends = last && data.is_empty();
            self.ask(ends)?;
            if ends {
                return Poll::Ready(Ok(0));
            }
        }
        let State::Body(stream) = &mut self.state else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let mut taken = 0;
        if !data.is_empty() {
            let wanted = data.len().min(MAX_PIECE);
            stream.reserve_capacity(wanted);
            let mut room = stream.capacity();
            while room == 0 {
                room = match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error.to_string()))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                };
            }
            taken = room.min(wanted);
        }
        let ends = last && taken == data.len();
        if taken > 0 || ends {
            let piece = Bytes::copy_from_slice(data.get(..taken).unwrap_or_default());
            stream.send_data(piece, ends).map_err(|error| io::Error::other(error.to_string()))?;
        }
        if ends {
            self.end();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_trailers(&mut self, _: &mut Context<'_>, trailers: &HeaderList) -> Poll<io::Result<()>> {
        if matches!(self.state, State::Head(..)) {
            self.ask(false)?;
        }
        let State::Body(stream) = &mut self.state else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        stream.send_trailers(fields::write_fields(trailers)).map_err(|error| io::Error::other(error.to_string()))?;
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Send {
    fn end(&mut self) {
        if let State::Body(stream) = std::mem::replace(&mut self.state, State::Failed) {
            self.state = State::Ended(stream);
        }
    }
}

/// The request as `h2` takes it.
fn request(line: &RequestLine<'_>, is_tls: bool, list: &HeaderList) -> io::Result<Request<()>> {
    let target = escaped(line.target);
    // A host that is no authority, such as one with an odd byte, may stand in `Host` only (RFC 9113 §8.3.1).
    let is_authority = Authority::try_from(line.authority).is_ok();
    let authority = if is_authority { line.authority } else { b"unknown" };
    let written = RequestLine { target: &target, authority, ..*line };
    let mut request = fields::write_request(&written, is_tls, list)?;
    if !is_authority {
        let host = HeaderValue::from_bytes(line.authority).map_err(io::Error::other)?;
        request.headers_mut().insert(HOST, host);
        // What `h2` takes for a request of HTTP/1 may come without an authority.
        *request.uri_mut() = PathAndQuery::try_from(&*target).map_err(io::Error::other)?.into();
        *request.version_mut() = Version::HTTP_11;
    }
    if line.wants_trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// Makes the request of a handshake an extended CONNECT (RFC 8441 §5).
fn connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(SEC_WEBSOCKET_KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
}

/// The target with bytes escaped that no URL holds, but some clients send (RFC 3986 §2).
fn escaped(target: &[u8]) -> Cow<'_, [u8]> {
    let is_odd = |b: u8| matches!(b, b'#' | b'<' | b'>' | b'`' | b'"') || !(0x21..0x7F).contains(&b);
    if !target.iter().any(|b| is_odd(*b)) {
        return Cow::Borrowed(target);
    }
    let mut out = Vec::with_capacity(target.len() + 8);
    for b in target {
        if is_odd(*b) {
            out.extend_from_slice(format!("%{b:02X}").as_bytes());
        } else {
            out.push(*b);
        }
    }
    Cow::Owned(out)
}

/// The receiving side.
#[derive(Debug)]
struct Receive {
    pair: Rc<Pair>,
    piece: Bytes,
    trailers: Option<HeaderList>,
    /// The head says that nothing follows it, whatever the backend sends.
    is_bodiless: bool,
    done: bool,
}

impl Receive {
    /// The last piece was passed on: the backend may send as much again.
    fn give_back(&mut self) {
        let length = std::mem::take(&mut self.piece).len();
        if length == 0 {
            return;
        }
        let inbox = &self.pair.inbox;
        self.pair.claim.0.frames.taken(inbox, length);
        if let Some(body) = &mut *inbox.body.borrow_mut() {
            // Fails only for a stream that has ended.
            let _ = body.flow_control().release_capacity(length);
        }
    }

    fn body_error(&self, error: &h2::Error) -> BodyError {
        if error.is_io() && !self.pair.claim.0.has_ended() {
            return BodyError::UnexpectedEof;
        }
        BodyError::Io(io::Error::other(self.pair.claim.0.text(error)))
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        self.pair.close();
    }
}

impl RecvReply for Receive {
    fn poll_head(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), ReplyError>> {
        let life = &self.pair.claim.0;
        let mut reply = self.pair.reply.borrow_mut();
        let (response, to_head) = match &mut *reply {
            Reply::NotAsked(waiting) => {
                *waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Reply::Awaited { .. } if self.pair.inbox.is_flooded() => {
                return Poll::Ready(Err(ReplyError::Invalid { text: ReplyError::TooManyInterim.to_string() }));
            }
            Reply::Awaited { response, to_head } => (ready!(Pin::new(response).poll(cx)), *to_head),
            Reply::Failed(error) => return Poll::Ready(Err(life.reply_error(error))),
            Reply::Taken => return Poll::Ready(Err(ReplyError::Eof { begun: true })),
        };
        *reply = Reply::Taken;
        let (parts, body) = response.map_err(|error| life.reply_error(&error))?.into_parts();
        life.hear();
        self.done = body.is_end_stream();
        let mut known = ResponseParts { to_head, has_body: !self.done, ..ResponseParts::default() };
        let socket = self.pair.websocket.borrow();
        let accept = socket.as_ref().filter(|_| parts.status.is_success()).map(WebSocket::accept);
        let more = accept.as_ref().map(|(name, value)| (*name, value.as_bytes()));
        if more.is_some() {
            known.upgraded = Some(WebSocket::UPGRADE);
        }
        fields::read_reply(head, parts.status, &parts.headers, known, more.as_slice())
            .map_err(|error| ReplyError::Invalid { text: format!("http2: the reply is malformed: {error}") })?;
        self.is_bodiless = head.upgrade().is_none() && head.body() == BodyKind::None;
        self.pair.inbox.body.replace(Some(body));
        Poll::Ready(Ok(()))
    }
}

impl RecvStream for Receive {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<bool>, BodyError>> {
        self.give_back();
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let mut body = self.pair.inbox.body.borrow_mut();
        let Some(body) = &mut *body else {
            let given_up = self.pair.inbox.is_given_up();
            return Poll::Ready(Err(if given_up { BodyError::NotTaken } else { BodyError::UnexpectedEof }));
        };
        loop {
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                // The codec calls some of them errors. The reply is whole without them.
                Some(_) if self.is_bodiless => {
                    self.done = true;
                    return Poll::Ready(Ok(None));
                }
                Some(Ok(piece)) => {
                    self.done = body.is_end_stream();
                    self.piece = piece;
                    self.pair.claim.0.hear();
                    return Poll::Ready(Ok(Some(self.done)));
                }
                Some(Err(error)) => return Poll::Ready(Err(self.body_error(&error))),
                None => break,
            }
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(|error| self.body_error(&error))?;
        self.trailers = match trailers {
            Some(map) => Some(fields::read_trailers(&map).map_err(|_| BodyError::BadTrailer)?),
            None => None,
        };
        self.done = true;
        Poll::Ready(Ok(None))
    }

    fn piece(&self) -> &[u8] {
        &self.piece
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn trailers(&self) -> Option<&HeaderList> {
        self.trailers.as_ref()
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let line = RequestLine {
            method: "GET",
            target: b"/a?b=<c>#d",
            authority: b"h:1",
            upgrade: None,
            wants_trailers: true,
        };
        let f = |line: RequestLine<'_>| request(&line, false, &HeaderList::default()).unwrap();
        let plain = f(line);
        assert_eq!(plain.uri().to_string(), "http://h:1/a?b=%3Cc%3E%23d");
        assert_eq!(plain.headers().get(TE).unwrap(), "trailers");
        let odd = f(RequestLine { authority: b"a b", ..line });
        assert_eq!(
            (odd.uri().to_string(), odd.headers().get(HOST).unwrap()),
            ("/a?b=%3Cc%3E%23d".into(), &HeaderValue::from_static("a b"))
        );
    }
}
