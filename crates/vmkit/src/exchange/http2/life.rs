//! What is known of an HTTP/2 connection to a backend from outside its driver: whether it has begun, how many streams
//! are in use, whether the peer was heard of, why it ended.
//!
//! Shared by the pool's handle, the driver and all streams of the connection, which live on one worker.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::super::head_budget::HeadBudget;
use super::super::reply_error::{Refusal, ReplyError};
use super::reply_frames::ReplyFrames;
use crate::metrics::{Counter, Gauge};

/// How long a connection is spared new streams after its peer has refused one: the peer is at its limit.
const REST: Duration = Duration::from_secs(1);

/// Counters of all HTTP/2 connections to backends.
#[derive(Debug, Default)]
pub struct Http2Stats {
    /// Open connections.
    pub connections: Arc<Gauge>,
    /// Streams in use.
    pub streams: Arc<Gauge>,
    /// Requests that the backend has not taken, by `GOAWAY` or `REFUSED_STREAM`.
    pub refused: Arc<Counter>,
    /// Connections given up because a ping was not answered.
    pub dead: Arc<Counter>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Life {
    stats: Arc<Http2Stats>,
    greeted: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
    streams: Cell<usize>,
    /// Bytes that were read.
    read: Cell<u64>,
    /// Whether a head or a piece of a body has come since it was last asked.
    heard: Cell<bool>,
    rests_until: Cell<Option<Instant>>,
    /// What clients have not taken.
    pub(super) frames: ReplyFrames,
    /// Why the connection has ended.
    ended: RefCell<Option<String>>,
}

impl Life {
    /// `unread` is the memory for small frames of all connections that were not taken.
    pub(super) fn new(stats: Arc<Http2Stats>, unread: HeadBudget) -> Self {
        stats.connections.inc();
        Self {
            stats,
            greeted: Cell::new(false),
            waiting: RefCell::default(),
            streams: Cell::new(0),
            read: Cell::new(0),
            heard: Cell::new(false),
            rests_until: Cell::new(None),
            frames: ReplyFrames::new(unread),
            ended: RefCell::default(),
        }
    }

    /// The peer has not answered a ping.
    pub(super) fn count_dead(&self) {
        self.stats.dead.inc();
    }

    /// The peer speaks HTTP/2.
    pub(super) fn greet(&self) {
        self.greeted.set(true);
        self.wake();
    }

    /// The connection has ended.
    pub(super) fn end(&self, cause: String) {
        *self.ended.borrow_mut() = Some(cause);
        self.wake();
    }

    fn wake(&self) {
        let waiting = self.waiting.borrow_mut().take();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Resolves when the peer has shown that it speaks HTTP/2, or the connection has ended. One task waits.
    pub(super) fn poll_greeted(&self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        if let Some(cause) = &*self.ended.borrow() {
            return Poll::Ready(Err(ReplyError::Io { begun: false, source: io::Error::other(cause.clone()) }));
        }
        if self.greeted.get() {
            return Poll::Ready(Ok(()));
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    pub(super) fn note_read(&self, bytes: usize) {
        self.read.set(self.read.get().wrapping_add(bytes as u64));
    }

    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    /// A head or a piece of a body has come.
    pub(super) fn hear(&self) {
        self.heard.set(true);
    }

    /// Whether a head or a piece of a body has come since the last call.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.take()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// The peer has refused a stream.
    pub(super) fn rest(&self) {
        self.rests_until.set(Some(Instant::now() + REST));
    }

    pub(super) fn rests(&self) -> bool {
        let Some(until) = self.rests_until.get() else { return false };
        if Instant::now() < until {
            return true;
        }
        self.rests_until.set(None);
        false
    }

    /// What failed streams of this connection: the cause of its end, if it is known better than by the stream.
    fn cause_of(&self, error: &h2::Error) -> io::Error {
        match (&*self.ended.borrow(), error.get_io()) {
            (Some(cause), _) => io::Error::other(cause.clone()),
            (None, Some(source)) => io::Error::new(source.kind(), source.to_string()),
            (None, None) => io::Error::other(error.to_string()),
        }
    }

    /// Why no reply came on a stream.
    pub(super) fn reply_error(&self, error: &h2::Error) -> ReplyError {
        if error.is_remote() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED) {
            let text = "http2: the backend wants HTTP/1.1 for this request".to_owned();
            return ReplyError::Refused { text, why: Refusal::WantsHttp1 };
        }
        if error.is_go_away() && error.is_remote() {
            self.stats.refused.inc();
            // Streams that the peer has taken before are not failed by its GOAWAY (RFC 9113 §6.8).
            return ReplyError::Refused {
                text: "http2: the backend ends the connection and has not taken the request".to_owned(),
                why: Refusal::ConnectionEnds,
            };
        }
        if error.is_reset() && error.is_remote() {
            if error.reason() == Some(h2::Reason::REFUSED_STREAM) {
                self.rest();
                self.stats.refused.inc();
                let text = "http2: the backend has refused the stream".to_owned();
                return ReplyError::Refused { text, why: Refusal::Busy };
            }
            return ReplyError::Reset { text: self.text(error) };
        }
        if error.is_reset() {
            // The codec does not tell them apart.
            let text = format!("http2: the reply is malformed, or its head is too large: {}", self.text(error));
            return ReplyError::Invalid { text };
        }
        if error.get_io().is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe) && !self.has_ended() {
            return ReplyError::Eof { begun: false };
        }
        ReplyError::Io { begun: false, source: self.cause_of(error) }
    }

    /// What has happened to a stream, for log lines.
    pub(super) fn text(&self, error: &h2::Error) -> String {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => {
                format!("stream error: {}; received from peer", reason_name(reason))
            }
            Some(reason) if error.is_reset() => format!("stream error: {}", reason_name(reason)),
            Some(reason) => format!("http2: connection error: {}", reason_name(reason)),
            None => self.cause_of(error).to_string(),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stats.connections.dec();
    }
}

fn reason_name(reason: h2::Reason) -> String {
    format!("{reason:?}")
}

/// A stream in use, from its opening until both of its sides are gone.
#[derive(Debug)]
pub(super) struct StreamClaim(pub(super) Rc<Life>);

impl StreamClaim {
    pub(super) fn new(life: &Rc<Life>) -> Self {
        life.streams.set(life.streams.get() + 1);
        life.stats.streams.inc();
        Self(life.clone())
    }
}

impl Drop for StreamClaim {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.stats.streams.dec();
    }
}
