//! What a codec of the client's side implements, and where it brings its exchanges.
//!
//! The server drives HTTP/1 connections by itself; a connection of any other protocol is handed to its codec as a whole,
//! and comes back one exchange at a time.

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;

use super::draining::Draining;
use super::head_error::HeadError;
use super::reply_writer::ReplyWriter;
use super::request_head::RequestHead;
use super::stream::RecvStream;
use super::wire::Wire;

/// One exchange that a client has begun on a stream.
#[derive(Debug)]
pub struct StreamExchange<B: ?Sized = dyn RecvStream> {
    /// What is asked.
    pub head: RequestHead,
    /// What is answered.
    pub reply: ReplyWriter,
    /// The body of the request.
    pub body: B,
}

/// Where a codec of the client's side brings its exchanges.
pub trait Exchanges {
    /// Serves one exchange to its end: built-in routes, then the application; what is left of it comes back. Dropping the
    /// future ends the exchange.
    fn serve(self: Rc<Self>, exchange: Box<StreamExchange>) -> Pin<Box<dyn Future<Output = Box<StreamExchange>>>>;
    /// Answers a request that the codec has refused.
    fn refuse<'a>(&'a self, error: HeadError, reply: &'a mut ReplyWriter) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
    /// The connection ends because the client has broken the rules of its protocol.
    fn broken(&self);
    /// The connection takes no more streams because of its age.
    fn aged(&self);
    /// Whether and when the connection is to take no more streams.
    fn draining(&self) -> &Rc<Draining>;
    /// Whether a stream is open: a connection without one is closed when the process stops.
    fn set_idle(&self, idle: bool);
}

/// A codec of the client's side.
pub trait ServerCodec: Debug + Send + Sync {
    /// Serves a connection until it ends.
    fn serve(&self, wire: Wire, exchanges: Rc<dyn Exchanges>) -> Pin<Box<dyn Future<Output = ()>>>;
}
