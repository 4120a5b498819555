//! Finds the bytes of a body between the bytes of its framing (RFC 9112 §6 and §7).
//!
//! A pure state machine over what has been read so far: it says how many bytes of framing to skip and how many bytes
//! of body follow. Chunk lines must be `hex[;extension]CRLF`; bare LF, blanks before the size, sizes that do not fit
//! and lines or trailers beyond a limit are errors, because two servers may read them differently.

use super::super::body_error::BodyError;
use super::super::framing::BodyKind;
use super::super::header_list::HeaderList;

/// Longest chunk line, extension included.
const MAX_CHUNK_LINE: usize = 4096;
/// Largest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Chunks that are looked at in advance.
const MAX_LOOK_AHEAD: usize = 8;

/// How an HTTP/1 message says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Delimiter {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Delimiter {
    /// The delimiter of a body that is not ended by its connection.
    pub(in super::super) fn of(kind: BodyKind) -> Self {
        match kind {
            BodyKind::None => Self::None,
            BodyKind::Length(n) => Self::Length(n),
            BodyKind::Stream => Self::Chunked,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
}

/// What to do with the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// Skip `skip` bytes, then `len` > 0 bytes of body follow.
    Data { skip: usize, len: usize },
    /// Skip `skip` bytes and read more.
    NeedMore { skip: usize },
    /// Skip `skip` bytes; the body has ended.
    End { skip: usize },
}

/// Position within one body.
#[derive(Debug)]
pub(in super::super) struct BodyDecoder {
    state: State,
    trailers: Option<Box<HeaderList>>,
}

impl BodyDecoder {
    pub(in super::super) fn new(delimiter: Delimiter) -> Self {
        let state = match delimiter {
            Delimiter::None | Delimiter::Length(0) => State::Done,
            Delimiter::Length(n) => State::Length(n),
            Delimiter::Chunked => State::ChunkSize,
            Delimiter::UntilClose => State::UntilClose,
        };
        Self { state, trailers: None }
    }

    /// Whether nothing of the body is left to read.
    pub(in super::super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes left of a body with a known length.
    pub(in super::super) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(n) => Some(n),
            State::UntilClose | State::ChunkSize | State::ChunkData(_) | State::ChunkEnd | State::Trailers => None,
        }
    }

    /// The trailer section; `None` without one and before the end of the body.
    pub(in super::super) fn trailers(&self) -> Option<&HeaderList> {
        self.trailers.as_deref()
    }

    /// The peer has closed the connection; fine only for a body that ends so.
    pub(in super::super) fn eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Length(_) | State::ChunkSize | State::ChunkData(_) | State::ChunkEnd | State::Trailers => {
                Err(BodyError::UnexpectedEof)
            }
        }
    }

    /// Looks at the unread bytes and moves on; the caller must consume what the step says.
    pub(in super::super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let mut skip = 0;
        loop {
            let rest = bytes.get(skip..).unwrap_or_default();
            match self.state {
                State::Done => return Ok(Step::End { skip }),
                _ if rest.is_empty() => return Ok(Step::NeedMore { skip }),
                State::UntilClose => return Ok(Step::Data { skip, len: rest.len() }),
                State::Length(left) => {
                    let len = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - len as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Step::Data { skip, len });
                }
                State::ChunkData(left) => {
                    let len = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - len as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Ok(Step::Data { skip, len });
                }
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        self.state = State::ChunkSize;
                    }
                    [b'\r'] => return Ok(Step::NeedMore { skip }),
                    _ => return Err(BodyError::MalformedChunk),
                },
                State::ChunkSize => match chunk_line(rest)? {
                    None => return Ok(Step::NeedMore { skip }),
                    Some((len, size)) => {
                        skip += len;
                        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
                    }
                },
                State::Trailers => match self.trailer_section(rest)? {
                    None => return Ok(Step::NeedMore { skip }),
                    Some(len) => {
                        skip += len;
                        self.state = State::Done;
                    }
                },
            }
        }
    }

    /// After data was taken: whether the body ends with the bytes that follow. Returns how many they are.
    pub(in super::super) fn ends_with(&mut self, following: &[u8]) -> Option<usize> {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        match self.state {
            State::Done => Some(0),
            State::ChunkEnd if following.starts_with(LAST) => {
                self.state = State::Done;
                Some(LAST.len())
            }
            _ => None,
        }
    }

    /// Whether the body ends within these bytes, which follow what was taken. Looks at a few chunks only.
    pub(in super::super) fn ends_within(&self, bytes: &[u8]) -> bool {
        let (mut probe, mut rest) = (Self { state: self.state, trailers: None }, bytes);
        for _ in 0..MAX_LOOK_AHEAD {
            match probe.step(rest) {
                Ok(Step::End { .. }) => return true,
                Ok(Step::Data { skip, len }) => rest = rest.get(skip + len..).unwrap_or_default(),
                Ok(Step::NeedMore { .. }) | Err(_) => return false,
            }
        }
        false
    }

    fn trailer_section(&mut self, rest: &[u8]) -> Result<Option<usize>, BodyError> {
        if rest.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            return if rest.len() > MAX_TRAILERS { Err(BodyError::TooLong) } else { Ok(None) };
        };
        let section = &rest[..at + 4];
        if section.len() > MAX_TRAILERS {
            return Err(BodyError::TooLong);
        }
        if memchr::memchr_iter(b'\n', section).any(|at| at == 0 || section[at - 1] != b'\r') {
            return Err(BodyError::BadTrailer);
        }
        let mut fields = [httparse::EMPTY_HEADER; 64];
        match httparse::parse_headers(section, &mut fields) {
            Ok(httparse::Status::Complete((_, fields))) => {
                let mut list = HeaderList::default();
                fields.iter().for_each(|field| list.push(field.name, field.value));
                self.trailers = Some(Box::new(list));
                Ok(Some(at + 4))
            }
            Ok(httparse::Status::Partial) | Err(_) => Err(BodyError::BadTrailer),
        }
    }
}

