//! The body of a reply as it arrives: decoded from gzip, bounded in size and time.
//!
//! Servers and CDNs send gzip whether it was asked for or not, so it is always decoded. The limit is of decoded bytes:
//! a small reply cannot become a large one.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::error::{FetchCause, transport};

/// Compressed bytes that are decoded at once: with the highest ratio of gzip they become about 4 MiB.
const STEP: usize = 4096;

/// Reads a body piece by piece.
pub(super) struct ReplyBody {
    body: Incoming,
    gzip: Option<Gzip>,
    limit: usize,
    passed: usize,
}

struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Received and not decoded yet.
    waiting: Bytes,
    ended: bool,
}

impl ReplyBody {
    /// Whether the headers announce a coding that is decoded here; the header is removed then.
    pub(super) fn new(body: Incoming, headers: &mut HeaderMap, limit: usize) -> Self {
        let coding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
        let is_gzip = matches!(coding.as_deref(), Some(b"gzip" | b"x-gzip"));
        if is_gzip {
            headers.remove(CONTENT_ENCODING);
        }
        let gzip =
            is_gzip.then(|| Gzip { decoder: MultiGzDecoder::new(Vec::new()), waiting: Bytes::new(), ended: false });
        Self { body, gzip, limit, passed: 0 }
    }

    /// Whether the length of the body as sent is the length of what is read.
    pub(super) fn is_plain(&self) -> bool {
        self.gzip.is_none()
    }

    /// The next piece, never empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchCause> {
        loop {
            let piece = match &mut self.gzip {
                None => received(&mut self.body).await?,
                Some(gzip) => gzip.next(&mut self.body).await?,
            };
            let Some(piece) = piece else { return Ok(None) };
            self.passed += piece.len();
            if self.passed > self.limit {
                return Err(FetchCause::BodyTooLarge(self.limit));
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

async fn received(body: &mut Incoming) -> Result<Option<Bytes>, FetchCause> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(transport(&error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

impl Gzip {
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, FetchCause> {
        let broken = |error: std::io::Error| FetchCause::Transport(format!("cannot decode gzip: {error}"));
        if self.waiting.is_empty() {
            match received(body).await? {
                Some(piece) => self.waiting = piece,
                None if self.ended => return Ok(None),
                None => {
                    self.ended = true;
                    self.decoder.try_finish().map_err(broken)?;
                    return Ok(Some(self.decoded()));
                }
            }
        }
        let step = self.waiting.split_to(self.waiting.len().min(STEP));
        self.decoder.write_all(&step).and_then(|()| self.decoder.flush()).map_err(broken)?;
        Ok(Some(self.decoded()))
    }

    fn decoded(&mut self) -> Bytes {
        std::mem::take(self.decoder.get_mut()).into()
    }
}
