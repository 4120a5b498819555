//! The body of a request on its way to a backend whose stream carries both directions at once.
//!
//! Such a backend may answer while the request is still being sent, and go on with both: a gRPC call with streams in both
//! directions does so. So the sending can be left at any time and taken up again where it was, beside the reply. What was
//! read beyond the buffered beginning may be kept, so that it can be sent again.

use std::borrow::Cow;
use std::cell::RefCell;

use vmkit::exchange::{BodyError, BodyKind, HeaderList, RequestBody, RequestHead, RequestWriter};

use super::form_stream::FormStream;
use super::record::Record;
use super::trailers;
use crate::rewrite::form_body::ProtectedArgs;
use crate::rewrite::header_rules::HeaderRules;

/// The body of a request, as often as it must be sent.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The client's head, the source of the fields.
    pub head: &'a RequestHead,
    /// Rules of the route; what they decide cannot be changed by a trailer.
    pub rules: &'a HeaderRules,
    /// What body the head announces.
    pub kind: BodyKind,
    /// What was read of the body.
    pub buffered: &'a [u8],
    /// Whether `buffered` is all of it.
    pub complete: bool,
    /// What was read beyond that, as far as it is worth keeping.
    pub kept: Option<&'a RefCell<Kept>>,
    /// Args to remove from the rest of a form on its way; `kind` is a stream then.
    pub filter: Option<&'a ProtectedArgs>,
    /// Where bytes and times are noted.
    pub record: &'a Record,
}

impl Source<'_> {
    /// Trailers of a body that was read to its end.
    pub(super) fn trailers(&self, body: &RequestBody<'_>) -> HeaderList {
        match self.kind {
            BodyKind::Stream => trailers::of_request(body.trailers(), self.head, self.rules),
            BodyKind::None | BodyKind::Length(_) => HeaderList::default(),
        }
    }
}

/// What was read of a body beyond its buffered beginning, up to a limit.
#[derive(Debug)]
pub struct Kept {
    data: Vec<u8>,
    /// Bytes that may still be kept; `None` when some were let go.
    room: Option<usize>,
}

impl Kept {
    /// Nothing yet. Bodies up to `limit` bytes may be sent again, of which `buffered` bytes are kept elsewhere.
    pub fn new(buffered: usize, limit: usize) -> Self {
        let room = if buffered == 0 { Some(limit) } else { limit.checked_sub(buffered) };
        Self { data: Vec::new(), room }
    }

    /// Nothing will be kept.
    pub fn nothing() -> Self {
        Self { data: Vec::new(), room: Some(0) }
    }

    /// Whether everything that was read can be sent again.
    pub fn is_whole(&self) -> bool {
        self.room.is_some()
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.room = self.room.and_then(|room| room.checked_sub(piece.len()));
        if self.is_whole() {
            self.data.extend_from_slice(piece);
        } else {
            self.data = Vec::new();
        }
    }
}

/// Why the sending has stopped.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client's body is malformed or ended too early.
    Client(BodyError),
    /// The backend takes no more.
    Backend(std::io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AtHand,
    /// Sending a piece; whether it is the last one.
    Piece(bool),
    Trailers,
    Done,
}

/// The sending of one body. All its futures may be dropped and begun anew.
#[derive(Debug)]
pub struct Upload<'a> {
    source: Source<'a>,
    form: Option<FormStream<'a>>,
    at_hand: Cow<'a, [u8]>,
    trailers: HeaderList,
    piece: Vec<u8>,
    /// Bytes of what is being sent that were taken.
    taken: usize,
    stage: Stage,
}

impl<'a> Upload<'a> {
    pub(super) fn new(source: Source<'a>, body: &RequestBody<'_>) -> Self {
        let mut form = source.filter.map(FormStream::new);
        let at_hand = match &mut form {
            Some(form) => {
                let mut filtered = Vec::new();
                form.push(&mut filtered, source.buffered);
                Cow::Owned(filtered)
            }
            None => Cow::Borrowed(source.buffered),
        };
        let trailers = if source.complete { source.trailers(body) } else { HeaderList::default() };
        Self { source, form, at_hand, trailers, piece: Vec::new(), taken: 0, stage: Stage::AtHand }
    }

