//! The words in which stages and codecs speak about a message: what a head says, what follows it, a piece of a body.

use super::framing::BodyKind;

/// What follows the head of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// Exactly so many bytes.
    Length(u64),
    /// As many bytes as come; trailers may follow.
    Stream,
    /// No body, and a `Content-Length` only if given: HEAD, 204, 304.
    None(Option<u64>),
    /// Raw bytes in both directions from here on.
    Tunnel,
}

/// A piece of a body.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// At least one byte.
    pub data: &'a [u8],
    /// True when the message is known to end with this piece: no more bytes and no trailers. False says nothing.
    pub last: bool,
}

/// The head of a message on its way out, apart from its fields.
#[derive(Clone, Copy, Debug)]
pub enum HeadOut<'a> {
    /// A request to a backend.
    Request {
        /// What is asked for.
        line: RequestLine<'a>,
        /// Whether and how a body follows.
        body: BodyKind,
    },
    /// A reply to a client.
    Reply {
        /// 100..=999; 101 only together with [`ReplyBody::Tunnel`], which a codec may spell differently.
        status: u16,
        /// Whether and how a body follows.
        body: ReplyBody,
    },
}

/// What a request asks for, apart from its fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub target: &'a [u8],
    /// `host[:port]` for `Host` or its like.
    pub authority: &'a [u8],
    /// The protocol to speak on this stream instead, in the client's words.
    pub upgrade: Option<&'a [u8]>,
    /// Whether trailers of the reply are of use.
    pub wants_trailers: bool,
}
