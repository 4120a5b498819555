//! Streams a backend's reply to the client.
//!
//! Every piece is sent as soon as it is read, and the next one is read only when it was sent. While the backend is
//! silent the client is watched: when it leaves, the backend connection is dropped.

use vmkit::exchange::{BodyError, BodyKind, HeaderId, ReplyBody, ReplyReader, ReplyWriter, RequestBody};

use crate::rewrite::header_rules::{ResponseRules, write_response_headers};

/// Why a reply was not delivered to its end.
#[derive(Debug)]
pub enum RelayError {
    /// The client has left.
    ClientGone,
    /// The backend broke off.
    Backend(BodyError),
}

/// Writes the head of the reply; it is sent with the first piece of the body.
pub fn begin(reply: &ReplyReader, client: &mut ReplyWriter, common_lines: &[u8], rules: &ResponseRules) {
    let head = reply.head();
    let status = head.status();
    let to_head = client.is_to_head();
    let out = client.begin(status);
    rules.write_own_lines(out, common_lines);
    write_response_headers(out, head.headers(), rules);
    if status == 101 {
        for line in head.headers().filter(|line| line.id == HeaderId::Upgrade) {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            out.extend_from_slice(line.value);
            out.extend_from_slice(b"\r\n");
        }
    }
    if head.first(HeaderId::Date).is_some() || rules.touches("Date") {
        client.set_has_date();
    }
    client.end_head(match head.body() {
        _ if status == 101 => ReplyBody::Tunnel,
        BodyKind::None if to_head && head.content_length().is_none() => ReplyBody::Stream,
        BodyKind::None => ReplyBody::None(head.content_length().filter(|_| status != 204)),
        BodyKind::Length(n) => ReplyBody::Length(n),
        BodyKind::Chunked | BodyKind::UntilClose => ReplyBody::Stream,
    });
}

/// Streams the body; the head must have been begun. `request` is the client's side, watched for its end.
pub async fn relay(
    reply: &mut ReplyReader,
    client: &mut ReplyWriter,
    request: &mut RequestBody<'_>,
) -> Result<(), RelayError> {
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = reply.chunk() => chunk.map_err(RelayError::Backend)?,
            () = request.gone() => return Err(RelayError::ClientGone),
        };
        let Some(chunk) = chunk else { break };
        let last = chunk.last;
        client.send(chunk.data, last).await.map_err(|_| RelayError::ClientGone)?;
        if last {
            break;
        }
    }
    client.finish().await.map_err(|_| RelayError::ClientGone)
}