    /// Sends the head and what was read before.
    pub(super) async fn send_at_hand(&mut self, request: &mut RequestWriter) -> Result<(), UploadError> {
        let is_all = self.source.complete && self.trailers.is_empty();
        if self.stage == Stage::AtHand {
            send(request, &self.at_hand, &mut self.taken, is_all).await?;
            self.taken = 0;
            self.stage = match self.source.complete {
                true if is_all => Stage::Done,
                true => Stage::Trailers,
                false => Stage::Piece(false),
            };
            if let Some(kept) = self.source.kept {
                self.piece.extend_from_slice(kept.borrow().data());
            }
        }
        if self.source.complete { self.send_trailers(request).await } else { Ok(()) }
    }

    /// Sends everything up to the end of the body.
    pub(super) async fn send_rest(
        &mut self,
        body: &mut RequestBody<'_>,
        request: &mut RequestWriter,
    ) -> Result<(), UploadError> {
        self.send_at_hand(request).await?;
        while let Stage::Piece(last) = self.stage {
            if self.taken < self.piece.len() || last {
                tokio::select! {
                    biased;
                    sent = send(request, &self.piece, &mut self.taken, last) => sent?,
                    // A backend may take nothing for long.
                    () = body.gone() => return Err(UploadError::Client(BodyError::UnexpectedEof)),
                }
            }
            if last {
                self.stage = Stage::Done;
                break;
            }
            self.next_piece(body).await?;
        }
        self.send_trailers(request).await
    }

    async fn next_piece(&mut self, body: &mut RequestBody<'_>) -> Result<(), UploadError> {
        let found = body.chunk().await.map_err(UploadError::Client)?;
        self.piece.clear();
        self.taken = 0;
        let last = match found {
            Some(chunk) => {
                self.source.record.received(chunk.data.len());
                if let Some(kept) = self.source.kept {
                    kept.borrow_mut().push(chunk.data);
                }
                match &mut self.form {
                    Some(form) => form.push(&mut self.piece, chunk.data),
                    None => self.piece.extend_from_slice(chunk.data),
                }
                chunk.last
            }
            None => true,
        };
        let is_form = self.form.is_some();
        if last && let Some(mut form) = self.form.take() {
            form.finish(&mut self.piece);
        }
        self.stage = if found.is_none() && !is_form { Stage::Trailers } else { Stage::Piece(last) };
        if self.stage == Stage::Trailers {
            self.trailers = self.source.trailers(body);
        }
        Ok(())
    }

    async fn send_trailers(&mut self, request: &mut RequestWriter) -> Result<(), UploadError> {
        if self.stage == Stage::Trailers {
            request.finish_with(&self.trailers).await.map_err(UploadError::Backend)?;
            self.stage = Stage::Done;
        }
        Ok(())
    }
}

/// Sends the rest of `data`; `taken` says how much of it is gone already. Also sends an empty end.
async fn send(request: &mut RequestWriter, data: &[u8], taken: &mut usize, last: bool) -> Result<(), UploadError> {
    loop {
        let rest = data.get(*taken..).unwrap_or_default();
        *taken += request.send_some(rest, last).await.map_err(UploadError::Backend)?;
        if *taken >= data.len() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_whole_or_gone() {
        let f = |buffered: usize, limit: usize, pieces: &[&str], want: Option<&str>| {
            let mut kept = Kept::new(buffered, limit);
            pieces.iter().for_each(|piece| kept.push(piece.as_bytes()));
            let got = kept.is_whole().then_some(&kept.data[..]);
            assert_eq!(got, want.map(str::as_bytes), "{buffered} {limit} {pieces:?}");
        };
        f(0, 4, &["ab", "cd"], Some("abcd"));
        f(1, 4, &["ab", "cd"], None);
        f(1, 4, &["abcd", "", "a"], None);
        f(5, 4, &[], None);
        f(0, 0, &[], Some(""));
        f(0, 0, &["a"], None);
    }
}
