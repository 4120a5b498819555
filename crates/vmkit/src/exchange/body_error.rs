//! Why a body cannot be read on, whatever the protocol.

/// Why a body cannot be read on. The texts are those users know from logs.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer has ended the connection or the stream before the end of the body.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// A chunk line that is no hexadecimal size.
    #[error("invalid byte in chunk length")]
    BadChunkSize,
    /// A chunk line or the end of a chunk without CRLF in the right place.
    #[error("malformed chunked encoding")]
    MalformedChunk,
    /// A chunk line or a trailer section beyond the limit.
    #[error("chunk line or trailer is too long")]
    TooLong,
    /// The trailer section is no list of header fields.
    #[error("malformed trailer")]
    BadTrailer,
    /// The body is longer or shorter than was announced.
    #[error("body does not have the announced length")]
    WrongLength,
    /// The receiver takes small pieces too slowly, and all receivers together have no memory left for them.
    #[error("the client has not taken the reply, and the memory for small frames is used up")]
    NotTaken,
    /// Reading from the connection failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
