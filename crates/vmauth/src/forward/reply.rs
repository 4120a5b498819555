//! Streams a backend's reply to the client.
//!
//! Every piece is sent as soon as it is read, and the next one is read only when it was sent. While the backend is
//! silent the client is watched: when it leaves, the backend connection is dropped.

use std::pin::pin;

use vmkit::exchange::{
    BodyError, BodyKind, ClientExchange, HeaderId, HeaderList, ReplyBody, ReplyReader, ReplyWriter, RequestBody,
    ResponseHead,
};

use super::record::Record;
use super::trailers;
use super::upload::{Upload, UploadError};
use crate::ending::RequestError;
use crate::rewrite::header_rules::ResponseRules;
use crate::rewrite::response_headers::write_response_headers;

/// Why a reply was not delivered to its end.
#[derive(Debug)]
pub enum RelayError {
    /// The client has left, takes nothing, or sends no proper body.
    Client(RequestError),
    /// Who sent the call may no longer do so.
    CredentialsEnded,
    /// The backend broke off.
    Backend(BodyError),
}

impl RelayError {
    fn of_client(error: &std::io::Error) -> Self {
        Self::Client(match error.kind() {
            std::io::ErrorKind::TimedOut => RequestError::ClientStalled,
            _ => RequestError::ClientGone,
        })
    }

    fn of_body(error: BodyError) -> Self {
        match error {
            BodyError::NotTaken => Self::Client(RequestError::ClientStalled),
            error => Self::Backend(error),
        }
    }
}

/// Writes the head of the reply; it is sent with the first piece of the body. `own` are fields of every reply.
pub fn begin(head: &ResponseHead, client: &mut ReplyWriter, own: &HeaderList, rules: &ResponseRules) {
    let to_head = client.is_to_head();
    let mut out = match head.upgrade() {
        Some(protocol) => client.begin_tunnel(protocol),
        None => client.begin(head.status()),
    };
    rules.write_own_lines(&mut out, own);
    write_response_headers(&mut out, head.headers(), rules);
    if head.first(HeaderId::Date).is_some() || rules.touches("Date") {
        client.set_has_date();
    }
    let body = match head.body() {
        _ if head.upgrade().is_some() => ReplyBody::Tunnel,
        BodyKind::None if to_head && head.content_length().is_none() => ReplyBody::Stream,
        // A backend of HTTP/2 may end any reply with its head. HTTP/1 must be told that nothing follows.
        BodyKind::None if !to_head && !matches!(head.status(), 204 | 304) && !client.is_stream() => {
            ReplyBody::Length(0)
        }
        BodyKind::None => ReplyBody::None(head.content_length().filter(|_| head.status() != 204)),
        BodyKind::Length(n) => ReplyBody::Length(n),
        BodyKind::Stream => ReplyBody::Stream,
    };
    if body == ReplyBody::Stream && client.takes_trailers() {
        trailers::announced_by_reply(head, rules, own).for_each(|name| client.announce_trailer(name));
    }
    client.end_head(body);
}

/// Streams the body and its trailers, as far as `passing` lets them; the head must have been begun.
///
/// `request` is the client's side, watched for its end.
pub async fn relay(
    reply: &mut ReplyReader,
    client: &mut ReplyWriter,
    request: &mut RequestBody<'_>,
    passing: impl FnOnce(Option<&HeaderList>) -> HeaderList,
    record: &Record,
) -> Result<(), RelayError> {
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = reply.chunk() => chunk.map_err(RelayError::of_body)?,
            () = request.gone() => return Err(RelayError::Client(RequestError::ClientGone)),
        };
        let Some(chunk) = chunk else { break };
        let last = chunk.last;
        client.send(chunk.data, last).await.map_err(|error| RelayError::of_client(&error))?;
        record.sent(chunk.data.len());
        if last {
            break;
        }
    }
    finish(reply, client, passing).await
}

/// The same where both directions are independent, while the rest of the request is sent if there is one.
pub async fn relay_both(
    exchange: &mut ClientExchange,
    client: &mut ReplyWriter,
    request: &mut RequestBody<'_>,
    upload: Option<Box<Upload<'_>>>,
    passing: impl FnOnce(Option<&HeaderList>) -> HeaderList,
    record: &Record,
) -> Result<(), RelayError> {
    let ClientExchange { request: backend, reply } = exchange;
    let mut down = pin!(relay_alone(reply, client, passing, record));
    if let Some(mut upload) = upload {
        tokio::select! {
            biased;
            done = &mut down => return done,
            sent = upload.send_rest(request, backend) => match sent {
                // A backend may have enough before the end, and answer all the same.
                Ok(()) | Err(UploadError::Backend(_)) => {}
                Err(UploadError::Client(error)) => return Err(RelayError::Client(RequestError::of_body(error))),
            },
        }
    }
    tokio::select! {
        biased;
        done = down => done,
        () = request.gone() => Err(RelayError::Client(RequestError::ClientGone)),
    }
}

/// Streams a reply without a look at the client's side.
async fn relay_alone(
    reply: &mut ReplyReader,
    client: &mut ReplyWriter,
    passing: impl FnOnce(Option<&HeaderList>) -> HeaderList,
    record: &Record,
) -> Result<(), RelayError> {
    let mut is_first = true;
    loop {
        let mut next = pin!(reply.chunk());
        let chunk = tokio::select! {
            biased;
            chunk = &mut next => chunk,
            // The head does not wait for the body: a client may wait for the head before it sends more.
            () = std::future::ready(()), if is_first => {
                client.send(&[], false).await.map_err(|error| RelayError::of_client(&error))?;
                next.await
            }
        };
        is_first = false;
        let Some(chunk) = chunk.map_err(RelayError::of_body)? else { break };
        let last = chunk.last;
        client.send(chunk.data, last).await.map_err(|error| RelayError::of_client(&error))?;
        record.sent(chunk.data.len());
        if last {
            break;
        }
    }
    finish(reply, client, passing).await
}

/// Ends the reply, with the trailers that may pass.
async fn finish(
    reply: &ReplyReader,
    client: &mut ReplyWriter,
    passing: impl FnOnce(Option<&HeaderList>) -> HeaderList,
) -> Result<(), RelayError> {
    let finished = match reply.trailers() {
        Some(found) if client.takes_trailers() => client.finish_with(&passing(Some(found))).await,
        _ => client.finish().await,
    };
    finished.map_err(|error| RelayError::of_client(&error))
}
