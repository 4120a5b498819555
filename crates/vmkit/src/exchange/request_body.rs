//! The body of a client's request, read on demand, whatever protocol the client speaks.
//!
//! Nothing is read ahead beyond one buffer, so a backend that is slow slows the client down. That the client has left
//! is seen here too: by the stream, not by the connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body_error::BodyError;
use super::framing::BodyKind;
use super::hang_up::PeerWatch;
use super::header_list::HeaderList;
use super::http1::body::Http1Body;
use super::message::Chunk;
use super::stream::RecvStream;

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody<'c>(Kind<'c>);

#[derive(Debug)]
enum Kind<'c> {
    Http1(Http1Body<'c>),
    Stream { stream: &'c mut dyn RecvStream, kind: BodyKind },
}

impl<'c> RequestBody<'c> {
    pub(super) fn http1(body: Http1Body<'c>) -> Self {
        Self(Kind::Http1(body))
    }

    /// The body of a stream of another codec.
    pub fn stream(stream: &'c mut dyn RecvStream, kind: BodyKind) -> Self {
        Self(Kind::Stream { stream, kind })
    }

    /// What is known of the body.
    pub fn kind(&self) -> BodyKind {
        match &self.0 {
            Kind::Http1(body) => body.kind(),
            Kind::Stream { kind, .. } => *kind,
        }
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Http1(body) => body.is_done(),
            Kind::Stream { stream, .. } => stream.is_done(),
        }
    }

    /// Next piece; `None` at the end. Tells a client that waits to go on. Cancel safe.
    pub async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        match &mut self.0 {
            Kind::Http1(body) => body.chunk().await,
            Kind::Stream { stream, .. } => {
                let found = poll_fn(|cx| stream.poll_piece(cx)).await?;
                Ok(found.map(|last| Chunk { data: stream.piece(), last }))
            }
        }
    }

    /// Trailers, once the body has been read.
    pub fn trailers(&self) -> Option<&HeaderList> {
        match &self.0 {
            Kind::Http1(body) => body.trailers(),
            Kind::Stream { stream, .. } => stream.trailers(),
        }
    }

    /// The last piece is no longer used: its storage may go while the backend is waited for.
    pub fn release(&mut self) {
        match &mut self.0 {
            Kind::Http1(body) => body.release(),
            Kind::Stream { stream, .. } => stream.release(),
        }
    }

    /// Resolves when the client has left: has reset the connection or stream, or ended its side of an HTTP/1 connection,
    /// even with the rest of its body unread.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Http1(body) => body.poll_gone(cx),
            Kind::Stream { stream, .. } => stream.poll_gone(cx),
        }
    }

    /// Waits until the client leaves.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// Who knows whether the client has left while a piece of its body is in use; `None` where nobody does.
    pub fn watch(&self) -> Option<Rc<dyn PeerWatch>> {
        match &self.0 {
            Kind::Http1(body) => Some(body.watch()),
            Kind::Stream { stream, .. } => stream.watch(),
        }
    }

    /// From now on everything the client sends is the body, up to the end of the stream: for tunnels.
    pub fn start_tunnel(&mut self) {
        match &mut self.0 {
            Kind::Http1(body) => body.start_tunnel(),
            Kind::Stream { stream, .. } => stream.start_tunnel(),
        }
    }
}
