//! Reads the first bytes of a request's body before a backend is bothered with it (docs/reference/proxying.md).
//!
//! A slow client thus occupies no slot of its user and no connection of a backend, and a small body can be sent again
//! when an attempt fails. Memory is bounded by the buffer size plus one read.

use tokio::time::{Instant, timeout_at};
use vmkit::exchange::{BodyError, BodyKind, RequestBody};

/// The beginning of a body.
#[derive(Debug, Default)]
pub struct BufferedBody {
    /// What was read.
    pub data: Vec<u8>,
    /// Whether this is all of it.
    pub complete: bool,
}

/// Sizes that decide what is buffered and what may be sent again.
#[derive(Clone, Copy, Debug)]
pub struct BufferLimits {
    /// Bytes read before a backend is contacted; 0 for none.
    pub buffer: usize,
    /// Largest body that may be sent again; 0 for empty ones only.
    pub retry: usize,
}

/// Why the beginning of a body could not be read.
#[derive(Debug)]
pub enum BufferError {
    /// The deadline passed after so many bytes.
    TooSlow {
        /// Bytes that had arrived.
        read: usize,
    },
    /// The body is malformed, or the client has left in its middle.
    Broken(BodyError),
}

impl BufferedBody {
    /// Whether another attempt may send this body again.
    pub fn is_replayable(&self, limits: BufferLimits) -> bool {
        self.complete && (self.data.is_empty() || self.data.len() <= limits.retry)
    }
}

/// Takes what has arrived of a body and waits for nothing: its sender may wait for an answer before it sends more.
///
/// Up to `limits.retry` bytes and one piece.
pub async fn buffer_ready(body: &mut RequestBody<'_>, limits: BufferLimits) -> Result<BufferedBody, BufferError> {
    let mut found = BufferedBody::default();
    while !found.complete && found.data.len() < limits.retry {
        let chunk = tokio::select! {
            biased;
            chunk = body.chunk() => chunk.map_err(BufferError::Broken)?,
            () = std::future::ready(()) => return Ok(found),
        };
        match chunk {
            Some(chunk) => {
                found.data.extend_from_slice(chunk.data);
                found.complete = chunk.last;
            }
            None => found.complete = true,
        }
    }
    Ok(found)
}

/// Reads up to `max(limits.buffer, limits.retry)` bytes; a body of exactly that size counts as incomplete.
pub async fn buffer(
    body: &mut RequestBody<'_>,
    limits: BufferLimits,
    deadline: Instant,
) -> Result<BufferedBody, BufferError> {
    let max = limits.buffer.max(limits.retry);
    if body.is_done() {
        return Ok(BufferedBody { data: Vec::new(), complete: true });
    }
    if max == 0 {
        return Ok(BufferedBody::default());
    }
    let mut data = match body.kind() {
        BodyKind::Length(n) => Vec::with_capacity(usize::try_from(n).unwrap_or(usize::MAX).min(max)),
        BodyKind::None | BodyKind::Stream => Vec::new(),
    };
    let mut ended = false;
    let reading = async {
        while data.len() < max {
            let Some(chunk) = body.chunk().await? else {
                ended = true;
                break;
            };
            data.extend_from_slice(chunk.data);
            if chunk.last {
                ended = true;
                break;
            }
        }
        Ok(())
    };
    match timeout_at(deadline, reading).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(BufferError::Broken(error)),
        Err(_) => return Err(BufferError::TooSlow { read: data.len() }),
    }
    body.release();
    let complete = ended && data.len() < max;
    Ok(BufferedBody { data, complete })
}
