//! Reads the reply of a stream of another codec than HTTP/1.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::body_error::BodyError;
use super::header_list::HeaderList;
use super::message::Chunk;
use super::reply_error::ReplyError;
use super::response_head::ResponseHead;
use super::stream::RecvReply;

/// Reads the reply of one stream.
#[derive(Debug)]
pub(super) struct StreamReplyReader {
    stream: Box<dyn RecvReply>,
    head: ResponseHead,
    has_head: bool,
}

impl StreamReplyReader {
    pub(super) fn new(stream: Box<dyn RecvReply>) -> Self {
        Self { stream, head: ResponseHead::default(), has_head: false }
    }

    pub(super) fn head(&self) -> &ResponseHead {
        &self.head
    }

    pub(super) fn has_head(&self) -> bool {
        self.has_head
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        if self.has_head {
            return Poll::Ready(Ok(()));
        }
        let found = self.stream.poll_head(cx, &mut self.head);
        self.has_head = matches!(found, Poll::Ready(Ok(())));
        found
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        let found = poll_fn(|cx| self.stream.poll_piece(cx)).await?;
        Ok(found.map(|last| Chunk { data: self.stream.piece(), last }))
    }

    pub(super) fn trailers(&self) -> Option<&HeaderList> {
        self.stream.trailers()
    }
}
