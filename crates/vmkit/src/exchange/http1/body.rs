//! The body of a request on an HTTP/1 connection: read on demand, `100 Continue` sent to who waits for it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::body_error::BodyError;
use super::super::framing::BodyKind;
use super::super::hang_up::PeerWatch;
use super::super::header_list::HeaderList;
use super::super::message::Chunk;
use super::body_decoder::Delimiter;
use super::message_reader::MessageReader;
use super::reply::BodyDuty;

/// The body of a request, read on demand.
#[derive(Debug)]
pub(in super::super) struct Http1Body<'c> {
    pub(in super::super) reader: &'c mut MessageReader,
    pub(in super::super) kind: BodyKind,
    pub(in super::super) duty: &'c Cell<BodyDuty>,
}

impl Http1Body<'_> {
    /// How the body is delimited on the client's side.
    pub(in super::super) fn kind(&self) -> BodyKind {
        self.kind
    }

    /// Whether everything has been read.
    pub(in super::super) fn is_done(&self) -> bool {
        self.reader.body_is_done()
    }

    /// Next piece; `None` at the end. Sends `100 Continue` before the first read when the client waits for it.
    pub(in super::super) async fn chunk(&mut self) -> Result<Option<Chunk<'_>>, BodyError> {
        if self.duty.get().awaits_continue {
            self.send_continue().await?;
        }
        let found = self.reader.next_piece().await;
        let mut duty = self.duty.get();
        duty.ends_connection = found.is_err() || self.reader.rest_is_too_much();
        self.duty.set(duty);
        Ok(found?.map(|piece| self.reader.chunk_at(piece)))
    }

    /// Tells the client to go on, unless it has done so already.
    async fn send_continue(&mut self) -> io::Result<()> {
        let mut duty = self.duty.get();
        duty.awaits_continue = false;
        // This future may be dropped half way; the mark then stays.
        duty.interim_unfinished = self.reader.unread().is_empty();
        self.duty.set(duty);
        if duty.interim_unfinished {
            let wire = self.reader.wire().clone();
            wire.write_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")]).await?;
            duty.interim_unfinished = false;
            self.duty.set(duty);
        }
        Ok(())
    }

    /// Trailers, once the body has been read.
    pub(in super::super) fn trailers(&self) -> Option<&HeaderList> {
        self.reader.trailers()
    }

    /// The last piece is no longer used: its storage may go while the backend is waited for.
    pub(in super::super) fn release(&mut self) {
        self.reader.release();
    }

    /// Who knows whether the client has left while a piece is in use.
    pub(in super::super) fn watch(&self) -> Rc<dyn PeerWatch> {
        self.reader.wire().clone()
    }

    /// Resolves when the client has left.
    pub(in super::super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_gone(cx)
    }

    /// From now on everything the client sends is the body, up to the end of the stream: for tunnels.
    pub(in super::super) fn start_tunnel(&mut self) {
        self.reader.start_body(Delimiter::UntilClose);
    }
}
