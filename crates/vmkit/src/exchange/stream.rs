//! What a codec other than HTTP/1 implements to carry exchanges: one stream an exchange, many streams a connection.
//!
//! HTTP/1 is known to the types of the seam by name, so that its path has no indirect call; any other protocol stands
//! behind these traits and no stage can tell the difference. A codec turns heads and fields into its own form, reports
//! the end of a stream as the peer's leaving, and resets a stream that is dropped before its end. It must never hold
//! back bytes that were sent, and never read ahead more than a bounded amount a stream.

use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body_error::BodyError;
use super::hang_up::PeerWatch;
use super::header_list::HeaderList;
use super::message::HeadOut;
use super::reply_error::ReplyError;
use super::response_head::ResponseHead;
use super::wire::Wire;

/// Sends one message: its head, its body, its trailers.
pub trait SendStream: Debug {
    /// Takes the head; called once, before anything else. Need not send it yet.
    fn head(&mut self, head: &HeadOut<'_>, fields: &HeaderList) -> io::Result<()>;
    /// Takes some bytes of the body and says how many; `last` when the message ends with the last byte of `data`, which
    /// may be empty then. Sends the head if it was held back.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<io::Result<usize>>;
    /// Ends the message with trailers.
    fn poll_trailers(&mut self, cx: &mut Context<'_>, fields: &HeaderList) -> Poll<io::Result<()>>;
    /// Ends the sending side of a tunnel.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &[], true).map_ok(drop)
    }
    /// Whether the head asks for a tunnel: then nothing but the end of that ends the message.
    fn asks_for_tunnel(&self) -> bool {
        false
    }
    /// The peer has taken nothing for too long; the stream is given up.
    fn stalled(&self) {}
}

/// Receives the body of one message.
pub trait RecvStream: Debug {
    /// Finds the next piece, at least one byte; says whether the message is known to end with it. `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<bool>, BodyError>>;
    /// The piece that was found last.
    fn piece(&self) -> &[u8];
    /// Whether the body was read to its end.
    fn is_done(&self) -> bool;
    /// Trailers, once the body was read to its end.
    fn trailers(&self) -> Option<&HeaderList>;
    /// Resolves when the peer has left or reset the stream.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Who knows whether the peer has left while a piece is in use; `None` where nobody does.
    fn watch(&self) -> Option<Rc<dyn PeerWatch>> {
        None
    }
    /// The piece that was found last is no longer used.
    fn release(&mut self) {}
    /// From now on what comes is the other protocol; until then there was no body.
    fn start_tunnel(&mut self) {}
}

/// Receives one reply.
pub trait RecvReply: RecvStream {
    /// Waits for the head of the final reply; interim ones are swallowed.
    fn poll_head(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), ReplyError>>;
}

/// A connection to a backend that carries many exchanges at once.
pub trait SharedConnection: Debug {
    /// A stream for one exchange; `None` when the connection takes no more, now or for ever.
    fn open(&self) -> Option<(Box<dyn SendStream>, Box<dyn RecvReply>)>;
    /// Whether the connection is alive and may take more streams later.
    fn is_open(&self) -> bool;
    /// Streams in use.
    fn streams(&self) -> usize;
    /// Resolves when the peer of a new connection has shown that it speaks the protocol; before that nothing is sent to
    /// it. One task waits.
    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        Poll::Ready(Ok(()))
    }
}

/// A codec of the backend's side.
pub trait ClientCodec: Debug + Send + Sync {
    /// Whether it speaks on a new connection, by what TLS has negotiated.
    fn takes(&self, alpn: Option<&[u8]>) -> bool;
    /// Starts on a connection; its work runs as a local task of the worker until nobody holds it.
    fn start(&self, wire: Wire) -> Rc<dyn SharedConnection>;
}
