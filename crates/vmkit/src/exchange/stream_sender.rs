//! The sending side of a message on a stream of another codec: collects the fields, keeps to an announced length, and
//! bounds the time a write may wait.
//!
//! Shared by replies to clients and requests to backends, so that both sides of a codec are held to the same rules.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use super::header_list::HeaderList;
use super::message::HeadOut;
use super::stall::Stall;
use super::stream::SendStream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No head yet.
    Idle,
    /// So many bytes may follow; `None` for any number.
    Body(Option<u64>),
    Finished,
    /// Given up, or in the middle of a write: the future may be dropped there.
    Broken,
}

/// One message on its way out.
#[derive(Debug)]
pub(super) struct StreamSender {
    stream: Box<dyn SendStream>,
    pub(super) fields: HeaderList,
    state: State,
    pub(super) write_limit: Option<Duration>,
}

impl StreamSender {
    pub(super) fn new(stream: Box<dyn SendStream>, write_limit: Option<Duration>) -> Self {
        Self { stream, fields: HeaderList::for_head(), state: State::Idle, write_limit }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state != State::Idle
    }

    /// Hands the head over; `length` is the number of bytes that follow, if it is known.
    pub(super) fn head(&mut self, head: &HeadOut<'_>, length: Option<u64>) {
        let taken = self.stream.head(head, &self.fields);
        self.fields.clear();
        self.state = if taken.is_ok() { State::Body(length) } else { State::Broken };
    }

    pub(super) async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        let state = std::mem::replace(&mut self.state, State::Broken);
        let (mut data, left) = match state {
            State::Idle | State::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            State::Finished => {
                self.state = state;
                return Ok(());
            }
            State::Body(None) => (data, None),
            State::Body(Some(left)) => {
                let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                (data, Some(left - data.len() as u64))
            }
        };
        let ends = self.ends(left, last);
        let mut stall = Stall::new(self.write_limit);
        loop {
            let taken = poll_fn(|cx| {
                let written = self.stream.poll_send(cx, data, ends);
                stall.watch(cx, written)
            });
            let taken = taken.await.inspect_err(|error| self.note_stall(error))?;
            data = data.get(taken..).unwrap_or_default();
            if data.is_empty() {
                break;
            }
        }
        self.state = if ends { State::Finished } else { State::Body(left) };
        Ok(())
    }

    /// Whether the message ends with bytes behind which `left` are announced; without an announcement `last` says so.
    fn ends(&self, left: Option<u64>, last: bool) -> bool {
        left.map_or_else(|| last && !self.stream.asks_for_tunnel(), |left| left == 0)
    }

    /// As much as the stream takes at once, and how much that was; has sent nothing when the future is dropped.
    pub(super) async fn send_some(&mut self, data: &[u8], last: bool) -> io::Result<usize> {
        let left = match self.state {
            State::Idle | State::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            State::Finished => return Ok(data.len()),
            State::Body(left) => left,
        };
        let room = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let part = data.get(..room).unwrap_or(data);
        let ends = self.ends(left.map(|left| left.saturating_sub(data.len() as u64)), last);
        let mut stall = Stall::new(self.write_limit);
        let taken = poll_fn(|cx| {
            let written = self.stream.poll_send(cx, part, ends);
            stall.watch(cx, written)
        });
        match taken.await {
            Ok(taken) if ends && taken == part.len() => {
                self.state = State::Finished;
                Ok(data.len())
            }
            Ok(taken) => {
                self.state = State::Body(left.map(|left| left - taken as u64));
                Ok(taken)
            }
            Err(error) => {
                self.state = State::Broken;
                Err(error)
            }
        }
    }

    pub(super) async fn finish(&mut self) -> io::Result<()> {
        if self.state == State::Finished {
            return Ok(());
        }
        self.send(&[], true).await?;
        if self.state == State::Finished { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    pub(super) async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        if trailers.is_empty() || self.state != State::Body(None) {
            return self.finish().await;
        }
        self.state = State::Broken;
        let mut stall = Stall::new(self.write_limit);
        poll_fn(|cx| {
            let written = self.stream.poll_trailers(cx, trailers);
            stall.watch(cx, written)
        })
        .await
        .inspect_err(|error| self.note_stall(error))?;
        self.state = State::Finished;
        Ok(())
    }

    fn note_stall(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.stream.stalled();
        }
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.stream.poll_shutdown(cx)).await
    }
}