/// Length of the chunk line at the start of `rest` and the size it announces; `None` when it is incomplete.
fn chunk_line(rest: &[u8]) -> Result<Option<(usize, u64)>, BodyError> {
    let mut size: u64 = 0;
    let mut digits = 0;
    for &b in rest {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            _ => break,
        };
        if size >> 59 != 0 {
            return Err(BodyError::BadChunkSize);
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    let after = rest.get(digits..).unwrap_or_default();
    if digits > MAX_CHUNK_LINE {
        return Err(BodyError::TooLong);
    }
    if digits == 0 && !after.is_empty() {
        return Err(BodyError::BadChunkSize);
    }
    let Some(&first) = after.first() else { return Ok(None) };
    if !matches!(first, b'\r' | b';' | b' ' | b'\t') {
        return Err(BodyError::BadChunkSize);
    }
    let Some(lf) = memchr::memchr(b'\n', after) else {
        return if rest.len() > MAX_CHUNK_LINE { Err(BodyError::TooLong) } else { Ok(None) };
    };
    let line = &after[..lf];
    let Some((b'\r', extension)) = line.split_last() else { return Err(BodyError::MalformedChunk) };
    let blanks = extension.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    // Blanks may stand before an extension (RFC 9112 §7.1.1, BWS); some servers pad the size with them.
    if extension.iter().any(|b| b.is_ascii_control() && *b != b'\t')
        || extension.get(blanks).is_some_and(|next| *next != b';')
    {
        return Err(BodyError::MalformedChunk);
    }
    if digits + lf > MAX_CHUNK_LINE {
        return Err(BodyError::TooLong);
    }
    Ok(Some((digits + lf + 1, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes with reads of `piece` bytes; returns the body, the trailers and what is left after the end.
    fn decode(kind: Delimiter, wire: &[u8], piece: usize) -> Result<[Vec<u8>; 3], BodyError> {
        let mut decoder = BodyDecoder::new(kind);
        let (mut body, mut buffer, mut pieces) = (Vec::new(), Vec::new(), wire.chunks(piece.max(1)));
        loop {
            match decoder.step(&buffer)? {
                Step::Data { skip, len } => {
                    body.extend_from_slice(&buffer[skip..skip + len]);
                    buffer.drain(..skip + len);
                }
                Step::NeedMore { skip } => {
                    buffer.drain(..skip);
                    match pieces.next() {
                        Some(bytes) => buffer.extend_from_slice(bytes),
                        None => {
                            decoder.eof()?;
                            return Ok([body, Vec::new(), buffer]);
                        }
                    }
                }
                Step::End { skip } => {
                    buffer.drain(..skip);
                    buffer.extend(pieces.flatten());
                    let trailers = decoder.trailers().map_or(Vec::new(), |list| list.as_http1().to_vec());
                    return Ok([body, trailers, buffer]);
                }
            }
        }
    }

    #[test]
    fn chunked_in_pieces_of_every_size() {
        let wire = b"3;x=y\r\nabc\r\nA \t;q\r\n0123456789\r\n000 \t\r\nX-T: 1\r\n\r\nGET";
        for piece in 1..wire.len() + 1 {
            let [body, trailers, rest] = decode(Delimiter::Chunked, wire, piece).unwrap();
            assert_eq!((&body[..], &trailers[..], &rest[..]), (&b"abc0123456789"[..], &b"X-T: 1\r\n"[..], &b"GET"[..]));
        }
    }

    #[test]
    fn bad_chunks() {
        for wire in [
            "zz\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "+3\r\nabc\r\n",
            "3 3\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "3;a\rb\r\nabc\r\n",
            "3;a\0b\r\nabc\r\n",
            "\r\n",
            "-1\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\nX: 1\n\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r\n0\r\n",
        ] {
            for piece in 1..wire.len() + 1 {
                assert!(decode(Delimiter::Chunked, wire.as_bytes(), piece).is_err(), "{wire:?} in pieces of {piece}");
            }
        }
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(5000));
        assert!(matches!(decode(Delimiter::Chunked, long.as_bytes(), 100), Err(BodyError::TooLong)));
    }

    #[test]
    fn lengths() {
        let [body, _, rest] = decode(Delimiter::Length(3), b"abcdef", 2).unwrap();
        assert_eq!((&body[..], &rest[..]), (&b"abc"[..], &b"def"[..]));
        assert!(matches!(decode(Delimiter::Length(9), b"abc", 2), Err(BodyError::UnexpectedEof)));
        assert_eq!(decode(Delimiter::UntilClose, b"abc", 2).unwrap()[0], b"abc");
        assert_eq!(decode(Delimiter::None, b"abc", 2).unwrap()[2], b"abc");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_alike_in_any_pieces(wire: Vec<u8>, piece in 1usize..9) {
            let whole = decode(Delimiter::Chunked, &wire, usize::MAX).ok();
            proptest::prop_assert_eq!(decode(Delimiter::Chunked, &wire, piece).ok(), whole);
        }
    }
}
